"""heaparena results: the stored runs: what is there, what is in one, joining them, removing old ones."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from cli import build, runs, screen
from cli.errors import EXIT_GOOD, UserError
from results import merge, store, terminal
from results.analysis import Analysis

EXAMPLES = """examples:
  heaparena results list
  heaparena results show 20261123-101500
  heaparena results merge monday/ tuesday/ --out both/
  heaparena results prune --keep 10 --dry-run

A run is named by its folder in results/runs (the start of the name is enough), or by any path.
`heaparena run --out DIR --resume` adds to a run: samples are found again by their cell's key."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "results",
        help="list, show, merge and prune stored runs",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=type(parser))
    listing = _action(actions, "list", "the stored runs, newest first", _list)
    listing.add_argument("--json", action="store_true", help="as JSON")
    showing = _action(actions, "show", "one run: its facts, cells and tables", _show)
    showing.add_argument("run", metavar="RUN")
    showing.add_argument("--json", action="store_true", help="facts and cells as JSON")
    merging = _action(actions, "merge", "join runs of one machine into one result file", _merge)
    merging.add_argument("runs", nargs="+", metavar="RUN")
    merging.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the joined results"
    )
    merging.add_argument(
        "--force",
        action="store_true",
        help="in spite of other machines, parameters or builds, which are then kept apart",
    )
    pruning = _action(actions, "prune", "remove old runs from results/runs", _prune)
    pruning.add_argument("--keep", type=_count, metavar="N", help="keep the N newest, remove the others")
    pruning.add_argument("--older-than", type=_count, metavar="DAYS", help="remove what is older")
    pruning.add_argument(
        "--partial", action="store_true", help="remove runs that were stopped or cannot be read"
    )
    pruning.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def _action(actions: Any, name: str, words: str, handle: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=words,
        description=words,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dir",
        type=_folder,
        default=build.runs(),
        metavar="DIR",
        help="default: results/runs of the checkout, or, installed, ~/.local/share/heaparena/runs",
    )
    parser.set_defaults(handle=handle)
    return parser


def _folder(text: str) -> Path:
    """The default may be missing, before the first run; one that somebody names is a slip of the pen then."""
    path = Path(text)
    if not path.is_dir():
        what = "is a file" if path.exists() else "no such folder"
        raise argparse.ArgumentTypeError(f"{text}: {what}; give the folder that holds the runs' folders")
    return path


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > 10**6:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 to 1000000")
    return int(text)


def _list(arguments: argparse.Namespace) -> int:
    found = runs.stored(arguments.dir)
    if arguments.json:
        print(json.dumps([run.as_json() for run in found], indent=2))
        return EXIT_GOOD
    if not found:
        print(f"no runs in {arguments.dir}")
        return EXIT_GOOD
    table = Table(box=None, pad_edge=False, header_style="bold")
    headings = ("run", "measured", "profile", "allocators", "workloads", "samples", "failed", "MiB", "")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if 3 <= index <= 7 else "left", overflow="fold")
    for run in found:
        size = f"{run.size / 2**20:.1f}"
        if run.fault:
            table.add_row(run.path.name, "", "", "", "", "", "", size, "[red]cannot be read[/]")
        else:
            numbers = (str(number) for number in (run.allocators, run.workloads, run.samples, run.failed))
            table.add_row(
                run.path.name,
                run.date,
                run.profile,
                *numbers,
                size,
                "[yellow]partial[/]" if run.partial else "",
            )
    screen.tables().print(table)
    return EXIT_GOOD


def _show(arguments: argparse.Namespace) -> int:
    path = runs.find(arguments.run, arguments.dir)
    data = store.load(path)
    analysis = Analysis(data)
    cells = runs.cells(data)
    if arguments.json:
        print(json.dumps({"path": str(path), "context": data["context"], "cells": cells}, indent=2))
        return EXIT_GOOD
    ours, console = analysis.ours, screen.tables()
    state = "partial" if ours["partial"] else "complete"
    for line in (
        str(path),
        f"{data['context']['date'][:16].replace('T', ' ')}, {state}, profile {ours['profile']}, "
        f"scale {ours['scale']:g}, seed {ours['seed']}, schema {ours['schema']}, "
        f"commit {(ours.get('commit') or 'unknown')[:10]}",
        f"{ours['machine']['cpu']}, {ours['machine']['kernel']}; {len(cells)} cells, "
        f"{analysis.sample_count()} samples, {analysis.failed_count()} failed",
        "",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if analysis.showable():
        terminal.show(analysis, console)
    return EXIT_GOOD


def _merge(arguments: argparse.Namespace) -> int:
    paths = [runs.find(name, arguments.dir) for name in arguments.runs]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError("merge: a run is given twice; give each once")
    out = arguments.out / store.FILE_NAME
    if out.exists():
        raise UserError(f"--out {arguments.out}: there is a {store.FILE_NAME} already; choose another folder")
    merged, remarks = merge.merge([(str(path), store.load(path)) for path in paths], arguments.force)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        store.save(out, merged)
    except OSError as error:
        raise UserError(
            f"--out {arguments.out}: cannot be written: {error.strerror}; choose another folder"
        ) from None
    for remark in remarks:
        print(remark)
    print(f"{out}: {len(merged['benchmarks'])} samples; `heaparena report {arguments.out}` shows them")
    return EXIT_GOOD


def _prune(arguments: argparse.Namespace) -> int:
    if arguments.keep is None and arguments.older_than is None and not arguments.partial:
        raise UserError("prune: say which: --keep N, --older-than DAYS or --partial")
    going = []
    for place, run in enumerate(runs.stored(arguments.dir)):
        age = (time.time() - run.changed) / 86400
        old = arguments.older_than is not None and age > arguments.older_than
        surplus = arguments.keep is not None and place >= arguments.keep
        if old or surplus or (arguments.partial and (run.partial or run.fault)):
            going.append(run)
    for run in going:
        kept = runs.remove(run.path, arguments.dry_run)
        said = "would be removed" if arguments.dry_run else "removed"
        print(f"{run.path}: {kept or said}")
    if not going:
        print("nothing to remove")
    return EXIT_GOOD
