"""The tables of a stored run, worked out by hand: testdata/known.json.

In it `fast` takes exactly half the time of `system` in churn and 0.8 of it in larson, and twice its memory;
`same` and the A/A control swing by up to 2 % around system; whole blocks drift by 20 %.
"""

from __future__ import annotations

import math

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
