"""Tests of what may be recorded, and of heaparena trace verify and validate."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from cli import cmd_replay, recordable, validation
from cli.entries import Allocator

Run = Callable[..., "subprocess.CompletedProcess[str]"]
BASELINE = Allocator("system", "system")


def compiled(folder: Path, name: str, source: str, *options: str) -> Path:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no compiler to make a program with")
    (folder / f"{name}.c").write_text(source, encoding="utf-8")
    subprocess.run([compiler, "-o", folder / name, folder / f"{name}.c", *options], check=True)
    return folder / name


def test_what_cannot_be_recorded_is_refused(heaparena: Run, tmp_path: Path) -> None:
    own = "void *malloc(unsigned long size) { return (void *)(size * 0); }\nint main(void) { return 0; }\n"
    plain = "#include <stdlib.h>\nint main(void) { return malloc(1) == NULL; }\n"
    cases = {
        "own": (compiled(tmp_path, "own", own, "-Wno-builtin-declaration-mismatch"), "a malloc of its own"),
        "static": (compiled(tmp_path, "static", plain, "-static"), "statically linked"),
    }
    for path, words in cases.values():
        assert words in (recordable.why_not(path) or "")
        done = heaparena("record", "-o", "t.hat", "--", path)
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
        assert not (tmp_path / "t.hat").exists()
    good = compiled(tmp_path, "good", plain)
    assert recordable.why_not(good) is None
    # Not position-independent: malloc stands in its symbols, undefined.
    assert recordable.why_not(compiled(tmp_path, "fixed", plain, "-no-pie")) is None
    if os.geteuid() == 0:  # only root can give a file away
        os.chown(good, 65534, 65534)
        good.chmod(0o4755)
        done = heaparena("record", "-o", "t.hat", "--", good)
        assert done.returncode == 2 and "rights of its own" in done.stderr


def test_pace() -> None:
    assert [cmd_replay.pace(text) for text in ("fast", "recorded", "recorded:2.5")] == [0.0, 1.0, 2.5]
    for text in ("slow", "recorded:", "recorded:0", "recorded:x", "fast:2", "recorded:-1", "recorded:1e9"):
        with pytest.raises(argparse.ArgumentTypeError):
            cmd_replay.pace(text)


def samples(program: dict[str, float], replay: dict[str, float]) -> validation.Samples:
    """Seven blocks with a drift that hits whole blocks, and the baseline twice."""

    def blocks(values: dict[str, float]) -> dict[str, list[float]]:
        with_control = {**values, BASELINE.control().name: values["system"]}
        return {
            name: [
                value * (1 + 0.1 * block) * (1 + 0.002 * ((block * 7 + len(name)) % 3)) for block in range(7)
            ]
            for name, value in with_control.items()
        }

    sides = {validation.PROGRAM: blocks(program), validation.REPLAY: blocks(replay)}
    return {side: {validation.TIME: values, validation.MEMORY: values} for side, values in sides.items()}


def test_orders_are_compared_where_the_program_tells_apart() -> None:
    program = {"system": 100.0, "fast": 80.0, "slow": 130.0, "same": 100.05}
    names = list(program)
    alike = samples(program, {"system": 10.0, "fast": 5.0, "slow": 40.0, "same": 10.5})
    found = validation.judge(alike, names, BASELINE, validation.MEMORY)
    assert len(found.pairs) == 5 and found.alike == 5 and not found.exceptions
    assert found.rho is not None and found.rho > 0.9
    judged = {what: found for what in (validation.TIME, validation.MEMORY)}
    assert validation.faithful(judged)
    other = samples(program, {"system": 10.0, "fast": 50.0, "slow": 4.0, "same": 10.5})
    found = validation.judge(other, names, BASELINE, validation.MEMORY)
    assert {(pair.first, pair.second) for pair in found.exceptions} >= {
        ("system", "fast"),
        ("system", "slow"),
    }
    assert found.rho is not None and found.rho < 0
    judged = {what: found for what in (validation.TIME, validation.MEMORY)}
    assert not validation.faithful(judged)
    text = validation.markdown("t.hat", other, names, "system", judged)
    assert "- system against fast: program 1.2" in text and "| slow | " in text


BAD = [
    (["verify", "none.hat"], "no such file: none.hat"),
    (["validate", "none.hat", "--", "true"], "no such file: none.hat"),
    (["validate", "t.hat"], "no program given"),
    (["validate", "t.hat", "--blocks", "9", "--", "true"], "options stand before FILE"),
    (["validate", "--blocks", "2", "t.hat", "--", "true"], "at least 5"),
    (["validate", "--input", "none", "t.hat", "--", "true"], "--input: no such file: none"),
    (["validate", "--baseline", "none", "--allocators", "system", "t.hat", "--", "true"], "--baseline none"),
    (["validate", "t.hat", "--", "no-such-program"], "no such program"),
]


@pytest.mark.parametrize("words, said", BAD)
def test_bad_words(heaparena: Run, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "t.hat").write_bytes(b"HEAPTRCE")
    done = heaparena("trace", *words)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
