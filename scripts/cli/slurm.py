"""Slurm's commands, and their refusals in one line. Knows nothing of what the jobs do."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from cli.errors import UserError

COMMANDS = ("sbatch", "squeue", "scontrol", "sinfo")
ANSWER_SECONDS = 60
PATIENCE = 300.0  # seconds that a controller may be away (restarted, overloaded) before we give up
GONE = "gone from the queue's memory"


def first_line(text: str, command: str) -> str:
    """What a Slurm command said, in one line without its prefixes."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in lines if "error:" in line or "fatal:" in line), lines[0] if lines else "")
    return re.sub(rf"^({command}: )?((error|fatal): )*", "", said) or "no word of why"


@dataclass
class Slurm:
    """One partition as the user may use it."""

    partition: str | None = None
    options: Sequence[str] = ()  # further options of sbatch
    patience: float = PATIENCE
    excluded: set[str] = field(default_factory=set)  # nodes

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                words, capture_output=True, text=True, timeout=ANSWER_SECONDS, stdin=subprocess.DEVNULL
            )
        except FileNotFoundError:
            raise UserError(
                f"--launcher slurm: there is no {words[0]} on this machine; install slurm-client, "
                "or go to a host from which jobs are submitted"
            ) from None
        except subprocess.TimeoutExpired:
            done = f"{words[0]}: error: no answer within {ANSWER_SECONDS} s"
            return subprocess.CompletedProcess(words, 1, "", done)

    def _ask(self, *words: str) -> str:
        """Standard output; a refusal is said and ends the run."""
        done = self._run(*words)
        if done.returncode != 0:
            raise UserError(f"--launcher slurm: {words[0]} refuses: {first_line(done.stderr, words[0])}")
        return done.stdout

    def check(self) -> None:
        """Refuses what cannot work before anything is written: no Slurm, no controller, no such partition or
        option."""
        for command in COMMANDS:
            if shutil.which(command) is None:
                self._run(command)
        names = self._ask("sinfo", "--noheader", "--format=%R").split()
        if self.partition is not None and self.partition not in names:
            known = ", ".join(sorted(set(names))) or "none"
            raise UserError(f"--partition {self.partition}: Slurm has no such partition; known: {known}")
        self._ask("sbatch", "--test-only", *self._request(), "--wrap=true")

    def least_cpus(self) -> int:
        """CPUs of the smallest node that jobs may run on: what every node has."""
        chosen = [f"--partition={self.partition}"] if self.partition else []
        answer = self._ask("sinfo", "--noheader", "--Node", "--format=%c %P", *chosen)
        rows = [line.split() for line in answer.splitlines()]
        if not self.partition and any(row[-1].endswith("*") for row in rows):
            rows = [row for row in rows if row[-1].endswith("*")]
        counts = [int(row[0]) for row in rows if row and row[0].isdecimal()]
        if not counts:
            raise UserError("--launcher slurm: sinfo names no node; choose another --partition")
        return min(counts)

    def largest_array(self) -> int:
        """How many tasks one array may have."""
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", self._ask("scontrol", "show", "config"), re.MULTILINE)
        return max(1, int(found.group(1)) - 1) if found else 1000

    def _request(self) -> list[str]:
        """What every task asks for: a node of the partition for itself."""
        words = ["--nodes=1", "--ntasks=1", "--exclusive", "--mem=0"]  # all of its memory
        if self.partition:
            words.append(f"--partition={self.partition}")
        if self.excluded:
            words.append(f"--exclude={','.join(sorted(self.excluded))}")
        return [*words, *self.options]

    def submit(self, script: Path, tasks: int, at_once: int | None, log: Path, name: str) -> str:
        """Queues tasks 1 to `tasks`, each alone on a node; returns the job's number."""
        words = [
            "sbatch",
            "--parsable",
            f"--array=1-{tasks}" + (f"%{at_once}" if at_once else ""),
            "--no-requeue",
            "--export=ALL",
            f"--job-name={name}",
            f"--output={log}",
            f"--chdir={script.parent}",
        ]
        answer = self._ask(*words, *self._request(), str(script))
        return answer.strip().partition(";")[0]

    def unfinished(self, job: str) -> dict[int, str]:
        """{task: state} of what still waits or runs. A controller that does not answer is asked again for a
        while."""
        begin = time.monotonic()
        while True:
            done = self._run("squeue", "--noheader", "--array", f"--jobs={job}", "--format=%K %T")
            if done.returncode == 0:
                break
            if "Invalid job id" in done.stderr:
                return {}
            if time.monotonic() - begin > self.patience:
                raise UserError(
                    f"--launcher slurm: squeue refuses: {first_line(done.stderr, 'squeue')}; job {job} goes "
                    "on without us: come back with --resume"
                )
            time.sleep(min(5.0, self.patience / 10))
        found = {}
        for line in done.stdout.splitlines():
            task, _, state = line.strip().partition(" ")
            if task.isdecimal():
                found[int(task)] = state
        return found

    def cancel(self, job: str) -> None:
        """Ends what is left of a job; one that is over already is no fault."""
        self._run("scancel", job)

    def ending(self, job: str, task: int) -> str:
        """How a task that is over ended, in Slurm's words."""
        done = self._run("scontrol", "--oneliner", "show", "job", f"{job}_{task}")
        state = re.search(r"\bJobState=(\S+)", done.stdout)
        if done.returncode != 0 or not state:
            return GONE
        exit_code = re.search(r"\bExitCode=(\d+):(\d+)", done.stdout)
        words = state.group(1)
        if exit_code and exit_code.group(2) != "0":
            words += f", signal {exit_code.group(2)}"
        elif exit_code and exit_code.group(1) != "0":
            words += f", exit status {exit_code.group(1)}"
        return words
