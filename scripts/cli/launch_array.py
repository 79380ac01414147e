"""Work spread over a cluster's nodes: units done by the tasks of Slurm job arrays, each alone on its node.

All state is in one folder on a file system that the nodes share, so that any host can go on:

  job-K.json, job-K.sh   the K-th array: its Slurm number, and which units each task does; what its tasks run
  unit-N.todo.json       what to do; numbers are never used twice
  unit-N.json            what came of it; appears whole or not at all
  node-NAME.json         facts of a node; kind.json: the kind of node that the folder's results are of
  log-JOB_TASK.txt       what a task printed
  retried.json           units that were lost and done again, in words

A unit whose task ended without a result is done again once, under a new number.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

from cli.errors import UserError
from cli.slurm import GONE, Slurm
from results.store import write_atomically

Json = dict[str, Any]

FOLDER = "slurm"  # in the output folder
RETRIED = "retried.json"
# All that is ever in it.
STATE = re.compile(
    r"(job|unit|node)-.*\.(json|sh)|log-.*\.txt|kind\.json|retried\.json|\.kind-.*|\..*\.json\..*"
)
TASK = Path(__file__).with_name("launch_task.py")
ATTEMPTS = 2
FIRST_POLL, LONGEST_POLL = 0.5, 10.0  # seconds
LATE_FILES = 20.0  # seconds that a result may take to show on this host after its task is over


def read_json(path: Path) -> Json | None:
    """The file's object; None while it is not there or not whole."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


@dataclass(frozen=True)
class Unit:
    number: int
    work: Json  # "do": see launch_task.py
    attempt: int = 1


@dataclass
class Outcome:
    """What happened besides results."""

    retried: list[str] = field(default_factory=list)  # in words, one a unit
    given_up: list[tuple[Json, str]] = field(default_factory=list)  # (work, why)
    refused: dict[str, str] = field(default_factory=dict)  # node: why it may not take part


# Takes the result of a unit: its work, what came of it.
Collect = Callable[[Json, Json], None]


