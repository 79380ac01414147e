"""`heaparena fuzz --target schedule`: a race that is planted in gomalloc is found, made small to one switch
between two instructions, and happens again in each replay."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HEAPARENA_BUILD") or ROOT / "build" / "release").absolute()
TOOL = BUILD / "bin" / "heaparena-fuzz"
# The owner takes its list of remote frees by a load and a store: what is pushed in between is lost.
RACE = BUILD / "lib" / "mutants" / "libfuzz-mutant-drain-in-two-steps.so"

pytestmark = pytest.mark.skipif(not TOOL.is_file(), reason="libFuzzer was not there when this was built")


def fuzz(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [str(ROOT / "scripts" / "heaparena"), "fuzz", "--target", "schedule", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def replay(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [str(TOOL), "replay", "--target", "schedule", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not RACE.is_file(), reason="no planted races in this build")
def test_a_race_is_found_and_happens_again(tmp_path: Path) -> None:
    done = fuzz("--allocator", f"race={RACE}", "--seconds", 60, "--seed", 1, "--out", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    findings = tmp_path / "findings"
    facts = json.loads((findings / "empty-1.json").read_text())
    assert facts["oracle"] == "empty" and facts["repeats"] == 3
    explained = (findings / "empty-1.txt").read_text()
    switches = re.findall(r"^  t\d in record \d+ stops at point .*$", explained, re.M)
    assert len(switches) == 1 and "before it stores, in mcache_drain at mcache.c:" in switches[0]
    source = (findings / "empty-1.c").read_text()
    assert "`heaparena-fuzz replay --target schedule`" in source
    subprocess.run(["cc", "-pthread", "-fsyntax-only", findings / "empty-1.c"], check=True)
    program = findings / "empty-1.fuzz"
    said = {replay("--allocator", f"race={RACE}", program).stdout for _ in range(3)}
    assert len(said) == 1 and switches[0] in said.pop()
    assert replay(program).returncode == 0, "gomalloc itself has no such fault"


def test_a_sweep_tries_every_place(tmp_path: Path) -> None:
    regressions = sorted((ROOT / "fuzz" / "regressions" / "schedule").glob("*.fuzz"))
    assert regressions
    done = replay("--sweep", 20, regressions[0])
    assert done.returncode == 0 and "nothing found in 21 schedules" in done.stdout
    assert replay("--sweep", 0, regressions[0]).returncode == 2


def test_other_allocators_have_no_yield_points(tmp_path: Path) -> None:
    done = fuzz("--allocator", "mimalloc", "--out", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("heaparena: fuzz: schedule: mimalloc has no yield points")
