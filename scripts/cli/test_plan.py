"""Who takes part in which row: collectors run mutator programs only, no allocator without contents does."""

from __future__ import annotations

import random

from cli import build
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


def names(row: Row, pass_: str) -> set[str]:
    return {sample.allocator.name for sample in PLAN.row(row, 0, PassPlan(pass_, 1), random.Random(1))}


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


def test_a_pass_with_a_budget_begins_with_the_rows_that_say_most() -> None:
    rows = [
        Row(Workload(name, name, "", "", {}, True), threads) for name in ("a", "b", "c") for threads in (1, 2)
    ]
    plan = Plan(rows, ENTRIES, 1, 1.0, 1)
    found = [row.name for row in plan.rows_of(PassPlan(LATENCY, 1, first=("c", "absent", "a")))]
    assert found == [f"{name}/threads:{threads}" for name in ("c", "a", "b") for threads in (1, 2)]
    assert plan.rows_of(PassPlan(LATENCY, 1)) == rows


def test_profiles_name_recorded_programs_that_are_there() -> None:
    named = {name for one in PROFILES.values() for pass_ in one.passes for name in pass_.first}
    named |= {f"trace:{name}" for one in PROFILES.values() for name in one.traces or ()}
    recorded = {name for name in named if name.startswith("trace:")}
    assert recorded and recorded == {f"trace:{path.stem}" for path in build.TRACES.glob("*.hat")}
