"""Fragmentation against Robson's bounds: heap over peak live bytes on the worst-case workloads, beside what
is known of the worst case of any allocator, first fit, best fit and the buddy system. A section of the
report.

A workload takes part when its samples say the smallest and the largest request (`least_request`,
`most_request`). With M bytes live at most and n = largest / smallest request, Robson showed how much store
an allocator that never moves a block may need. The formulas are those of Knuth, The Art of Computer
Programming, volume 1 (3rd edition), section 2.5, exercises 38 to 43, as multiples of M.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Callable, Mapping

from results.analysis import Analysis
from results.section import Plot, Section, Table

Factor = Callable[[float, float], float]  # of n and M / smallest request


def any_allocator(n: float, units: float) -> float:
    """Sizes that are powers of two: M (1 + lg n / 2) - n + 1 units are enough with the right strategy, and
    with less every strategy can be made to fail (Robson 1971 and 1974)."""
    return 1 + math.log2(n) / 2 - (n - 1) / units


def first_fit(n: float, _units: float) -> float:
    """At most M H(n) / ln 2, H the harmonic numbers: about lg n + 0.8 (Robson 1977)."""
    if n > 100:
        return (math.log(n) + 0.5772156649 + 1 / (2 * n)) / math.log(2)
    return sum(1 / i for i in range(1, int(n) + 1)) / math.log(2)


def best_fit(n: float, units: float) -> float:
    """An adversary makes it need n M - O(M + n^2) (Robson 1977); at least what every allocator may need."""
    return max(n - 1 - n * n / units, any_allocator(n, units))


def buddy(n: float, _units: float) -> float:
    """Sizes that are powers of two: M (1 + lg n) is enough, for no order's blocks take up more than M."""
    return 1 + math.log2(n)


BOUNDS: Mapping[str, Factor] = {
    "bound: any allocator": any_allocator,
    "bound: first fit": first_fit,
    "bound: buddy": buddy,
    "bound: best fit": best_fit,
}

NOTE = (
    "Heap is the growth of resident memory over the run, without heaparena's own tables, at its peak; "
    "live bytes are requested bytes at their peak (M); n is the largest over the smallest request. "
    "Bounds: no allocator that leaves blocks where they are can promise less than the first against every "
    "program (Robson 1971, 1974); first fit never needs more than the second, the buddy system than the "
    "third for requests that are powers of two (for others up to twice that, of rounding); an adversary "
    "drives best fit to about the fourth (Robson 1977; Knuth, The Art of Computer Programming 1, 2.5, "
    "exercises 38 to 43). The workloads do not know an allocator's addresses, as the proofs' adversaries "
    "do, so they stay below; what lies above a bound is headers, size classes and pages, which the bounds "
    "do not count."
)


@dataclass(frozen=True)
class Row:
    """One row of the run: its parameters and each contender's heap over peak live bytes."""

    name: str
    choice: str  # the workload without parameters
    live: float  # M, bytes
    least: float  # smallest request, bytes
    ratio: float  # n
    heaps: Mapping[str, float]

    def bound(self, factor: Factor) -> float:
        return factor(self.ratio, self.live / self.least)


def _row(analysis: Analysis, name: str) -> Row | None:
    heaps: dict[str, float] = {}
    live = least = most = 0.0
    for allocator in analysis.contenders:
        entries = [
            entry
            for entry in analysis.good.get((name, allocator), {}).values()
            if entry.get("least_request") and entry.get("rss_over_live")
        ]
        if entries:
            heaps[allocator] = median(entry["rss_over_live"] for entry in entries)
            live = max(live, *(entry["peak_live_bytes"] for entry in entries), 0.0)
            least, most = float(entries[0]["least_request"]), float(entries[0]["most_request"])
    if not heaps or not 0 < least <= most <= live:
        return None
    return Row(name, analysis.workload_of[name].partition(":")[0], live, least, most / least, heaps)


def _curves(rows: list[Row]) -> dict[str, dict[str, list[list[float]]]]:
    """By workload, over n: each allocator's points, and the bounds as lines."""
    found: dict[str, dict[str, list[list[float]]]] = {}
    for choice in dict.fromkeys(row.choice for row in rows):
        mine = sorted((row for row in rows if row.choice == choice), key=lambda row: row.ratio)
        curves: dict[str, list[list[float]]] = {}
        for row in mine:
            for name, value in row.heaps.items():
                curves.setdefault(name, []).append([row.ratio, float(f"{value:.4g}")])
        last = mine[-1]
        steps = [2.0**power for power in range(1, max(2, math.ceil(math.log2(last.ratio)) + 1))]
        for name, factor in BOUNDS.items():
            if factor is best_fit:
                continue  # far above all others: in the table
            curves[name] = [[n, float(f"{factor(n, last.live / last.least):.4g}")] for n in steps]
        found[choice] = curves
    return found


def _lead(rows: list[Row]) -> str:
    row = max(rows, key=lambda row: row.ratio)
    first, *others = sorted(row.heaps, key=lambda name: row.heaps[name])
    text = f"On {row.name} (n = {row.ratio:,.0f}), {first} took {row.heaps[first]:.2f} times the peak "
    text += "of live bytes"
    if others:
        text += f", {others[-1]} {row.heaps[others[-1]]:.2f} times"
    least = row.bound(any_allocator)
    return f"{text}; against the worst program, no allocator can promise less than {least:.2f}."


def section(analysis: Analysis) -> Section | None:
    rows = [row for name in analysis.rows if (row := _row(analysis, name)) is not None]
    if not rows:
        return None
    lines = [
        ["live bytes at the peak (M), MiB", *(f"{row.live / 2**20:.1f}" for row in rows)],
        ["largest over smallest request (n)", *(f"{row.ratio:,.0f}" for row in rows)],
    ]
    for allocator in analysis.contenders:
        values = [row.heaps.get(allocator) for row in rows]
        if any(value is not None for value in values):
            lines.append([allocator, *("-" if value is None else f"{value:.2f}" for value in values)])
    for name, factor in BOUNDS.items():
        lines.append([name, *(f"{row.bound(factor):.2f}" for row in rows)])
    return Section(
        "robson",
        "Fragmentation against Robson's bounds",
        [Table("Heap over peak live bytes", ["heap / peak live bytes", *(row.name for row in rows)], lines)],
        lead=_lead(rows),
        note=NOTE,
        plot=Plot(
            "Heap over peak live bytes against the ratio of the largest to the smallest request, per "
            "allocator, with Robson's bounds but that of best fit; the figures are in the table below",
            "n: largest over smallest request",
            "heap over peak live bytes",
            _curves(rows),
            log_x=True,
        ),
    )
