"""Carries out a plan: a fresh worker per sample, results written as they come, resumable, never two into one
folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, Iterator, Protocol

from cli import VERSION, build, machine, worker
from cli.errors import UserError
from cli.plan import Plan, Row, Sample
from cli.entries import Allocator
from results import store

Json = dict[str, Any]

SAVE_EVERY = 3.0  # seconds
FAILURES_TO_SKIP = 2  # in a row
TO_MS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
SKIPPED = "skipped: this cell had failed twice in a row"


class Watcher(Protocol):
    """Who wants to see the progress (progress.py)."""

    def starting(self, sample: Sample, done: int, left_seconds: float | None) -> None:
        ...

    def failed(self, sample: Sample, message: str) -> None:
        ...

    def block_done(self, block: int, done: int, left_seconds: float | None) -> None:
        ...


def prepare_folder(out: Path) -> None:
    """Makes `out` and proves that it can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".heaparena-{os.getpid()}"
        probe.write_text("writable\n", encoding="utf-8")
        probe.unlink()
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror}; choose another folder") from None


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Holds the folder's lock; a second run into it is refused."""
    with open(out / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"--out {out}: another run is writing there; wait for it or choose another folder"
            ) from None
        yield


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does: with what there is written down."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


class Session:
    """One `heaparena run` into one folder."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        command: list[str],
        profile: str,
        baseline: str,
        timeout: float,
        warnings: list[Json],
    ) -> None:
        self.plan, self.out, self.timeout = plan, out, timeout
        self.path = out / store.FILE_NAME
        self.before = machine.moment()
        facts = machine.facts()
        self.results: Json = {
            "context": {
                **machine.benchmark_context(_now(), str(build.program("heaparena-worker"))),
                "heaparena": {
                    "schema": store.SCHEMA_VERSION,
                    "version": VERSION,
                    "commit": build.commit(),
                    "command": command,
                    "profile": profile,
                    "baseline": baseline,
                    "seed": plan.seed,
                    "scale": plan.scale,
                    "repetitions": plan.repetitions,
                    "timeout_seconds": timeout,
                    "partial": True,
                    "sessions": 1,
                    "machine": facts,
                    "load": {"before": self.before},
                    "allocators": {entry.name: entry.facts() for entry in plan.allocators},
                    "workloads": {row.workload.name: row.workload.facts() for row in plan.rows},
                    "warnings": [*warnings, *machine.warnings(facts, self.before, os.environ)],
                },
            },
            "benchmarks": [],
        }
        self.ours: Json = self.results["context"]["heaparena"]
        self.done: set[tuple[str, int]] = set()
        self.in_a_row: dict[str, int] = defaultdict(int)
        self.durations: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.saved = 0.0

    # ---- resuming ----

    def resume(self) -> int:
        """Takes over what an earlier run into the folder measured; returns the number of samples kept."""
        if not self.path.exists():
            return 0
        old = store.load(self.path)
        theirs = old["context"]["heaparena"]
        for key in ("cpu", "cores", "kernel"):
            if theirs["machine"].get(key) != self.ours["machine"][key]:
                raise UserError(
                    f"--resume: {self.path} was measured on another machine "
                    f"({key}: {theirs['machine'].get(key)}, "
                    f"here {self.ours['machine'][key]}); use another --out"
                )
        planned = {
            (row.name, entry.name): self.plan.cell(row, entry)
            for row in self.plan.rows
            for entry in self.plan.allocators
        }
        for entry in old["benchmarks"]:
            row = entry["run_name"].removesuffix("/" + entry["allocator"])
            cell = planned.get((row, entry["allocator"]), entry["cell"])
            if cell != entry["cell"]:
                raise UserError(
                    f"--resume: {entry['run_name']} in {self.path} was measured with "
                    "another build, environment, scale or seed than now; give the same, or another --out"
                )
            self._keep(entry)
        for key in ("allocators", "workloads"):
            self.ours[key] = {**theirs[key], **self.ours[key]}
        self.ours["sessions"] = theirs.get("sessions", 1) + 1
        self.ours["repetitions"] = max(self.ours["repetitions"], theirs["repetitions"])
        return len(self.done)

    def set_aside(self) -> None:
        """Without --resume an older result file stays beside the new one."""
        if self.path.exists():
            self.path.replace(self.path.with_name("results.previous.json"))

    def _keep(self, entry: Json) -> None:
        self.results["benchmarks"].append(entry)
        self.done.add((entry["cell"], entry["block"]))
        failed = bool(entry.get("error_occurred"))
        self.in_a_row[entry["cell"]] = self.in_a_row[entry["cell"]] + 1 if failed else 0
        if "worker_seconds" in entry:
            self.durations[entry["run_name"], entry["cell"]].append(entry["worker_seconds"])

    # ---- running ----

    def run(self, watcher: Watcher) -> None:
        """Takes every sample that is missing. KeyboardInterrupt leaves a usable partial result."""
        chance = random.Random()
        with terminable():
            try:
                block = 0
                for sample in self.plan.samples(chance):
                    if sample.block != block:
                        watcher.block_done(block, self._done_of_plan(), self.seconds_left())
                        block = sample.block
                    self._take(sample, watcher, chance)
                self.ours["partial"] = False
            finally:
                self._close()

    def _take(self, sample: Sample, watcher: Watcher, chance: random.Random) -> None:
        cell = self.plan.cell(sample.row, sample.allocator)
        if (cell, sample.block) in self.done:
            return
        if self.in_a_row[cell] >= FAILURES_TO_SKIP:
            self._keep(
                self._entry(
                    sample,
                    cell,
                    _now(),
                    {"error_occurred": True, "error_message": SKIPPED, "skipped_run": True},
                )
            )
            return
        watcher.starting(sample, self._done_of_plan(), self.seconds_left())
        started = _now()
        raw = worker.measure(self._job(sample), chance)
        context = raw.pop("worker_context", {})
        for key in ("library_build_type", "benchmark_version"):
            if key in context:
                self.results["context"][key] = context[key]
        self._keep(self._entry(sample, cell, started, raw))
        if raw.get("error_occurred"):
            watcher.failed(sample, raw["error_message"])
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.save()

    def _job(self, sample: Sample) -> worker.Job:
        entry = sample.allocator
        return worker.Job(
            entry.spec,
            sample.row.workload.spec,
            sample.row.threads,
            self.plan.seed + sample.block,
            self.plan.scale,
            sample.block == 0,
            entry.environment,
            self.timeout,
        )

    def _entry(self, sample: Sample, cell: str, started: str, raw: Json) -> Json:
        """The benchmark entry in the result file: Google Benchmark's keys, ours, then the worker's
        counters."""
        row, allocator = sample.row, sample.allocator
        name = f"{row.name}/{allocator.name}"
        failed = bool(raw.get("error_occurred"))
        to_ms = TO_MS.get(str(raw.get("time_unit", "ns")), 1e-6)
        facts = {} if failed else worker.label_facts(raw)
        entry = {
            "name": name,
            "family_index": list(self.plan.rows).index(row),
            "per_family_instance_index": 0,
            "run_name": name,
            "run_type": "iteration",
            "repetitions": self.plan.repetitions,
            "repetition_index": sample.block,
            "threads": int(raw.get("worker_threads", row.threads)),
            "iterations": 0 if failed else int(raw.get("iterations", 1)),
            "real_time": 0.0 if failed else raw["real_time"] * to_ms,
            "cpu_time": 0.0 if failed else raw["cpu_seconds"] * 1e3,
            "time_unit": "ms",
            "allocator": allocator.name,
            "workload": row.workload.name,
            "cell": cell,
            "block": sample.block,
            "position": sample.position,
            "session": self.ours["sessions"],
            "seed": self.plan.seed + sample.block,
            "started": started,
        }
        return {**facts, **raw, **entry}

    def _close(self) -> None:
        """Last words of a run, whole or not. Ctrl-C waits until they are written."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            after = machine.moment()
            steal = machine.steal_percent(self.before, after)
            self.ours["load"].update({"after": after, "steal_percent": steal})
            self.ours["warnings"] += machine.warnings_after(steal, self.before, after, machine.cpus())
            self.ours["warnings"] += self._doubts()
            self.save()
        finally:
            signal.signal(signal.SIGINT, before)

    def _doubts(self) -> list[Json]:
        """Warnings that the samples themselves give."""
        sums: dict[tuple[str, int, int], set[str]] = defaultdict(set)
        sessions: dict[tuple[str, int], set[int]] = defaultdict(set)
        for entry in self.results["benchmarks"]:
            if entry.get("error_occurred"):
                continue
            if "pass_checksum" in entry:
                sums[entry["workload"], entry["threads"], entry["block"]].add(entry["pass_checksum"])
            sessions[entry["workload"], entry["block"]].add(entry["session"])
        found = []
        different = sorted({key[0] for key, values in sums.items() if len(values) > 1})
        if different:
            found.append(
                {
                    "what": f"allocators did not all do the same operations in: {', '.join(different)}",
                    "todo": "do not compare these rows; report it as a fault of the workload",
                }
            )
        mixed = sum(len(values) > 1 for values in sessions.values())
        if mixed:
            found.append(
                {
                    "what": f"{mixed} blocks were measured in more than one session: their ratios hold drift",
                    "todo": "run once more without --resume for a decision",
                }
            )
        return found

    def save(self) -> None:
        """Writes results.json; a full disk or a lost folder ends the run with one line."""
        try:
            store.save(self.path, self.results)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from None
        self.saved = time.monotonic()

    # ---- how far ----

    def _done_of_plan(self) -> int:
        return min(len(self.done), len(self.plan))

    def seconds_left(self) -> float | None:
        """Expected time to the end, from the durations seen so far."""
        known = [sum(values) / len(values) for values in self.durations.values()]
        if not known:
            return None
        average = sum(known) / len(known)
        return sum(
            self._cell_left(row, entry, average) for row in self.plan.rows for entry in self.plan.allocators
        )

    def _cell_left(self, row: Row, entry: Allocator, average: float) -> float:
        cell = self.plan.cell(row, entry)
        missing = sum((cell, block) not in self.done for block in range(self.plan.repetitions))
        if not missing or self.in_a_row[cell] >= FAILURES_TO_SKIP:
            return 0.0
        seen = self.durations.get((f"{row.name}/{entry.name}", cell))
        return missing * (sum(seen) / len(seen) if seen else average)

    def failed(self) -> int:
        return sum(bool(entry.get("error_occurred")) for entry in self.results["benchmarks"])
