"""Options that several subcommands share, and what follows from them."""

from __future__ import annotations

import argparse
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from cli import build, entries
from cli.errors import UserError, unknown


def add_output(parser: argparse.ArgumentParser) -> None:
    """Where results go and how they are shown: of run and exec."""
    parser.add_argument("--baseline", metavar="NAME", help="what ratios refer to (default: system)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="default: TIME in results/runs of the checkout, or, installed, in ~/.local/share/heaparena/runs",
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep what DIR already holds and measure the rest"
    )
    parser.add_argument("--plain", action="store_true", help="progress as lines, for logs")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON instead of the table")


def add_repetition(parser: argparse.ArgumentParser) -> None:
    """How often: of run and exec."""
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


def add_cpus(parser: argparse.ArgumentParser) -> None:
    """On which CPUs: of run and exec."""
    parser.add_argument(
        "--cpus", metavar="LIST", help="CPUs that measured processes may use, such as 0-3,8 (default: all)"
    )
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="measure on the kernel's isolated CPUs, or all but the first; heaparena stays off them",
    )


def add_entries(parser: argparse.ArgumentParser) -> None:
    """Which allocators: of run, replay, exec and misuse."""
    parser.add_argument(
        "--allocators",
        action="append",
        metavar="A,...",
        help="NAME, NAME=/path/lib.so or NAME=/path/lib.so:prefix_; default: all available",
    )
    parser.add_argument(
        "--env", action="append", metavar="NAME:VAR=VALUE", help="a variable for one entry only"
    )


def add_allocators(parser: argparse.ArgumentParser) -> None:
    """Which allocators, and how long a sample may take: of run, replay and exec."""
    add_entries(parser)
    parser.add_argument(
        "--timeout", type=positive_number, default=120.0, metavar="SECONDS", help="per sample (120)"
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Options that run and replay share."""
    add_allocators(parser)
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


def most_blocks(arguments: argparse.Namespace, repetitions: int) -> int:
    """Blocks at most."""
    if arguments.precision is None:
        if arguments.reps_max is not None:
            raise UserError("--reps-max goes with --precision: without it every row gets --reps blocks")
        return repetitions
    most = arguments.reps_max or max(50, repetitions)
    if most < repetitions:
        raise UserError(f"--reps-max {most} is less than --reps {repetitions}")
    return int(most)


def choose_baseline(wanted: str | None, allocators: list[entries.Allocator]) -> entries.Allocator:
    by_name = {entry.name: entry for entry in allocators}
    if wanted is not None:
        if wanted not in by_name:
            raise unknown("allocator in --baseline", wanted, by_name)
        return by_name[wanted]
    contenders = [entry for entry in allocators if "bound" not in entry.traits]
    return by_name.get("system") or (contenders or allocators)[0]


def left_out_warnings(missing: list[str]) -> list[dict[str, str]]:
    """For allocators that are there and cannot be used."""
    todo = "mend it, or leave it out with --allocators"
    return [{"what": f"left out, for it cannot be used: {line}", "todo": todo} for line in missing]


def out_folder(arguments: argparse.Namespace) -> Path:
    """--out, or a new folder; refuses --resume without one."""
    if arguments.resume and arguments.out is None:
        raise UserError("--resume needs the folder to go on in: give --out DIR")
    return arguments.out or build.runs() / f"{datetime.now():%Y%m%d-%H%M%S}"
