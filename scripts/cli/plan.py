"""What a run will do: cells, their identities, and the balanced random order of samples."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Iterator, Sequence

from cli.entries import Allocator, Workload
from cli.profiles import PassPlan
from results.metrics import TIME


@dataclass(frozen=True)
class Row:
    """A workload at one thread count."""

    workload: Workload
    threads: int

    @property
    def name(self) -> str:
        return f"{self.workload.name}/threads:{self.threads}" if self.workload.scales else self.workload.name


@dataclass(frozen=True)
class Sample:
    """One process to start: one allocator in one row in one block, at one place of the block's order."""

    row: Row
    allocator: Allocator
    block: int
    position: int
    pass_: PassPlan

    @property
    def name(self) -> str:
        """As in results: further passes say which they are."""
        name = f"{self.row.name}/{self.allocator.name}"
        return name if self.pass_.name == TIME else f"{name}/pass:{self.pass_.name}"


@dataclass(frozen=True)
class Plan:
    """`repetitions` blocks of the time pass, or up to `most` where the intervals are wider than `precision`;
    then the further passes."""

    rows: Sequence[Row]
    allocators: Sequence[Allocator]  # the A/A control included
    repetitions: int
    scale: float
    seed: int
    most: int = 0  # blocks at most; 0: as many as `repetitions`
    precision: float | None = None
    further: Sequence[PassPlan] = ()
    timed: bool = True  # whether there is a time pass
    cpus: tuple[int, ...] = ()  # the workers' CPUs; empty: all

    @property
    def time(self) -> PassPlan:
        return PassPlan(TIME, max(self.repetitions, self.most) if self.timed else 0)

    def passes(self) -> list[PassPlan]:
        return [*([self.time] if self.timed else []), *self.further]

    def block(
        self, rows: Sequence[Row], block: int, pass_: PassPlan, chance: random.Random
    ) -> Iterator[Sample]:
        """Rows in random order, and within each row every allocator once, in random order."""
        for row in chance.sample(list(rows), len(rows)):
            yield from self.row(row, block, pass_, chance)

    def row(self, row: Row, block: int, pass_: PassPlan, chance: random.Random) -> Iterator[Sample]:
        entries = self.entries_of(row, pass_)
        for position, allocator in enumerate(chance.sample(entries, len(entries))):
            yield Sample(row, allocator, block, position, pass_)

    def rows_of(self, pass_: PassPlan) -> list[Row]:
        """In the order of a further pass, whose budget may leave out the last."""
        places = {name: place for place, name in enumerate(pass_.first)}
        return sorted(self.rows, key=lambda row: places.get(row.workload.name, len(places)))

    def entries_of(self, row: Row, pass_: PassPlan) -> list[Allocator]:
        """The allocators that take part in a row: collectors in mutator programs only, and only timed; in
        these, nobody whose blocks overlap. What serves replays only is in replays only."""
        if row.workload.mutator:
            return [
                entry
                for entry in self.allocators
                if not {"shared-blocks", "trace-only"} & set(entry.traits)
                and (pass_.name == TIME or not entry.collects)
            ]
        replays = row.workload.trace_sha256 is not None
        return [
            entry
            for entry in self.allocators
            if not entry.collects and (replays or "trace-only" not in entry.traits)
        ]

    def scale_of(self, pass_: PassPlan) -> float:
        return self.scale * pass_.scale

    def cell(self, row: Row, allocator: Allocator, pass_: PassPlan) -> str:
        """Content key of a cell: equal keys mean that samples may stand side by side."""
        identity = [
            allocator.identity(),
            allocator.control_of is not None,
            row.workload.identity(),
            row.threads,
            self.scale_of(pass_),
            self.seed,
        ]
        if pass_.name != TIME:
            identity.append(pass_.name)
        if self.cpus:
            identity.append(list(self.cpus))
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def rows(
    workloads: Sequence[Workload], threads: Sequence[int], scaling: Sequence[str], steps: Sequence[int]
) -> list[Row]:
    """Every workload that scales at every thread count of `threads`, those named in `scaling` at every count
    of `steps` too; the others once."""
    found = []
    for workload in workloads:
        counts = sorted({*threads, *(steps if workload.name in scaling else ())}) if workload.scales else [1]
        found += [Row(workload, count) for count in counts]
    return found