class Array:
    def __init__(self, slurm: Slurm, out: Path, at_once: int | None) -> None:
        self.slurm, self.out, self.at_once = slurm, out, at_once
        self.folder = (out / FOLDER).absolute()
        self.outcome = Outcome((read_json(self.folder / RETRIED) or {}).get("retried", []))

    # ---- the folder ----

    def _jobs(self) -> list[Path]:
        return sorted(self.folder.glob("job-*.json"), key=lambda path: int(path.stem.split("-")[1]))

    def job_numbers(self) -> list[str]:
        return [str(job["job"]) for path in self._jobs() if (job := read_json(path)) and job.get("job")]

    def begin_anew(self) -> None:
        """Removes an earlier run's state, unless its jobs are still there."""
        for job in self.job_numbers():
            if self.slurm.unfinished(job):
                raise UserError(
                    f"--out {self.out}: job {job} of an earlier run is still in Slurm's queue; go on with it "
                    f"by --resume, or end it with `scancel {job}`"
                )
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _next_number(self) -> int:
        numbers = [int(found[1]) for path in self.folder.iterdir() if (found := UNIT.match(path.name))]
        return 1 + max(numbers, default=0)

    # ---- running ----

    def attach(self, collect: Collect, tell: Callable[[str], None]) -> None:
        """Takes over what earlier arrays of this folder did, waiting for those that still run."""
        for path in self._jobs():
            job = read_json(path)
            if not job:
                continue
            units = [self._read(number) for numbers in job["tasks"].values() for number in numbers]
            known = {unit.number: unit for unit in units if unit is not None}
            if job.get("job"):
                tell(f"attachment to job {job['job']}")
                self._wait(str(job["job"]), known, collect, tell)
            else:
                self._collect(known, collect)

    def _read(self, number: int) -> Unit | None:
        found = read_json(self.folder / f"unit-{number}.todo.json")
        return Unit(number, found["work"], found["attempt"]) if found else None

    def run(self, works: Sequence[Json], collect: Collect, tell: Callable[[str], None]) -> None:
        """Does all of it; returns when every unit has a result or was given up (self.outcome)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        waiting = self._write(((work, 1) for work in works))
        while waiting:
            job, tasks = self._submit(list(waiting.values()))
            tell(f"submission of {len(waiting)} units in {len(tasks)} tasks (job {job})")
            task_of = {number: task for task, numbers in tasks.items() for number in numbers}
            lost, refused = self._wait(job, waiting, collect, tell)
            again = [(unit.work, unit.attempt) for unit in refused]
            for unit in lost:
                why = self._why(job, task_of[unit.number])
                if unit.attempt < ATTEMPTS:
                    self.outcome.retried.append(f"{unit.work.get('name', 'a unit')} ({why})")
                    again.append((unit.work, unit.attempt + 1))
                else:
                    self.outcome.given_up.append((unit.work, why))
            write_atomically(self.folder / RETRIED, json.dumps({"retried": self.outcome.retried}))
            waiting = self._write(again)

    def _write(self, works: Iterable[tuple[Json, int]]) -> dict[int, Unit]:
        found = {}
        number = self._next_number()
        for number, (work, attempt) in enumerate(works, number):
            text = json.dumps({"work": work, "attempt": attempt})
            write_atomically(self.folder / f"unit-{number}.todo.json", text)
            found[number] = Unit(number, work, attempt)
        return found

    def _submit(self, units: Sequence[Unit]) -> tuple[str, dict[int, list[int]]]:
        each = math.ceil(len(units) / min(len(units), self.slurm.largest_array()))
        tasks: dict[int, list[int]] = {}
        for at, unit in enumerate(units):
            tasks.setdefault(1 + at // each, []).append(unit.number)
        name = f"job-{1 + len(self._jobs())}"
        path = self.folder / f"{name}.json"
        write_atomically(path, json.dumps({"job": None, "tasks": tasks}))
        script = self.folder / f"{name}.sh"
        words = [sys.executable, str(TASK), str(self.folder), name]
        write_atomically(script, f'#!/bin/bash\nexec {shlex.join(words)} "$SLURM_ARRAY_TASK_ID"\n')
        log = self.folder / "log-%A_%a.txt"
        try:
            job = self.slurm.submit(script, len(tasks), self.at_once, log, f"heaparena-{self.out.name}")
        except UserError as error:
            if self.outcome.refused:
                nodes = "; ".join(f"{node}: {why}" for node, why in self.outcome.refused.items())
                raise UserError(f"{error} (nodes left out: {nodes})") from None
            raise
        write_atomically(path, json.dumps({"job": job, "tasks": tasks}))
        return job, tasks

    def _wait(
        self, job: str, units: dict[int, Unit], collect: Collect, tell: Callable[[str], None]
    ) -> tuple[list[Unit], list[Unit]]:
        """Waits for an array; returns the units without a result, and those that a node refused."""
        left, refused = dict(units), []
        pause, over, said = FIRST_POLL, 0.0, len(units)
        while True:
            unfinished = self.slurm.unfinished(job)
            refused += self._collect(left, collect)
            if not left:
                return [], refused
            if not unfinished:
                over = over or time.monotonic()
                if time.monotonic() - over > LATE_FILES or self._hopeless(job, left):
                    return list(left.values()), refused
            if len(left) != said:
                said = len(left)
                tell(f"job {job}: {len(units) - said} of {len(units)} units")
            time.sleep(pause)
            pause = min(LONGEST_POLL, pause * 1.2)

    def _hopeless(self, job: str, left: dict[int, Unit]) -> bool:
        """Whether Slurm says of every task that lacks a result that it failed, so that none can come late."""
        found = next(
            (data for path in self._jobs() if (data := read_json(path)) and data["job"] == job), None
        )
        tasks = {
            int(task)
            for task, numbers in (found or {"tasks": {}})["tasks"].items()
            if left.keys() & set(numbers)
        }
        endings = [self.slurm.ending(job, task) for task in tasks]
        return all(ending != GONE and not ending.startswith("COMPLET") for ending in endings)

    def _collect(self, left: dict[int, Unit], collect: Collect) -> list[Unit]:
        """Hands over the results that are there and takes their units off `left`; returns refused ones."""
        refused = []
        there = set(os.listdir(self.folder))  # one look, however many units are missing
        for number in list(left):
            name = f"unit-{number}.json"
            result = read_json(self.folder / name) if name in there else None
            if result is None:
                continue
            unit = left.pop(number)
            if result.get("refused"):
                self.outcome.refused[result["node"]] = result["refused"]
                self.slurm.excluded.add(result["node"])
                refused.append(unit)
            else:
                collect(unit.work, result)
        return refused

    def _why(self, job: str, task: int) -> str:
        """How a lost task ended, with its last word if it had one."""
        ending = self.slurm.ending(job, task)
        log = self.folder / f"log-{job}_{task}.txt"
        try:
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return f"task {job}_{task}: {ending}; it left no log: do the nodes share {self.folder}?"
        last = [line.strip() for line in lines if line.strip()]
        return f"task {job}_{task}: {ending}" + (f"; {last[-1]}" if last else "")


UNIT = re.compile(r"unit-(\d+)\.")
