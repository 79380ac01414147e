"""heaparena explain: the path of one request through gomalloc, level by level."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from typing import Any

from rich.console import Console
from rich.table import Table

from cli import build, screen
from cli.errors import EXIT_GOOD, UserError

Json = dict[str, Any]

EXAMPLES = """examples:
  heaparena explain 100                 class, waste, span, and which level serves it
  heaparena explain 8 100 4KiB 1MiB     several sizes
  heaparena explain 100 --align 256
  heaparena explain 100 --json"""

SIZE = re.compile(r"([0-9]+)(B|KiB|MiB|GiB|TiB)?")
UNITS = {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
MOST = 2**63 - 1
GOLDEN = build.ROOT / "core" / "instructions.golden"

# The levels in the order in which a request falls through them, and what each does. Which of them served the
# probes, and how often, heaparena-explain saw in the allocator.
LEVELS = {
    "stack": "objects of the class that this thread freed, the last one first: no lock",
    "alloc_cache": "the lowest of up to 64 claimed objects, one bit each: no lock",
    "next-group": "claims the span's next 64 objects (mcache_refill): still this thread's own, no lock",
    "partial-span": "the thread's oldest span with a free object: no lock",
    "spare-span": "the thread's one empty span of the class: no lock",
    "kept-span": "one more that the thread emptied and kept: its own lock",
    "mcentral": "a span of the class that an ended thread left: the mcentral's lock",
    "shared-cache": "the cache that threads without one share: its lock",
    "large-cache": "a block of this length that the thread freed and kept: no lock",
    "page-cache": "pages of a span that was freed, by length: the heap's lock",
    "page-alloc": "the lowest free pages that fit, through the summary tree: the heap's lock",
    "new-chunk": "the heap grows by whole chunks of 4 MiB: mprotect",
    "new-arena": "another arena of 64 MiB is reserved: mmap",
}
SMALL = tuple(level for level in LEVELS if level not in ("large-cache", "shared-cache"))
LARGE = ("large-cache", "page-cache", "page-alloc", "new-chunk", "new-arena")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "explain",
        help="the path of one request through gomalloc",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sizes", nargs="+", metavar="SIZE", help="bytes, or with B, KiB, MiB, GiB, TiB")
    parser.add_argument("--align", metavar="N", help="a power of two, as aligned_alloc takes it")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(handle=handle)


def parse_size(text: str, option: str = "SIZE") -> int:
    found = SIZE.fullmatch(text)
    value = int(found[1]) * UNITS[found[2]] if found else -1
    if not 0 <= value <= MOST:
        raise UserError(f"explain: {option} '{text}' is not a number of bytes, such as 100, 4KiB or 1MiB")
    return value


def parse_align(text: str) -> int:
    value = parse_size(text, "--align")
    if value == 0 or value & (value - 1):
        raise UserError(f"explain: --align {text}: not a power of two, such as 64 or 4KiB")
    return value


def ask(sizes: list[int], align: int | None) -> Json:
    """What heaparena-explain says of these requests."""
    command = [str(build.program("heaparena-explain"))]
    if align is not None:
        command += ["--align", str(align)]
    done = subprocess.run([*command, *map(str, sizes)], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"heaparena-explain ended with {done.returncode}"]
        raise UserError(f"explain: {last[0]}")
    answer: Json = json.loads(done.stdout)
    return answer


def _bytes(value: int) -> str:
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if value >= UNITS[unit] and value % UNITS[unit] == 0:
            return f"{value // UNITS[unit]:,} {unit}"
    return f"{value:,} B"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _heading(one: Json) -> str:
    text = f"malloc({one['request']:,})"
    return f"aligned_alloc({one['align']:,}, {one['request']:,})" if one["align"] else text


def facts(one: Json, limits: Json) -> list[tuple[str, str]]:
    """The lines of one request, (what, figure)."""
    waste, size = one["waste_bytes"], one["object_size"]
    lines = [
        ("kind", _kind(one["kind"], limits)),
        ("block", f"{size:,} B; waste {waste:,} B, {100 * waste / size:.1f} % of it"),
    ]
    if one["kind"] == "large":
        return [
            *lines,
            ("pages", f"{_plural(one['span_pages'], 'page')} of {_bytes(limits['page'])}, a span of its own"),
            ("at free", _large_free(one, limits)),
        ]
    half = "noscan" if one["noscan"] else "scan"
    slot = one["slot"]
    return [
        *lines,
        (
            "class",
            f"{one['size_class']} of {limits['size_classes'] - 1}; span class {one['span_class']}, {half}",
        ),
        (
            "span",
            f"{_plural(one['span_pages'], 'page')} of {_bytes(limits['page'])} "
            f"({_bytes(one['span_bytes'])}): "
            f"{_plural(one['objects'], 'object')} in {_plural(one['groups'], 'group')} of 64, "
            f"{one['tail_bytes']:,} B left over",
        ),
        (
            "mcache slot",
            f"number {slot['index']}, {slot['bytes']} B: a stack of {slot['stack_holds']}, and "
            f"{slot['claims']} claimed objects in alloc_cache",
        ),
        (
            "at free",
            "onto the class's stack when this thread owns the span, else a remote free; a full stack gives "
            "back to the span, an empty span becomes the spare or goes to the page heap",
        ),
    ]


def _kind(kind: str, limits: Json) -> str:
    tiny, small = limits["tiny_below"], limits["small_most"]
    return {
        "tiny": f"tiny, below {tiny} B: a cell of a 16-byte block or all of it",
        "small": f"small, {tiny} B to {_bytes(small)}: an object of a size class",
        "large": f"large, above {_bytes(small)}: whole pages",
    }[kind]


def _large_free(one: Json, limits: Json) -> str:
    if one["kept_by_thread"]:
        return (
            f"the thread keeps it (up to {limits['thread_large_pages']} pages a block, "
            f"{limits['thread_large_total_pages']} in all), else its pages go to the page cache"
        )
    if one["kept_by_page_cache"]:
        return f"its pages go to the page cache (runs of up to {limits['page_cache_run_pages']} pages)"
    return "its pages go back to the page allocator, and later to the system"


def cost(one: Json) -> str:
    """Instructions of a malloc and a free together, counted by callgrind, of the counted size most alike."""
    if not GOLDEN.is_file():
        return ""
    sizes = {}
    for line in GOLDEN.read_text(encoding="utf-8").splitlines():
        found = re.fullmatch(r"pair-([0-9]+) ([0-9]+)", line)
        if found:
            sizes[int(found[1])] = int(found[2])
    alike = [size for size in sizes if (size > 32768) == (one["kind"] == "large")]
    if not alike or (one["kind"] == "large" and not one["kept_by_thread"]):
        return ""
    request = int(one["request"])
    near = min(alike, key=lambda size: abs(size - request))
    return (
        f" A hit costs {sizes[near]} instructions, malloc({near}), free and the loop around them "
        "(core/instructions.golden: counted, Release build by gcc)."
    )


def path(one: Json) -> list[tuple[str, str, str, str]]:
    """(level, what it does, share of mallocs while the heap grows, share in pairs of malloc and free)."""
    share = 100 / one["probes"]

    def per_cent(counts: Json, level: str) -> str:
        return f"{counts[level] * share:.1f} %" if level in counts else "-"

    levels = LARGE if one["kind"] == "large" else SMALL
    growing, pairs = one["served_growing"], one["served_pairs"]
    return [(level, LEVELS[level], per_cent(growing, level), per_cent(pairs, level)) for level in levels]


def _show(one: Json, limits: Json, console: Console) -> None:
    console.print(f"[bold]{_heading(one)}[/] through gomalloc", highlight=False)
    if one["kind"] == "refused":
        console.print(f"  refused: {one['why']}\n", highlight=False, markup=False)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for line in facts(one, limits):
        table.add_row(*line)
    console.print(table)
    levels = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("a miss falls through", "what it does", "growing", "pairs"):
        right = heading in ("growing", "pairs")
        levels.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in path(one):
        levels.add_row(*row)
    console.print(levels)
    console.print(
        f"Seen in the allocator: growing is {one['probes']:,} mallocs with no free, pairs as many of malloc "
        f"and free after that.{cost(one)}\n",
        style="dim",
        highlight=False,
    )


def handle(arguments: argparse.Namespace) -> int:
    sizes = [parse_size(text) for text in arguments.sizes]
    answer = ask(sizes, parse_align(arguments.align) if arguments.align is not None else None)
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return EXIT_GOOD
    console = screen.tables()
    for one in answer["requests"]:
        _show(one, answer["limits"], console)
    return EXIT_GOOD
