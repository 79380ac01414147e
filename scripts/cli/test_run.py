"""heaparena run against the fake worker: good runs, faults of the worker, stops, resuming, refusals."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import ROOT, Run
from results import store

Json = dict[str, Any]
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"
TWO = ("--allocators", "system,mimalloc")


def load(out: Path) -> tuple[Json, list[Json]]:
    data = store.load(out)
    return data["context"]["heaparena"], data["benchmarks"]


def test_a_run_writes_results_and_reports(heaparena: Run, tmp_path: Path) -> None:
    done = heaparena("run", *TWO, "--workloads", "churn,flat", "--reps", 3, "--threads", "1,2", "--out", "D")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "D"
    assert {"results.json", "report.html", "report.md"} <= set(os.listdir(out))
    context, entries = load(out)
    assert len(entries) == 3 * 3 * 3  # rows churn/1, churn/2, flat; system, mimalloc, the control; blocks
    assert not context["partial"] and context["baseline"] == "system"
    assert context["allocators"]["system~aa"]["control_of"] == "system"
    first = next(entry for entry in entries if entry["name"] == "churn/threads:2/mimalloc")
    assert first["time_unit"] == "ms" and 5 < first["real_time"] < 9 and first["threads"] == 2
    assert first["pass_checksum"] == f"0x{first['seed']:08x}"
    assert "0.7" in done.stdout and "mimalloc" in done.stdout


def test_blocks_are_balanced_and_random(heaparena: Run, tmp_path: Path) -> None:
    assert heaparena("run", "--workloads", "flat", "--reps", 8, "--out", "D").returncode == 0
    _, entries = load(tmp_path / "D")
    per_block = Counter((entry["block"], entry["allocator"]) for entry in entries)
    assert set(per_block.values()) == {1}
    orders = {tuple(entry["allocator"] for entry in entries if entry["block"] == block) for block in range(8)}
    assert len(orders) > 4
    for block in range(8):
        assert [entry["position"] for entry in entries if entry["block"] == block] == list(range(7))
    assert len({entry["environment_padding"] for entry in entries}) > 20
    assert [entry["block"] for entry in entries if entry.get("verified") == "1"] == [0] * 7


def test_environment_goes_to_one_entry(heaparena: Run, tmp_path: Path) -> None:
    words = ("run", "--allocators", f"system,tuned={LIBC},again=mimalloc", "--env", "tuned:FAKE_TAG=x=y")
    assert heaparena(*words, "--workloads", "flat", "--reps", 1, "--out", "D").returncode == 0
    context, entries = load(tmp_path / "D")
    assert {entry["allocator"]: entry["tag"] for entry in entries if entry["allocator"] != "system~aa"} == {
        "system": "-",
        "tuned": "x=y",
        "again": "-",
    }
    assert context["allocators"]["tuned"]["env"] == {"FAKE_TAG": "x=y"}
    assert context["allocators"]["again"]["spec"].startswith("again=/")


@pytest.mark.parametrize(
    "name, words",
    [
        ("crashy", "killed by SIGSEGV (Segmentation fault)\nfirst words\nfree(): invalid pointer"),
        ("hangs", "timeout: no result within 0.5 s\nabout to hang"),
        ("garbage", "worker wrote garbage"),
        ("silent", "wrote no result file"),
        ("failing", "block 7 lost its mark"),
    ],
)
def test_failed_cells_are_kept(heaparena: Run, tmp_path: Path, name: str, words: str) -> None:
    timeout = "0.5" if name == "hangs" else "20"
    allocators = f"system,mimalloc,{name}={LIBC}"
    done = heaparena(
        *("run", "--allocators", allocators, "--workloads", "flat", "--reps", 4),
        *("--timeout", timeout, "--out", "D"),
    )
    assert done.returncode == 1, done.stderr
    _, entries = load(tmp_path / "D")
    bad = [entry for entry in entries if entry.get("error_occurred")]
    assert [entry["allocator"] for entry in bad] == [name] * 4
    assert [bool(entry.get("skipped_run")) for entry in bad] == [False, False, True, True]
    assert words in bad[0]["error_message"]
    assert len(entries) == 16
    assert words.splitlines()[-1] in (tmp_path / "D" / "report.html").read_text(encoding="utf-8")


def test_one_bad_sample_does_not_end_its_cell(heaparena: Run, tmp_path: Path) -> None:
    done = heaparena(
        "run", "--allocators", f"system,unsteady={LIBC}", "--workloads", "flat", "--reps", 3, "--out", "D"
    )
    assert done.returncode == 1
    _, entries = load(tmp_path / "D")
    assert sum(bool(entry.get("error_occurred")) for entry in entries) == 1
    assert len(entries) == 9


def start(environment: dict[str, str], folder: Path, *words: str) -> "subprocess.Popen[str]":
    command = [str(ROOT / "scripts" / "heaparena"), "run", *TWO, "--workloads", "flat", "--reps", "6", *words]
    return subprocess.Popen(
        command,
        env={**environment, "FAKE_SLEEP": "0.3"},
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_file(path: Path) -> None:
    for _ in range(200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_writes_what_there_is_and_resume_completes(
    heaparena: Run, environment: dict[str, str], tmp_path: Path, number: int
) -> None:
    process = start(environment, tmp_path, "--out", "D")
    wait_for_file(tmp_path / "D" / "results.json")
    for _ in range(600):
        if len(load(tmp_path / "D")[1]) >= 3:  # a block: both allocators and the control
            break
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr and "--resume" in stderr
    context, before = load(tmp_path / "D")
    assert context["partial"] and 0 < len(before) < 18
    assert "partial" in (tmp_path / "D" / "report.html").read_text(encoding="utf-8")
    assert (
        heaparena("run", *TWO, "--workloads", "flat", "--reps", 6, "--out", "D", "--resume").returncode == 0
    )
    context, after = load(tmp_path / "D")
    assert not context["partial"] and context["sessions"] == 2
    assert after[: len(before)] == before
    assert len({(entry["name"], entry["block"]) for entry in after}) == len(after) == 18


def test_a_killed_run_resumes(heaparena: Run, environment: dict[str, str], tmp_path: Path) -> None:
    process = start(environment, tmp_path, "--out", "D")
    wait_for_file(tmp_path / "D" / "results.json")
    process.kill()
    process.communicate(timeout=30)
    context, before = load(tmp_path / "D")
    assert context["partial"] and before
    assert (
        heaparena("run", *TWO, "--workloads", "flat", "--reps", 6, "--out", "D", "--resume").returncode == 0
    )
    assert len(load(tmp_path / "D")[1]) == 18


def test_resume_adds_and_refuses(heaparena: Run, tmp_path: Path) -> None:
    words = ("run", "--workloads", "flat", "--out", "D", "--reps", 2)
    assert heaparena(*words, *TWO).returncode == 0
    again = heaparena(*words, "--allocators", "system,mimalloc,jemalloc", "--resume")
    assert again.returncode == 0
    assert len(load(tmp_path / "D")[1]) == 8
    refused = heaparena(*words, *TWO, "--resume", "--scale", "0.125")
    assert refused.returncode == 2 and "another build, environment, scale or seed" in refused.stderr
    assert heaparena("run", *TWO, "--resume").returncode == 2


def test_without_resume_the_older_file_stays_beside(heaparena: Run, tmp_path: Path) -> None:
    words = ("run", *TWO, "--workloads", "flat", "--out", "D", "--reps", 1)
    assert heaparena(*words).returncode == 0
    first = (tmp_path / "D" / "results.json").read_bytes()
    assert heaparena(*words).returncode == 0
    assert (tmp_path / "D" / "results.previous.json").read_bytes() == first


def test_two_runs_into_one_folder_are_refused(heaparena: Run, tmp_path: Path) -> None:
    (tmp_path / "D").mkdir()
    with open(tmp_path / "D" / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = heaparena("run", *TWO, "--workloads", "flat", "--reps", 1, "--out", "D")
    assert done.returncode == 2 and "another run is writing there" in done.stderr


def test_a_folder_that_cannot_be_written_is_refused_before_work(heaparena: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    places = ["file/D", "/proc/heaparena"]
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        places.append("closed")
    for place in places:
        done = heaparena("run", *TWO, "--workloads", "hangs", "--workloads", "flat", "--out", place)
        assert done.returncode == 2 and "heaparena: " in done.stderr and done.stderr.count("\n") == 1
        done = heaparena("run", *TWO, "--workloads", "flat", "--out", place)
        assert done.returncode == 2 and "cannot be written" in done.stderr


def test_traces_are_named_by_file_and_kept_apart(heaparena: Run, tmp_path: Path) -> None:
    for folder, text in (("a", "1"), ("b", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "web.hat").write_text(text, encoding="utf-8")
    words = ("run", *TWO, "--reps", 1, "--out", "D", "--workloads")
    assert heaparena(*words, "a/web.hat").returncode == 0
    assert {entry["workload"] for entry in load(tmp_path / "D")[1]} == {"trace:web"}
    assert heaparena(*words, "trace:a/web.hat,b/web.hat").returncode == 0
    names = {entry["workload"] for entry in load(tmp_path / "D")[1]}
    assert len(names) == 2 and all(name.startswith("trace:web~") for name in names)


def test_json_summary(heaparena: Run, tmp_path: Path) -> None:
    done = heaparena("run", *TWO, "--workloads", "flat", "--reps", 1, "--out", "D", "--json")
    summary = json.loads(done.stdout)
    assert summary["samples"] == 3 and summary["failed"] == 0 and summary["exit_status"] == 0
    assert Path(tmp_path / summary["results"]).is_file()


def test_profiles_use_every_available_allocator(heaparena: Run, tmp_path: Path) -> None:
    done = heaparena(
        "run", "--profile", "quick", "--reps", 1, "--threads", 1, "--out", "D", "--baseline", "jemalloc"
    )
    assert done.returncode == 0, done.stderr
    context, entries = load(tmp_path / "D")
    names = {entry["allocator"] for entry in entries}
    assert names == {"system", "mimalloc", "jemalloc", "tcmalloc", "null", "bump", "jemalloc~aa"}
    assert context["baseline"] == "jemalloc" and context["profile"] == "quick"
    assert {"churn", "larson", "prodcons"} <= {entry["workload"] for entry in entries}
