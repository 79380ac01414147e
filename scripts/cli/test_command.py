"""The other subcommands, and what every bad input is answered with: one line, exit 2, no traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cli import elf
from cli.conftest import ROOT, Run

LIBC = "/lib/x86_64-linux-gnu/libc.so.6"


def test_version_of_an_archive_and_before_a_build(tmp_path: Path, fake_build: Path, heaparena: Run) -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    match = re.search(r"project\(heaparena VERSION (\S+)", text)
    said = heaparena("--version").stdout
    assert match and said == f"heaparena {match[1]}, not built: no {fake_build}/heaparena-build.json\n"
    (tmp_path / ".git").write_text("not a checkout")
    script = ROOT / "scripts" / "cmake" / "build_facts.cmake"
    given = {"source": tmp_path, "version": "1.2.3", "compiler": "Clang 14.0.6", "build_type": "Debug"}
    words = [f"-D{name}={value}" for name, value in given.items()]
    for sanitizers, kind in (("", "Debug"), ("address,undefined", "Debug, address,undefined")):
        file = fake_build / "heaparena-build.json"
        subprocess.run(
            ["cmake", f"-Dfile={file}", f"-Dsanitizers={sanitizers}", *words, "-P", script], check=True
        )
        said = heaparena("--version").stdout
        assert said == f"heaparena 1.2.3, unknown commit, built by clang 14.0.6 ({kind})\n"


def test_list_json(heaparena: Run) -> None:
    found = json.loads(heaparena("list", "--json").stdout)
    assert set(found) == {"allocators", "workloads", "collectors"}
    by_name = {entry["name"]: entry for entry in found["allocators"]}
    assert by_name["system"]["available"] and by_name["system"]["version"] == "1.0"
    assert not by_name["missing"]["available"] and "libmissing" in by_name["missing"]["why_not"]
    assert {"name", "summary", "parameters"} <= set(found["workloads"][0])


def test_list_as_text(heaparena: Run) -> None:
    done = heaparena("list")
    assert done.returncode == 0
    for word in ("mimalloc", "churn", "install libmissing", "live (1000)"):
        assert word in done.stdout


def test_list_explains_a_workload(heaparena: Run) -> None:
    done = heaparena("list", "workloads", "--explain", "churn")
    assert done.returncode == 0 and "Replaces random objects" in done.stdout and "quick" in done.stdout
    assert "(one of timed, before)" in done.stdout
    assert json.loads(heaparena("list", "--explain", "churn", "--json").stdout)["name"] == "churn"
    assert set(json.loads(heaparena("list", "workloads", "--json").stdout)) == {"workloads"}


@pytest.mark.parametrize(
    "command",
    [
        *("", "list", "run", "record", "replay", "trace", "trace info", "report", "compare"),
        *("results", "results list", "results show", "results merge", "results prune"),
    ],
)
def test_help_has_examples(heaparena: Run, command: str) -> None:
    done = heaparena(*command.split(), "--help")
    assert done.returncode == 0 and ("example" in done.stdout or "first steps" in done.stdout)


RUN = ["run", "--reps", "1", "--out", "D"]
KNOWN = ROOT / "results" / "testdata" / "known.json"
BAD: list[tuple[list[str], str]] = [
    (["rum"], "did you mean run"),
    ([], "--help"),
    ([*RUN, "--allocators", "mimaloc"], "did you mean mimalloc"),
    ([*RUN, "--allocators", "missing"], "no libmissing.so on this machine"),
    ([*RUN, "--allocators", "system,system=/x"], "no such file: /x"),
    ([*RUN, "--allocators", f"system,system={LIBC}"], "given twice"),
    ([*RUN, "--allocators", "x=README"], "no such file: README"),
    ([*RUN, "--allocators", f"x={__file__}"], "not a shared library"),
    ([*RUN, "--allocators", "a/b=/x"], "is no name"),
    ([*RUN, "--workloads", "chrun"], "did you mean churn"),
    ([*RUN, "--workloads", "churn:lif=3"], "did you mean live"),
    ([*RUN, "--workloads", "churn:live"], "key=value"),
    ([*RUN, "--workloads", "churn:live=0"], "from 1 to 100000"),
    ([*RUN, "--workloads", "churn:live=many"], "from 1 to 100000"),
    ([*RUN, "--workloads", "churn:fill=sometimes"], "fill must be one of timed, before, not 'sometimes'"),
    ([*RUN, "--workloads", "churn:fill="], "fill must be one of timed, before, not ''"),
    ([*RUN, "--workloads", "churn:speed=0"], "speed must be a number from 0.01 to 1000, not '0'"),
    ([*RUN, "--workloads", "churn:speed=fast"], "speed must be a number from 0.01 to 1000"),
    ([*RUN, "--workloads", "trace:none.hat"], "no such file: none.hat"),
    ([*RUN, "--workloads", "trace:bad.hat"], "offset 64: cut off"),
    ([*RUN, "--profile", "quik"], "did you mean quick"),
    ([*RUN, "--threads", "0"], "--threads 0"),
    ([*RUN, "--threads", "two"], "--threads two"),
    ([*RUN, "--passes", "latncy"], "did you mean latency"),
    ([*RUN, "--passes", "latency=0"], "N from 1 to 1000"),
    ([*RUN, "--passes", "time=5"], "--reps says it of time"),
    ([*RUN, "--metric", "latncy"], "did you mean latency"),
    ([*RUN, "--precision", "0%"], "'0' is not a number above 0"),
    ([*RUN, "--reps-max", "9"], "goes with --precision"),
    (["run", "--reps", "9", "--precision", "2%", "--reps-max", "3"], "--reps-max 3 is less than --reps 9"),
    ([*RUN, "--cpus", "0,x"], "not a list of CPUs"),
    ([*RUN, "--cpus", "99999999999"], "not a list of CPUs"),
    ([*RUN, "--cpus", "60000"], "no CPU 60000 here"),
    (["list", "workloads", "--explain", "chrun"], "did you mean churn"),
    (["list", "allocators", "--explain", "churn"], "explains workloads"),
    (["list", "workload"], "invalid choice"),
    (["results"], "ACTION"),
    (["results", "show", "nothing"], "unknown run 'nothing'"),
    (["results", "merge", "bad.hat", "bad.hat", "--out", "D"], "given twice"),
    (["results", "merge", "bad.hat", "--out", "D"], "not JSON"),
    (["results", "merge", "bad.hat"], "--out"),
    (["results", "prune"], "--keep N, --older-than DAYS or --partial"),
    (["results", "prune", "--keep", "x"], "'x' is not a whole number"),
    (["results", "prune", "--dir", "nosuch", "--keep", "1"], "--dir: nosuch: no such folder"),
    (["results", "list", "--dir", "bad.hat"], "--dir: bad.hat: is a file"),
    (["report", "bad.hat", "--format", "pdf"], "unknown report format"),
    ([*RUN[:1], "--reps", "0"], "'0' is not a whole number"),
    ([*RUN, "--scale", "nan"], "'nan' is not a number above 0"),
    ([*RUN, "--timeout", "-1"], "'-1' is not a number above 0"),
    ([*RUN, "--env", "system:X"], "NAME:VARIABLE=VALUE"),
    ([*RUN, "--env", "sistem:X=1"], "did you mean system"),
    ([*RUN, "--baseline", "jemaloc"], "did you mean jemalloc"),
    ([*RUN, "--allocators", "x=/tmp"], "/tmp is a folder; give a file"),
    ([*RUN, "--workloads", "trace:/tmp"], "/tmp is a folder; give a file"),
    ([*RUN, "--workloads", "trace:/dev/null"], "/dev/null is no ordinary file"),
    ([*RUN, "--frobnicate", "3"], "unknown --frobnicate 3; see `heaparena run --help`"),
    (["run", "--out", "/dev/null"], "--out /dev/null: is a file; give a folder"),
    (["report", str(KNOWN), "--out", "/dev/null"], "--out /dev/null: is a file; give a folder"),
    (["trace", "stat", "bad.hat", "--html", "/tmp"], "--html /tmp is a folder"),
    (["replay", "none.hat"], "no such file: none.hat; `heaparena record -o none.hat -- CMD` makes one"),
    (["replay", "bad.hat"], "offset 64"),
    (["trace", "info", "bad.hat"], "offset 64"),
    (["report", "nowhere.json"], "nowhere.json: no such file; `heaparena results list` names"),
    (["report", "."], "results.json: no such file; `heaparena run --out .` writes one there"),
    (["report", "bad.hat"], "not JSON"),
    (["compare", "nowhere", "nowhere"], "no such file"),
    (["compare", "a", "b", "--fail-above", "x"], "'x' is not a percentage"),
    (["compare", "a", "b", "--metric", "tme"], "did you mean time"),
    (["record", "-o", "t.hat"], "no program given"),
    (["record", "-o", "t.hat", "--", "no-such-program"], "no such program"),
    (["record", "-o", "/proc/t.hat", "--", "true"], "cannot be written"),
]


@pytest.mark.parametrize("words, said", BAD, ids=[" ".join(words)[:60] for words, _ in BAD])
def test_bad_input_gets_one_line_and_exit_2(
    heaparena: Run, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "bad.hat").write_text("x", encoding="utf-8")
    done = heaparena(*words)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.startswith("heaparena: ") and done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "D").exists()


def test_a_library_without_malloc_is_refused(heaparena: Run, tmp_path: Path) -> None:
    shutil.copy(LIBC, tmp_path / "nomalloc.so")
    done = heaparena(*RUN, "--allocators", "x=nomalloc.so")
    assert done.returncode == 2 and "has no malloc" in done.stderr


def test_a_missing_build_says_what_to_run(heaparena: Run, tmp_path: Path) -> None:
    done = heaparena("list", HEAPARENA_BUILD=str(tmp_path / "none"))
    assert done.returncode == 2 and "scripts/bench" in done.stderr and done.stderr.count("\n") == 1


def test_truncated_results_are_refused(heaparena: Run, tmp_path: Path) -> None:
    assert heaparena(*RUN, "--allocators", "system,mimalloc", "--workloads", "flat").returncode == 0
    path = tmp_path / "D" / "results.json"
    path.write_text(path.read_text(encoding="utf-8")[:2000], encoding="utf-8")
    for words in (("report", "D"), ("compare", "D", "D")):
        done = heaparena(*words)
        assert done.returncode == 2 and "cut off" in done.stderr


def test_record_and_its_summary(heaparena: Run, tmp_path: Path) -> None:
    done = heaparena("record", "-o", "t.hat", "--json", "--", "sh", "-c", "exit 3")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["program_status"] == 3 and summary["operations"] == 12345
    assert any(line == "status: exit status 3" for line in summary["meta"])
    assert sorted(os.listdir(tmp_path)) == ["build", "t.hat"]
    done = heaparena("record", "-o", "t.hat", "--keep-spool", "--", "sh", "-c", "kill -9 $$")
    assert (
        "killed by SIGKILL" in done.stdout
        and "12,345 operations" in done.stdout
        and "remark: 2 frees came late" in done.stdout
    )
    assert any(name.startswith(".t.hat.spool-") for name in os.listdir(tmp_path))


def test_a_recording_that_cannot_be_collected_is_kept(heaparena: Run, tmp_path: Path) -> None:
    done = heaparena("record", "-o", "full.hat", "--", "sh", "-c", "echo raw >$HEAPARENA_SPOOL/process-1")
    assert done.returncode == 2 and "no space left" in done.stderr and done.stderr.count("\n") == 1
    [spool] = tmp_path.glob(".full.hat.spool-*")
    assert (spool / "process-1").read_text() == "raw\n"
    assert f"collect {spool} -o FILE` tries again" in done.stderr
    done = heaparena("record", "-o", "full2.hat", "--", "true")
    assert done.returncode == 2 and not list(tmp_path.glob(".full2.hat.spool-*")), "there was nothing to keep"


def test_record_stops_with_the_program(environment: dict[str, str], tmp_path: Path) -> None:
    command = [
        str(ROOT / "scripts" / "heaparena"),
        "record",
        "-o",
        "t.hat",
        "--",
        "sh",
        "-c",
        "touch on; exec sleep 60",
    ]
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, start_new_session=True, text=True, stdout=subprocess.PIPE
    )
    while not (tmp_path / "on").exists():
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "killed by SIGINT" in stdout


def test_a_fault_of_ours_is_one_line(heaparena: Run, fake_build: Path) -> None:
    worker = fake_build / "bin" / "heaparena-worker"
    worker.unlink()
    worker.write_text('#!/bin/sh\necho \'{"allocators": [3], "workloads": []}\'\n', encoding="utf-8")
    worker.chmod(0o755)
    done = heaparena("list")
    assert done.returncode == 70 and "HEAPARENA_DEBUG=1" in done.stderr and done.stderr.count("\n") == 1
    assert "Traceback" in heaparena("list", HEAPARENA_DEBUG="1").stderr


def test_static_programs_are_recognised(heaparena: Run, tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no compiler to make a static program with")
    (tmp_path / "s.c").write_text("void _start(void) { for (;;) {} }\n", encoding="utf-8")
    subprocess.run([compiler, "-nostdlib", "-static", "-o", tmp_path / "s", tmp_path / "s.c"], check=True)
    done = heaparena("record", "-o", "t.hat", "--", "./s")
    assert done.returncode == 2 and "statically linked" in done.stderr


def test_elf_facts() -> None:
    found = elf.build_id(Path(LIBC))
    assert found and re.fullmatch(r"[0-9a-f]{40}", found)
    assert not elf.is_static(Path(shutil.which("sh") or "/bin/sh").resolve())
    assert elf.build_id(Path("/nowhere")) is None
    assert (elf.build_id(Path(__file__)) or "").startswith("sha256:")


def test_replay(heaparena: Run, tmp_path: Path) -> None:
    (tmp_path / "t.hat").write_text("x", encoding="utf-8")
    done = heaparena("replay", "t.hat", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["same_operations"] and len(found["replays"]) == 6
    assert {line["curve"] for line in found["replays"]} == {"match"}
    assert "as recorded" in heaparena("replay", "t.hat").stdout
    done = heaparena("replay", "t.hat", "--allocators", f"system,crashy={LIBC}")
    assert done.returncode == 1 and "SIGSEGV" in done.stdout


def test_trace_info(heaparena: Run, tmp_path: Path) -> None:
    (tmp_path / "t.hat").write_text("x", encoding="utf-8")
    assert "12,345" in heaparena("trace", "info", "t.hat").stdout
    assert json.loads(heaparena("trace", "info", "t.hat", "--json").stdout)["objects"] == 6000


def test_compare_exit_statuses(heaparena: Run) -> None:
    words = ("run", "--allocators", "system,mimalloc", "--workloads", "flat", "--reps", 7, "--out")
    assert heaparena(*words, "a").returncode == 0
    assert heaparena(*words, "b").returncode == 0
    assert heaparena(*words, "slow", FAKE_SLOWER="1.3").returncode == 0
    assert heaparena(*words, "worse", "--env", "mimalloc:FAKE_SLOWER=1.3").returncode == 0
    assert heaparena(*words, "other", "--scale", "0.125").returncode == 0
    same = heaparena("compare", "a", "b", "--fail-above", "5%")
    assert same.returncode == 0 and "No regression" in same.stdout
    drift = heaparena("compare", "a", "slow")  # the reference is slower, too: that is the machine
    assert drift.returncode == 0 and "system itself changed by +" in drift.stdout
    uncorrected = heaparena("compare", "a", "slow", "--json", "--reference", "none")
    assert uncorrected.returncode == 1 and json.loads(uncorrected.stdout)["regressions"] == 2
    worse = heaparena("compare", "a", "worse", "--json")
    assert worse.returncode == 1 and json.loads(worse.stdout)["regressions"] == 1
    assert heaparena("compare", "a", "worse", "--fail-above", "50%").returncode == 0
    assert heaparena("compare", "a", "worse", "--metric", "memory").returncode == 0
    assert "▲ regression" in heaparena("compare", "a", "worse", "--markdown").stdout
    refused = heaparena("compare", "a", "other")
    assert refused.returncode == 2 and "scale (0.25, 0.125)" in refused.stderr
    assert heaparena("compare", "a", "other", "--force", "--fail-above", "10").returncode == 0


def test_compare_two_allocators_of_one_run(heaparena: Run) -> None:
    words = ("run", "--allocators", "system,base=/usr/lib/x86_64-linux-gnu/libmimalloc.so.2,new=mimalloc")
    more = ("--env", "new:FAKE_SLOWER=1.1", "--workloads", "flat", "--reps", 7, "--out", "ab")
    assert heaparena(*words, *more).returncode == 0
    found = heaparena("compare", "ab", "--base", "base", "--new", "new", "--fail-above", "2%")
    assert found.returncode == 1 and "within the blocks of one run" in found.stdout, found.stderr
    assert heaparena("compare", "ab", "--base", "new", "--new", "base").returncode == 0
    for wrong in (("ab",), ("ab", "--base", "base"), ("ab", "--base", "new", "--new", "new"),
                  ("ab", "ab", "--base", "base", "--new", "new"), ("ab", "--base", "base", "--new", "nwe"),
                  ("ab", "ab", "--reference", "nobody")):  # fmt: skip
        refused = heaparena("compare", *wrong)
        assert refused.returncode == 2 and len(refused.stderr.strip().splitlines()) == 1, wrong


def test_report_with_another_baseline(heaparena: Run, tmp_path: Path) -> None:
    assert heaparena(*RUN, "--allocators", "system,mimalloc", "--workloads", "flat").returncode == 0
    done = heaparena("report", "D", "--baseline", "mimalloc", "--format", "md,terminal", "--out", "R")
    assert done.returncode == 0 and "ratio to mimalloc" in done.stdout
    assert "ratio to mimalloc" in (tmp_path / "R" / "report.md").read_text(encoding="utf-8")
    assert not (tmp_path / "R" / "report.html").exists()
    refused = heaparena("report", "D", "--baseline", "jemalloc")
    assert refused.returncode == 2 and "baseline jemalloc" in refused.stderr
