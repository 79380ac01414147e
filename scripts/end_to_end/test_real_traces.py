"""Real programs, small: recorded, replayed, and held against themselves; and traces that are none."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import GOMALLOC, TRACES, Command, refused

QUERIES = """CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO t SELECT i, hex(i) FROM n;
CREATE INDEX x ON t(b); SELECT count(*), max(b) FROM t WHERE b LIKE '3%' GROUP BY a % 7;
"""
SCRIPT = "import json; print(len(json.dumps([json.loads(json.dumps({'a': [i] * 9})) for i in range(2000)])))"
# Three producers hand blocks to the main thread, which frees them.
HANDED = """#include <pthread.h>
#include <stdlib.h>
static void *blocks[3][2000];
static void *produce(void *row) {
  for (int i = 0; i < 2000; i++) { char *p = malloc(16 + i % 500); *p = 1; ((void **)row)[i] = p; }
  return NULL;
}
int main(void) {
  pthread_t t[3];
  for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, produce, blocks[i]);
  for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
  for (int i = 0; i < 6000; i++) free(blocks[i / 2000][i % 2000]);
  return 0;
}
"""


def commands(folder: Path) -> dict[str, list[str]]:
    """Programs by name, as far as this machine has them."""
    (folder / "q.sql").write_text(QUERIES)
    (folder / "handed.c").write_text(HANDED)
    subprocess.run(["cc", "-O1", "-pthread", "-o", folder / "handed", folder / "handed.c"], check=True)
    found = {
        "sqlite": ["sqlite3", ":memory:", f".read {folder / 'q.sql'}"],
        "python": ["env", "PYTHONMALLOC=malloc", "/usr/bin/python3", "-c", SCRIPT],
        "clang": ["clang", "-O1", "-c", "-o", str(folder / "handed.o"), str(folder / "handed.c")],
        "handed": [str(folder / "handed")],
    }
    return {name: words for name, words in found.items() if shutil.which(words[0])}


def test_replays_are_what_was_recorded(heaparena: Command, tmp_path: Path) -> None:
    traces = []
    for name, words in commands(tmp_path).items():
        trace = tmp_path / f"{name}.hat"
        done = heaparena("record", "-o", trace, "--json", "--", *words)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["program_status"] == 0 and found["complete"], found
        assert found["operations"] > 1000 and found["bytes_per_operation"] < 6
        traces.append(trace)
    done = heaparena("trace", "verify", "--json", *traces)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {Path(line["trace"]).stem: line for line in json.loads(done.stdout)}
    assert all(line["same"] for line in lines.values())
    assert lines["handed"]["issued"]["remote_frees"] >= 6000
    assert lines["handed"]["issued"]["operations"] >= 12000


def test_a_program_beside_its_replay(heaparena: Command, tmp_path: Path) -> None:
    trace, words = tmp_path / "handed.hat", commands(tmp_path)["handed"]
    assert heaparena("record", "-o", trace, "--", *words).returncode == 0
    options = ["--allocators", f"system,mine={GOMALLOC}", "--blocks", "5"]
    done = heaparena("trace", "validate", *options, "--json", trace, "--", *words)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    for what in ("time", "memory"):
        for side in ("program", "replay"):
            values = found[what]["samples"][side]
            assert set(values) == {"system", "mine", "system~aa"}
            assert all(len(one) == 5 and min(one) > 0 for one in values.values())
    assert done.returncode == (0 if found["faithful"] else 1)
    done = heaparena("trace", "validate", "--allocators", "system", "--blocks", "5", trace, "--", "false")
    said = done.stderr.strip().splitlines()  # the block that it was in, and why it ended
    assert done.returncode == 2 and "program under system: exit status 1" in said[-1] and len(said) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "random", "empty"])
def test_damaged_traces_are_refused(heaparena: Command, tmp_path: Path, damage: str) -> None:
    good = bytearray((TRACES / "sqlite.hat").read_bytes())
    bad = tmp_path / "bad.hat"
    if damage == "cut":
        good = good[: len(good) // 2]
    elif damage == "flipped":
        good[len(good) // 2] ^= 0x10
    elif damage == "random":
        good = bytearray(Path("/dev/urandom").open("rb").read(5000))
    else:
        good = bytearray()
    bad.write_bytes(good)
    fit = ["trace", "fit", "-o", str(tmp_path / "model.json")]
    for words in (["trace", "info"], ["trace", "stat"], ["trace", "verify"], ["replay"], fit):
        refused(heaparena(*words, bad), "bad.hat", "byte ")
    assert not (tmp_path / "model.json").exists()
