"""heaparena record: records the heap operations of a real program, its threads and children, as a trace."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

from cli import build, machine, program_check, recordable, worker
from cli.errors import EXIT_GOOD, UserError

Json = dict[str, Any]

EXAMPLES = """examples:
  heaparena record -o server.hat -- ./server --port 8080     Ctrl-C stops the server and keeps the trace
  heaparena record -o build.hat -- clang++ -O2 -c big.cc
  heaparena record -o busy.hat --window 60,10 -- ./server    the ten seconds after the first minute
  heaparena record -o script.hat -- env PYTHONMALLOC=malloc python3 script.py

A program that is statically linked, has rights of its own or a malloc of its own cannot be recorded; a child
like that is named in a remark, here and in the trace. The exit status is 0 if the trace is good, whatever the
program's own status is, which is shown."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "record",
        help="record a real program as a trace",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="heaparena record [-h] -o FILE [--window START,LENGTH] [--keep-spool] [--json] -- CMD...",
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FILE", help="the trace to write (.hat)"
    )
    parser.add_argument(
        "--window",
        type=window,
        metavar="START,LENGTH",
        help="keep only that part, in seconds; blocks that are live at its start are allocated there",
    )
    parser.add_argument(
        "--keep-spool", action="store_true", help="keep the recorder's raw files beside the trace"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the summary as JSON; what the program prints goes to stderr",
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- CMD...", help="the program and its arguments"
    )
    parser.set_defaults(handle=handle)


def window(text: str) -> tuple[float, float]:
    """(start, end) of "START,LENGTH" in seconds."""
    start, comma, length = text.partition(",")
    try:
        found = float(start), float(start) + float(length)
    except ValueError:
        found = 0.0, 0.0
    if not comma or not 0 <= found[0] < found[1] <= 1e9:
        raise argparse.ArgumentTypeError(f"'{text}' is not START,LENGTH in seconds, such as 10,2.5")
    return found


def _cut(whole: Path, out: Path, part: tuple[float, float]) -> Json:
    """Cuts the window out of the whole recording: only so is known what is live at its start."""
    try:
        return worker.trace_cut(whole, out, *part)
    except UserError as error:
        raise UserError(f"record: --window: {error}") from None


def _program(command: list[str]) -> Path:
    """The program's file; refuses what does not exist or cannot be recorded."""
    found = program_check.program_file(command, None, "record", needs_preload=False)
    image = program_check.elf_image(found)
    why = recordable.why_not(image)
    if why:
        raise UserError(f"record: {image} {why}")
    return found


def _spool(out: Path) -> Path:
    """A fresh folder for the recorder, beside the trace: there must be room for both."""
    try:
        if out.is_dir():
            raise UserError(f"record: {out} is a folder; -o needs the name of a file")
        spool = Path(tempfile.mkdtemp(prefix=f".{out.name}.spool-", dir=out.absolute().parent))
        if out.exists() and not os.access(out, os.W_OK):
            spool.rmdir()
            raise UserError(f"record: {out}: is there and cannot be replaced; choose another name")
        return spool
    except OSError as error:
        raise UserError(f"record: {out}: cannot be written: {error.strerror}; choose another place") from None


def _terminal_reaches_all() -> bool:
    """Whether Ctrl-C on a terminal goes to the program as well as to us."""
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _run(command: list[str], spool: Path, quiet: bool) -> tuple[int, float]:
    """Runs the program in the foreground with the recorder; it gets our signals, we live on.

    Returns status and seconds. With `quiet` its stdout goes to stderr, so that ours holds the JSON alone.
    """
    preload = ":".join(part for part in (str(build.recorder()), os.environ.get("LD_PRELOAD")) if part)
    environment = {**os.environ, "LD_PRELOAD": preload, "HEAPARENA_SPOOL": str(spool)}
    start = time.monotonic()
    try:
        process = subprocess.Popen(command, env=environment, stdout=sys.stderr if quiet else None)
    except OSError as error:
        raise UserError(f"record: {command[0]} cannot be started: {error.strerror}") from None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGINT or not _terminal_reaches_all():
            process.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status, time.monotonic() - start


def _left(spool: Path) -> str:
    """What is there when no trace could be made: nothing of a program that ran is lost."""
    if not any(spool.iterdir()):
        spool.rmdir()
        return ""
    again = [str(build.program("heaparena-trace")), "collect", str(spool), "-o", "FILE"]
    return f"; the raw recording is kept, `{shlex.join(again)}` tries again"


def handle(arguments: argparse.Namespace) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise UserError("record: no program given; heaparena record -o FILE -- CMD...")
    build.recorder()
    build.program("heaparena-trace")
    program = _program(command)
    spool = _spool(arguments.out)
    whole = spool / "whole.hat" if arguments.window else arguments.out
    try:
        status, seconds = _run(command, spool, arguments.json)
        facts = machine.facts()
        meta = {
            "command": shlex.join(command),
            "program": str(program),
            "status": worker.status_words(status),
            "cpu": facts["cpu"],
            "kernel": facts["kernel"],
            "libc": facts["libc"],
        }
        summary = worker.trace_collect(spool, whole, meta)
        if arguments.window:
            summary = _cut(whole, arguments.out, arguments.window)
    except UserError as error:
        raise UserError(str(error) + _left(spool)) from None
    except KeyboardInterrupt:
        print(f"heaparena: record: no trace was made{_left(spool)}", file=sys.stderr)
        raise
    if not arguments.keep_spool:
        shutil.rmtree(spool, ignore_errors=True)
    summary = {
        "trace": str(arguments.out),
        "command": command,
        "program_status": status,
        "program_seconds": round(seconds, 3),
        **summary,
    }
    if arguments.keep_spool:
        summary["spool"] = str(spool)
    if arguments.json:
        print(json.dumps(summary, indent=2))
    else:
        _show(summary, worker.status_words(status))
    return EXIT_GOOD


def _counted(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _show(summary: Json, status: str) -> None:
    print(
        f"{summary['trace']}: {summary.get('operations', 0):,} operations, "
        f"{summary.get('objects', 0):,} objects, "
        f"{_counted(summary.get('threads', 0), 'thread', 'threads')}, "
        f"{_counted(summary.get('processes', 1), 'process', 'processes')}, "
        f"{summary.get('bytes_per_operation', 0):.2f} bytes per operation"
    )
    print(f"the program ended with {status} after {summary['program_seconds']:.2f} s")
    if not summary.get("complete", True):
        print("the recording is incomplete: the trace holds a true beginning of the run")
    for remark in summary.get("remarks", []):
        print(f"remark: {remark}")
    if "spool" in summary:
        print(f"raw recording kept in {summary['spool']}")
