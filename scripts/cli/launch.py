"""Who carries out the samples of a run: this machine, or the nodes of a cluster (--launcher)."""

from __future__ import annotations

import argparse
from typing import Protocol

from cli.errors import UserError
from cli.launch_slurm import SlurmLauncher
from cli.session import Session, Watcher
from cli.slurm import Slurm

LAUNCHERS = ("local", "slurm")


class Launcher(Protocol):
    here: bool  # whether samples are taken on this machine

    def cpus(self) -> int | None:
        """CPUs of the machines that measure, if they are others than this one."""

    def run(self, session: Session, watcher: Watcher, resumed: bool) -> None:
        """Takes every sample that is missing."""


class LocalLauncher:
    here = True

    def cpus(self) -> int | None:
        return None

    def run(self, session: Session, watcher: Watcher, resumed: bool) -> None:
        session.run(watcher)


def add_options(parser: argparse.ArgumentParser, unit: str, nodes: str) -> None:
    """--launcher and what goes with it. `unit`: what one node does; `nodes`: what --nodes is without it."""
    parser.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="local",
        help=f"local: on this machine; slurm: on the nodes of a cluster, {unit}",
    )
    parser.add_argument("--partition", metavar="P", help="with slurm: the partition (default: the cluster's)")
    parser.add_argument(
        "--nodes",
        type=_count,
        metavar="N",
        help=f"with slurm: nodes at most at a time (default: {nodes})",
    )
    parser.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="OPTION",
        help="with slurm: a further option of sbatch, such as --sbatch=--constraint=epyc",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100000:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 to 100000")
    return int(text)


def slurm_of(arguments: argparse.Namespace) -> Slurm:
    """The cluster of the options, after a look whether it is there."""
    slurm = Slurm(arguments.partition, arguments.sbatch)
    slurm.check()
    return slurm


def refuse_without_slurm(arguments: argparse.Namespace) -> None:
    """Options of Slurm without --launcher slurm are a slip."""
    for option in ("partition", "nodes", "sbatch"):
        if arguments.launcher == "local" and getattr(arguments, option):
            raise UserError(f"--{option} goes with --launcher slurm")


def choose(arguments: argparse.Namespace) -> Launcher:
    """The launcher of the options; refuses what does not go together."""
    refuse_without_slurm(arguments)
    if arguments.launcher == "local":
        return LocalLauncher()
    if getattr(arguments, "cpus", None) or getattr(arguments, "isolate", False):
        raise UserError(
            "--cpus and --isolate do not go with --launcher slurm, which takes whole nodes; "
            "ask for their CPUs with --sbatch"
        )
    return SlurmLauncher(slurm_of(arguments), arguments.nodes)
