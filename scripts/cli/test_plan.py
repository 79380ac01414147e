"""Who takes part in which row: collectors run mutator programs only, no allocator without contents does."""

from __future__ import annotations

import random

from cli.entries import Allocator, Workload
from cli.plan import Plan, Row
from cli.profiles import PROFILES, PassPlan
from results.metrics import LATENCY, TIME

COLLECTOR = Allocator("copying", "copying", traits=("collector",))
ENTRIES = [
    Allocator("system", "system"),
    Allocator("null", "null", traits=("shared-blocks", "bound")),
    COLLECTOR,
]
CHURN = Row(Workload("churn", "churn", "", "", {}, False), 1)
TREES = Row(Workload("gc-trees", "gc-trees", "", "", {}, False, mutator=True), 1)
PLAN = Plan([CHURN, TREES], ENTRIES, 1, 1.0, 1)


def names(row: Row, source: str) -> set[str]:
    return {sample.allocator.name for sample in PLAN.row(row, 0, PassPlan(source, 1), random.Random(1))}


def test_collectors_take_part_in_mutator_programs_only() -> None:
    assert names(CHURN, TIME) == {"system", "null"}
    assert names(TREES, TIME) == {"system", "copying"}
    assert names(TREES, LATENCY) == {"system"}
    assert COLLECTOR.collects and not ENTRIES[0].collects


def test_mutator_programs_are_in_the_profile_of_collectors() -> None:
    known: list[dict[str, object]] = [
        {"name": "churn"},
        {"name": "gc-trees", "mutator": True},
        {"name": "trace"},
    ]
    assert PROFILES["collectors"].names(known) == ["gc-trees"]
    assert PROFILES["full"].names(known) == ["churn"]
