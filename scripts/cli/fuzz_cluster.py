"""heaparena fuzz on a cluster: parts of a campaign, each alone on a node, in rounds; after every round their
corpora are merged into one, from which the next round begins."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, Protocol

from cli import launch, session
from cli.errors import EXIT_FAILED, EXIT_GOOD, EXIT_INTERRUPTED, UserError
from cli.launch_array import Array

Json = dict[str, Any]

COMMAND = Path(__file__).resolve().parents[1] / "heaparena"
ROUND_SECONDS = 600  # at most: what one part finds, the others learn after it
GRACE = 300.0  # seconds beside the fuzzing that a part may take: its start, making findings small


class Campaign(Protocol):
    """What we need of cmd_fuzz's campaign."""

    out: Path
    corpus: Path

    def say(self, text: str) -> None:
        ...


def _rounds(seconds: int) -> list[int]:
    """Lengths of the rounds that make up `seconds`."""
    count = math.ceil(seconds / ROUND_SECONDS)
    return [seconds // count + (number < seconds % count) for number in range(count)]


class Spread:
    def __init__(
        self, arguments: argparse.Namespace, campaign: Campaign, merge: Callable[[Campaign], None]
    ) -> None:
        self.arguments, self.campaign, self.merge = arguments, campaign, merge
        self.slurm = launch.slurm_of(arguments)
        self.parts = arguments.nodes or 2
        self.jobs = arguments.jobs if arguments.jobs > 1 else self.slurm.least_cpus()
        self.array = Array(self.slurm, campaign.out, self.parts)
        self.found: list[Path] = []

    def _part(self, number: int) -> Path:
        return (self.campaign.out / f"part-{number}").absolute()

    def _works(self, seconds: int, round_number: int) -> Iterator[Json]:
        """One unit a part: the same command on its node, from a copy of the corpus."""
        given = self.arguments
        for number in range(self.parts):
            corpus = self._part(number) / "corpus"
            corpus.mkdir(parents=True, exist_ok=True)
            _copy_new(self.campaign.corpus, corpus)
            argv = [sys.executable, str(COMMAND), "fuzz", "--allocator", _absolute(given.allocator)]
            argv += ["--target", given.target, "--seconds", str(seconds), "--jobs", str(self.jobs)]
            argv += ["--max-operations", str(given.max_operations), "--out", str(self._part(number))]
            for option, value in (("--against", given.against), ("--oracles", given.oracles)):
                argv += [option, value] if value else []
            if given.seed:
                argv += ["--seed", str(given.seed + 1000 * (self.parts * round_number + number))]
            argv += [
                f"--{name}" for name in ("blind", "keep-going") if getattr(given, name.replace("-", "_"))
            ]
            name = f"part {number + 1}, round {round_number + 1}"
            yield {"do": "command", "name": name, "part": number, "argv": argv, "timeout": seconds + GRACE}

    def _collect(self, work: Json, result: Json) -> None:
        last = (result["output"].splitlines() or ["no word"])[-1]
        if result["status"] == 2:
            raise UserError(f"fuzz: on node {result['node']}: {last.removeprefix('heaparena: ')}")
        self.campaign.say(f"{work['name']}, node {result['node']}: {last}")
        if result["status"] not in (EXIT_GOOD, EXIT_FAILED):
            raise UserError(f"fuzz: {work['name']} ended with {result['status']}: {last}")

    def _gather(self) -> None:
        """Findings and inputs of all parts, into the campaign's folders."""
        findings = self.campaign.out / "findings"
        for number in range(self.parts):
            part = self._part(number)
            for path in sorted((part / "findings").glob("*")):
                target = findings / f"part{number + 1}-{path.name}"
                if not target.exists():
                    shutil.copyfile(path, target)
                    self.found += [target] if path.suffix in (".c", ".journal") else []
            if (part / "corpus").is_dir():
                _copy_new(part / "corpus", self.campaign.corpus)

    def run(self) -> int:
        rounds = _rounds(self.arguments.seconds or 60)
        self.array.begin_anew()
        self.campaign.say(
            f"{self.parts} parts of {self.jobs} processes on nodes of their own, {len(rounds)} rounds"
        )
        interrupted = False
        with session.terminable():
            try:
                for number, seconds in enumerate(rounds):
                    self._round(number, seconds)
                    if self.found and not self.arguments.keep_going:
                        break
            except KeyboardInterrupt:
                interrupted = True
            finally:
                for job in self.array.job_numbers():
                    self.slurm.cancel(job)
                self._gather()
        for path in self.found:
            self.campaign.say(f"FOUND  {path}")
        if self.found:
            return EXIT_FAILED
        self.campaign.say("stopped; nothing found so far" if interrupted else "nothing found")
        return EXIT_INTERRUPTED if interrupted else EXIT_GOOD

    def _round(self, number: int, seconds: int) -> None:
        self.array.run(list(self._works(seconds, number)), self._collect, lambda text: None)
        outcome = self.array.outcome
        for work, why in outcome.given_up:
            self.campaign.say(f"{work['name']} was lost twice: {why}")
        if len(outcome.given_up) == self.parts:
            raise UserError(f"fuzz: every part was lost twice; the last: {outcome.given_up[-1][1]}")
        outcome.given_up.clear()
        self._gather()
        self.merge(self.campaign)


def _absolute(spec: str) -> str:
    """The allocator's spec for another working folder."""
    name, equals, path = spec.partition("=")
    return f"{name}={os.path.abspath(path)}" if equals else spec


def _copy_new(source: Path, target: Path) -> None:
    """Inputs are named by their content: one that is there already is the same."""
    for path in source.iterdir():
        if path.is_file() and not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)


def run(arguments: argparse.Namespace, campaign: Campaign, merge: Callable[[Any], None]) -> int:
    """The campaign's exit status. `merge` drops inputs of its corpus that add nothing."""
    if arguments.runs:
        raise UserError("fuzz: --runs does not go with --launcher slurm; give --seconds")
    return Spread(arguments, campaign, merge).run()
