"""Ranges of a parameter in --workloads, and the profile that is made of one."""

from __future__ import annotations

import pytest

from cli.entries import ranges, workloads
from cli.errors import UserError
from cli.plan import rows
from cli.profiles import PROFILES

NUMBERS = [{"name": name, "least": 1, "most": 10**8} for name in ("live", "min", "max")]
KNOWN = [
    {"name": name, "summary": "", "parameters": [*NUMBERS, {"name": "fill"}], "scales": True}
    for name in ("churn", "churn-even", "fastpath", "batch")
]


def test_a_range_is_taken_in_decades() -> None:
    found = workloads(ranges(["churn:live=10..2500:min=8"]), KNOWN)
    assert [one.name for one in found] == [f"churn:live={live}:min=8" for live in (10, 100, 1000, 2500)]
    assert found[2].parameters == {"live": "1000", "min": "8"}
    assert len(workloads(ranges(["churn:live=1..100:min=1..10", "churn"]), KNOWN)) == 3 * 2 + 1


def test_a_range_that_does_not_rise_is_refused() -> None:
    for text, part in (
        ("churn:live=10..10", "must rise"),
        ("churn:live=0..10", "must rise"),
        ("churn:live=10..x", "must be a whole number"),
        ("churn:live=1..1000000000", "from 1 to 100000000"),
    ):
        with pytest.raises(UserError, match=part):
            workloads(ranges([text]), KNOWN)


def test_one_workload_is_never_a_range() -> None:
    with pytest.raises(UserError, match="must be a whole number"):
        workloads(["churn:live=10..100"], KNOWN)  # as `map` asks, which draws one
    assert ranges(["trace:a/b=1..5.hat", "x.hat"]) == ["trace:a/b=1..5.hat", "x.hat"]


def test_profile_growth_is_of_one_thread_but_where_threads_matter() -> None:
    profile = PROFILES["growth"]
    found = workloads(ranges(profile.names([])), KNOWN)
    planned = rows(found, [profile.threads or 9], profile.scaling, [1, 2])
    counts: dict[str, list[int]] = {}
    for row in planned:
        counts.setdefault(row.workload.name, []).append(row.threads)
    live = [one for one in found if "10000000" in one.name]
    assert len(live) == 1 and counts[live[0].name] == [1]
    assert counts["fastpath"] == [1, 2] and counts["churn-even:live=10000:fill=before"] == [1, 2]
