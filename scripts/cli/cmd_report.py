"""heaparena report: writes the report of a result file anew, for example with another baseline."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


from cli import files, screen
from cli.entries import split_list
from cli.errors import EXIT_GOOD, unknown
from results import report, store, terminal
from results.analysis import Analysis

FORMATS = ("html", "md", "csv", "json", "terminal")
USUAL = ("html", "md", "terminal")

EXAMPLES = """examples:
  heaparena report results/latest
  heaparena report results/latest --baseline mimalloc --format terminal
  heaparena report results.json --format csv,json --out report"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="write the report of a result file",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", metavar="RESULTS.json|DIR")
    parser.add_argument("--baseline", metavar="NAME", help="what ratios refer to (default: that of the run)")
    parser.add_argument(
        "--format",
        action="append",
        metavar="F,...",
        help="html, md, csv, json, terminal (default: html,md,terminal)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the folder of the result file")
    parser.set_defaults(handle=handle)


def handle(arguments: argparse.Namespace) -> int:
    formats = split_list(arguments.format) or list(USUAL)
    for name in formats:
        if name not in FORMATS:
            raise unknown("report format", name, FORMATS)
    analysis = Analysis(store.load(arguments.results))
    analysis.baseline(arguments.baseline)
    out = arguments.out or store.result_path(arguments.results).parent
    written = [name for name in formats if name != "terminal"]
    if written:
        files.folder(out)
    if "terminal" in formats:
        terminal.show(analysis, screen.tables(), arguments.baseline)
    for path in report.write(analysis, out, written, arguments.baseline):
        print(path)
    return EXIT_GOOD
