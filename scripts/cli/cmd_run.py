"""heaparena run: measures allocators on workloads side by side and writes a report."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from cli import build, entries, machine, plan, screen, session, worker
from cli.errors import EXIT_FAILED, EXIT_GOOD, EXIT_INTERRUPTED, UserError, unknown
from cli.profiles import PROFILES, Profile
from cli.progress import BarProgress, PlainProgress
from results import report, terminal
from results.analysis import Analysis

EXAMPLES = """examples:
  heaparena run --profile quick                     a first look at every allocator of this machine
  heaparena run --allocators system,mimalloc,mine=/home/me/libmine.so --workloads churn,trace:web.hat
  heaparena run --allocators mimalloc,nothp=mimalloc --env nothp:MIMALLOC_ALLOW_THP=0
  heaparena run --out D --resume                    go on after a stop: only what is missing is measured

exit status: 0 all cells measured, 1 some cells failed (the others are good), 2 nothing was run, 130
stopped"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="measure allocators on workloads and write a report",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser)
    profiles = "; ".join(f"{profile.name}: {profile.purpose}" for profile in PROFILES.values())
    parser.add_argument(
        "--workloads",
        action="append",
        metavar="W,...",
        help="NAME[:key=value...], trace:FILE or FILE.hat; default: those of the profile",
    )
    parser.add_argument("--profile", default="standard", metavar="NAME", help=profiles)
    parser.add_argument(
        "--reps", type=whole_number(1), metavar="N", help="blocks; every cell is measured once in each"
    )
    parser.add_argument(
        "--threads", action="append", metavar="N,...", help="thread counts of workloads that scale"
    )
    parser.add_argument("--baseline", metavar="NAME", help="what ratios refer to (default: system)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: results/runs/TIME in the checkout")
    parser.add_argument(
        "--resume", action="store_true", help="keep what DIR already holds and measure the rest"
    )
    parser.add_argument("--plain", action="store_true", help="progress as lines, for logs")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON instead of the table")
    parser.set_defaults(handle=handle)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Options that run and replay share."""
    parser.add_argument(
        "--allocators",
        action="append",
        metavar="A,...",
        help="NAME, NAME=/path/lib.so or NAME=/path/lib.so:prefix_; default: all available",
    )
    parser.add_argument(
        "--env", action="append", metavar="NAME:VAR=VALUE", help="a variable for one entry only"
    )
    parser.add_argument(
        "--timeout", type=positive_number, default=120.0, metavar="SECONDS", help="per sample (120)"
    )
    parser.add_argument("--scale", type=positive_number, metavar="X", help="multiplies the amount of work")
    parser.add_argument(
        "--seed", type=whole_number(0), default=1, metavar="N", help="of the workloads' random numbers (1)"
    )


def positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def whole_number(least: int) -> Any:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= 10**9:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {least} to 1000000000")
        return int(text)

    return parse


def _threads(values: list[str] | None, profile: Profile) -> list[int]:
    counts = []
    for text in entries.split_list(values):
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 1024:
            raise UserError(f"--threads {text}: not a whole number from 1 to 1024")
        counts.append(int(text))
    return sorted(set(counts)) or profile.threads(machine.cpus())


def _baseline(wanted: str | None, allocators: list[entries.Allocator]) -> entries.Allocator:
    by_name = {entry.name: entry for entry in allocators}
    if wanted is not None:
        if wanted not in by_name:
            raise unknown("allocator in --baseline", wanted, by_name)
        return by_name[wanted]
    contenders = [entry for entry in allocators if "bound" not in entry.traits]
    return by_name.get("system") or (contenders or allocators)[0]


def make_plan(arguments: argparse.Namespace) -> tuple[plan.Plan, str, list[dict[str, str]]]:
    """The plan, the baseline's name and warnings; refuses everything that is wrong before work starts."""
    if arguments.profile not in PROFILES:
        raise unknown("profile", arguments.profile, PROFILES)
    profile = PROFILES[arguments.profile]
    threads = _threads(arguments.threads, profile)
    known = worker.catalogue()
    wanted = entries.split_list(arguments.workloads) or [
        *profile.workloads,
        *entries.shipped_traces(profile.traces),
    ]
    workloads = entries.workloads(wanted, known["workloads"])
    allocators, left_out = entries.allocators(
        entries.split_list(arguments.allocators), arguments.env, known["allocators"]
    )
    baseline = _baseline(arguments.baseline, allocators)
    allocators.append(baseline.control())
    warnings = [
        {
            "what": f"left out, for it cannot be used: {line}",
            "todo": "mend it, or leave it out with --allocators",
        }
        for line in left_out
    ]
    made = plan.Plan(
        plan.rows(workloads, threads),
        allocators,
        arguments.reps or profile.repetitions,
        arguments.scale or profile.scale,
        arguments.seed,
    )
    return made, baseline.name, warnings


def handle(arguments: argparse.Namespace) -> int:
    out = arguments.out or build.ROOT / "results" / "runs" / f"{datetime.now():%Y%m%d-%H%M%S}"
    if arguments.resume and arguments.out is None:
        raise UserError("--resume needs the folder to go on in: give --out DIR")
    made, baseline, warnings = make_plan(arguments)
    session.prepare_folder(out)
    with session.locked(out):
        return _run(arguments, out, made, baseline, warnings)


def _run(
    arguments: argparse.Namespace, out: Path, made: plan.Plan, baseline: str, warnings: list[dict[str, str]]
) -> int:
    console = Console(stderr=True)
    run = session.Session(
        made, out, ["heaparena", *sys.argv[1:]], arguments.profile, baseline, arguments.timeout, warnings
    )
    if arguments.resume:
        kept = run.resume()
        console.print(f"resuming: {kept} samples are there", highlight=False)
    else:
        run.set_aside()
    plain = arguments.plain or not console.is_terminal
    stopped = False
    with (PlainProgress if plain else BarProgress)(made, console) as watcher:
        try:
            run.run(watcher)
        except KeyboardInterrupt:
            stopped = True
    return _finish(arguments, out, run, stopped, console)


def _finish(
    arguments: argparse.Namespace, out: Path, run: session.Session, stopped: bool, console: Console
) -> int:
    failed = run.failed()
    status = EXIT_INTERRUPTED if stopped else EXIT_FAILED if failed else EXIT_GOOD
    analysis = Analysis(run.results)
    reports = []
    if analysis.showable():
        reports = report.write(analysis, out, ("html", "md"))
    if arguments.json:
        print(
            json.dumps(
                {
                    "results": str(run.path),
                    "reports": [str(path) for path in reports],
                    "partial": stopped,
                    "samples": analysis.sample_count(),
                    "failed": failed,
                    "exit_status": status,
                }
            )
        )
    elif analysis.showable():
        terminal.show(analysis, screen.tables())
    if stopped:
        console.print(
            f"stopped; what there is was written. Go on with --resume --out {shlex.quote(str(out))}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if not arguments.json:
        for path in (run.path, *reports):
            print(path)
    return status
