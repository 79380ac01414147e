"""What each level buys: gomalloc against gomalloc with one level of its caches left out (`heaparena run
--ablate`). A section of the report. The variants are known by their names."""

from __future__ import annotations

import math

from results import words
from results.analysis import Analysis
from results.metrics import METRICS, Metric
from results.section import Section, Table
from results.stats import Estimate

WHOLE = "gomalloc"

# name -> (what is left out, what happens instead). The libraries: core/levels.h, core/ablation.cmake.
VARIANTS = {
    "gomalloc-no-tiny": ("tiny blocks", "requests below 16 bytes take 16 each"),
    "gomalloc-no-stack": ("stacks of freed objects", "a freed object goes back to its span"),
    "gomalloc-no-mcache": ("thread caches (mcache)", "all threads share one cache under a lock"),
    "gomalloc-no-large-cache": ("large blocks kept by a thread", "they go to the page heap"),
    "gomalloc-no-mcentral": ("mcentral", "spans of ended threads are not taken over by malloc"),
    "gomalloc-no-page-cache": ("page cache", "page runs go to the page allocator's tree"),
    "gomalloc-linear": ("sparse arenas", "one reservation of address space, as Go until 1.10"),
}

NOTE = (
    "Ratios are of gomalloc without the level to gomalloc with all of them, in the same blocks: above 1, "
    "the level saves time (or memory); the interval is its 95 % interval, where there are several "
    "samples. A level that buys nothing in these workloads may buy much in others: mcentral needs threads "
    "that end, the tiny blocks need requests below 9 bytes, the thread caches several threads. The "
    "levels' story is in core/README.md."
)


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{words.ratio(estimate.ratio)} {words.interval(estimate)}".rstrip()


def _furthest(analysis: Analysis, metric: Metric, name: str) -> str:
    """The workload in which the level matters most."""
    cells = analysis.comparison(metric, WHOLE)
    found = [
        (abs(math.log(cell.estimate.ratio)), row, cell)
        for row in analysis.rows_of(metric)
        if (cell := cells[row, name]).estimate is not None and cell.estimate.ratio > 0
    ]
    if not found:
        return "-"
    _, row, cell = max(found, key=lambda one: one[0])
    return f"{words.cell(cell)} in {row}"


def _lead(analysis: Analysis, metric: Metric, variants: list[str]) -> str:
    ratios = {
        name: estimate.ratio
        for name in variants
        if (estimate := analysis.against(metric, name, WHOLE)) is not None and estimate.low > 1
    }
    if not ratios:
        return f"No level's worth in {metric.title.lower()} is shown by this run."
    most = max(ratios, key=lambda name: ratios[name])
    return (
        f"Of gomalloc's levels, {VARIANTS[most][0]} save the most {metric.title.lower()} here: without, the "
        f"same work takes {words.ratio(ratios[most])} times as much (geometric mean of the workloads)."
    )


def _by_workload(analysis: Analysis, metric: Metric, variants: list[str]) -> Table:
    cells = analysis.comparison(metric, WHOLE)
    lines = [[row, *(words.cell(cells[row, name]) for name in variants)] for row in analysis.rows_of(metric)]
    return Table(
        f"{metric.title} without the level over {metric.title.lower()} with it",
        ["workload", *variants],
        lines,
    )


def section(analysis: Analysis) -> Section | None:
    variants = [name for name in VARIANTS if name in analysis.contenders]
    if WHOLE not in analysis.contenders or not any(name != "gomalloc-linear" for name in variants):
        return None
    metrics = [METRICS[key] for key in ("time", "instructions", "memory") if analysis.rows_of(METRICS[key])]
    main = metrics[0]
    lines = [
        [
            *VARIANTS[name],
            *(_estimate(analysis.against(metric, name, WHOLE)) for metric in metrics),
            _furthest(analysis, main, name),
        ]
        for name in variants
    ]
    headings = ["without", "instead", *(metric.title.lower() for metric in metrics)]
    headings.append(f"{main.title.lower()}, where it matters most")
    return Section(
        "levels",
        "What each level buys",
        [
            Table("gomalloc without a level, over gomalloc", headings, lines),
            _by_workload(analysis, main, variants),
        ],
        lead=_lead(analysis, main, variants),
        note=NOTE,
    )
