"""heaparena run: measures allocators on workloads side by side and writes a report."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from typing import Any

from cli import (
    ablation,
    carry,
    entries,
    files,
    launch,
    machine,
    options,
    pinning,
    plan,
    program_run,
    programs,
    session,
    worker,
)
from cli.carry import Made
from cli.errors import UserError, unknown
from cli.profiles import ASKED_FOR, FILE_WORKLOADS, PROFILES, PassPlan, Profile, powers
from results.metrics import INSTRUCTIONS, LATENCY, METRICS, PASSES, TIME

USUAL = "standard"  # the profile if none is named

EXAMPLES = """examples:
  heaparena run --profile quick                     a first look at every allocator of this machine
  heaparena run --allocators system,mimalloc,mine=/home/me/libmine.so --workloads churn,trace:web.hat
  heaparena run --allocators mimalloc,nothp=mimalloc --env nothp:MIMALLOC_ALLOW_THP=0
  heaparena run --workloads churn --precision 2% --reps-max 60    repeat until the intervals are that narrow
  heaparena run --profile quick --passes time,latency=5,timeline  tail latency and memory over time as well
  heaparena run --profile quick --metric instructions             only what this metric needs, for CI
  heaparena run --workloads churn:fill=before:live=1000..1000000  time per call against live blocks
  heaparena run --ablate --workloads churn,larson                 what each level of gomalloc buys
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
    options.add_selection(parser)
    profiles = "; ".join(f"{profile.name}: {profile.purpose}" for profile in PROFILES.values())
    profiles += f"; {programs.PROFILE}: {programs.PURPOSE}"
    parser.add_argument(
        "--workloads",
        action="append",
        metavar="W,...",
        help="NAME[:key=value...], with key=A..B for A, 10 A, 100 A, ... B; trace:FILE or FILE.hat, or "
        "program:NAME; default: those of the profile",
    )
    parser.add_argument("--profile", metavar="NAME", help=f"{profiles} (default: {USUAL})")
    options.add_repetition(parser)
    _add_passes(parser)
    ablation.add_option(parser)
    options.add_cpus(parser)
    parser.add_argument(
        "--threads", action="append", metavar="N,...", help="thread counts of workloads that scale"
    )
    launch.add_options(parser, "a block of a row on one node", "all that are free")
    options.add_output(parser)
    parser.set_defaults(handle=handle)


def _add_passes(parser: argparse.ArgumentParser) -> None:
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
        wanted.append(METRICS[name].pass_)
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


def _impossible(pass_: PassPlan) -> bool:
    """Whether this machine lacks what the pass needs."""
    return pass_.name == INSTRUCTIONS and shutil.which("valgrind") is None


def _refuse_idle(workloads: list[entries.Workload], allocators: list[entries.Allocator]) -> None:
    """A collector that would run nothing was asked for in vain."""
    idle = [entry.name for entry in allocators if entry.collects]
    if idle and not any(entry.mutator for entry in workloads):
        raise UserError(
            f"--allocators {','.join(idle)}: a collector serves the gc-... workloads only; "
            "add one of them to --workloads"
        )


def _useful(
    workloads: list[entries.Workload], allocators: list[entries.Allocator], asked: bool
) -> list[entries.Allocator]:
    """Without those that serve replays only, if nothing is replayed; refused if they were asked for."""
    if any(work.trace_sha256 for work in workloads):
        return allocators
    found = [entry for entry in allocators if "trace-only" not in entry.traits]
    if asked and len(found) < len(allocators):
        idle = ",".join(entry.name for entry in allocators if entry not in found)
        raise UserError(f"--allocators {idle}: serves trace:FILE and model:FILE only; add one to --workloads")
    return found


def make_plan(arguments: argparse.Namespace, cpus_elsewhere: int | None = None) -> Made:
    """Refuses everything that is wrong before work starts. `cpus_elsewhere`: of the machines that will
    measure, if they are others than this one."""
    if arguments.profile is not None and arguments.profile not in PROFILES:
        raise unknown("profile", arguments.profile, [*PROFILES, programs.PROFILE])
    profile = PROFILES[arguments.profile or USUAL]
    threads = _threads(arguments.threads)
    timed, further = _further(arguments, profile)
    repetitions = arguments.reps or profile.repetitions
    most = options.most_blocks(arguments, repetitions)
    chosen = pinning.choose(arguments.cpus, arguments.isolate)
    known = worker.catalogue()
    wanted = entries.split_list(arguments.workloads)
    usual = [*profile.names(known["workloads"]), *entries.shipped_traces(profile.traces)]
    workloads = entries.workloads(entries.ranges(wanted or usual), known["workloads"])
    allocators, missing = entries.allocators(
        entries.split_list(arguments.allocators),
        arguments.env,
        known["allocators"],
        any(entry.mutator for entry in workloads),
    )
    _refuse_idle(workloads, allocators)
    allocators = _useful(workloads, allocators, bool(arguments.allocators))
    baseline = options.choose_baseline(arguments.baseline, allocators)
    allocators.append(baseline.control())
    warnings = options.left_out_warnings(missing)
    if any(_impossible(one) for one in profile.passes) and not arguments.passes:
        what = "instructions are not counted: valgrind is not installed"
        warnings.append({"what": what, "todo": "apt-get install valgrind, then --resume"})
    cpus = len(chosen.cpus) or cpus_elsewhere or machine.cpus()
    scaling = () if threads else profile.scaling
    default = cpus if wanted or profile.threads is None else profile.threads
    made = plan.Plan(
        plan.rows(workloads, threads or [default], scaling, powers(cpus)),
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
    ablation.apply(arguments)
    if program_run.asked_for(arguments):
        return program_run.handle(arguments)
    out = options.out_folder(arguments)
    launcher = launch.choose(arguments)
    made = make_plan(arguments, launcher.cpus())
    files.folder(out)
    with session.locked(out):
        return carry.carry_out(arguments, out, made, arguments.profile or USUAL, launcher=launcher)
