"""heaparena run: measures allocators on workloads side by side and writes a report."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import shutil
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from cli import build, entries, machine, pinning, plan, screen, session, worker
from cli.errors import EXIT_FAILED, EXIT_GOOD, EXIT_INTERRUPTED, UserError, unknown
from cli.profiles import ASKED_FOR, FILE_WORKLOADS, PROFILES, PassPlan, Profile, powers
from cli.progress import BarProgress, PlainProgress
from results import report, terminal
from results.analysis import Analysis
from results.metrics import INSTRUCTIONS, LATENCY, METRICS, PASSES, TIME

USUAL = "standard"  # the profile if none is named

EXAMPLES = """examples:
  heaparena run --profile quick                     a first look at every allocator of this machine
  heaparena run --allocators system,mimalloc,mine=/home/me/libmine.so --workloads churn,trace:web.hat
  heaparena run --allocators mimalloc,nothp=mimalloc --env nothp:MIMALLOC_ALLOW_THP=0
  heaparena run --workloads churn --precision 2% --reps-max 60    repeat until the intervals are that narrow
  heaparena run --profile quick --passes time,latency=5,timeline  tail latency and memory over time as well
  heaparena run --profile quick --metric instructions             only what this metric needs, for CI
  heaparena run --out D --resume                    go on after a stop: only what is missing is measured

