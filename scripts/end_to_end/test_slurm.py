"""heaparena run --launcher slurm on a real controller with one node, on loopback."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

import slurm_cluster
from conftest import BUILD, ROOT, Command, load, refused

Environment = dict[str, str]
ALLOCATORS = ("--allocators", "system,gomalloc,mimalloc,jemalloc,tcmalloc")
ROWS = ("--workloads", "churn,strings,prodcons,spikes", "--threads", "1")  # 4 rows, 6 entries: 24 cells
WORDS = ("run", "--launcher", "slurm", *ALLOCATORS, *ROWS, "--reps", "2", "--plain")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    if not slurm_cluster.installed():
        pytest.skip("slurm-wlm and munge are not installed")
    with slurm_cluster.cluster(tmp_path_factory.mktemp("cluster")) as environment:
        yield environment


def start(environment: Environment, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(ROOT / "scripts" / "heaparena"), *words],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def queue(environment: Environment, *words: str) -> list[str]:
    done = subprocess.run(
        ["squeue", "--noheader", "--array", "--format=%F_%K", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout.split()


def running_task(environment: Environment, process: "subprocess.Popen[str]", but: str = "") -> str:
    """A task that runs now, other than `but`; fails if the command ends before there is one."""
    for _ in range(600):
        found = [task for task in queue(environment, "--states=RUNNING") if task != but]
        if found:
            return found[0]
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        time.sleep(0.05)
    raise AssertionError("no task came to run")


def facts(out: Path) -> Any:
    return load(out)["context"]["heaparena"]


def test_24_cells_with_one_task_killed(slurm: Environment, tmp_path: Path) -> None:
    out = tmp_path / "D"
    process = start(slurm, *WORDS, "--scale", "0.3", "--out", str(out))
    killed = running_task(slurm, process)
    subprocess.run(["scancel", killed], env=slurm, check=True, timeout=30)
    stdout, stderr = process.communicate(timeout=180)
    assert process.returncode == 0, stderr
    entries, ours = load(out)["benchmarks"], facts(out)
    cells = Counter(entry["cell"] for entry in entries)
    assert len(cells) == 24 and set(cells.values()) == {2}
    assert not [entry for entry in entries if entry.get("error_occurred")] and not ours["partial"]
    # Balanced blocks: all six entries of a block of a row came from one task, each in a place of its own.
    for row in {entry["workload"] for entry in entries}:
        for block in (0, 1):
            places = [e["position"] for e in entries if e["workload"] == row and e["block"] == block]
            assert sorted(places) == list(range(6))
    launcher = ours["launcher"]
    assert len(launcher["retried"]) == 1 and killed in launcher["retried"][0]
    assert [one for one in ours["warnings"] if "done again once" in one["what"]]
    assert "done again once" in (out / "report.html").read_text(encoding="utf-8")
    assert len(launcher["jobs"]) == 2 and len(launcher["nodes"]) == 1
    (node,) = launcher["nodes"]
    assert {entry["node"] for entry in entries} == {node}
    assert ours["machine"] == launcher["nodes"][node]


def test_a_stopped_run_leaves_its_jobs_and_resume_takes_over(slurm: Environment, tmp_path: Path) -> None:
    words = (*WORDS, "--scale", "0.05", "--out", str(tmp_path / "D"))
    process = start(slurm, *words)
    running_task(slurm, process)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in stderr, stderr
    assert facts(tmp_path / "D")["partial"]
    assert queue(slurm), "the stop ended the job"
    again = start(slurm, *words)
    _, refusal = again.communicate(timeout=60)
    assert again.returncode == 2 and "still in Slurm's queue" in refusal and "scancel" in refusal
    process = start(slurm, *words, "--resume")
    _, stderr = process.communicate(timeout=180)
    assert process.returncode == 0, stderr
    entries, ours = load(tmp_path / "D")["benchmarks"], facts(tmp_path / "D")
    assert len(entries) == len({(entry["cell"], entry["block"]) for entry in entries}) == 48
    assert len(ours["launcher"]["jobs"]) == 1 and not ours["partial"]


def test_a_task_lost_twice_is_a_failed_cell(slurm: Environment, tmp_path: Path) -> None:
    process = start(
        slurm,
        *("run", "--launcher", "slurm", "--allocators", "system", "--workloads", "churn", "--threads", "1"),
        *("--reps", "1", "--scale", "20", "--plain", "--out", str(tmp_path / "D")),
    )
    first = running_task(slurm, process)
    subprocess.run(["scancel", first], env=slurm, check=True, timeout=30)
    second = running_task(slurm, process, but=first)
    subprocess.run(["scancel", second], env=slurm, check=True, timeout=30)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1, stderr
    entries = load(tmp_path / "D")["benchmarks"]
    assert len(entries) == 2
    assert all("lost twice" in entry["error_message"] for entry in entries)
    assert all("CANCELLED" in entry["error_message"] for entry in entries)


def test_refusals(slurm: Environment, heaparena: Command, tmp_path: Path) -> None:
    words = ("run", "--launcher", "slurm", "--workloads", "churn", "--out", tmp_path / "D")
    refused(heaparena(*words, "--partition", "gpu", env=slurm), "no such partition; known: test")
    refused(heaparena(*words, "--sbatch=--frobnicate", env=slurm), "sbatch refuses", "frobnicate")
    refused(heaparena(*words, "--cpus", "0", env=slurm), "whole nodes")
    refused(heaparena("run", "--nodes", "2", env=slurm), "--nodes goes with --launcher slurm")
    nowhere = tmp_path / "slurm.conf"
    nowhere.write_text(
        Path(slurm["SLURM_CONF"]).read_text().replace("SlurmctldPort=", "SlurmctldPort=1 #")
        + "MessageTimeout=2\n"
    )
    refused(heaparena(*words, env={**slurm, "SLURM_CONF": str(nowhere)}), "sinfo refuses")
    tools = tmp_path / "bin"
    tools.mkdir()
    refused(heaparena(*words, env={**slurm, "PATH": str(tools)}), "no sbatch on this machine", "slurm-client")


FORGETFUL = """
#include <stdlib.h>
#include <string.h>
extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
extern void *__libc_realloc(void *, size_t);
void *malloc(size_t n) { return __libc_malloc(n); }
void free(void *p) { __libc_free(p); }
void *realloc(void *p, size_t n) { return __libc_realloc(p, n); }
void *calloc(size_t n, size_t s) {
  void *p = __libc_malloc(n * s);
  if (p && n * s) memset(p, 1, n * s);
  return p;
}
"""


def contents(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.iterdir()}


def test_a_fuzzing_campaign_is_spread_and_merged(
    slurm: Environment, tmp_path: Path, library: Callable[[str, str], Path]
) -> None:
    if not (BUILD / "bin" / "heaparena-fuzz").is_file():
        pytest.skip("heaparena-fuzz is not built: no libFuzzer here")
    words = ("fuzz", "--launcher", "slurm", "--nodes", "2", "--jobs", "2", "--seconds", "3", "--seed", "7")
    out = tmp_path / "D"
    process = start(slurm, *words, "--out", str(out))
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stdout + stderr
    assert "part 1, round 1, node" in stdout and "part 2, round 1, node" in stdout and "merged: " in stdout
    one, two = (contents(out / f"part-{number}" / "corpus") for number in (0, 1))
    kept = contents(out / "corpus")
    assert one != two  # seeds of their own
    assert kept <= one | two and kept - one and kept - two
    bad = library("forgetful", FORGETFUL)
    process = start(slurm, *words, "--allocator", f"bad={bad}", "--out", str(tmp_path / "E"))
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1, stdout + stderr
    assert list((tmp_path / "E" / "findings").glob("part*.c")) and "FOUND" in stdout
