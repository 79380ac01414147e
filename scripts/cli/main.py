"""The command line: puts the subcommands together and turns every foreseen fault into one line and a
status."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from typing import Any, NoReturn, Sequence

from cli import (
    build,
    cmd_compare,
    cmd_doctor,
    cmd_exec,
    cmd_explain,
    cmd_fuzz,
    cmd_list,
    cmd_map,
    cmd_misuse,
    cmd_record,
    cmd_replay,
    cmd_report,
    cmd_results,
    cmd_run,
    cmd_trace,
)
from cli.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_USAGE, UserError, unknown
from results.store import BadResults

COMMANDS = {
    "list": cmd_list,
    "explain": cmd_explain,
    "doctor": cmd_doctor,
    "run": cmd_run,
    "exec": cmd_exec,
    "record": cmd_record,
    "replay": cmd_replay,
    "trace": cmd_trace,
    "report": cmd_report,
    "map": cmd_map,
    "compare": cmd_compare,
    "fuzz": cmd_fuzz,
    "misuse": cmd_misuse,
    "results": cmd_results,
}

EPILOG = """first steps:
  heaparena list                                   what is there
  heaparena run --profile quick                    compare all of it, about a minute
  heaparena record -o mine.hat -- ./my-program     then: heaparena run --workloads trace:mine.hat"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other part of heaparena does."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


class _Version(argparse.Action):
    """Reads what was built only when asked."""

    def __init__(self, option_strings: Sequence[str], dest: str, **given: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **given)

    def __call__(self, *_: Any) -> NoReturn:
        print(build.described())
        sys.exit(0)


def parser() -> argparse.ArgumentParser:
    top = Parser(
        prog="heaparena",
        description="Runs heap allocators side by side and reports what it saw.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, help="say version, commit and compiler, and exit")
    commands = top.add_subparsers(dest="subcommand", required=True, metavar="COMMAND", parser_class=Parser)
    for module in COMMANDS.values():
        module.add(commands)
    return top


def _check_command(arguments: Sequence[str]) -> None:
    """Before argparse, whose word on an unknown subcommand names no nearest one."""
    first = next((word for word in arguments if not word.startswith("-")), None)
    if first is not None and first not in COMMANDS and arguments[0] == first:
        raise unknown("command", first, COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _check_command(words)
        parsed, strange = parser().parse_known_args(words)
        if strange:  # said here, for argparse would name the help of the whole
            raise UserError(f"unknown {' '.join(strange)}; see `heaparena {parsed.subcommand} --help`")
        status: int = parsed.handle(parsed)
        sys.stdout.flush()
        return status
    except (UserError, BadResults) as error:
        print(f"heaparena: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("heaparena: stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `heaparena list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_USAGE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"heaparena: {place}{error.strerror or error}", file=sys.stderr)
        return EXIT_USAGE
    except Exception as error:  # a fault of ours: one line for people, all of it for developers
        if os.environ.get("HEAPARENA_DEBUG"):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        print(
            f"heaparena: a fault in heaparena itself ({type(error).__name__}: {error}, {where}); "
            "please report it with the output under HEAPARENA_DEBUG=1",
            file=sys.stderr,
        )
        return EXIT_BUG
