"""heaparena compare: two result files, or two allocators of one, against each other, as a gate for CI."""

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

NO_REFERENCE = "none"

EXAMPLES = """examples:
  heaparena compare before/ after/
  heaparena compare before/results.json after/results.json --fail-above 3% --metric instructions,memory
  heaparena compare before/ after/ --markdown >> "$GITHUB_STEP_SUMMARY"

Sharper: both builds in one run, repeated until the intervals are narrow enough
  heaparena run --allocators base=/a/lib.so,new=/b/lib.so --baseline base --workloads churn \\
      --precision 1% --reps-max 60 --out ab
  heaparena compare ab --base base --new new --fail-above 2%

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
    parser.add_argument("base_file", metavar="BASE", help="a result, as a file or the folder of a run")
    parser.add_argument("new_file", metavar="NEW", nargs="?", help="another; none with --base and --new")
    parser.add_argument("--base", metavar="NAME", help="of one result: the allocator as it was")
    parser.add_argument("--new", metavar="NAME", help="of one result: the allocator as it is now")
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="the allocator, of one build in both results, by which the machine's drift between them is "
        f"taken out of times (default: the baseline, where it can be; {NO_REFERENCE}: nothing is taken out)",
    )
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


def _files(arguments: argparse.Namespace, wanted: list[str]) -> tuple[compare.Comparison, list[str]]:
    """Two result files, and what they differ in."""
    base, new = (Analysis(store.load(path)) for path in (arguments.base_file, arguments.new_file))
    different = compare.differences(base, new)
    if different and not arguments.force:
        raise UserError(
            f"compare: {arguments.base_file} and {arguments.new_file} differ in {'; '.join(different)}; "
            "measure both alike, or compare all the same with --force"
        )
    metrics = _metrics(wanted, base, new)
    reference = None
    if arguments.reference != NO_REFERENCE:
        reference = compare.reference_of(base, new, arguments.reference)
    found = compare.compare(base, new, metrics, arguments.fail_above, reference)
    if not found.lines and not found.newly_failed:
        raise UserError(f"compare: {arguments.base_file} and {arguments.new_file} have no cell in common")
    return found, different


def _entries(arguments: argparse.Namespace, wanted: list[str]) -> compare.Comparison:
    """Two allocators of one result file."""
    if arguments.new_file is not None or None in (arguments.base, arguments.new):
        raise UserError("compare: give two results, or one result with --base NAME --new NAME; see --help")
    if arguments.reference is not None or arguments.base == arguments.new:
        raise UserError("compare: --base and --new name two allocators of one run, without --reference")
    run = Analysis(store.load(arguments.base_file))
    metrics = _metrics(wanted, run, run)
    found = compare.compare_entries(run, arguments.base, arguments.new, metrics, arguments.fail_above)
    if not found.lines and not found.newly_failed:
        raise UserError(
            f"compare: {arguments.base} and {arguments.new} share no block in {arguments.base_file}"
        )
    return found


def handle(arguments: argparse.Namespace) -> int:
    wanted = split_list(arguments.metric)
    for name in wanted:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    different: list[str] = []
    if arguments.new_file is None or arguments.base is not None or arguments.new is not None:
        found = _entries(arguments, wanted)
    else:
        found, different = _files(arguments, wanted)
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
