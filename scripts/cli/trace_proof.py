"""heaparena trace verify and validate: whether replays are what was recorded, and tell of the program."""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from cli import entries, files, program_check, real_program, screen, validation, worker
from cli.errors import EXIT_FAILED, EXIT_GOOD, UserError
from cli.program_work import runnable

Json = dict[str, Any]

SECONDS = 600.0  # before a run of the program, or of a replay, is given up
REPRODUCED = {"operations": "operations", "live_bytes_peak": "peak", "remote_frees": "remote_frees"}

VERIFY = """examples:
  heaparena trace verify server.hat build.hat

Replays each trace with every block filled and read back, counts what was issued anew, and shows it beside
what was recorded. The exit status is 1 if anything differs."""

VALIDATE = """examples:
  heaparena trace validate script.hat -- env PYTHONMALLOC=malloc python3 script.py
  heaparena trace validate --input script.sql --blocks 15 sql.hat -- sqlite3 :memory:

Runs the program that the trace is of under each allocator (by LD_PRELOAD) and replays the trace with it, in
turn and in random order, the baseline twice for the noise floor. Prints time and peak resident memory of
both, and whether replay orders alike whatever the program tells apart. The exit status is 1 if it does not,
or if Spearman's rho for memory is below 0.8."""


def add(actions: Any) -> None:
    verify = actions.add_parser(
        "verify",
        help="replay a trace and count anew what was issued",
        epilog=VERIFY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument("files", nargs="+", type=Path, metavar="FILE")
    verify.add_argument("--allocator", default="system", metavar="A", help="that serves the replay (system)")
    verify.add_argument("--json", action="store_true", help="as JSON")
    verify.set_defaults(handle=handle_verify)
    parser = actions.add_parser(
        "validate",
        help="hold a trace's replay against its program, under several allocators",
        epilog=VALIDATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="heaparena trace validate [OPTION...] FILE -- CMD...",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--allocators", action="append", metavar="A,B", help="default: all that are here")
    parser.add_argument("--env", action="append", metavar="NAME:VAR=VALUE", help="environment of one of them")
    parser.add_argument(
        "--baseline", default="system", metavar="A", help="what others are held against (system)"
    )
    parser.add_argument("--blocks", type=int, default=10, metavar="N", help="runs of each, at least 5 (10)")
    parser.add_argument("--input", type=Path, metavar="FILE", help="what the program reads from stdin")
    parser.add_argument(
        "--touch", default="pages", choices=("none", "ends", "pages", "whole"), help="of replays"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the order of runs (1)")
    parser.add_argument("--json", action="store_true", help="as JSON, with all samples")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD...", help="the traced program")
    parser.set_defaults(handle=handle_validate)


def _issued(path: Path, entry: entries.Allocator) -> Json:
    """What a verified replay counted; {"fault": ...} if it failed."""
    job = worker.Job(entry.spec, f"trace:{path}", 1, 1, 1.0, True, entry.environment, SECONDS)
    raw = worker.measure(job, random.Random(1))
    if raw.get("error_occurred"):
        return {"fault": str(raw["error_message"]).splitlines()[0]}
    facts = worker.label_facts(raw)
    return {key: int(facts[f"issued_{word}"]) for key, word in REPRODUCED.items()}


def handle_verify(arguments: argparse.Namespace) -> int:
    known = worker.catalogue()["allocators"]
    entry = entries.allocators([arguments.allocator], None, known)[0][0]
    lines = []
    for path in arguments.files:
        info = worker.trace_info(files.trace(path))
        recorded = {key: int(info[key]) for key in REPRODUCED}
        # Calls to the allocator: threads' births and ends are operations of the trace too.
        recorded["operations"] -= sum(
            info["by_kind"].get(kind, 0) for kind in ("purge", "spawn", "join", "thread_exit")
        )
        issued = _issued(path.resolve(), entry)
        lines.append({"trace": str(path), "recorded": recorded, "issued": issued, "same": recorded == issued})
    if arguments.json:
        print(json.dumps(lines, indent=2))
    else:
        _show(lines)
    return EXIT_GOOD if all(line["same"] for line in lines) else EXIT_FAILED


def _show(lines: list[Json]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("trace", "operations", "live peak, bytes", "frees by another thread", ""):
        table.add_column(heading, justify="left" if heading in ("trace", "") else "right", overflow="fold")
    for line in lines:
        recorded, issued = line["recorded"], line["issued"]
        verdict = "as recorded" if line["same"] else issued.get("fault", "[red]differs[/]")
        cells = [
            f"{recorded[key]:,}"
            + ("" if issued.get(key) == recorded[key] else f", replayed {issued.get(key, 'not')}")
            for key in REPRODUCED
        ]
        table.add_row(line["trace"], *cells, verdict)
    screen.tables().print(table)


def handle_validate(arguments: argparse.Namespace) -> int:
    command = tuple(arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command)
    if command and command[0].startswith("-"):
        raise UserError(f"trace validate: {command[0]}: options stand before FILE, the program after --")
    if not command:
        raise UserError(
            "trace validate: no program given; heaparena trace validate [OPTION...] FILE -- CMD..."
        )
    if arguments.blocks < 5:
        raise UserError(f"--blocks {arguments.blocks}: give at least 5, or no interval means anything")
    if arguments.input is not None:
        files.readable(arguments.input, "--input")
    trace = files.trace(arguments.file).resolve()
    worker.trace_info(trace)
    program_check.program_file(command, None, "trace validate")
    wanted = entries.split_list(arguments.allocators)
    known = [entry for entry in worker.catalogue()["allocators"] if wanted or entry["kind"] != "linked"]
    chosen = runnable(entries.allocators(wanted, arguments.env, known)[0], bool(wanted))
    baseline = next((entry for entry in chosen if entry.name == arguments.baseline), None)
    if baseline is None:
        raise UserError(f"--baseline {arguments.baseline}: not among the allocators; name it in --allocators")

    def launch(entry: entries.Allocator) -> real_program.Launch:
        return real_program.Launch(
            command, real_program.preload_of(entry), entry.environment, SECONDS, arguments.input
        )

    def job(entry: entries.Allocator) -> worker.Job:
        spec = f"trace:{trace}:touch={arguments.touch}"
        return worker.Job(entry.spec, spec, 1, 1, 1.0, False, entry.environment, SECONDS)

    def say(text: str) -> None:
        print(f"trace validate: {text}", file=sys.stderr)

    contenders = [*chosen, baseline.control()]
    samples = validation.measure(
        launch, job, contenders, arguments.blocks, random.Random(arguments.seed), say
    )
    names = [entry.name for entry in chosen]
    judged = {
        what: validation.judge(samples, names, baseline, what)
        for what in (validation.TIME, validation.MEMORY)
    }
    if arguments.json:
        print(validation.as_json(arguments.file, command, samples, judged))
    else:
        print(validation.markdown(arguments.file.name, samples, names, baseline.name, judged))
    return EXIT_GOOD if validation.faithful(judged) else EXIT_FAILED
