"""From a result file to the tables that reports show: rows, contenders, ratios, verdicts, failures.

A *row* is a workload at one thread count, a *cell* is one allocator in one row. Reports (report.py), the
terminal (terminal.py) and the HTML page all show what is computed here; nothing is computed twice.
"""

from __future__ import annotations

import functools
import math
import shlex
from dataclasses import dataclass, field

import numpy as np

from results import stats, store
from results.metrics import METRICS, TIME, Metric
from results.stats import Estimate, Floats
from results.store import BadResults, Json


CONTENDER, BOUND, CONTROL = "contender", "bound", "control"


@dataclass(frozen=True)
class Cell:
    """One allocator in one row against the baseline, in one metric."""

    median: float | None
    estimate: Estimate | None
    p: float
    verdict: str
    failed: int
    runs: int


@dataclass(frozen=True)
class Failure:
    """Samples of one cell that ended alike."""

    row: str
    allocator: str
    message: str
    blocks: tuple[int, ...]
    skipped: int
    repeat: str
    pass_: str


@dataclass(frozen=True)
class Overall:
    """One allocator over all rows, against the baseline: geometric mean of the rows' median ratios."""

    allocator: str
    estimate: Estimate | None
    rows: int
    of: int
    better: int
    worse: int
    failed: int
    samples: int  # of the cell that has the fewest


@dataclass
class Pass:
    """The samples of one pass (time, latency, timeline, instructions), by row and allocator."""

    good: dict[tuple[str, str], dict[int, Json]] = field(default_factory=dict)
    bad: dict[tuple[str, str], list[Json]] = field(default_factory=dict)


