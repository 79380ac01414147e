"""The statistics of heaparena: small pure functions over arrays, with no knowledge of files or reports.

Everything works on logarithms of ratios, so that "A against B" and "B against A" say the same thing. No
outlier is ever removed. results/README.md explains the choices in words.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
RESAMPLES = 2000
# With fewer blocks no interval can come near 95 %: [least, greatest] of n covers the median with 1 - 2^(1-n).
LEAST_BLOCKS = 5
# Up to this many samples of both sides together the Mann-Whitney test is exact, ties included. Its
# approximation cannot fall far enough for a large table: with 7 samples against 14, no cell of 236 would ever
# be called different.
EXACT_MOST = 60

FASTER = "faster"
SLOWER = "slower"
NO_DIFFERENCE = "no difference shown"
TOO_FEW = "too few samples"


@dataclass(frozen=True)
class Estimate:
    """A ratio with its 95 % interval; `count` is the number of blocks (or samples, or workloads) behind
    it."""

    ratio: float
    low: float
    high: float
    count: int


@functools.lru_cache(maxsize=4096)
def _median_ranks(count: int, stream: int) -> tuple[Ints, Ints]:
    """For RESAMPLES bootstrap samples of `count` values: the ranks of the two values whose mean is the
    median.

    A bootstrap median depends on the data only through the order statistics it picks, so these ranks are
    drawn once per size and serve every cell of a table.
    """
    generator = np.random.default_rng([20261123, count, stream])
    drawn = generator.integers(0, count, size=(RESAMPLES, count))
    drawn.sort(axis=1)
    return drawn[:, (count - 1) // 2].copy(), drawn[:, count // 2].copy()


def bootstrap_medians(values: Sequence[float] | Floats, stream: int = 0) -> Floats:
    """Medians of RESAMPLES bootstrap samples of `values`; different streams are independent."""
    ordered = np.sort(np.asarray(values, dtype=float))
    first, second = _median_ranks(len(ordered), stream)
    medians: Floats = (ordered[first] + ordered[second]) / 2
    return medians


def median(values: Sequence[float] | Floats) -> float:
    """Plain Python: for the few samples of a cell it is ten times as fast as numpy's."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return float(ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)


def logarithms(values: Sequence[float]) -> Floats:
    logs: Floats = np.log(np.asarray(values, dtype=float))
    return logs


def _interval(resampled: Floats) -> tuple[float, float]:
    """The middle 95 % of bootstrap values, rounded outwards.

    Bootstrap medians take few distinct values, the data's own; cutting at a value's step would keep
    only 88 % for 15 blocks. So the cut goes to the next value out, beyond which at most 2.5 % lie.
    """
    tail = (1 - CONFIDENCE) / 2
    ordered = np.sort(resampled)
    last = len(ordered) - 1
    low, high = ordered[math.floor(tail * last)], ordered[math.ceil((1 - tail) * last)]
    below = int(np.searchsorted(ordered, low, side="left")) - 1
    above = int(np.searchsorted(ordered, high, side="right"))
    return float(ordered[max(below, 0)]), float(ordered[min(above, last)])


def _from_logs(centre: float, resampled: Floats, count: int) -> Estimate:
    low, high = _interval(resampled)
    return Estimate(math.exp(centre), math.exp(low), math.exp(high), count)


def paired_ratio(log_ratios: Sequence[float] | Floats) -> Estimate | None:
    """Median of the within-block ratios, given as logarithms, with its bootstrap interval. None without
    blocks."""
    if len(log_ratios) == 0:
        return None
    return _from_logs(median(log_ratios), bootstrap_medians(log_ratios), len(log_ratios))


def unpaired_ratio(new: Sequence[float], base: Sequence[float]) -> Estimate | None:
    """Ratio of medians new/base of two independent samples of positive values, with its bootstrap
    interval."""
    return ratio_of_medians(logarithms(new), logarithms(base))


def ratio_of_medians(log_new: Floats, log_base: Floats) -> Estimate | None:
    """The same of logarithms: of values, or of ratios to a reference, which gives the ratio of ratios."""
    if not len(log_new) or not len(log_base):
        return None
    resampled = bootstrap_medians(log_new, 1) - bootstrap_medians(log_base, 2)
    centre = median(log_new) - median(log_base)
    return _from_logs(centre, resampled, min(len(log_new), len(log_base)))


def geometric_mean(rows: Sequence[Sequence[float] | Floats]) -> Estimate | None:
    """Geometric mean over workloads of the median block ratio; `rows` are log ratios, one list per workload.

    The interval covers the noise of the samples on these workloads. It says nothing about other workloads.
    """
    filled = [row for row in rows if len(row)]
    if not filled:
        return None
    centre = float(np.mean([median(row) for row in filled]))
    resampled: Floats = np.zeros(RESAMPLES)
    for stream, row in enumerate(filled):
        resampled += bootstrap_medians(row, stream + 3)
    return _from_logs(centre, resampled / len(filled), len(filled))


@functools.lru_cache(maxsize=1024)
def _rank_sums(ranks: tuple[int, ...], chosen: int) -> Floats:
    """In how many ways `chosen` of these ranks (ascending, above 0) have each sum: the index is the sum."""
    ways = np.zeros((chosen + 1, sum(ranks[-chosen:]) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank]
    found: Floats = ways[chosen]
    return found


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of the Mann-Whitney U test; exact, with ties, up to EXACT_MOST samples. 1.0
    without samples."""
    if not first or not second:
        return 1.0
    from scipy import stats as scipy_stats  # here: its import takes longer than most commands

    few, many = sorted((first, second), key=len)
    pooled = np.concatenate([np.asarray(few, dtype=float), np.asarray(many, dtype=float)])
    if len(pooled) <= EXACT_MOST:
        ranks = np.rint(2 * scipy_stats.rankdata(pooled)).astype(np.int64)  # whole, for ties have half ranks
        ways = _rank_sums(tuple(sorted(ranks.tolist())), len(few))
        centre = len(few) * (len(pooled) + 1)
        observed = abs(int(ranks[: len(few)].sum()) - centre)
        as_far = np.abs(np.arange(len(ways)) - centre) >= observed
        return float(ways[as_far].sum() / ways.sum())
    if np.ptp(pooled) == 0:
        return 1.0
    return float(scipy_stats.mannwhitneyu(first, second, alternative="two-sided", method="asymptotic").pvalue)


def least_p(first: int, second: int) -> float:
    """The smallest p-value that mann_whitney can return for samples of these sizes: complete separation."""
    return mann_whitney(list(range(first)), list(range(first, first + second)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p-values in the order given."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


def noise_floor(log_ratios: Sequence[float] | Floats) -> float | None:
    """From A/A blocks (one allocator entered twice): how far from 1 a ratio may lie by chance, as a factor
    >= 1.

    It is the far end of the interval of the A/A ratio. None without A/A blocks.
    """
    estimate = paired_ratio(log_ratios)
    if estimate is None:
        return None
    return max(estimate.high, 1 / estimate.low)


def verdict(estimate: Estimate | None, adjusted_p: float, floor: float | None) -> str:
    """What may be said of a ratio: a difference only if interval, corrected test and noise floor all
    agree."""
    if estimate is None or estimate.count < LEAST_BLOCKS:
        return TOO_FEW
    limit = floor or 1.0
    if adjusted_p >= SIGNIFICANCE:
        return NO_DIFFERENCE
    if estimate.high < 1 and estimate.ratio < 1 / limit:
        return FASTER
    if estimate.low > 1 and estimate.ratio > limit:
        return SLOWER
    return NO_DIFFERENCE
