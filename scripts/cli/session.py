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
from typing import Any, Iterator, Protocol, Sequence

from cli import build, machine, worker
from cli.errors import UserError
from cli.plan import Plan, Row, Sample
from cli.profiles import PassPlan
from cli.steering import Steering
from results import store
from results.metrics import TIME

Json = dict[str, Any]

SAVE_EVERY = 3.0  # seconds
TO_MS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
SKIPPED = "skipped: this cell had failed twice in a row"


class Sampler(Protocol):
    """Who takes samples in the worker's place, and what they make it doubt (program_work.py)."""

    def measure(self, sample: Sample, cpus: Sequence[int], chance: random.Random) -> Json:
        ...

    def doubts(self, entries: Sequence[Json]) -> list[Json]:
        ...


class Watcher(Protocol):
    """Who wants to see the progress (progress.py)."""

    def starting(self, sample: Sample, steering: Steering) -> None:
        ...

    def failed(self, sample: Sample, message: str) -> None:
        ...

    def block_done(self, what: str, steering: Steering) -> None:
        ...


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
        left_out: list[str],
        sampler: Sampler | None = None,
    ) -> None:
        self.plan, self.out, self.timeout, self.sampler = plan, out, timeout, sampler
        self.path = out / store.FILE_NAME
        self.before = machine.moment()
        facts = machine.facts()
        self.results: Json = {
            "context": {
                **machine.benchmark_context(_now(), str(build.program("heaparena-worker"))),
                "heaparena": {
                    "schema": store.SCHEMA_VERSION,
                    "version": build.version(),
                    "commit": build.commit(),
                    "command": command,
                    "profile": profile,
                    "baseline": baseline,
                    "seed": plan.seed,
                    "scale": plan.scale,
                    "repetitions": plan.repetitions,
                    "repetitions_most": plan.time.repetitions or plan.repetitions,
                    "precision": plan.precision,
                    "passes": {pass_.name: pass_.repetitions for pass_ in plan.passes()},
                    "cpus": list(plan.cpus),
                    "workloads_left_out": left_out,
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
        self.steering = Steering(plan, baseline)
        self.saved = 0.0

    # ---- resuming ----

    def resume(self, here: bool = True) -> int:
        """Takes over what an earlier run into the folder measured; returns the number of samples kept.
        `here`: those samples, too, must be of this machine."""
        if not self.path.exists():
            return 0
        old = store.load(self.path)
        theirs = old["context"]["heaparena"]
        for key in ("cpu", "cores", "kernel") if here else ():
            if theirs["machine"].get(key) != self.ours["machine"][key]:
                raise UserError(
                    f"--resume: {self.path} was measured on another machine "
                    f"({key}: {theirs['machine'].get(key)}, "
                    f"here {self.ours['machine'][key]}); use another --out"
                )
        planned = self.steering.planned()
        for entry in old["benchmarks"]:
            place = (entry.get("pass", TIME), store.row_of(entry), entry["allocator"])
            cell = planned.get(place, entry["cell"])
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
        self.ours["passes"] = {**theirs.get("passes", {}), **self.ours["passes"]}
        return len(self.results["benchmarks"])

    def set_aside(self) -> None:
        """Without --resume an older result file stays beside the new one."""
        if self.path.exists():
            self.path.replace(self.path.with_name("results.previous.json"))

    def _keep(self, entry: Json) -> None:
        self.results["benchmarks"].append(entry)
        self.steering.add(store.row_of(entry), entry)

    # ---- running ----

    def run(self, watcher: Watcher) -> None:
        """Takes every sample that is missing. KeyboardInterrupt leaves a usable partial result."""
        chance = random.Random()
        with self.conducted():
            self._time(watcher, chance)
            for pass_ in self.plan.further:
                self._further(pass_, watcher, chance)

    @contextlib.contextmanager
    def conducted(self, here: bool = True) -> Iterator[None]:
        """While samples come: a stop leaves a partial result, the end a whole one. `here`: measured here."""
        with terminable():
            try:
                self._classes()
                yield
                self.ours["partial"] = False
            finally:
                self._close(here)

    def _classes(self) -> None:
        """The waste of every contender's size classes: of the allocator, not of a workload, so once a run."""
        for entry in self.plan.allocators:
            if entry.control_of is None and "bound" not in entry.traits and not entry.collects:
                found = worker.class_waste(entry.spec, entry.environment)
                self.ours["allocators"][entry.name]["class_waste"] = found

    def _time(self, watcher: Watcher, chance: random.Random) -> None:
        """The time pass: blocks of whole rows, until every row has its repetitions and its precision."""
        pass_ = self.plan.time
        for block in range(pass_.repetitions):
            rows = [row for row in self.plan.rows if self.steering.is_open(row, block)]
            if not rows:
                break
            for sample in self.plan.block(rows, block, pass_, chance):
                self._take(sample, watcher, chance)
            watcher.block_done(f"block {block + 1} of {self._blocks_in_words(pass_)}", self.steering)
        rough = self.steering.imprecise()
        if rough and self.plan.precision is not None:
            self.ours["warnings"].append(
                {
                    "what": f"after {pass_.repetitions} blocks the intervals are still wider than "
                    f"{self.plan.precision * 100:g} % in: {', '.join(rough)}",
                    "todo": "go on with --resume and a larger --reps-max, or measure on a quieter machine",
                }
            )

    def _blocks_in_words(self, pass_: PassPlan) -> str:
        least = self.plan.repetitions
        return f"{least}" if pass_.repetitions == least else f"{least} to {pass_.repetitions}"

    def _further(self, pass_: PassPlan, watcher: Watcher, chance: random.Random) -> None:
        """A further pass, row by row; the pass's budget may leave out the last rows."""
        left_out = self.steering.over_budget.setdefault(pass_.name, [])
        for block in range(pass_.repetitions):
            for row in self.plan.rows_of(pass_):
                if row.name in left_out or self._too_long(pass_, row):
                    left_out += [row.name] if row.name not in left_out else []
                    continue
                begin = time.monotonic()
                for sample in self.plan.row(row, block, pass_, chance):
                    self._take(sample, watcher, chance)
                self.steering.spent[pass_.name] += time.monotonic() - begin
            watcher.block_done(f"pass {pass_.name}, block {block + 1} of {pass_.repetitions}", self.steering)
        if left_out:
            self.ours["warnings"].append(
                {
                    "what": f"pass {pass_.name} took its {pass_.budget_seconds:g} s and left out "
                    f"{len(left_out)} of {len(self.plan.rows)} rows: {', '.join(left_out)}",
                    "todo": f"--passes time,{pass_.name} measures all of them",
                }
            )

    def _too_long(self, pass_: PassPlan, row: Row) -> bool:
        """Whether the pass has used up its budget, and the row lacks a sample."""
        if pass_.budget_seconds is None or self.steering.spent[pass_.name] < pass_.budget_seconds:
            return False
        cells = (self.steering.cell(row, entry, pass_) for entry in self.plan.entries_of(row, pass_))
        return any((cell, 0) not in self.steering.done for cell in cells)

    def _take(self, sample: Sample, watcher: Watcher, chance: random.Random) -> None:
        cell = self.steering.cell(sample.row, sample.allocator, sample.pass_)
        if (cell, sample.block) in self.steering.done:
            return
        if self.steering.gives_up(cell):
            skipped = {"error_occurred": True, "error_message": SKIPPED, "skipped_run": True}
            self._keep(self._entry(sample, cell, _now(), skipped))
            return
        watcher.starting(sample, self.steering)
        started = _now()
        self.record(sample, started, self._sample(sample, chance), watcher)

    def record(self, sample: Sample, started: str, raw: Json, watcher: Watcher) -> None:
        """Takes a sample into the results, whoever measured it."""
        cell = self.steering.cell(sample.row, sample.allocator, sample.pass_)
        context = raw.pop("worker_context", {})
        for key in ("library_build_type", "benchmark_version"):
            if key in context:
                self.results["context"][key] = context[key]
        self._keep(self._entry(sample, cell, started, raw))
        if raw.get("error_occurred"):
            watcher.failed(sample, raw["error_message"])
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.save()

    def _sample(self, sample: Sample, chance: random.Random) -> Json:
        if self.sampler is not None:
            return self.sampler.measure(sample, self.plan.cpus, chance)
        return worker.measure(self.job(sample), chance)

    def job(self, sample: Sample) -> worker.Job:
        """What the worker is asked for a sample."""
        entry = sample.allocator
        return worker.Job(
            entry.spec,
            sample.row.workload.spec,
            sample.row.threads,
            self.plan.seed + sample.block,
            self.plan.scale_of(sample.pass_),
            sample.block == 0 and sample.pass_.name == TIME,
            entry.environment,
            self.timeout,
            sample.pass_.name,
            self.plan.cpus,
        )

    def _entry(self, sample: Sample, cell: str, started: str, raw: Json) -> Json:
        """The benchmark entry in the result file: Google Benchmark's keys, ours, then the worker's
        counters."""
        row, allocator = sample.row, sample.allocator
        name, pass_ = sample.name, sample.pass_.name
        failed = bool(raw.get("error_occurred"))
        to_ms = TO_MS.get(str(raw.get("time_unit", "ns")), 1e-6)
        facts = {} if failed else worker.label_facts(raw)
        entry = {
            "name": name,
            "family_index": list(self.plan.rows).index(row),
            "per_family_instance_index": 0,
            "run_name": name,
            "run_type": "iteration",
            "repetitions": self.ours["passes"][pass_],
            "repetition_index": sample.block,
            "threads": int(raw.get("worker_threads", row.threads)),
            "iterations": 0 if failed else int(raw.get("iterations", 1)),
            "real_time": 0.0 if failed else raw.get("real_time", 0.0) * to_ms,
            "cpu_time": 0.0 if failed else raw.get("cpu_seconds", 0.0) * 1e3,
            "time_unit": "ms",
            "allocator": allocator.name,
            "workload": row.workload.name,
            "cell": cell,
            **({"pass": pass_} if pass_ != TIME else {}),
            "block": sample.block,
            "position": sample.position,
            "session": self.ours["sessions"],
            "seed": self.plan.seed + sample.block,
            "started": started,
        }
        return {**facts, **raw, **entry}

    def warn(self, what: str, todo: str) -> None:
        """A line among the results' warnings."""
        self.ours["warnings"].append({"what": what, "todo": todo})

    def _close(self, here: bool) -> None:
        """Last words of a run, whole or not. Ctrl-C waits until they are written."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            if here:
                after = machine.moment()
                steal = machine.steal_percent(self.before, after)
                self.ours["load"].update({"after": after, "steal_percent": steal})
                self.ours["warnings"] += machine.warnings_after(steal, self.before, after, machine.cpus())
            self.ours["warnings"] += self._doubts()
            if self.sampler is not None:
                self.ours["warnings"] += self.sampler.doubts(self.results["benchmarks"])
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
            if "pass_checksum" in entry and entry.get("pass", TIME) == TIME:
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

    def failed(self) -> int:
        return sum(bool(entry.get("error_occurred")) for entry in self.results["benchmarks"])
