"""`heaparena fuzz` over a library with a planted fault, as a user's unknown library is: found without
instrumentation, made small, and a plain C program that fails the same way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HEAPARENA_BUILD") or ROOT / "build" / "release").absolute()
PLANTED = BUILD / "lib" / "libheaparena-planted.so"

pytestmark = pytest.mark.skipif(
    not (BUILD / "bin" / "heaparena-fuzz").is_file(), reason="libFuzzer was not there when this was built"
)


def fuzz(*words: object, planted: str = "none", **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / "scripts" / "heaparena", "fuzz", *map(str, words)],
        env={**os.environ, "HEAPARENA_PLANTED": planted, **variables},
        capture_output=True,
        text=True,
        timeout=200,
    )


def reproduce(source: Path, planted: str) -> int:
    """Exit status of the C program, built with plain cc, on the planted library; the same three times."""
    program = source.with_suffix(".program")
    subprocess.run(["cc", "-pthread", source, "-o", program], check=True)
    environment = {**os.environ, "HEAPARENA_PLANTED": planted, "LD_PRELOAD": str(PLANTED)}
    seen = {
        subprocess.run([program], env=environment, stderr=subprocess.DEVNULL).returncode for _ in range(3)
    }
    assert len(seen) == 1
    assert subprocess.run([program], stdout=subprocess.DEVNULL).returncode == 0, "glibc has no such fault"
    return seen.pop()


@pytest.mark.parametrize(
    ("planted", "target", "oracle"),
    [
        ("late", "ops", "overlap"),  # only after 2,000 calls of one size
        ("deep", "ops", "realloc"),  # the allocator keeps a state from input to input
        ("shorter", "ops", "failed"),
        ("remote", "threads", "overlap"),
    ],
)
def test_a_planted_fault_is_found_and_reproduced(
    tmp_path: Path, planted: str, target: str, oracle: str
) -> None:
    done = fuzz(
        "--allocator",
        f"mine={PLANTED}",
        "--target",
        target,
        "--seconds",
        60,
        "--out",
        tmp_path,
        planted=planted,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    name = re.search(rf"FOUND  ({oracle}-1):", done.stdout)
    assert name, done.stdout
    findings = tmp_path / "findings"
    facts = json.loads((findings / f"{oracle}-1.json").read_text())
    assert facts["oracle"] == oracle and facts["repeats"] == 3
    assert facts["records"] <= 100  # late: 63 of 32 pairs, and what shows it
    explained = (findings / f"{oracle}-1.txt").read_text()
    assert f'Oracle "{oracle}"' in explained and "slot" in explained
    assert reproduce(findings / f"{oracle}-1.c", planted) == 1
    info = subprocess.run(
        [BUILD / "bin" / "heaparena-trace", "info", findings / f"{oracle}-1.hat"], capture_output=True
    )
    assert info.returncode == 0
    # The trace alone is the program again.
    replay = [
        BUILD / "bin" / "heaparena-fuzz",
        "replay",
        "--target",
        target,
        "--allocator",
        f"mine={PLANTED}",
    ]
    again = subprocess.run(
        [*replay, str(findings / f"{oracle}-1.hat")],
        env={**os.environ, "HEAPARENA_PLANTED": planted},
        capture_output=True,
        text=True,
    )
    assert again.returncode == 1 and f": {oracle}: " in again.stdout


def test_with_its_oracle_off_it_is_not_found(tmp_path: Path) -> None:
    done = fuzz(
        *("--allocator", f"mine={PLANTED}", "--oracles", "all,-zeroed", "--runs", 2000, "--out", tmp_path),
        planted="zeroing",
    )
    assert done.returncode == 0, done.stdout


def test_nothing_found_goes_on_from_its_corpus(tmp_path: Path) -> None:
    first = fuzz("--runs", 3000, "--seed", 1, "--out", tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "nothing found" in first.stdout and "operations: malloc" in first.stdout
    kept = len(list((tmp_path / "corpus").iterdir()))
    assert kept > 50
    second = fuzz("--runs", 3000, "--seed", 2, "--out", tmp_path, "--merge")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "merged:" in second.stdout


def test_keeping_going_keeps_to_the_runs_and_takes_another_seed(tmp_path: Path) -> None:
    words = ("--allocator", f"mine={PLANTED}", "--runs", 300, "--seed", 1, "--keep-going", "--out", tmp_path)
    done = fuzz(*words, planted="zeroing")
    assert done.returncode == 1, done.stdout + done.stderr
    executions = re.findall(r" ([\d,]+) executions", done.stdout)
    # Each process reads the whole corpus first, whatever it owes.
    assert executions and 1 < int(executions[-1].replace(",", "")) < 600
    assert "Seed: 1\n" not in (tmp_path / "worker-0.log").read_text(), "the last began as the first did"


def test_a_blind_differential_run_from_a_trace_into_a_corpus_elsewhere(tmp_path: Path) -> None:
    corpus, out = tmp_path / "inputs", tmp_path / "out"
    done = fuzz(
        *("--target", "differential", "--against", "system", "--blind", "--max-operations", 16),
        *("--runs", 500, "--corpus", corpus, "--out", out),
        *("--seeds", ROOT / "workloads" / "traces" / "sqlite.hat"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(corpus.iterdir()) and not (out / "corpus").exists()
    assert max(path.stat().st_size for path in corpus.iterdir()) > 8 * 16, "nothing came from the trace"
    alone = fuzz("--against", "system", "--out", out)
    assert alone.returncode == 2 and "--against goes with --target differential" in alone.stderr


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    for words in (
        ["--allocator", "nope"],
        ["--target", "nope"],
        ["--oracles", "nope"],
        ["--allocator", "a=/no.so"],
    ):
        done = fuzz(*words, "--out", tmp_path)
        assert done.returncode == 2, done.stdout + done.stderr
        assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("heaparena: ")


def test_a_stopped_campaign_keeps_its_corpus(tmp_path: Path) -> None:
    command = [str(ROOT / "scripts" / "heaparena"), "fuzz", "--seconds", "100", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    corpus = tmp_path / "corpus"
    for _ in range(600):
        if corpus.is_dir() and len(list(corpus.iterdir())) > 8:
            break
        time.sleep(0.1)
    second = fuzz("--runs", 1, "--out", tmp_path)
    assert second.returncode == 2 and "another run is writing there" in second.stderr
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "stopped; nothing found" in said
    assert len(list(corpus.iterdir())) > 8
