"""Size-class waste: how much more than asked for each allocator hands out, by request size. A section of the
report, from what `heaparena run` measured of each allocator (`class_waste` of its facts)."""

from __future__ import annotations

import bisect
import math
from typing import Sequence

from results.analysis import Analysis
from results.metrics import TIMELINE
from results.section import Plot, Section, Table

Steps = Sequence[Sequence[int]]  # [requested, usable], requests rising

BANDS = (
    (1, 15, "1–15 B"),
    (16, 1024, "16 B–1 KiB"),
    (1025, 32768, "1–32 KiB"),
    (32769, 2**20, "32 KiB–1 MiB"),
)
WORST_FROM = 16  # below it every allocator rounds up to its smallest block
PLOT_MOST = 100.0  # per cent
MEAN_OF = 400  # sizes

NOTE = (
    "Waste is usable size over requested size, less 1: measured, one block of each size in a process "
    "of its own. Means are over sizes spread evenly on the logarithmic axis. A small waste per block may be "
    "bought with many classes, whose half-empty pages then count as external fragmentation: see there. "
    "Of classes closer than 1/32 of their size not all were measured. "
    "What an allocator keeps beside its blocks (headers, bitmaps) is not in these figures."
)


def waste(requested: float, usable: float) -> float:
    """Per cent."""
    return (usable / requested - 1) * 100


def waste_at(steps: Steps, size: int) -> float | None:
    """Waste of a request of this size: a class serves all requests up to its usable size. Of classes that
    were passed over, the waste of the nearer measured one."""
    at = bisect.bisect_right(steps, size, key=lambda step: step[0]) - 1
    if at < 0 or at + 1 == len(steps) and steps[at][1] < size:
        return None
    asked, usable = steps[at]
    if usable >= size:
        return waste(size, usable)
    following = steps[at + 1]
    return waste(*(following if following[0] - size < size - asked else (asked, usable)))


def mean_waste(steps: Steps, least: int, most: int) -> float | None:
    """Mean over sizes spread evenly on the logarithmic axis; None if a part of them was not measured."""
    ratio = (most / least) ** (1 / (MEAN_OF - 1))
    found = [waste_at(steps, round(least * ratio**step)) for step in range(MEAN_OF)]
    known = [value for value in found if value is not None]
    return sum(known) / MEAN_OF if len(known) == MEAN_OF else None


def worst(steps: Steps) -> tuple[float, int] | None:
    """Per cent and request size."""
    found = [(waste(asked, usable), asked) for asked, usable in steps if asked >= WORST_FROM]
    return max(found, key=lambda pair: pair[0]) if found else None


def _in_workloads(analysis: Analysis, name: str) -> float | None:
    """Waste in the run's own workloads, from the timeline pass: geometric mean of internal fragmentation."""
    logs = [
        math.log(entry["internal_fragmentation"])
        for (_, allocator), blocks in analysis.of_pass(TIMELINE).good.items()
        if allocator == name
        for entry in blocks.values()
        if entry.get("internal_fragmentation", 0) > 0
    ]
    return waste(1.0, math.exp(sum(logs) / len(logs))) if logs else None


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %" if value < 100 else f"{value:.0f} %"


def _line(name: str, steps: Steps, own: float | None, with_own: bool) -> list[str]:
    most = worst(steps)
    return [
        name,
        *(_per_cent(mean_waste(steps, least, last)) for least, last, _ in BANDS),
        f"{_per_cent(most[0])} at {most[1]:,} B" if most else "-",
        *([_per_cent(own)] if with_own else []),
    ]


def _curve(steps: Steps, classes_only: bool) -> list[list[float]]:
    return [
        [asked, float(f"{waste(asked, usable):.4g}")]
        for asked, usable in steps
        if not classes_only or usable > asked
    ]


def section(analysis: Analysis) -> Section | None:
    measured: dict[str, Steps] = {}
    missing: dict[str, str] = {}
    for name in analysis.contenders:
        found = analysis.ours["allocators"].get(name, {}).get("class_waste", {})
        if found.get("steps"):
            measured[name] = found["steps"]
        elif "missing" in found:
            missing[name] = found["missing"]
    if not measured:
        return None
    own = {name: _in_workloads(analysis, name) for name in measured}
    with_own = any(value is not None for value in own.values())
    headings = ["allocator", *(f"mean, {title}" for *_, title in BANDS), f"worst from {WORST_FROM} B"]
    lines = [_line(name, steps, own[name], with_own) for name, steps in measured.items()]
    left_out = "".join(f" Left out: {name}, for {why}." for name, why in missing.items())
    return Section(
        "class-waste",
        "Size-class waste",
        [Table("Size-class waste", [*headings, *(["in this run's workloads"] if with_own else [])], lines)],
        lead=_lead(measured),
        note=NOTE + left_out,
        plot=Plot(
            "Waste per block in per cent against request size, per allocator; means and worst sizes are in "
            "the table below",
            "request, bytes",
            "waste, %",
            {
                "worst request of each class": {
                    name: _curve(steps, True) for name, steps in measured.items()
                },
                "every request": {name: _curve(steps, False) for name, steps in measured.items()},
            },
            choice="Curve",
            log_x=True,
            y_most=PLOT_MOST,
        ),
    )


def _lead(measured: dict[str, Steps]) -> str:
    """Who rounds up least between 16 bytes and 32 KiB, where most requests are."""
    means = {
        name: mean
        for name, steps in measured.items()
        if (mean := mean_waste(steps, BANDS[1][0], BANDS[2][1])) is not None
    }
    if len(means) < 2:
        return ""
    first, *_, last = sorted(means, key=lambda name: means[name])
    return (
        f"From 16 bytes to 32 KiB, {first} hands out {_per_cent(means[first])} more than is asked for on "
        f"average, {last} {_per_cent(means[last])}."
    )