exit status: 0 all cells measured, 1 some cells failed (the others are good), 2 nothing was run, 130
stopped"""


@dataclass(frozen=True)
class Made:
    """A plan with what goes with it into the results."""

    plan: plan.Plan
    baseline: str
    warnings: list[dict[str, str]]
    left_out: list[str]  # workloads that the profile does not take


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
    parser.add_argument("--profile", metavar="NAME", help=f"{profiles} (default: {USUAL})")
    _add_repetition(parser)
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


def _add_repetition(parser: argparse.ArgumentParser) -> None:
    """How often, in which passes, and on which CPUs."""
    parser.add_argument(
        "--reps", type=whole_number(1), metavar="N", help="blocks; every cell is measured once in each"
    )
    parser.add_argument(
        "--precision",
        type=percentage,
        metavar="P%",
        help="repeat a row beyond --reps until no 95 %% interval of its ratios reaches further to a side",
    )
    parser.add_argument(
        "--reps-max", type=whole_number(1), metavar="N", help="with --precision: blocks at most (default 50)"
    )
    parser.add_argument(
        "--passes",
        action="append",
        metavar="P[=N],...",
        help="time, latency, timeline, instructions; N samples a cell (default: those of the profile; "
        "time alone with --workloads and no --profile)",
    )
    parser.add_argument(
        "--metric",
        action="append",
        metavar="M,...",
        help=f"the passes that measure these: {', '.join(METRICS)}",
    )
    parser.add_argument(
        "--cpus", metavar="LIST", help="CPUs that measured processes may use, such as 0-3,8 (default: all)"
    )
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="measure on the kernel's isolated CPUs, or all but the first; heaparena stays off them",
    )


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


def percentage(text: str) -> float:
    """0.02 of "2%" or of "2"."""
    return positive_number(text.removesuffix("%")) / 100


def _threads(values: list[str] | None) -> list[int]:
    """The counts of --threads; none if it is not given."""
    counts = []
    for text in entries.split_list(values):
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 1024:
            raise UserError(f"--threads {text}: not a whole number from 1 to 1024")
        counts.append(int(text))
    return sorted(set(counts))


def _further(arguments: argparse.Namespace, profile: Profile) -> tuple[bool, list[PassPlan]]:
    """Whether there is a time pass, and the further passes: of --passes, --metric, or the profile."""
    wanted = entries.split_list(arguments.passes)
    for name in entries.split_list(arguments.metric):
        if name not in METRICS:
            raise unknown("metric in --metric", name, METRICS)
        wanted.append(METRICS[name].source)
    if not wanted:
        by_hand = arguments.profile is None and arguments.workloads
        return True, [] if by_hand else [one for one in profile.passes if not _impossible(one)]
    usual = {**ASKED_FOR, **{one.name: replace(one, budget_seconds=None) for one in profile.passes}}
    found: dict[str, PassPlan] = {}
    for text in wanted:
        name, equals, count = text.partition("=")
        if name not in PASSES:
            raise unknown("pass in --passes", name, PASSES)
        if equals and (name == TIME or not count.isdecimal() or not 1 <= int(count) <= 1000):
            raise UserError(
                f"--passes {text}: give {LATENCY}=N with N from 1 to 1000; --reps says it of {TIME}"
            )
        if name not in found or equals:
            found[name] = replace(
                usual.get(name, PassPlan(TIME, 0)), **({"repetitions": int(count)} if count else {})
            )
    return found.pop(TIME, None) is not None, [found[name] for name in PASSES if name in found]


def _impossible(source: PassPlan) -> bool:
    """Whether this machine lacks what the pass needs."""
    return source.name == INSTRUCTIONS and shutil.which("valgrind") is None


def _precision(arguments: argparse.Namespace, repetitions: int) -> int:
    """Blocks at most."""
    if arguments.precision is None:
        if arguments.reps_max is not None:
            raise UserError("--reps-max goes with --precision: without it every row gets --reps blocks")
        return repetitions
    most = arguments.reps_max or max(50, repetitions)
    if most < repetitions:
        raise UserError(f"--reps-max {most} is less than --reps {repetitions}")
    return int(most)


def _baseline(wanted: str | None, allocators: list[entries.Allocator]) -> entries.Allocator:
    by_name = {entry.name: entry for entry in allocators}
    if wanted is not None:
        if wanted not in by_name:
            raise unknown("allocator in --baseline", wanted, by_name)
        return by_name[wanted]
    contenders = [entry for entry in allocators if "bound" not in entry.traits]
    return by_name.get("system") or (contenders or allocators)[0]


def make_plan(arguments: argparse.Namespace) -> Made:
    """Refuses everything that is wrong before work starts."""
    if arguments.profile is not None and arguments.profile not in PROFILES:
        raise unknown("profile", arguments.profile, PROFILES)
    profile = PROFILES[arguments.profile or USUAL]
    threads = _threads(arguments.threads)
    timed, further = _further(arguments, profile)
    repetitions = arguments.reps or profile.repetitions
    most = _precision(arguments, repetitions)
    chosen = pinning.choose(arguments.cpus, arguments.isolate)
    known = worker.catalogue()
    wanted = entries.split_list(arguments.workloads)
    usual = [*profile.names(known["workloads"]), *entries.shipped_traces(profile.traces)]
    workloads = entries.workloads(wanted or usual, known["workloads"])
    allocators, missing = entries.allocators(
        entries.split_list(arguments.allocators), arguments.env, known["allocators"]
    )
    baseline = _baseline(arguments.baseline, allocators)
    allocators.append(baseline.control())
    warnings = [
        {
            "what": f"left out, for it cannot be used: {line}",
            "todo": "mend it, or leave it out with --allocators",
        }
        for line in missing
    ]
    if any(_impossible(one) for one in profile.passes) and not arguments.passes:
        what = "instructions are not counted: valgrind is not installed"
        warnings.append({"what": what, "todo": "apt-get install valgrind, then --resume"})
    cpus = len(chosen.cpus) or machine.cpus()
    scaling = () if threads else profile.scaling
    made = plan.Plan(
        plan.rows(workloads, threads or [cpus], scaling, powers(cpus)),
        allocators,
        repetitions,
        arguments.scale or profile.scale,
        arguments.seed,
        most,
        arguments.precision,
        further,
        timed,
        chosen.cpus,
    )
    names = {entry["name"] for entry in known["workloads"]} - set(FILE_WORKLOADS)
    taken = {entry.spec.partition(":")[0] for entry in workloads}
    left_out = [] if wanted else sorted(names - taken)
    return Made(made, baseline.name, [*warnings, *chosen.warnings], left_out)


def handle(arguments: argparse.Namespace) -> int:
    out = arguments.out or build.ROOT / "results" / "runs" / f"{datetime.now():%Y%m%d-%H%M%S}"
    if arguments.resume and arguments.out is None:
        raise UserError("--resume needs the folder to go on in: give --out DIR")
    made = make_plan(arguments)
    session.prepare_folder(out)
    with session.locked(out):
        return _run(arguments, out, made)


def _run(arguments: argparse.Namespace, out: Path, made: Made) -> int:
    console = Console(stderr=True)
    run = session.Session(
        made.plan,
        out,
        ["heaparena", *sys.argv[1:]],
        arguments.profile or USUAL,
        made.baseline,
        arguments.timeout,
        made.warnings,
        made.left_out,
    )
    if arguments.resume:
        kept = run.resume()
        console.print(f"resuming: {kept} samples are there", highlight=False)
    else:
        run.set_aside()
    plain = arguments.plain or not console.is_terminal
    stopped = False
    with (PlainProgress if plain else BarProgress)(made.plan, console) as watcher:
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
