"""heaparena exec: runs a real program under each allocator, side by side, and writes a report."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shlex
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator

from cli import elf, files, options, program_check, program_run
from cli.entries import NAME
from cli.errors import UserError
from cli.program_work import ProgramWorkload

PRECISE = 0.02  # --until-precise: intervals of two per cent to a side
REPETITIONS = 10
STDIN = "STDIN"  # the copy of what came through a pipe, which only this run has

EXAMPLES = """examples:
  heaparena exec -- ./my-program --its --arguments
  heaparena exec --allocators system,mimalloc,mine=/home/me/libmine.so --reps 20 -- ./my-program
  heaparena exec --until-precise --expect-output --input script.sql -- sqlite3 :memory:
  heaparena exec --prepare 'rm -rf out' -- ./build-something out
  heaparena exec --server './my-server --port 7000' --load './my-client --requests 20000 localhost:7000'

A program that is linked statically or ignores LD_PRELOAD is refused; one that takes most of its memory from
an allocator of its own gets a warning. With --server the time is that of the load, memory and CPU time are
the server's. Time, peak resident size and page faults are the kernel's own counts, children included.

exit status: 0 all runs good, 1 some failed under some allocator (crash, other exit status, with
--expect-output other output), 2 nothing was run, 130 stopped"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "exec",
        help="run a real program under each allocator and write a report",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="heaparena exec [OPTION...] (-- CMD... | --server CMD --load CMD)",
    )
    options.add_allocators(parser)
    options.add_repetition(parser)
    parser.add_argument(
        "--until-precise",
        dest="precision",
        action="store_const",
        const=PRECISE,
        help=f"the same as --precision {PRECISE:.0%}".replace("%", "%%"),
    )
    options.add_cpus(parser)
    parser.add_argument("--name", metavar="NAME", help="of the program in the report (default: its file's)")
    parser.add_argument("--prepare", metavar="CMD", help="a shell command before each run, not measured")
    parser.add_argument("--cleanup", metavar="CMD", help="a shell command after each run, not measured")
    parser.add_argument(
        "--input",
        type=Path,
        metavar="FILE",
        help="what each run reads from stdin (default: ours, if it is a file or a pipe)",
    )
    parser.add_argument(
        "--expect-output",
        action="store_true",
        help="a run that prints anything but what the first run under the baseline did has failed",
    )
    parser.add_argument(
        "--exit-status",
        type=options.whole_number(0),
        default=0,
        metavar="N",
        help="of a good run of the program (0)",
    )
    parser.add_argument(
        "--rss-curve", action="store_true", help="one more run of each cell, for memory over time"
    )
    parser.add_argument("--server", metavar="CMD", help="a server to start under each allocator")
    parser.add_argument("--load", metavar="CMD", help="with --server: the client that is put on it")
    parser.add_argument(
        "--ready",
        metavar="CMD",
        help="with --server: repeated until it ends with status 0 (default: until the server listens)",
    )
    options.add_output(parser)
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- CMD...", help="the program and its arguments"
    )
    parser.set_defaults(handle=handle)


def handle(arguments: argparse.Namespace) -> int:
    out = options.out_folder(arguments)
    with _input(arguments) as source:
        arguments.input = source
        work = workload(arguments)
        made = program_run.make_plan(arguments, [work], arguments.reps or REPETITIONS, arguments.rss_curve)
        return program_run.carry_out(arguments, out, made, "exec")


@contextlib.contextmanager
def _input(arguments: argparse.Namespace) -> Iterator[Path | None]:
    """The file that every run reads: --input, or what our own stdin holds if it is a file or a pipe."""
    if arguments.input is not None:
        yield files.readable(arguments.input, "exec: --input")
        return
    kind = os.fstat(sys.stdin.fileno()).st_mode if sys.stdin is not None else 0
    path = Path(os.readlink(f"/proc/self/fd/{sys.stdin.fileno()}")) if stat.S_ISREG(kind) else None
    if path is not None and path.is_file() and os.lseek(sys.stdin.fileno(), 0, os.SEEK_CUR) == 0:
        yield path
        return
    if not stat.S_ISREG(kind) and not stat.S_ISFIFO(kind):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="heaparena-") as folder:
        copy = Path(folder) / STDIN
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield copy if copy.stat().st_size else None


def _split(text: str | None, option: str) -> tuple[str, ...]:
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None
    if not words:
        raise UserError(f"{option}: no command given")
    return words


def workload(arguments: argparse.Namespace) -> ProgramWorkload:
    """The program of the command line; UserError if it cannot be compared."""
    command = tuple(arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command)
    load, ready = _split(arguments.load, "--load"), _split(arguments.ready, "--ready")
    if arguments.server is not None:
        if command:
            raise UserError("exec: give either --server and --load, or -- CMD...")
        command = _split(arguments.server, "--server")
        if not load:
            raise UserError("exec: --server needs --load: a server does not end by itself")
        program_check.program_file(load, None, "exec: --load", needs_preload=False)
    elif load or ready:
        raise UserError("exec: --load and --ready go with --server")
    if not command:
        raise UserError("exec: no program given; heaparena exec -- CMD...")
    place = program_check.program_file(command, None, "exec")
    name = arguments.name or re.sub(r"[^A-Za-z0-9_.+-]", "_", place.name)
    if not NAME.fullmatch(name):
        raise UserError(f"exec: --name {name}: use letters, digits and _ . + -")
    return ProgramWorkload(
        name,
        _spec(arguments, command, load),
        shlex.join(command),
        f"Loaded by: {shlex.join(load)}." if load else "",
        _parameters(arguments, place),
        False,
        command=command,
        load=load,
        ready=ready,
        input=arguments.input,
        prepare=arguments.prepare,
        cleanup=arguments.cleanup,
        status=arguments.exit_status,
        expects_output=arguments.expect_output,
        again=_again(arguments, command),
    )


def _spec(arguments: argparse.Namespace, command: tuple[str, ...], load: tuple[str, ...]) -> str:
    if load:
        return f"--server {shlex.quote(shlex.join(command))} --load {shlex.quote(shlex.join(load))}"
    return shlex.join(command) + (f" < {shlex.quote(arguments.input.name)}" if arguments.input else "")


def _parameters(arguments: argparse.Namespace, place: Path) -> dict[str, str]:
    """What else makes samples comparable, as text."""
    found = {"program": str(place.resolve()), "build_id": str(elf.build_id(place.resolve()))}
    if arguments.input is not None:
        found["input_sha256"] = hashlib.sha256(arguments.input.read_bytes()).hexdigest()
    for name in ("prepare", "cleanup", "ready"):
        value = getattr(arguments, name)
        if value is not None:
            found[name] = value
    return found


def _again(arguments: argparse.Namespace, command: tuple[str, ...]) -> tuple[str, ...]:
    """The words that repeat this program, for the report."""
    words = []
    for name in ("name", "prepare", "cleanup", "input", "server", "load", "ready"):
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name}", STDIN if name == "input" and value.name == STDIN else str(value)]
    words += ["--expect-output"] if arguments.expect_output else []
    words += ["--exit-status", str(arguments.exit_status)] if arguments.exit_status else []
    return (*words,) if arguments.server is not None else (*words, "--", *command)
