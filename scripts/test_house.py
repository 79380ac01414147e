"""The house rules that a compiler does not see: which way includes point, that headers say what their
functions do, that no file outgrows its reader, that pages link to what is there. `scripts/test lint` runs
it.
"""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Iterator

import pytest

ROOT = Path(__file__).resolve().parents[1]

# ---- includes ----

# A room includes from itself and from those before it.
ROOMS = ("core", "adapters", "workloads", "fuzz")

# Who includes from core/, and what of it. Everything else goes through adapters/alloc.h.
DOORS = {
    "adapters/gomalloc*.c": ("core/gomalloc.h", "core/heap_view.h"),  # the adapter itself
    "adapters/textbook.c": ("core/textbook/*.h",),  # linked in: there is no library to load
    "adapters/collectors.h": ("core/gc/collector.h",),  # collectors have a vtable of their own,
    "adapters/gc_boehm_test.c": ("core/gc/conformance.h",),  # with its own conformance test,
    "workloads/gc/program.h": ("core/gc/mutator.h",),  # and programs that allocate through it
    "fuzz/subject_gomalloc.c": ("core/gomalloc.h",),  # gomalloc under the fuzzer's faults of the system
    "fuzz/options_fuzz.c": ("core/*.h",),  # white-box fuzzers
    "fuzz/core_fuzz*.[ch]": ("core/*.h",),
}

# Not from the root: headers that are also read where they are installed, or copied with their folder.
BESIDE = {
    "adapters/plugin.h": "alloc.h",
    "adapters/example/pocket*.c": "pocket.h",
    "scripts/end_to_end/planted_slowdown.c": "../../core/gomalloc.h",
}


def is_test(path: str) -> bool:
    return bool(re.search(r"(^|/)test_[^/]*\.py$|_test[._][^/]*$|_test\.[^/]*$|conftest\.py$", path))


def wrong_include(path: str, included: str) -> str | None:
    """What is wrong with `#include "included"` in the file `path`, both from the root."""
    if any(fnmatch(path, who) and included == what for who, what in BESIDE.items()):
        return None
    if included.endswith(".c"):
        return "includes a .c file"
    if not (ROOT / included).is_file():
        return f"{included} is no file of the checkout; paths begin at its root"
    room, source = path.split("/")[0], included.split("/")[0]
    if room not in ROOMS or source not in ROOMS:
        return f"{room}/ and {source}/ have no headers for each other"
    if ROOMS.index(source) > ROOMS.index(room):
        return f"{room}/ stands below {source}/"
    if room != "core" and source == "core":
        doors = [what for who, allowed in DOORS.items() if fnmatch(path, who) for what in allowed]
        if not any(fnmatch(included, what) for what in doors):
            return f"{included} is core's own affair"
    if room == "core" and not is_test(path):
        floor, above = path.rpartition("/")[0], included.rpartition("/")[0]
        if floor != above and not floor.startswith(above):
            return f"{floor}/ stands below {above}/"
    return None


def our_files(*endings: str) -> list[str]:
    """Tracked files and new ones that git does not ignore, which are there; from the root."""
    said = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in said.stdout.splitlines() if path.endswith(endings) and (ROOT / path).is_file()]


def includes() -> Iterator[tuple[str, str]]:
    for path in our_files(".c", ".h", ".cc"):
        for included in re.findall(r'^ *# *include +"([^"]+)"', (ROOT / path).read_text(), re.MULTILINE):
            yield path, included


def test_includes_point_one_way() -> None:
    found = [
        f"{path}: {included}: {wrong}"
        for path, included in includes()
        if (wrong := wrong_include(path, included))
    ]
    assert not found, "\n".join(found)


def test_no_exception_outlives_its_use() -> None:
    pairs = list(includes())
    for who, allowed in DOORS.items():
        for what in allowed:
            assert any(fnmatch(p, who) and fnmatch(i, what) for p, i in pairs), f"{who}: {what}"
    for who, beside in BESIDE.items():
        assert any(fnmatch(path, who) and included == beside for path, included in pairs), who


