"""What sources and documents let one expect of each allocator under misuse, and where what was seen differs.

The table holds an allocator's usual build. A letter says: D caught at the call, L late or by chance, - no
check, N without effect. No letter: nothing is known.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Iterable, Mapping, Sequence

Json = Mapping[str, Any]

LARGE = 32 * 1024  # bytes; above it a double free counts as one of a large block

# Where each column comes from.
SOURCES = {
    "system": "glibc 2.36: malloc/malloc.c, the tests of _int_free, tcache's key and malloc_printerr",
    "gomalloc": "gomalloc: core/gomalloc.h, what it promises of pointers that are no live block",
    "mimalloc": "mimalloc: readme, secure mode and debug mode; a usual build has neither's checks",
    "mimalloc-secure": "mimalloc: readme, secure mode: guard pages, encoded free lists, double frees found",
    "jemalloc": "jemalloc: INSTALL.md, --enable-opt-safety-checks and sampling; a usual build has neither",
    "tcmalloc": "gperftools 2.10: src/tcmalloc.cc: free looks for the page's span, and for nothing else",
    "scudo": "LLVM's documentation of Scudo: checksummed chunk headers, states, delayed checks",
}

# row -> {allocator: letter}. Rows of double frees are told apart by size and thread, see row_of.
EXPECTED: dict[str, dict[str, str]] = {
    "double free, small": {
        "system": "D",
        "gomalloc": "D",
        "mimalloc": "-",
        "mimalloc-secure": "N",
        "jemalloc": "-",
        "tcmalloc": "-",
        "scudo": "D",
    },
    "double free, large": {
        "system": "D",
        "gomalloc": "D",
        "mimalloc": "-",
        "jemalloc": "-",
        "tcmalloc": "-",
        "scudo": "D",
    },
    "double free by another thread": {
        "system": "-",
        "gomalloc": "D",
        "mimalloc": "-",
        "mimalloc-secure": "-",
        "jemalloc": "-",
        "tcmalloc": "-",
        "scudo": "D",
    },
    "misaligned free": {
        "system": "D",
        "gomalloc": "D",
        "mimalloc": "-",
        "mimalloc-secure": "-",
        "jemalloc": "-",
        "tcmalloc": "-",
        "scudo": "D",
    },
    "aligned interior free": {
        "system": "L",
        "gomalloc": "D",
        "mimalloc": "-",
        "mimalloc-secure": "-",
        "jemalloc": "-",
        "tcmalloc": "L",
        "scudo": "D",
    },
    "stack or foreign free": {
        "system": "L",
        "gomalloc": "D",
        "mimalloc": "-",
        "mimalloc-secure": "N",
        "jemalloc": "-",
        "tcmalloc": "D",
        "scudo": "D",
    },
    "overflow, 8 to 64 bytes": {
        "system": "L",
        "mimalloc": "-",
        "jemalloc": "-",
        "tcmalloc": "-",
        "scudo": "L",
    },
    "underflow": {
        "system": "L",
        "mimalloc": "-",
        "mimalloc-secure": "L",
        "jemalloc": "-",
        "tcmalloc": "-",
        "scudo": "L",
    },
    "write after free": {
        "system": "L",
        "mimalloc": "-",
        "mimalloc-secure": "L",
        "jemalloc": "-",
        "tcmalloc": "-",
        "scudo": "-",
    },
    "realloc of a freed block": {
        "system": "-",
        "gomalloc": "D",
        "mimalloc": "-",
        "mimalloc-secure": "-",
        "jemalloc": "-",
        "tcmalloc": "-",
        "scudo": "D",
    },
    "sized free with a wrong size": {
        "gomalloc": "N",
        "mimalloc": "-",
        "mimalloc-secure": "-",
        "jemalloc": "-",
        "tcmalloc": "-",
    },
    "sized delete with a wrong size": {
        "system": "N",
        "gomalloc": "N",
        "mimalloc": "N",
        "jemalloc": "-",
        "tcmalloc": "-",
        "scudo": "D",
    },
    "aligned delete by a plain one": {
        "system": "N",
        "gomalloc": "N",
        "mimalloc": "N",
        "jemalloc": "-",
        "tcmalloc": "-",
        "scudo": "N",
    },
    "overflow of calloc's product": {
        "system": "N",
        "gomalloc": "N",
        "mimalloc": "N",
        "mimalloc-secure": "N",
        "tcmalloc": "N",
        "scudo": "N",
    },
}

ROWS = {
    "misaligned-free": "misaligned free",
    "interior-free": "aligned interior free",
    "interior-free-forged": "aligned interior free",
    "invalid-free": "stack or foreign free",
    "stack-free": "stack or foreign free",
    "stack-free-forged": "stack or foreign free",
    "static-free": "stack or foreign free",
    "mapped-free": "stack or foreign free",
    "overflow-8": "overflow, 8 to 64 bytes",
    "overflow-64": "overflow, 8 to 64 bytes",
    "underflow-1": "underflow",
    "underflow-8": "underflow",
    "underflow-64": "underflow",
    "write-after-free": "write after free",
    "realloc-freed": "realloc of a freed block",
    "sized-free-mismatch": "sized free with a wrong size",
    "sized-delete-mismatch": "sized delete with a wrong size",
    "aligned-delete-mismatch": "sized delete with a wrong size",
    "aligned-delete-as-plain": "aligned delete by a plain one",
    "calloc-overflow": "overflow of calloc's product",
}

# Why what is seen is not what the documents say, of (row, allocator), as far as it was looked into.
UNMAPPED = (
    "a large block with a mapping of its own is unmapped by the first free: reading its header faults, which "
    "stops the program too"
)
EXPLAINED = {
    ("double free, small", "system"): (
        "tcache finds what it holds itself; once it is full, blocks go to a fastbin, which only looks at its "
        "first one: a free in between hides the second"
    ),
    ("double free by another thread", "system"): (
        "the other thread's tcache does not know the block; above its sizes, and in bins, the next chunk's "
        "bit tells whatever the thread"
    ),
    ("misaligned free", "system"): (
        "the misread header may name another arena, whose address is read before the alignment is checked: "
        "SIGSEGV, which stops the program too"
    ),
    ("realloc of a freed block", "system"): (
        "realloc checks nothing, but where it moves the block its own free of the old one does"
    ),
    ("double free, large", "system"): UNMAPPED,
    ("double free, large", "scudo"): UNMAPPED,
    ("double free by another thread", "scudo"): UNMAPPED,
    ("realloc of a freed block", "scudo"): UNMAPPED,
    ("stack or foreign free", "scudo"): (
        "at an address where nothing can be read, reading the header faults, which stops the program too"
    ),
}

WORDS = {"D": "detected", "L": "late, or by chance", "-": "no check", "N": "no effect"}
CAUGHT = ("detected", "late", "faulted")


def row_of(case: str, size: int, by: str) -> str | None:
    """The row of EXPECTED that a cell belongs to."""
    if case in ("double-free", "double-free-between", "double-free-late"):
        if by == "other":
            return "double free by another thread"
        return "double free, large" if size > LARGE else "double free, small"
    return ROWS.get(case)


def seen_words(seen: Mapping[str, int]) -> str:
    whole = sum(seen.values())
    return ", ".join(f"{name} {count} of {whole}" for name, count in Counter(seen).most_common())


def differs(letter: str, seen: Mapping[str, int]) -> bool:
    """Whether these verdicts are not what the letter says."""
    whole = sum(seen.values())
    if letter == "D":
        return seen.get("detected", 0) < whole
    if letter == "L":
        return not any(seen.get(name) for name in CAUGHT)
    if letter == "N":
        return seen.get("neutralised", 0) + seen.get("silent", 0) < whole
    return seen.get("detected", 0) > 0


def compare(cells: Iterable[Json]) -> tuple[list[Sequence[str]], int]:
    """Lines (misuse, allocator, expected, seen) where what was seen differs, and how many were compared.
    Allocators are known by name."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    for cell in cells:
        row = row_of(cell["case"], cell["size"], cell["by"])
        if row is None or cell["allocator"] not in EXPECTED[row]:
            continue
        counts = sums.setdefault((row, cell["allocator"]), Counter())
        counts.update(
            {name: one["count"] for name, one in cell["verdicts"].items() if name not in ("skipped", "error")}
        )
    compared = {key: counts for key, counts in sums.items() if counts}
    order = list(EXPECTED)
    lines: list[Sequence[str]] = [
        (row, name, WORDS[EXPECTED[row][name]], seen_words(counts))
        for (row, name), counts in sorted(compared.items(), key=lambda item: order.index(item[0][0]))
        if differs(EXPECTED[row][name], counts)
    ]
    return lines, len(compared)
