"""What a run will do: cells, their identities, and the balanced random order of samples."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Iterator, Sequence

from cli.entries import Allocator, Workload


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


@dataclass(frozen=True)
class Plan:
    rows: Sequence[Row]
    allocators: Sequence[Allocator]  # the A/A control included
    repetitions: int
    scale: float
    seed: int

    def __len__(self) -> int:
        return len(self.rows) * len(self.allocators) * self.repetitions

    def samples(self, chance: random.Random) -> Iterator[Sample]:
        """Block by block: rows in random order, and within each row every allocator once, in random order."""
        for block in range(self.repetitions):
            for row in chance.sample(list(self.rows), len(self.rows)):
                order = chance.sample(list(self.allocators), len(self.allocators))
                for position, allocator in enumerate(order):
                    yield Sample(row, allocator, block, position)

    def cell(self, row: Row, allocator: Allocator) -> str:
        """Content key of a cell: equal keys mean that samples may stand side by side."""
        identity = [
            allocator.identity(),
            allocator.control_of is not None,
            row.workload.identity(),
            row.threads,
            self.scale,
            self.seed,
        ]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def rows(workloads: Sequence[Workload], threads: Sequence[int]) -> list[Row]:
    """Every workload that scales at every thread count, the others once."""
    return [Row(workload, count) for workload in workloads for count in (threads if workload.scales else [1])]
