"""Recording real programs, replaying what was recorded, and files that are no traces."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import Command, TRACES, load, refused

PYTHON = "x = [str(i) * 3 for i in range(20000)]; d = {s: len(s) for s in x}; print(len(d))"


def info(heaparena: Command, path: Path) -> Any:
    done = heaparena("trace", "info", path, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def recorded(heaparena: Command, tmp_path: Path) -> Path:
    path = tmp_path / "program.hat"
    done = heaparena(
        "record", "-o", path, "--", "env", "PYTHONMALLOC=malloc", "/usr/bin/python3", "-c", PYTHON
    )
    assert done.returncode == 0, done.stderr
    assert "20000" in done.stdout
    return path


def test_record_and_replay_issue_the_same_operations(
    heaparena: Command, recorded: Path, tmp_path: Path
) -> None:
    totals = info(heaparena, recorded)
    assert totals["operations"] > 50_000
    assert totals["complete"]
    assert totals["file_bytes"] <= 6 * totals["operations"]
    done = heaparena(
        "run",
        "--allocators",
        "system,gomalloc,mimalloc",
        "--workloads",
        f"trace:{recorded}",
        "--reps",
        2,
        "--out",
        tmp_path / "D",
    )
    assert done.returncode == 0, done.stderr
    entries = load(tmp_path / "D")["benchmarks"]
    assert len({entry["pass_checksum"] for entry in entries}) == 1
    verified = [entry for entry in entries if entry.get("verified") == "yes"]
    assert {entry["allocator"] for entry in verified} >= {"system", "gomalloc", "mimalloc"}
    for entry in verified:
        assert entry["curve"] == "match"
        assert int(entry["ops_checksum"], 16) == int(str(totals["checksum"]), 16)
    for entry in entries:
        assert entry["peak_live_bytes"] == totals["live_bytes_peak"]


def test_replay_says_that_the_curve_matches(heaparena: Command, recorded: Path) -> None:
    done = heaparena("replay", recorded, "--allocators", "system,gomalloc", "--json")
    assert done.returncode == 0, done.stderr
    assert '"match"' in done.stdout


def test_replay_keeps_a_pace(heaparena: Command) -> None:
    words = ("replay", TRACES / "threads.hat", "--allocators", "system", "--json")
    paced = heaparena(*words, "--pace", "recorded:1000")
    assert paced.returncode == 0, paced.stderr
    assert '"match"' in paced.stdout
    refused(heaparena(*words, "--pace", "slowly"), "'slowly': choose fast, recorded")


def test_threads_and_children_are_recorded(heaparena: Command, tmp_path: Path) -> None:
    program = (
        "import threading, subprocess, sys\n"
        "t = [threading.Thread(target=lambda: [str(i) for i in range(5000)]) for _ in range(3)]\n"
        "[x.start() for x in t]; [x.join() for x in t]\n"
        "subprocess.run([sys.executable, '-c', 'print(sum(range(10)))'])\n"
    )
    path = tmp_path / "many.hat"
    done = heaparena("record", "-o", path, "--", "/usr/bin/python3", "-c", program)
    assert done.returncode == 0, done.stderr
    totals = info(heaparena, path)
    assert totals["processes"] == 2
    assert totals["threads"] >= 5
    done = heaparena("replay", path, "--allocators", "gomalloc")
    assert done.returncode == 0, done.stderr


def test_a_killed_program_leaves_a_marked_prefix(heaparena: Command, tmp_path: Path) -> None:
    program = "import os\nx = [bytearray(100) for _ in range(50000)]\nos.kill(os.getpid(), 9)"
    path = tmp_path / "killed.hat"
    done = heaparena(
        "record", "-o", path, "--", "env", "PYTHONMALLOC=malloc", "/usr/bin/python3", "-c", program
    )
    assert done.returncode == 0, done.stderr
    totals = info(heaparena, path)
    assert not totals["complete"]
    assert totals["operations"] > 50_000
    assert heaparena("replay", path, "--allocators", "system").returncode == 0


def test_a_program_that_a_real_time_signal_kills_is_recorded(heaparena: Command, tmp_path: Path) -> None:
    done = heaparena("record", "-o", tmp_path / "killed.hat", "--", "sh", "-c", "kill -40 $$")
    assert done.returncode == 0, done.stderr
    assert "1 thread, 1 process," in done.stdout
    assert "killed by signal 40 (Real-time signal" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["killed.hat"]


def damaged(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_damaged_traces_are_refused_in_one_line(heaparena: Command, tmp_path: Path) -> None:
    source = min(TRACES.glob("*.hat"), key=lambda path: path.stat().st_size)
    good = source.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0x10
    newer = bytearray(good)
    newer[8] = 99
    cases = {
        "short.hat": good[: len(good) // 2],
        "flipped.hat": bytes(flipped),
        "newer.hat": bytes(newer),
        "random.hat": os.urandom(5000),
        "empty.hat": b"",
    }
    for name, content in cases.items():
        path = damaged(tmp_path / name, content)
        refused(heaparena("trace", "info", path), name)
        refused(heaparena("replay", path, "--allocators", "system"), name)
        done = heaparena(
            "run",
            "--allocators",
            "system",
            "--workloads",
            f"trace:{path}",
            "--reps",
            1,
            "--out",
            tmp_path / "D",
        )
        refused(done, name)
    shutil.rmtree(tmp_path / "D", ignore_errors=True)


def test_what_cannot_be_recorded_is_said(heaparena: Command, tmp_path: Path) -> None:
    source = tmp_path / "static.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-static", "-o", str(tmp_path / "static"), str(source)], check=True)
    refused(heaparena("record", "-o", tmp_path / "x.hat", "--", tmp_path / "static"), "static")
    refused(heaparena("record", "-o", tmp_path / "x.hat", "--", "no-such-program"), "no-such-program")
    refused(heaparena("record", "-o", "/nonexistent/x.hat", "--", "true"), "/nonexistent")


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.hat")), ids=lambda path: path.stem)
def test_shipped_traces_are_small_and_replay(heaparena: Command, path: Path) -> None:
    assert path.stat().st_size < 1 << 20
    done = heaparena("replay", path, "--allocators", "system,gomalloc", "--json")
    assert done.returncode == 0, done.stderr
    assert '"match"' in done.stdout


def test_the_page_of_a_traces_statistics(heaparena: Command, tmp_path: Path) -> None:
    page = tmp_path / "git.html"
    done = heaparena("trace", "stat", TRACES / "git.hat", "--html", page)
    assert done.returncode == 0 and done.stdout.strip() == str(page), done.stderr
    text = page.read_text(encoding="utf-8")
    assert "184,854" in text and "Reuse distance, operations" in text and "Plotly.newPlot" in text
    refused(heaparena("trace", "stat", TRACES / "git.hat", "--html", "/none/here.html"), "no such folder")
