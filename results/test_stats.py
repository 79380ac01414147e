"""Known answers and calibration of stats.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from results import stats
from results.analysis import Analysis
from results.metrics import METRICS
from results.conftest import simulated


def test_paired_ratio_of_constant_ratio_is_exact() -> None:
    estimate = stats.paired_ratio(np.log([0.5] * 7))
    assert estimate is not None
    assert (estimate.ratio, estimate.low, estimate.high) == pytest.approx((0.5, 0.5, 0.5))
    assert estimate.count == 7


def test_no_blocks_give_no_estimate() -> None:
    assert stats.paired_ratio([]) is None
    assert stats.unpaired_ratio([], [1.0]) is None
    assert stats.geometric_mean([[], []]) is None
    assert stats.noise_floor([]) is None


def test_intervals_are_the_same_from_run_to_run() -> None:
    logs = np.log([0.9, 1.1, 1.05, 0.97, 1.2])
    assert stats.paired_ratio(logs) == stats.paired_ratio(logs)


def test_ratio_of_the_inverse_is_the_inverse() -> None:
    logs = np.random.default_rng(3).normal(0.1, 0.05, 16)
    forward, backward = stats.paired_ratio(logs), stats.paired_ratio(-logs)
    assert forward is not None and backward is not None
    assert forward.ratio == pytest.approx(1 / backward.ratio)
    assert forward.low == pytest.approx(1 / backward.high, rel=0.02)


def test_bootstrap_agrees_with_the_exact_distribution_of_the_median() -> None:
    """For odd n, P(bootstrap median <= k-th value) is a binomial tail."""
    values = np.arange(1.0, 12.0)
    medians = stats.bootstrap_medians(values)
    for rank in (3, 5, 6, 8):
        exact = 1 - scipy_stats.binom.cdf(5, 11, rank / 11)
        assert np.mean(medians <= values[rank - 1]) == pytest.approx(exact, abs=0.02)


def test_interval_covers_the_median() -> None:
    """95 % intervals of 15 samples hold the true median in at least 93 % of 1000 tries."""
    chance = np.random.default_rng(11)
    held = 0
    for _ in range(1000):
        estimate = stats.paired_ratio(chance.normal(0.2, 0.1, 15))
        assert estimate is not None
        held += estimate.low <= math.exp(0.2) <= estimate.high
    assert held >= 930


def test_geometric_mean_of_known_rows() -> None:
    estimate = stats.geometric_mean([np.log([0.5] * 5), np.log([2.0] * 5), []])
    assert estimate is not None
    assert estimate.ratio == pytest.approx(1.0)
    assert estimate.count == 2


def test_mann_whitney_agrees_with_scipy() -> None:
    chance = np.random.default_rng(5)
    for first, second in ((5, 5), (5, 10), (14, 7), (20, 40), (30, 60)):
        a, b = chance.normal(0, 1, first), chance.normal(0.8, 1, second)
        exact = "exact" if first + second <= stats.EXACT_MOST else "asymptotic"
        assert stats.mann_whitney(list(a), list(b)) == pytest.approx(
            scipy_stats.mannwhitneyu(a, b, method=exact).pvalue, rel=1e-6
        )


def test_mann_whitney_with_ties_is_exact() -> None:
    assert stats.mann_whitney([1, 1, 1, 1, 1], [2, 2, 2, 2, 2]) == pytest.approx(2 / 252)
    assert stats.mann_whitney([1, 1, 2], [2, 3, 3]) == pytest.approx(4 / 20)  # two splits to each side
    assert stats.mann_whitney([1] * 5, [1] * 5) == 1.0
    assert stats.mann_whitney([1] * 40, [1] * 40) == 1.0
    assert stats.mann_whitney([], [1]) == 1.0


def test_holm_known_answer() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([]) == []
    assert stats.holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize(
    "estimate, p, floor, said",
    [
        (stats.Estimate(0.8, 0.75, 0.85, 15), 0.001, 1.05, stats.FASTER),
        (stats.Estimate(1.3, 1.2, 1.4, 15), 0.001, 1.05, stats.SLOWER),
        (stats.Estimate(0.8, 0.75, 0.85, 15), 0.06, 1.05, stats.NO_DIFFERENCE),
        (stats.Estimate(0.98, 0.97, 0.99, 15), 0.001, 1.05, stats.NO_DIFFERENCE),
        (stats.Estimate(0.9, 0.8, 1.01, 15), 0.001, None, stats.NO_DIFFERENCE),
        (stats.Estimate(0.5, 0.5, 0.5, 4), 0.001, None, stats.TOO_FEW),
        (None, 0.001, None, stats.TOO_FEW),
    ],
)
def test_verdicts(estimate: stats.Estimate | None, p: float, floor: float | None, said: str) -> None:
    assert stats.verdict(estimate, p, floor) == said


@pytest.mark.parametrize("blocks", [5, 15])
def test_false_claims_on_equal_allocators_are_rare(blocks: int) -> None:
    """Tables of equal allocators (A/A data): at most 5 % of tables hold any false claim."""
    tables, wrong = 60, 0
    speeds = {name: 1.0 for name in ("system", "a", "b", "c", "d")}
    for seed in range(tables):
        analysis = Analysis(simulated(speeds, ["churn", "larson", "flat"], blocks, seed))
        cells = analysis.comparison(METRICS["time"], "system").values()
        wrong += any(cell.verdict in (stats.FASTER, stats.SLOWER) for cell in cells)
    assert wrong <= 0.05 * tables


def test_true_differences_are_found() -> None:
    speeds = {"system": 1.0, "better": 0.9, "worse": 1.1}
    analysis = Analysis(simulated(speeds, ["churn", "larson"], 15))
    cells = analysis.comparison(METRICS["time"], "system")
    assert {cells[row, "better"].verdict for row in analysis.rows} == {stats.FASTER}
    assert {cells[row, "worse"].verdict for row in analysis.rows} == {stats.SLOWER}
