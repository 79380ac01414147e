"""libgomalloc.so under unmodified programs: each must print what it prints with the C library's malloc."""

import os
import subprocess
from pathlib import Path

import pytest

from conftest import GOMALLOC, ROOT

PYTHON = """
import json, threading, subprocess, hashlib, concurrent.futures
data = json.loads(json.dumps([{"n": i, "s": "x" * (i % 300)} for i in range(20000)]))
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    sums = list(pool.map(lambda k: sum(len(d["s"]) * k for d in data), range(40)))
print(hashlib.sha256(json.dumps(data).encode()).hexdigest(), sums[7])
print(subprocess.run(["echo", "child"], capture_output=True, text=True).stdout)
"""

SQL = """
CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000)
INSERT INTO t SELECT x, printf('%x', x * 7919 % 65537), x / 7.0 FROM c;
CREATE INDEX i ON t(a);
SELECT count(*), max(a), round(sum(b), 3) FROM t;
SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY n DESC, a LIMIT 5;
"""

GIT = """
set -e
export GIT_CONFIG_GLOBAL=/dev/null
rm -rf r c
git init -q -b main r
/usr/bin/python3 HISTORY 60 | git -C r fast-import --quiet --force
git -C r gc -q --aggressive
git clone -q r c
git -C c log --format=%T | sha256sum
git -C c fsck --full
git -C c diff --stat HEAD~30 | tail -n 1
"""


def output(command: list[str], tmp_path: Path, preload: bool, text: str | None = None) -> str:
    environment = dict(os.environ, PYTHONMALLOC="malloc")
    if preload:
        environment["LD_PRELOAD"] = str(GOMALLOC)
    done = subprocess.run(
        command,
        input=text,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "gomalloc" not in done.stderr, done.stderr
    return done.stdout


PROGRAMS = {
    "python3": (["/usr/bin/python3", "-c", PYTHON], None),
    "sqlite3": (["sqlite3", ":memory:"], SQL),
    "git": (["bash", "-c", GIT.replace("HISTORY", str(ROOT / "scripts" / "programs" / "history.py"))], None),
    "clang": (
        [
            "bash",
            "-c",
            f"clang++ -std=c++17 -O1 -c -o x.o {ROOT}/scripts/programs/containers.cc && sha256sum < x.o",
        ],
        None,
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_runs_unchanged(name: str, tmp_path: Path) -> None:
    command, text = PROGRAMS[name]
    expected = output(command, tmp_path, False, text)
    assert expected.strip()
    assert output(command, tmp_path, True, text) == expected


def test_a_double_free_ends_the_program_with_one_line(tmp_path: Path) -> None:
    source = tmp_path / "double.c"
    source.write_text(
        "#include <stdlib.h>\nint main(void) { volatile char *p = malloc(64); free((void *)p); "
        "free((void *)p); return 0; }\n"
    )
    subprocess.run(
        ["cc", "-w", "-O0", "-fno-builtin", "-o", str(tmp_path / "double"), str(source)], check=True
    )
    done = subprocess.run(
        [str(tmp_path / "double")],
        env={"LD_PRELOAD": str(GOMALLOC)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode < 0
    assert "gomalloc: double free of 0x" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
