"""The tables of a stored run, worked out by hand: testdata/known.json.

In it `fast` takes exactly half the time of `system` in churn and 0.8 of it in larson, and twice its memory;
`same` and the A/A control swing by up to 2 % around system; whole blocks drift by 20 %.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from results import blind, compare, stats, words
from results.analysis import Analysis
from results.metrics import METRICS
from results.conftest import Json, entry, failed, simulated
from results.store import BadResults

TIME, MEMORY = METRICS["time"], METRICS["memory"]


def test_who_takes_part(known: Json) -> None:
    analysis = Analysis(known)
    assert analysis.rows == ["churn", "larson/threads:2"]
    assert analysis.contenders == ["system", "fast", "same"]
    assert analysis.named("bound") == ["null"]
    assert analysis.control_of("system") == "system~aa"


def test_ratios_are_free_of_drift(known: Json) -> None:
    cells = Analysis(known).comparison(TIME, "system")
    estimate = cells["churn", "fast"].estimate
    assert estimate is not None
    assert (estimate.ratio, estimate.low, estimate.high) == pytest.approx((0.5, 0.5, 0.5))
    assert cells["churn", "fast"].verdict == stats.FASTER
    assert cells["churn", "same"].verdict == stats.NO_DIFFERENCE
    assert cells["churn", "fast"].median == pytest.approx(50)


def test_memory_and_overall(known: Json) -> None:
    analysis = Analysis(known)
    assert analysis.comparison(MEMORY, "system")["churn", "fast"].verdict == stats.SLOWER
    lines = {line.allocator: line for line in analysis.overall(TIME, "system")}
    estimate = lines["fast"].estimate
    assert estimate is not None and estimate.ratio == pytest.approx(math.sqrt(0.5 * 0.8))
    assert lines["fast"].rows == lines["fast"].of == 2


def test_another_baseline_turns_the_ratio(known: Json) -> None:
    estimate = Analysis(known).comparison(TIME, "fast")["churn", "system"].estimate
    assert estimate is not None and estimate.ratio == pytest.approx(2.0)


def test_noise_floor_comes_from_the_control(known: Json) -> None:
    floor = Analysis(known).floor(TIME, "churn")
    assert floor is not None and 1.005 < floor <= 1.021


def test_sentences(known: Json) -> None:
    analysis = Analysis(known)
    said = words.leader_sentence(analysis, TIME, "system")
    assert said.startswith("Time: fast leads over 2 workloads, 37\N{NO-BREAK SPACE}% less time than system")
    assert words.best_rows(analysis, TIME, "system")["fast"] == 2


def test_failures_are_kept_apart(known: Json) -> None:
    known["benchmarks"].append(failed("churn", "fast", 7, "killed by SIGSEGV\nfree(): invalid pointer"))
    known["benchmarks"].append({**failed("churn", "fast", 8, "not run"), "skipped_run": True})
    analysis = Analysis(known)
    cell = analysis.comparison(TIME, "system")["churn", "fast"]
    assert (cell.failed, cell.verdict) == (2, "failed")
    (failure,) = analysis.failures()
    assert failure.blocks == (7,) and failure.skipped == 1
    assert "--workloads churn" in failure.repeat
    assert "fast leads" not in words.leader_sentence(analysis, TIME, "system")


def test_missing_baseline_names_the_others(known: Json) -> None:
    with pytest.raises(BadResults, match="fast, same"):
        Analysis(known).baseline("jemalloc")


def test_too_few_samples_are_said() -> None:
    analysis = Analysis(simulated({"system": 1.0, "fast": 0.5}, ["churn"], 3))
    assert analysis.comparison(TIME, "system")["churn", "fast"].verdict == stats.TOO_FEW
    assert "too few samples" in words.leader_sentence(analysis, TIME, "system")
    assert any("only 3 blocks" in line for line in blind.spots(analysis, "system"))


def test_compare_finds_what_got_worse(known: Json) -> None:
    base = Analysis(simulated({"system": 1.0, "mine": 1.0}, ["churn", "flat"], 15, seed=1, spread=0.005))
    new = Analysis(simulated({"system": 1.0, "mine": 1.3}, ["churn", "flat"], 15, seed=2, spread=0.005))
    found = compare.compare(base, new, [MEMORY], 0.03)
    assert {(line.row, line.allocator) for line in found.regressions} == {("churn", "mine"), ("flat", "mine")}
    assert not compare.compare(new, base, [MEMORY], 0.03).regressions
    assert not compare.compare(base, base, [TIME, MEMORY], 0.0).regressions
    assert "| churn | mine | memory |" in found.as_markdown()


def test_compare_counts_new_failures(known: Json) -> None:
    base = Analysis(known)
    broken = {**known, "benchmarks": [*known["benchmarks"], failed("churn", "same", 9, "timeout")]}
    assert compare.compare(base, Analysis(broken), [TIME], 0.03).newly_failed == [("churn", "same")]


def test_compare_names_differences(known: Json) -> None:
    other = simulated({"system": 1.0}, ["churn"], 5)
    ours = other["context"]["heaparena"]
    ours["machine"] = {**ours["machine"], "cpu": "another CPU"}
    ours["scale"] = 0.5
    ours["workloads"]["churn"]["parameters"] = {"live": "7"}
    said = compare.differences(Analysis(known), Analysis(other))
    assert [line.split(" (")[0] for line in said] == ["machine cpu", "scale", "parameters of churn"]


def test_values_without_a_ratio_are_left_out(known: Json) -> None:
    known["benchmarks"].append(entry("churn", "fast", 20, 0.0, 0.0))
    known["benchmarks"].append(entry("churn", "system", 20, 10.0, 1.0))
    estimate = Analysis(known).comparison(TIME, "system")["churn", "fast"].estimate
    assert estimate is not None and estimate.count == 7


def drifting(speed: float, seed: int, drift: float, spread: float = 0.02) -> Analysis:
    """A run on a machine that is `drift` times as slow as another day."""
    data = simulated({"system": 1.0, "mine": speed}, ["churn", "flat", "tree", "lru"], 15, seed, spread)
    for one in data["benchmarks"]:
        one["real_time"] *= drift
    return Analysis(data)


def test_compare_takes_the_drift_between_runs_out() -> None:
    base, slow_day = drifting(1.0, 1, 1.0, 0.005), drifting(1.0, 2, 1.25, 0.005)
    assert compare.reference_of(base, slow_day) == "system"
    found = compare.compare(base, slow_day, [TIME], 0.03, "system")
    assert not found.regressions and {line.allocator for line in found.lines} == {"mine"}
    assert all(1.1 < line.estimate.ratio < 1.45 for line in found.drift)
    assert "ratios to system" in found.summary()[0] and "system itself changed by +" in found.summary()[0]
    assert compare.compare(base, slow_day, [TIME], 0.03).regressions
    worse = compare.compare(base, drifting(1.08, 3, 0.8, 0.005), [TIME, MEMORY], 0.03, "system")
    assert {(line.allocator, line.metric.key) for line in worse.regressions} == {
        ("mine", "time"),
        ("mine", "memory"),
    }
    assert len(worse.regressions) == 8 and any(line.allocator == "system" for line in worse.lines)


def test_compare_of_equal_runs_is_calibrated() -> None:
    """The same allocators on days of different speed: at most 5 of 100 tables hold a false regression at 3 %,
    and the intervals hold the true ratio 1 in 93 % of the cells."""
    flagged = cells = held = 0
    chance = np.random.default_rng(8)
    for seed in range(0, 200, 2):
        base, new = (drifting(1.0, seed + side, chance.lognormal(0, 0.1), 0.03) for side in (0, 1))
        found = compare.compare(base, new, [TIME], 0.03, compare.reference_of(base, new))
        flagged += bool(found.regressions)
        cells += len(found.lines)
        held += sum(line.estimate.low <= 1 <= line.estimate.high for line in found.lines)
    assert flagged <= 5 and held >= 0.93 * cells and cells == 400


def test_no_reference_where_builds_differ_or_nothing_else_is_there(known: Json) -> None:
    base, new = drifting(1.0, 1, 1.0), drifting(1.0, 2, 1.0)
    new.ours["allocators"]["system"]["build_id"] = "another"
    assert compare.reference_of(base, new) is None
    with pytest.raises(BadResults, match="--reference system"):
        compare.reference_of(base, new, "system")
    assert compare.reference_of(base, new, "mine") == "mine"
    alone = Analysis(simulated({"system": 1.0}, ["churn"], 7))
    assert compare.reference_of(alone, alone) is None
    assert (
        "drift between the two runs is in these ratios"
        in compare.compare(base, new, [TIME], 0.03).summary()[0]
    )


def test_compare_of_two_entries_is_paired() -> None:
    run = Analysis(simulated({"system": 1.0, "old": 1.0, "new": 1.05}, ["churn", "flat"], 15, spread=0.005))
    found = compare.compare_entries(run, "old", "new", [TIME], 0.02)
    assert [line.verdict for line in found.lines] == [compare.WORSE] * 2
    assert found.lines[0].estimate.count == 15 and found.lines[0].allocator == "new / old"
    assert "within the blocks of one run. The noise floor of the run is time" in found.summary()[0]
    assert not compare.compare_entries(run, "old", "new", [TIME], 0.1).regressions
    assert not compare.compare_entries(run, "new", "old", [TIME], 0.02).regressions
    with pytest.raises(BadResults, match="older: not in this result"):
        compare.compare_entries(run, "older", "new", [TIME], 0.02)


def test_compare_of_two_equal_entries_is_calibrated() -> None:
    flagged = 0
    for seed in range(100):
        speeds = {"system": 1.0, "old": 1.0, "new": 1.0}
        run = Analysis(simulated(speeds, ["churn", "flat", "tree", "lru"], 10, seed, 0.03))
        flagged += bool(compare.compare_entries(run, "old", "new", [TIME], 0.02).regressions)
    assert flagged <= 5


def test_the_opening_says_who_is_unbeaten_and_how_sure() -> None:
    analysis = Analysis(
        simulated({"system": 1.0, "fast": 0.5, "slow": 2.0}, ["churn", "flat"], 7, spread=0.005)
    )
    said = words.opening(analysis, "system")
    assert "Both: fast is beaten by nobody in time and memory at once, by these ratios." in said
    assert said[-1].startswith("How sure: 7 samples a cell; one allocator entered twice differed by up to 0.")
    few = Analysis(simulated({"system": 1.0, "fast": 0.5, "slow": 2.0}, ["churn"], 3))
    assert words.opening(few, "system")[-1] == (
        "How sure: 3 samples a cell, and no noise floor: small differences mean nothing."
    )
