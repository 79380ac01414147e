"""Carries out what run and exec planned: the session with its progress, then reports and exit status."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cli import launch, screen, session
from cli.errors import EXIT_FAILED, EXIT_GOOD, EXIT_INTERRUPTED, UserError
from cli.plan import Plan
from cli.progress import BarProgress, PlainProgress
from results import report, terminal
from results.analysis import Analysis


@dataclass(frozen=True)
class Made:
    """A plan with what goes with it into the results."""

    plan: Plan
    baseline: str
    warnings: list[dict[str, str]]
    left_out: list[str]  # workloads that the profile does not take


def carry_out(
    arguments: argparse.Namespace,
    out: Path,
    made: Made,
    profile: str,
    sampler: session.Sampler | None = None,
    launcher: launch.Launcher = launch.LocalLauncher(),
) -> int:
    """Measures what was planned into the locked folder `out`, and shows it. `sampler` takes the samples where
    the worker does not; `launcher` says on which machines."""
    console = Console(stderr=True)
    run = session.Session(
        made.plan,
        out,
        ["heaparena", *sys.argv[1:]],
        profile,
        made.baseline,
        arguments.timeout,
        made.warnings,
        made.left_out,
        sampler,
    )
    if arguments.resume:
        kept = run.resume(launcher.here)
        console.print(f"resuming: {kept} samples are there", highlight=False)
    else:
        run.set_aside()
    plain = arguments.plain or not console.is_terminal
    stopped = False
    with (PlainProgress if plain else BarProgress)(made.plan, console) as watcher:
        try:
            launcher.run(run, watcher, arguments.resume)
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
        try:
            reports = report.write(analysis, out, ("html", "md"))
        except OSError as error:
            raise UserError(
                f"{out}: the report cannot be written: {error.strerror}; {run.path.name} is whole: "
                f"make room, then `heaparena report {shlex.quote(str(out))}`"
            ) from None
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
