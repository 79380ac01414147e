"""heaparena run from the outside: the documented example, libraries that misbehave, input that is wrong."""

import json
import re
from pathlib import Path
from typing import Callable

from conftest import Command, TRACES, load, refused

JEMALLOC = "/lib/x86_64-linux-gnu/libjemalloc.so.2"

CRASHES = """
#include <stddef.h>
extern void *__libc_malloc(size_t); extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t); extern void *__libc_realloc(void *, size_t);
static unsigned count;
void *malloc(size_t n) { if (++count > 50000) BODY; return __libc_malloc(n); }
void free(void *p) { __libc_free(p); }
void *calloc(size_t a, size_t b) { return __libc_calloc(a, b); }
void *realloc(void *p, size_t n) { return __libc_realloc(p, n); }
"""

OVERLAPS = """
#include <stddef.h>
extern void *__libc_malloc(size_t); extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t); extern void *__libc_realloc(void *, size_t);
static unsigned count; static void *last;
void *malloc(size_t n) {
  if (n > 64 && n < 512 && ++count % 5000 == 0 && last) return last;
  void *p = __libc_malloc(n < 1024 ? 1024 : n);
  if (n > 64 && n < 512) last = p;
  return p;
}
void free(void *p) { }
void *calloc(size_t a, size_t b) { return __libc_calloc(a, b); }
void *realloc(void *p, size_t n) { return __libc_realloc(p, n); }
"""


def test_the_documented_example(heaparena: Command, tmp_path: Path) -> None:
    out = tmp_path / "D"
    done = heaparena(
        "run", "--allocators", f"system,x={JEMALLOC}", "--workloads", "churn", "--reps", 3, "--out", out
    )
    assert done.returncode == 0, done.stderr
    assert (out / "report.html").stat().st_size > 10_000
    assert "churn" in (out / "report.md").read_text()
    results = load(out)
    names = {entry["allocator"] for entry in results["benchmarks"]}
    assert {"system", "x"} <= names
    for entry in results["benchmarks"]:
        assert entry["workload"] == "churn"
        assert not entry.get("error_occurred")
        for counter in (
            "ops_per_second",
            "wall_seconds",
            "cpu_seconds",
            "peak_rss_bytes",
            "peak_live_bytes",
            "rss_over_live",
            "minor_faults",
        ):
            assert entry[counter] >= 0, counter
    versions = results["context"]["heaparena"]["allocators"]
    assert versions["x"]["version"].startswith("5.")


def test_every_allocator_measures_a_trace_alike(heaparena: Command, tmp_path: Path) -> None:
    trace = min(TRACES.glob("*.hat"), key=lambda path: path.stat().st_size)
    done = heaparena("run", "--workloads", f"trace:{trace}", "--reps", 2, "--out", tmp_path / "D")
    assert done.returncode == 0, done.stderr
    entries = load(tmp_path / "D")["benchmarks"]
    assert len({entry["allocator"] for entry in entries}) >= 8
    assert {entry["workload"] for entry in entries} == {f"trace:{trace.stem}"}
    assert len({entry["pass_checksum"] for entry in entries}) == 1


def test_a_crash_is_a_result_not_an_end(
    heaparena: Command, library: Callable[[str, str], Path], tmp_path: Path
) -> None:
    bad = library("crash", CRASHES.replace("BODY", "*(volatile int *)8 = 1"))
    done = heaparena(
        "run",
        "--allocators",
        f"system,bad={bad}",
        "--workloads",
        "churn,prodcons",
        "--reps",
        3,
        "--out",
        tmp_path / "D",
    )
    assert done.returncode == 1, done.stderr
    failed = [entry for entry in load(tmp_path / "D")["benchmarks"] if entry.get("error_occurred")]
    good = [entry for entry in load(tmp_path / "D")["benchmarks"] if not entry.get("error_occurred")]
    assert {entry["allocator"] for entry in failed} == {"bad"}
    assert {entry["workload"] for entry in failed} == {"churn", "prodcons"}
    assert all(
        "SIGSEGV" in entry["error_message"] for entry in failed if "skipped" not in entry["error_message"]
    )
    assert sum(entry["allocator"] == "system" for entry in good) == 6
    assert "SIGSEGV" in (tmp_path / "D" / "report.md").read_text()


def test_a_hanging_worker_is_stopped(
    heaparena: Command, library: Callable[[str, str], Path], tmp_path: Path
) -> None:
    bad = library("hang", CRASHES.replace("BODY", "for (;;) { }"))
    done = heaparena(
        "run",
        "--allocators",
        f"system,bad={bad}",
        "--workloads",
        "churn",
        "--reps",
        1,
        "--timeout",
        3,
        "--out",
        tmp_path / "D",
    )
    assert done.returncode == 1, done.stderr
    failed = [entry for entry in load(tmp_path / "D")["benchmarks"] if entry.get("error_occurred")]
    assert [entry["allocator"] for entry in failed] == ["bad"]
    assert "3 s" in failed[0]["error_message"] or "timeout" in failed[0]["error_message"].lower()


