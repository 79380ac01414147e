"""heaparena map: draws heaps page by page while a workload runs, so that one sees where fragmentation comes
from. Writes map.html (an animation that opens without a network), map.png and map.json."""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from cli import entries, files, worker
from cli.options import add_selection, whole_number
from cli.errors import EXIT_FAILED, EXIT_GOOD, UserError
from results import heap_map, store
from results.metrics import MAP

Json = dict[str, Any]

FRAMES_LEAST, FRAMES_MOST = 8, 120
USUAL_PNG = "peak,worst,last"

EXAMPLES = """examples:
  heaparena map --workloads frag-survivor --allocators gomalloc,system -o map
  heaparena map --workloads trace:server.hat --allocators gomalloc,jemalloc,mimalloc -o map
  heaparena map --workloads churn --allocators gomalloc --scale 0.01 --frames 120 --png worst,last -o map

Frames are taken every so many operations; when there are more than --frames, every second goes. Of gomalloc
it shows spans, size classes and page states too, of others what their addresses tell. 512 MiB of address
space are drawn at most; what lies beyond is counted and said. Calls are served one at a time: this is no
measurement.

exit status: 0 all drawn, 1 an allocator failed (the others are drawn), 2 nothing was run"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "map",
        help="draw heaps over time: where fragmentation comes from",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser)
    parser.add_argument(
        "--workloads", required=True, metavar="W", help="one: NAME[:key=value...], trace:FILE or FILE.hat"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--threads", type=_between(1, 1024), default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--frames",
        type=_between(FRAMES_LEAST, FRAMES_MOST),
        default=60,
        metavar="N",
        help=f"at most, {FRAMES_LEAST} to {FRAMES_MOST} (60)",
    )
    parser.add_argument(
        "--every", type=whole_number(1), default=1, metavar="N", help="operations between frames at first (1)"
    )
    parser.add_argument(
        "--after",
        type=_between(0, 60000),
        default=1000,
        metavar="MS",
        help="wait after everything was freed, for a last frame (1000; 0: none)",
    )
    parser.add_argument(
        "--png",
        default=USUAL_PNG,
        metavar="F,...",
        help=f"frames in map.png: peak, worst, last, numbers ({USUAL_PNG})",
    )
    parser.set_defaults(handle=handle)


def _between(least: int, most: int) -> Any:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {least} to {most}")
        return int(text)

    return parse


def _take(entry: entries.Allocator, workload: entries.Workload, arguments: argparse.Namespace) -> Json:
    job = worker.Job(
        entry.spec,
        workload.spec,
        arguments.threads if workload.scales else 1,
        arguments.seed,
        arguments.scale or 1.0,
        False,
        entry.environment,
        arguments.timeout,
        MAP,
        more=(
            "--map-frames",
            str(arguments.frames),
            "--map-every",
            str(arguments.every),
            "--after-ms",
            str(arguments.after),
        ),
    )
    return worker.measure(job, random.Random())


def handle(arguments: argparse.Namespace) -> int:
    try:
        from results import heap_map_page, heap_map_png
    except ImportError as error:
        raise UserError(f"map: {error.name} is not installed; apt-get install python3-pil") from None
    known = worker.catalogue()
    workloads = entries.workloads([arguments.workloads], known["workloads"])
    allocators, _ = entries.allocators(
        entries.split_list(arguments.allocators), arguments.env, known["allocators"]
    )
    allocators = [entry for entry in allocators if "shared-blocks" not in entry.traits]
    wanted = _png_frames(arguments.png)
    files.folder(arguments.out)
    console = Console(stderr=True)
    heaps, raw, failed = [], {}, 0
    for entry in allocators:
        found = _take(entry, workloads[0], arguments)
        if found.get("error_occurred"):
            failed += 1
            console.print(
                f"{entry.name}: {found['error_message']}", style="red", markup=False, highlight=False
            )
            continue
        raw[entry.name] = found["detail"][MAP]
        try:
            heaps.append(heap_map.read(entry.name, entry.version, raw[entry.name]))
        except heap_map.BadMap as error:
            raise UserError(f"map: {error}; was the worker built from this checkout?") from None
    if not heaps:
        raise UserError(f"map: nothing was drawn of {workloads[0].name}: see above")
    title = f"{workloads[0].name}: {', '.join(heap.name for heap in heaps)}"
    try:
        heap_map_png.write(heaps, title, wanted, arguments.out / "map.png")
    except heap_map.BadMap as error:
        raise UserError(f"--png: {error}") from None
    command = shlex.join(["heaparena", *sys.argv[1:]])
    page = heap_map_page.html(heaps, title, command, (arguments.out / "map.png").read_bytes())
    store.write_atomically(arguments.out / "map.html", page)
    store.write_atomically(arguments.out / "map.json", json.dumps(raw, allow_nan=False) + "\n")
    for heap in heaps:
        print(" ".join(heap_map.sentences(heap)))
    for name in ("map.html", "map.png", "map.json"):
        print(arguments.out / name)
    return EXIT_FAILED if failed else EXIT_GOOD


def _png_frames(text: str) -> list[str]:
    """Checked as far as can be before there are frames."""
    wanted = [word for word in text.split(",") if word]
    for word in wanted:
        if word not in ("peak", "worst", "last") and not (
            word.isdecimal() and 1 <= int(word) <= FRAMES_MOST + 8
        ):
            raise UserError(f"--png {text}: '{word}' is not peak, worst, last or the number of a frame")
    if not 1 <= len(wanted) <= 8:
        raise UserError(f"--png {text}: give one to eight frames")
    return wanted
