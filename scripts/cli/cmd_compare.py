"""heaparena compare: two result files against each other, as a gate for CI."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any


from cli import screen
from cli.entries import split_list
from cli.errors import EXIT_FAILED, EXIT_GOOD, UserError, unknown
from results import compare, stats, store
from results.analysis import Analysis
from results.metrics import METRICS, Metric

EXAMPLES = """examples:
  heaparena compare before/ after/
  heaparena compare before/results.json after/results.json --fail-above 3% --metric instructions,memory
  heaparena compare before/ after/ --markdown >> "$GITHUB_STEP_SUMMARY"

exit status: 0 no regression beyond the threshold, 1 regression (a whole 95 % interval lies beyond it),
2 the files cannot be compared"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare two result files, with an exit status for CI",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base", metavar="BASE")
    parser.add_argument("new", metavar="NEW")
    parser.add_argument(
        "--fail-above", type=threshold, default=0.03, metavar="P%", help="threshold (default 3%%)"
    )
    parser.add_argument(
        "--metric",
        action="append",
        metavar="M,...",
        help="time, memory, latency, instructions (default: those that both files have)",
    )
    parser.add_argument(
        "--force", action="store_true", help="compare in spite of different machines or parameters"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--markdown", action="store_true", help="as Markdown, for a pull request")
    parser.set_defaults(handle=handle)


def threshold(text: str) -> float:
    """0.03 of "3%" or of "3": always per cent, so that nobody gates at 300 % by accident."""
    try:
        value = float(text.removesuffix("%")) / 100
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a percentage such as 3%")
    return value


def _metrics(wanted: list[str], base: Analysis, new: Analysis) -> list[Metric]:
    """Those that were asked for, or all that both files have; one that a file lacks is refused."""
    both = [metric for metric in base.metrics if metric in new.metrics]
    have = [metric.key for metric in both]
    for name in wanted:
        if name not in have:
            raise UserError(
                f"compare: {name} was not measured in both files (have: {', '.join(have) or 'nothing'}); "
                f"measure it with `heaparena run --metric {name}`"
            )
    return [METRICS[name] for name in wanted] or both


def handle(arguments: argparse.Namespace) -> int:
    wanted = split_list(arguments.metric)
    for name in wanted:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    base, new = (Analysis(store.load(path)) for path in (arguments.base, arguments.new))
    different = compare.differences(base, new)
    if different and not arguments.force:
        raise UserError(
            f"compare: {arguments.base} and {arguments.new} differ in {'; '.join(different)}; "
            "measure both alike, "
            "or compare all the same with --force"
        )
    found = compare.compare(base, new, _metrics(wanted, base, new), arguments.fail_above)
    if not found.lines and not found.newly_failed:
        raise UserError(f"compare: {arguments.base} and {arguments.new} have no cell in common")
    if found.lines and not found.decided and wanted and not found.newly_failed:
        raise UserError(
            f"compare: no cell has {stats.LEAST_BLOCKS} samples in both files, as {', '.join(wanted)} needs; "
            "measure with more --reps (or --passes PASS=N)"
        )
    if arguments.json:
        print(json.dumps({**found.as_json(), "forced_over": different}, indent=2))
    elif arguments.markdown:
        print(found.as_markdown())
    else:
        found.show(screen.tables())
    return EXIT_FAILED if found.regressions or found.newly_failed else EXIT_GOOD