def test_overlapping_blocks_are_found_by_the_verification(
    heaparena: Command, library: Callable[[str, str], Path], tmp_path: Path
) -> None:
    bad = library("overlap", OVERLAPS)
    done = heaparena(
        "run",
        "--allocators",
        f"system,bad={bad}",
        "--workloads",
        "churn:live=20000",
        "--reps",
        1,
        "--out",
        tmp_path / "D",
    )
    assert done.returncode == 1, done.stderr
    failed = [entry for entry in load(tmp_path / "D")["benchmarks"] if entry.get("error_occurred")]
    assert [entry["allocator"] for entry in failed] == ["bad"]
    assert "lost its contents" in failed[0]["error_message"]


def test_wrong_input_is_refused_in_one_line(
    heaparena: Command, library: Callable[[str, str], Path], tmp_path: Path
) -> None:
    nothing = library("nothing", "int answer(void) { return 42; }")
    text = tmp_path / "text.so"
    text.write_text("no library")
    out = ("--out", tmp_path / "D")
    refused(heaparena("run", "--allocators", "mimaloc", *out), "mimaloc", "mimalloc")
    refused(heaparena("run", "--workloads", "chrun", *out), "chrun", "churn")
    refused(heaparena("run", "--workloads", "churn:lvie=3", *out), "lvie", "live")
    refused(heaparena("run", "--workloads", "churn:live=0", *out), "live=0")
    refused(heaparena("run", "--allocators", f"x={nothing}", *out), "no malloc")
    refused(heaparena("run", "--allocators", f"x={text}", *out), "not a shared library")
    refused(heaparena("run", "--allocators", "x=/nonexistent.so", *out), "/nonexistent.so")
    refused(heaparena("run", "--workloads", "trace:/nonexistent.hat", *out), "/nonexistent.hat")
    refused(heaparena("run", "--profile", "quik", *out), "quik", "quick")
    refused(heaparena("run", "--threads", "0", *out), "0")
    refused(heaparena("run", "--allocators", "system", "--env", "mimalloc:A=1", *out), "mimalloc")
    blocker = tmp_path / "file"
    blocker.write_text("")
    refused(heaparena("run", "--allocators", "system", "--out", blocker / "D"), str(blocker))
    assert not (tmp_path / "D" / "results.json").exists()


def test_tuned_variants_stand_side_by_side(heaparena: Command, tmp_path: Path) -> None:
    done = heaparena(
        "run",
        "--allocators",
        f"a={JEMALLOC},b={JEMALLOC}",
        "--env",
        "b:MALLOC_CONF=tcache:false",
        "--workloads",
        "churn:ops=200000",
        "--reps",
        2,
        "--out",
        tmp_path / "D",
    )
    assert done.returncode == 0, done.stderr
    context = load(tmp_path / "D")["context"]["heaparena"]["allocators"]
    assert context["b"]["env"] == {"MALLOC_CONF": "tcache:false"}
    assert not context["a"]["env"]


def test_resume_measures_only_what_is_missing(heaparena: Command, tmp_path: Path) -> None:
    arguments = (
        "run",
        "--allocators",
        "system,template",
        "--workloads",
        "churn:ops=100000",
        "--out",
        tmp_path / "D",
    )
    assert heaparena(*arguments, "--reps", 2).returncode == 0
    before = {entry["started"] for entry in load(tmp_path / "D")["benchmarks"]}
    assert heaparena(*arguments, "--reps", 3, "--resume").returncode == 0
    after = {entry["started"] for entry in load(tmp_path / "D")["benchmarks"]}
    assert len(before) == 6 and len(after) == 9
    assert before <= after


def test_list_as_json(heaparena: Command) -> None:
    listed = json.loads(heaparena("list", "--json").stdout)
    allocators = {entry["name"]: entry for entry in listed["allocators"]}
    assert {
        "system",
        "gomalloc",
        "mimalloc",
        "jemalloc",
        "tcmalloc",
        "scudo",
        "tbb",
        "null",
        "bump",
        "template",
    } <= set(allocators)
    for entry in allocators.values():
        assert {"name", "available", "why_not", "version", "library"} <= set(entry)
        assert entry["available"] == (entry["why_not"] is None)
    assert allocators["gomalloc"]["available"]
    workloads = {entry["name"]: entry for entry in listed["workloads"]}
    assert {"churn", "larson", "prodcons", "trace"} <= set(workloads)
    assert all(entry["summary"] and "parameters" in entry for entry in workloads.values())
    assert "collectors" in listed


def test_help_of_every_command(heaparena: Command) -> None:
    said = heaparena("--version").stdout
    assert re.fullmatch(
        r"heaparena \d+\.\d+\.\d+, (commit [0-9a-f]{40}(-dirty)?|unknown commit), "
        r"built by \w+ \d\S* \(.+\)\n",
        said,
    ), said
    for command in ("list", "run", "record", "replay", "trace", "report", "compare"):
        done = heaparena(command, "--help")
        assert done.returncode == 0 and "usage" in done.stdout.lower(), command
    refused(heaparena("rum"), "rum", "run")
