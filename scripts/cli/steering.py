"""Watches the samples of a run as they come: which rows are precise enough, who leads, how long it lasts."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from cli.entries import Allocator
from cli.plan import Plan, Row
from cli.profiles import PassPlan
from results import stats
from results.metrics import INSTRUCTIONS, LATENCY, METRICS, TIME, TIMELINE
from results.stats import Estimate

Json = dict[str, Any]

FAILURES_TO_SKIP = 2  # in a row
TIMED = [metric for metric in METRICS.values() if metric.pass_ == TIME]
# How long a sample of a further pass lasts, as (factor, seconds) of one of time, until one was seen.
GUESSES = {LATENCY: (1.5, 0.0), TIMELINE: (1.1, 5.2), INSTRUCTIONS: (40.0, 1.0)}


class Steering:
    """Figures that decide how a run goes on. Statistics proper are made from the written results."""

    def __init__(self, plan: Plan, baseline: str) -> None:
        self.plan, self.baseline = plan, baseline
        self.done: set[tuple[str, int]] = set()
        self.in_a_row: dict[str, int] = defaultdict(int)
        self.durations: dict[str, list[float]] = defaultdict(list)
        self.spent: dict[str, float] = defaultdict(float)  # seconds of this session, by pass
        self.over_budget: dict[str, list[str]] = {}  # pass: rows left out
        self.values: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
        self._reach: dict[str, float] = {}  # of rows whose samples have not changed since
        self._cells = {
            (pass_.name, row.name, entry.name): plan.cell(row, entry, pass_)
            for pass_ in plan.passes()
            for row in plan.rows
            for entry in plan.allocators
        }

    def cell(self, row: Row, entry: Allocator, pass_: PassPlan) -> str:
        return self._cells[pass_.name, row.name, entry.name]

    def planned(self) -> dict[tuple[str, str, str], str]:
        """(pass, row, allocator) -> cell."""
        return self._cells

    def add(self, row: str, entry: Json) -> None:
        """Takes notice of a written entry."""
        cell, failed = entry["cell"], bool(entry.get("error_occurred"))
        self.done.add((cell, entry["block"]))
        self.in_a_row[cell] = self.in_a_row[cell] + 1 if failed else 0
        if "worker_seconds" in entry:
            self.durations[cell].append(entry["worker_seconds"])
        if failed or entry.get("pass", TIME) != TIME:
            return
        self._reach.pop(row, None)
        for metric in TIMED:
            if entry.get(metric.field, 0) > 0:
                self.values[metric.key, row, entry["allocator"]][entry["block"]] = entry[metric.field]

    def gives_up(self, cell: str) -> bool:
        return self.in_a_row[cell] >= FAILURES_TO_SKIP

    # ---- precision ----

    def ratio(self, metric: str, row: str, name: str, other: str) -> Estimate | None:
        mine, theirs = self.values[metric, row, name], self.values[metric, row, other]
        return stats.paired_ratio(
            [math.log(mine[block] / theirs[block]) for block in mine if block in theirs]
        )

    def reach(self, row: str) -> float:
        """How far the widest 95 % interval of the row's ratios reaches to one side, as a fraction.
        Bounds and failing cells do not count."""
        if row not in self._reach:
            self._reach[row] = self._widest(row)
        return self._reach[row]

    def _widest(self, row: str) -> float:
        widest = 0.0
        for entry in self.plan.allocators:
            if entry.name == self.baseline or "bound" in entry.traits:
                continue
            for metric in TIMED:
                estimate = self.ratio(metric.key, row, entry.name, self.baseline)
                if estimate is not None:
                    sides = (estimate.high / estimate.ratio, estimate.ratio / estimate.low)
                    widest = max(widest, max(sides) - 1)
        return widest

    def is_open(self, row: Row, block: int) -> bool:
        """Whether the row takes part in this block of the time pass."""
        if block < self.plan.repetitions:
            return True
        precision = self.plan.precision
        return precision is not None and block < self.plan.most and self.reach(row.name) > precision

    def imprecise(self) -> list[str]:
        """Rows whose intervals are wider than asked for."""
        wanted = self.plan.precision
        return [row.name for row in self.plan.rows if wanted is not None and self.reach(row.name) > wanted]

    def _blocks(self, row: Row, begun: int) -> int:
        """Expected blocks of a row: intervals shrink with the square root of their number."""
        precision, most = self.plan.precision, max(self.plan.most, self.plan.repetitions)
        if precision is None or begun < 2:
            return self.plan.repetitions
        reach = self.reach(row.name)
        if reach <= precision:
            return max(self.plan.repetitions, begun)
        return max(self.plan.repetitions, min(most, math.ceil(begun * (reach / precision) ** 2)))

    # ---- who leads ----

    def leader(self, row: str) -> str | None:
        """Who takes the least time in a row so far, with those that cannot be told from it."""
        names = [
            entry.name
            for entry in self.plan.allocators
            if entry.control_of is None and "bound" not in entry.traits
        ]
        found = {name: one.ratio for name in names if (one := self.ratio("time", row, name, self.baseline))}
        if len(found) < 2:
            return None
        first, *others = sorted(found, key=lambda name: found[name])
        near = [name for name in others if not self._told_apart(row, first, name)]
        said = f"{first} {found[first]:.2f}"
        if not near:
            return said
        return f"{said} (or {', '.join(near)})" if len(near) < 3 else f"{said} (or {len(near)} others)"

    def _told_apart(self, row: str, first: str, other: str) -> bool:
        estimate = self.ratio("time", row, first, other)
        return estimate is not None and estimate.count >= stats.LEAST_BLOCKS and estimate.high < 1

    # ---- how long ----

    def progress(self) -> tuple[int, int, float | None]:
        """Samples done, samples expected in all, and the seconds that the rest will take if that is known."""
        seen = [sum(values) / len(values) for values in self.durations.values()]
        average = sum(seen) / len(seen) if seen else None
        done = total = 0
        left = 0.0
        for pass_ in self.plan.passes():
            ours, whole, seconds = self._of_pass(pass_, average or 0.0)
            done, total, left = done + ours, total + whole, left + seconds
        return done, max(total, done), None if average is None else left

    def _of_pass(self, pass_: PassPlan, average: float) -> tuple[int, int, float]:
        done = missing = 0
        left = 0.0
        for row in self.plan.rows:
            entries = self.plan.entries_of(row, pass_)
            cells = [self.cell(row, entry, pass_) for entry in entries]
            begun = max(
                (sum((cell, block) in self.done for block in range(pass_.repetitions)) for cell in cells),
                default=0,
            )
            blocks = self._blocks(row, begun) if pass_.name == TIME else pass_.repetitions
            for entry, cell in zip(entries, cells):
                have = sum((cell, block) in self.done for block in range(pass_.repetitions))
                done += have
                if row.name not in self.over_budget.get(pass_.name, ()):
                    missing += max(0, blocks - have)
                    left += max(0, blocks - have) * self._seconds(row, entry, pass_, average)
        if pass_.budget_seconds is not None:
            left = min(left, max(0.0, pass_.budget_seconds - self.spent[pass_.name]))
        return done, done + missing, left

    def _seconds(self, row: Row, entry: Allocator, pass_: PassPlan, average: float) -> float:
        cell = self.cell(row, entry, pass_)
        if self.gives_up(cell):
            return 0.0
        seen = self.durations.get(cell)
        if seen:
            return sum(seen) / len(seen)
        if pass_.name == TIME or not self.plan.timed:
            return average
        factor, more = GUESSES[pass_.name]
        return self._seconds(row, entry, self.plan.time, average) * factor * pass_.scale + more
