"""Measures real programs as `run` measures workloads: plan, warm-up, then the same session and report."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Callable, Sequence

from rich.console import Console

from cli import carry, entries, files, options, pinning, plan, program_check, programs, session, worker
from cli.carry import Made
from cli.errors import UserError
from cli.profiles import PassPlan
from cli.program_work import ProgramSampler, ProgramWorkload, runnable
from results.metrics import TIME, TIMELINE

REPETITIONS = 5  # of the program set


def make_plan(
    arguments: argparse.Namespace, works: Sequence[ProgramWorkload], repetitions: int, curve: bool
) -> Made:
    """One row a program; every allocator that a program can be given. `curve`: also a pass over time."""
    most = options.most_blocks(arguments, repetitions)
    chosen = pinning.choose(arguments.cpus, arguments.isolate)
    known = worker.catalogue()["allocators"]
    wanted = entries.split_list(arguments.allocators)
    if not wanted:  # the bounds and the textbook's are linked into the worker
        known = [entry for entry in known if entry["kind"] != "linked"]
    found, missing = entries.allocators(wanted, arguments.env, known)
    allocators = runnable(found, bool(wanted))
    if not allocators:
        raise UserError("no allocator here can be put into a program; see `heaparena list`")
    baseline = options.choose_baseline(arguments.baseline, allocators)
    allocators.append(baseline.control())
    further = [PassPlan(TIMELINE, 1)] if curve else []
    made = plan.Plan(
        [plan.Row(work, 1) for work in works],
        allocators,
        repetitions,
        1.0,
        1,
        most,
        arguments.precision,
        further,
        True,
        chosen.cpus,
    )
    return Made(made, baseline.name, [*options.left_out_warnings(missing), *chosen.warnings], [])


def asked_for(arguments: argparse.Namespace) -> bool:
    """Whether a `run` is one of the program set: its profile, or workloads "program:NAME"."""
    words = entries.split_list(arguments.workloads)
    ours = [word for word in words if word.startswith(programs.PREFIX)]
    if ours and len(ours) < len(words):
        other = next(word for word in words if word not in ours)
        raise UserError(
            f"--workloads: {ours[0]} and {other} cannot stand in one run: a program is measured as a whole"
        )
    return bool(ours) or (arguments.profile == programs.PROFILE and not words)


def handle(arguments: argparse.Namespace) -> int:
    """`heaparena run` over the program set."""
    if arguments.launcher != "local":
        raise UserError("--launcher: the program set is measured on this machine only")
    for name in ("threads", "scale", "metric"):
        if getattr(arguments, name):
            raise UserError(f"--{name} means nothing to real programs: they are run as they are")
    passes = [word.partition("=")[0] for word in entries.split_list(arguments.passes)]
    for word in passes:
        if word not in (TIME, TIMELINE):
            raise UserError(f"--passes {word}: of a real program only {TIME} and {TIMELINE} can be measured")
    out = options.out_folder(arguments)
    words = entries.split_list(arguments.workloads)
    chosen, warnings = (programs.chosen(words), []) if words else programs.available()
    with tempfile.TemporaryDirectory(prefix="heaparena-") as folder:
        works = [programs.make(program, Path(folder)) for program in chosen]
        made = make_plan(arguments, works, arguments.reps or REPETITIONS, TIMELINE in passes)
        made.warnings.extend(warnings)
        return carry_out(arguments, out, made, programs.PROFILE)


def carry_out(arguments: argparse.Namespace, out: Path, made: Made, profile: str) -> int:
    """Warms up, measures, reports. The folder is locked all the while."""
    files.folder(out)
    with session.locked(out):
        checked = _warm_up(arguments, made)
        rows = [plan.Row(work, 1) for work in checked.works]
        made = replace(made, plan=replace(made.plan, rows=rows), warnings=[*made.warnings, *checked.warnings])
        sampler = ProgramSampler(arguments.timeout, checked.references, checked.absent)
        return carry.carry_out(arguments, out, made, profile, sampler)


def _warm_up(arguments: argparse.Namespace, made: Made) -> program_check.Checked:
    console = Console(stderr=True)
    allocators = {entry.name: entry for entry in made.plan.allocators}
    contenders = [entry for entry in allocators.values() if entry.control_of is None]
    works = [row.workload for row in made.plan.rows if isinstance(row.workload, ProgramWorkload)]

    def warm_up(say: Callable[[str], None]) -> program_check.Checked:
        return program_check.warm_up(
            works, contenders, allocators[made.baseline], arguments.timeout, made.plan.cpus, say
        )

    if arguments.plain or not console.is_terminal:
        return warm_up(lambda text: console.print(text, markup=False, highlight=False))
    with console.status("warm-up") as status:
        return warm_up(lambda text: status.update(text))