@dataclass
class Analysis:
    """A validated result file, arranged for comparison."""

    data: Json
    rows: list[str] = field(default_factory=list)
    workload_of: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    passes: dict[str, Pass] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ours: Json = self.data["context"]["heaparena"]
        for name, facts in self.ours["allocators"].items():
            bound = "bound" in facts["traits"]
            self.kinds[name] = CONTROL if facts["control_of"] else BOUND if bound else CONTENDER
        for entry in self.data["benchmarks"]:
            self._add(entry)
        self.rows.sort(key=self._row_order)
        self._seen = {name for one in self.passes.values() for _, name in (*one.good, *one.bad)}
        self._with_samples = {name for one in self.passes.values() for _, name in one.good}
        # What was computed once: the same figures appear in several tables and formats.
        self._comparisons: dict[tuple[str, str], dict[tuple[str, str], Cell]] = {}
        self._overall: dict[tuple[str, str], list[Overall]] = {}
        self._against: dict[tuple[str, str, str], Estimate | None] = {}
        self._values: dict[tuple[str, str, str], dict[int, float]] = {}

    def _add(self, entry: Json) -> None:
        allocator, row = entry["allocator"], store.row_of(entry)
        if allocator not in self.kinds:
            self.kinds[allocator] = CONTENDER
        if row not in self.workload_of:
            self.workload_of[row] = entry["workload"]
            self.rows.append(row)
        one = self.passes.setdefault(entry.get("pass", TIME), Pass())
        if entry.get("error_occurred"):
            one.bad.setdefault((row, allocator), []).append(entry)
        else:
            one.good.setdefault((row, allocator), {})[entry["block"]] = entry

    @functools.cached_property
    def of_programs(self) -> bool:
        """Whether real programs were measured, not workloads of the worker."""
        return any("exit_status" in entry for entry in self.data["benchmarks"])

    def of_pass(self, pass_: str) -> Pass:
        return self.passes.get(pass_) or Pass()

    @property
    def good(self) -> dict[tuple[str, str], dict[int, Json]]:
        """The samples of the time pass, by row and allocator, then block."""
        return self.of_pass(TIME).good

    @property
    def bad(self) -> dict[tuple[str, str], list[Json]]:
        return self.of_pass(TIME).bad

    @functools.cached_property
    def metrics(self) -> list[Metric]:
        """Those that were measured here; time and memory if nothing was."""
        found = [
            metric
            for metric in METRICS.values()
            if any(
                entry.get(metric.field, 0) > 0
                for blocks in self.of_pass(metric.pass_).good.values()
                for entry in blocks.values()
            )
        ]
        return found or [METRICS["time"], METRICS["memory"]]

    def rows_of(self, metric: Metric) -> list[str]:
        """The rows that took part in the metric's pass."""
        one = self.of_pass(metric.pass_)
        seen = {row for row, _ in (*one.good, *one.bad)}
        return [row for row in self.rows if row in seen]

    def _row_order(self, row: str) -> tuple[bool, int, str, int, str]:
        """Synthetic workloads first, then traces, as the run named them; thread counts in their order."""
        workload = self.workload_of[row]
        names = list(self.ours["workloads"])
        place = names.index(workload) if workload in names else len(names)
        threads = row.rpartition("/threads:")[2]
        return workload.startswith("trace:"), place, workload, int(threads) if threads.isdigit() else 0, row

    # ---- who takes part ----

    def named(self, kind: str) -> list[str]:
        """The allocators of a kind that have at least one sample or failure, in the order of the run."""
        return [name for name, its_kind in self.kinds.items() if its_kind == kind and name in self._seen]

    @property
    def contenders(self) -> list[str]:
        return self.named(CONTENDER)

    def baseline(self, wanted: str | None = None) -> str:
        """The baseline by name, or that of the run; raises BadResults if it has no sample."""
        name = wanted or self.ours["baseline"]
        if name in self._with_samples:
            return str(name)
        have = ", ".join(self.contenders) or "none"
        if wanted is None and self.contenders:
            for other in self.contenders:
                if other in self._with_samples:
                    return other
        raise BadResults(f"baseline {name}: no sample of it in the results; choose one of: {have}")

    def showable(self) -> bool:
        """Whether there is enough for a report: samples of something that ratios can refer to."""
        try:
            return bool(self.baseline())
        except BadResults:
            return False

    def control_of(self, baseline: str) -> str | None:
        for name, facts in self.ours["allocators"].items():
            if facts["control_of"] == baseline:
                return str(name)
        return None

    # ---- numbers ----

    def values(self, metric: Metric, row: str, allocator: str) -> dict[int, float]:
        """Block -> value, in the metric's unit. Values that have no ratio (0 or less) are left out."""
        key = (metric.key, row, allocator)
        if key not in self._values:
            entries = self.of_pass(metric.pass_).good.get((row, allocator), {})
            self._values[key] = {
                block: entry[metric.field] * metric.factor
                for block, entry in sorted(entries.items())
                if entry.get(metric.field, 0) > 0
            }
        return self._values[key]

    def log_ratios(self, metric: Metric, row: str, allocator: str, baseline: str) -> Floats:
        """Within-block log ratios allocator/baseline."""
        ours, theirs = self.values(metric, row, allocator), self.values(metric, row, baseline)
        return np.array([math.log(ours[block] / theirs[block]) for block in ours if block in theirs])

    def to_reference(self, metric: Metric, row: str, allocator: str, reference: str) -> Floats:
        """Within-block log ratios to the reference and, where it has one, to its A/A twin, whose mean is less
        noisy than either."""
        ours, theirs = self.values(metric, row, allocator), self.values(metric, row, reference)
        control = self.control_of(reference)
        twin = self.values(metric, row, control) if control else {}
        logs = [
            math.log(ours[block]) - (math.log(theirs[block]) + math.log(twin.get(block, theirs[block]))) / 2
            for block in ours
            if block in theirs
        ]
        return np.array(logs)

    def floor(self, metric: Metric, row: str) -> float | None:
        """The row's noise floor as a factor, from the run's A/A control."""
        baseline = self.ours["baseline"]
        control = self.control_of(baseline)
        return stats.noise_floor(self.log_ratios(metric, row, control, baseline)) if control else None

    def _reference(self, metric: Metric, row: str, baseline: str) -> list[float]:
        """All samples of the baseline: its own and those of its A/A twin."""
        control = self.control_of(baseline)
        twin = self.values(metric, row, control).values() if control else ()
        return [*self.values(metric, row, baseline).values(), *twin]

    def comparison(self, metric: Metric, baseline: str) -> dict[tuple[str, str], Cell]:
        """Every cell against the baseline. Holm's correction runs over the contenders of the whole table."""
        key = (metric.key, baseline)
        if key not in self._comparisons:
            self._comparisons[key] = self._compare(metric, baseline)
        return self._comparisons[key]

    def _compare(self, metric: Metric, baseline: str) -> dict[tuple[str, str], Cell]:
        everyone = [*self.contenders, *self.named(BOUND)]
        bad = self.of_pass(metric.pass_).bad
        tested = [
            (row, name)
            for row in self.rows
            for name in self.contenders
            if name != baseline and self.values(metric, row, name)
        ]
        reference = {row: self._reference(metric, row, baseline) for row in self.rows}
        raw = [
            stats.mann_whitney(list(self.values(metric, row, name).values()), reference[row])
            for row, name in tested
        ]
        adjusted = dict(zip(tested, stats.holm(raw)))
        cells = {}
        for row in self.rows:
            floor = self.floor(metric, row)
            for name in everyone:
                values = list(self.values(metric, row, name).values())
                estimate = stats.paired_ratio(self.log_ratios(metric, row, name, baseline))
                p = adjusted.get((row, name), 1.0)
                failed = len(bad.get((row, name), []))
                said = "failed" if failed else stats.verdict(estimate, p, floor)
                median = stats.median(values) if values else None
                cells[row, name] = Cell(median, estimate, p, said, failed, failed + len(values))
        return cells

    def overall(self, metric: Metric, baseline: str) -> list[Overall]:
        """Contenders and bounds over all rows, least ratio first; those without any ratio last."""
        key = (metric.key, baseline)
        if key not in self._overall:
            self._overall[key] = self._over_all(metric, baseline)
        return self._overall[key]

    def _over_all(self, metric: Metric, baseline: str) -> list[Overall]:
        cells, rows = self.comparison(metric, baseline), self.rows_of(metric)
        lines = []
        for name in [*self.contenders, *self.named(BOUND)]:
            mine = [cells[row, name] for row in rows]
            lines.append(
                Overall(
                    name,
                    self.against(metric, name, baseline),
                    sum(cell.estimate is not None for cell in mine),
                    len(rows),
                    sum(cell.verdict == stats.FASTER for cell in mine),
                    sum(cell.verdict == stats.SLOWER for cell in mine),
                    sum(cell.failed for cell in mine),
                    self.least_blocks(metric),
                )
            )
        lines.sort(key=lambda line: line.estimate.ratio if line.estimate else math.inf)
        return lines

    def against(self, metric: Metric, name: str, other: str) -> Estimate | None:
        """Geometric mean over rows of name/other: both measured in the same blocks."""
        key = (metric.key, name, other)
        if key not in self._against:
            logs = [self.log_ratios(metric, row, name, other) for row in self.rows]
            self._against[key] = stats.geometric_mean(logs)
        return self._against[key]

    def overall_floor(self, metric: Metric) -> float | None:
        """The noise floor of the geometric means: the far end of the A/A twin's own interval."""
        baseline = self.ours["baseline"]
        control = self.control_of(baseline)
        estimate = self.against(metric, control, baseline) if control else None
        return max(estimate.high, 1 / estimate.low) if estimate else None

    # ---- what went wrong ----

    def failures(self) -> list[Failure]:
        """Failed cells, samples with the same message joined."""
        return [
            failure
            for pass_, one in self.passes.items()
            for (row, allocator), entries in one.bad.items()
            for failure in self._failures(row, allocator, pass_, entries)
        ]

    def _failures(self, row: str, allocator: str, pass_: str, entries: list[Json]) -> list[Failure]:
        skipped = sum(1 for entry in entries if entry.get("skipped_run"))
        by_message: dict[str, list[Json]] = {}
        for entry in entries:
            if not entry.get("skipped_run"):
                by_message.setdefault(entry["error_message"], []).append(entry)
        repeat = self.repeat_command(row, allocator, pass_)
        return [
            Failure(row, allocator, message, tuple(entry["block"] for entry in group), skipped, repeat, pass_)
            for message, group in by_message.items()
        ]

    def failed_count(self) -> int:
        return sum(len(entries) for one in self.passes.values() for entries in one.bad.values())

    def repeat_command(self, row: str, allocator: str, pass_: str = TIME) -> str:
        """The command that measures one cell again."""
        facts = self.ours["allocators"].get(allocator, {"spec": allocator, "env": {}})
        workload = self.ours["workloads"].get(self.workload_of[row], {"spec": self.workload_of[row]})
        name = facts["spec"].partition("=")[0]
        again = workload.get("again")  # a program of the user's: there is a command for it
        words = ["heaparena", "exec" if again else "run", "--allocators", facts["spec"]]
        for variable, value in facts["env"].items():
            words += ["--env", f"{name}:{variable}={value}"]
        if again:
            curve = ["--rss-curve"] if pass_ != TIME else []
            return shlex.join([*words, "--reps", "5", "--out", "again", *curve, *again])
        words += [
            "--workloads",
            workload["spec"],
            "--scale",
            f"{self.ours['scale']:g}",
            "--seed",
            str(self.ours["seed"]),
        ]
        threads = row.rpartition("/threads:")[2]
        if threads.isdigit():
            words += ["--threads", threads]
        if pass_ != TIME:
            words += ["--passes", pass_]
        return shlex.join([*words, "--reps", "5", "--out", "again"])

    def least_blocks(self, metric: Metric | None = None) -> int:
        """The fewest samples that a cell without failures has in the metric's pass."""
        one = self.of_pass(metric.pass_ if metric else TIME)
        counts = [len(blocks) for key, blocks in one.good.items() if key not in one.bad]
        return min(counts, default=0)

    def too_few(self, metric: Metric) -> bool:
        """Whether there are too few samples to claim anything in this metric."""
        return self.least_blocks(metric) < (1 if metric.counted else stats.LEAST_BLOCKS)

    def sample_count(self) -> int:
        return sum(len(blocks) for one in self.passes.values() for blocks in one.good.values())
