"""heaparena replay: replays a trace once per allocator and checks that it was the recorded one."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from rich.table import Table

from cli import entries, files, screen, worker
from cli.options import add_selection
from cli.errors import EXIT_FAILED, EXIT_GOOD
from cli.session import TO_MS

Json = dict[str, Any]

EXAMPLES = """examples:
  heaparena replay server.hat
  heaparena replay server.hat --allocators system,mine=/home/me/libmine.so --json
  heaparena replay server.hat --pace recorded:10      each operation at its time, ten times as fast

One replay each is no measurement: `heaparena run --workloads trace:FILE` compares with intervals. The exit
status is 1 if a replay failed, or if the checksums of the operations or the live-bytes curves differ."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "replay",
        help="replay a trace once per allocator",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    add_selection(parser)
    parser.add_argument(
        "--pace",
        type=pace,
        default=0.0,
        metavar="PACE",
        help="fast (default); recorded: each operation at its time; recorded:FACTOR: so many times faster",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(handle=handle)


def pace(text: str) -> float:
    """How many times as fast as recorded; 0: as fast as can be."""
    word, colon, factor = text.partition(":")
    try:
        found = 0.0 if text == "fast" else float(factor) if colon else 1.0
    except ValueError:
        found = -1.0
    if text != "fast" and (word != "recorded" or not 0.01 <= found <= 1000):
        raise argparse.ArgumentTypeError(
            f"'{text}': choose fast, recorded, or recorded:FACTOR with a factor from 0.01 to 1000"
        )
    return found


def _replay(entry: entries.Allocator, workload: entries.Workload, arguments: argparse.Namespace) -> Json:
    job = worker.Job(
        entry.spec,
        workload.spec,
        1,
        arguments.seed,
        arguments.scale or 1.0,
        True,
        entry.environment,
        arguments.timeout,
    )
    raw = worker.measure(job, random.Random())
    line: Json = {
        "allocator": entry.name,
        "version": entry.version,
        "failed": bool(raw.get("error_occurred")),
    }
    if line["failed"]:
        return {**line, "error_message": raw["error_message"]}
    facts = worker.label_facts(raw)
    milliseconds = raw["real_time"] * TO_MS.get(str(raw.get("time_unit", "ns")), 1e-6)
    return {
        **line,
        "time_ms": milliseconds,
        "memory_bytes": raw["memory_bytes"],
        "peak_live_bytes": raw.get("peak_live_bytes"),
        "operations": raw["operations"],
        "threads": raw.get("worker_threads"),
        "ops_checksum": facts.get("ops_checksum"),
        "curve": facts.get("curve"),
    }


def _show(lines: list[Json], workload: entries.Workload) -> None:
    table = Table(
        title=f"{workload.name}: {workload.summary}",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for heading in (
        "allocator",
        "version",
        "time, ms",
        "memory, MiB",
        "operations",
        "operations' checksum",
        "live-bytes curve",
    ):
        table.add_column(
            heading, justify="right" if "," in heading or heading == "operations" else "left", overflow="fold"
        )
    for line in lines:
        if line["failed"]:
            table.add_row(
                line["allocator"], line["version"], "[red]failed[/]", "", "", "", line["error_message"]
            )
        else:
            table.add_row(
                line["allocator"],
                line["version"],
                f"{line['time_ms']:.2f}",
                f"{line['memory_bytes'] / 2**20:.2f}",
                f"{line['operations']:,.0f}",
                str(line["ops_checksum"]),
                _curve(line["curve"]),
            )
    screen.tables().print(table)


def _curve(word: str | None) -> str:
    return {"match": "as recorded", "mismatch": "[red]differs from the recorded one[/]"}.get(
        word or "", word or "not told"
    )


def handle(arguments: argparse.Namespace) -> int:
    files.trace(arguments.file)
    known = worker.catalogue()
    paced = f":pace=recorded:speed={arguments.pace!r}" if arguments.pace else ""
    workload = entries.workloads([f"trace:{arguments.file}{paced}"], known["workloads"])[0]
    if arguments.pace:  # it lasts as long as the program did
        duration: int = worker.trace_info(arguments.file)["duration_ns"]
        arguments.timeout += duration / 1e9 / arguments.pace
    allocators, _ = entries.allocators(
        entries.split_list(arguments.allocators), arguments.env, known["allocators"]
    )
    lines = [_replay(entry, workload, arguments) for entry in allocators]
    sums = {line["ops_checksum"] for line in lines if not line["failed"]}
    bad = any(line["failed"] or line["curve"] == "mismatch" for line in lines) or len(sums) > 1
    if arguments.json:
        print(
            json.dumps(
                {
                    "trace": str(arguments.file),
                    "trace_sha256": workload.trace_sha256,
                    "replays": lines,
                    "same_operations": len(sums) == 1,
                },
                indent=2,
            )
        )
    else:
        _show(lines, workload)
        if len(sums) > 1:
            print("the allocators did not all do the same operations: the checksums differ")
    return EXIT_FAILED if bad else EXIT_GOOD