@pytest.mark.parametrize(
    "path, included",
    [
        ("core/mheap.c", "adapters/alloc.h"),
        ("core/mheap.c", "core/gc/collector.h"),
        ("core/textbook/buddy.c", "core/gc/collector.h"),
        ("adapters/registry.c", "workloads/trace.h"),
        ("adapters/jemalloc.c", "core/gomalloc.h"),
        ("adapters/gomalloc.c", "core/mheap.h"),
        ("workloads/churn.c", "fuzz/shadow.h"),
        ("workloads/churn.c", "core/mspan.h"),
        ("fuzz/execute.c", "core/mspan.h"),
        ("fuzz/execute.c", "fuzz/journal.c"),
        ("fuzz/execute.c", "journal.h"),
        ("fuzz/execute.c", "results/stats.py"),
    ],
)
def test_a_wrong_include_is_seen(path: str, included: str) -> None:
    assert wrong_include(path, included)


def test_results_depend_on_no_command() -> None:
    for path in our_files(".py"):
        if path.startswith("results/"):
            text = (ROOT / path).read_text()
            assert not re.search(r"^\s*(from|import) +(cli|scripts)\b", text, re.MULTILINE), path


# ---- headers ----

PROTOTYPE = re.compile(
    r"^(?!typedef|static_assert|_Static_assert|extern|return|#)[A-Za-z_][\w *]*?\b(\w+)\(", re.MULTILINE
)


def undocumented(text: str) -> list[str]:
    """Functions of a header with no comment right before them or their group (no blank line in it)."""
    names = []
    lines = text.splitlines()
    depth, explained, continued = 0, False, False
    for number, line in enumerate(lines):
        bare = re.sub(r"__attribute__\(\(.*?\)\) *|^_Thread_local ", "", line.split("//")[0]).rstrip()
        if depth == 0 and not continued:
            if re.match(r"\s*(//|/\*|\*)", line):
                explained = True
            elif not bare:
                explained = False
            elif match := PROTOTYPE.match(bare):
                if not explained and "//" not in line:
                    names.append(f"{match[1]} (line {number + 1})")
        if not bare.startswith("#"):
            depth += bare.count("{") - bare.count("}")
            depth = 0 if 'extern "C"' in bare else max(depth, 0)
            continued = (
                bool(bare)
                and depth == 0
                and not bare.endswith((";", "}", "{", "*/"))
                and not re.match(r"\s*(//|\*)", line)
            )
    return names


def test_every_function_of_a_header_is_documented() -> None:
    found = [
        f"{path}: {name}" for path in our_files(".h") for name in undocumented((ROOT / path).read_text())
    ]
    assert not found, "\n".join(found)


def test_a_function_without_a_comment_is_seen() -> None:
    text = """#ifndef X_H
// Says a thing.
void said(int, char *);
const char *said_too(int one,
                     int two);

static inline int silent(int x) {
  return call(x);
}

uint64_t silent_too(void);
"""
    assert undocumented(text) == ["silent (line 7)", "silent_too (line 11)"]


# ---- sizes and pages ----

LINES, TEST_LINES = 600, 800
REASON = "Longer than other files"  # words of the first comment that give the reason


def test_no_file_outgrows_its_reader() -> None:
    for path in our_files(
        ".c", ".h", ".cc", ".py", ".go", ".sh", ".cmake", ".txt", ".css", ".js", ".j2", "scripts/test"
    ):
        lines = (ROOT / path).read_text().splitlines()
        most = TEST_LINES if is_test(path) else LINES
        assert len(lines) <= most or any(REASON in line for line in lines[:12]), f"{path}: {len(lines)} lines"


def test_pages_link_to_what_is_there() -> None:
    for page in our_files(".md"):
        text = (ROOT / page).read_text()
        for target, place in re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]*))?\)", text):
            file = (ROOT / page).parent / target if target else ROOT / page
            assert file.exists(), f"{page}: {target}"
            if place:
                titles = re.findall(r"^#+ +(.*)", file.read_text(), re.MULTILINE)
                places = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
                assert place in places, f"{page}: {target}#{place}"
