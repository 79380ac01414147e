"""How the cost of a call grows with the size of the work: rows of one workload that differ in one number,
such as churn:live=10000 and churn:live=1000000. A section of the report.

Time grows for everybody when blocks no longer fit into the processor's caches. What is the allocator's own
shows beside the others of the same blocks, and in the instructions, which know no caches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from results import stats, words
from results.analysis import Analysis
from results.metrics import INSTRUCTIONS, TIME
from results.section import Plot, Section, Table
from results.store import Json

LEAST_RATIO = 4  # between the largest and the smallest number: nearer ones tell nothing of growth

NOTE = (
    "Time per call of one thread, workload included: the median of the samples. Grows: the last column's "
    "time over the first's, within blocks, with a 95 % interval where there are several samples. Over the "
    "least: this growth over that of the contender that grows least, in the same blocks. All meet the "
    "program's own cache misses, so what lies above 1 is the allocator's; who is slow in the small grows "
    "less for it, so read the columns too. Instructions are the allocator's own per call: they know no cache "
    "misses, so who finds its way without a search stays flat there."
)


@dataclass(frozen=True)
class Sweep:
    """Rows that differ in the value of `key` only, smallest first."""

    title: str  # the workload with its other parameters
    key: str
    rows: Mapping[int, str]  # value -> row

    @property
    def ends(self) -> tuple[str, str]:
        names = list(self.rows.values())
        return names[0], names[-1]


def sweeps(analysis: Analysis) -> list[Sweep]:
    found: dict[tuple[str, str], dict[int, str]] = {}
    for row in analysis.rows:
        workload = analysis.workload_of[row]
        parameters = analysis.ours["workloads"].get(workload, {}).get("parameters", {})
        threads = _threads(row)
        for key, value in parameters.items():
            if not str(value).isdecimal() or f":{key}={value}" not in workload:
                continue
            title = workload.replace(f":{key}={value}", "", 1)
            title += f", {threads} threads" if threads > 1 else ""
            found.setdefault((title, key), {})[int(value)] = row
    return [
        Sweep(title, key, dict(sorted(rows.items())))
        for (title, key), rows in found.items()
        if min(rows) > 0 and max(rows) >= LEAST_RATIO * min(rows)
    ]


def _threads(row: str) -> int:
    threads = row.rpartition("/threads:")[2]
    return int(threads) if threads.isdigit() else 1


def _measured(which: str, row: str, entry: Json) -> float:
    """Of a sample of the pass `which`: ns per call of a thread, or instructions of the allocator per call."""
    if which == INSTRUCTIONS:
        return float(entry.get("instructions_allocator_per_operation") or 0)
    operations = entry.get("operations") or 0
    return float(entry["real_time"]) * 1e6 * _threads(row) / operations if operations else 0.0


@dataclass(frozen=True)
class Growths:
    """What one pass says of a sweep. Values: row -> allocator -> block -> value, above 0."""

    sweep: Sweep
    values: Mapping[str, Mapping[str, Mapping[int, float]]]

    def names(self) -> list[str]:
        """Who has a value at both ends."""
        first, last = self.sweep.ends
        return [name for name in self.values[first] if self.values[last].get(name)]

    def median(self, row: str, name: str) -> float | None:
        values = self.values[row].get(name)
        return stats.median(list(values.values())) if values else None

    def by_block(self, name: str) -> dict[int, float]:
        """Block -> the last value over the first."""
        first, last = (self.values[row][name] for row in self.sweep.ends)
        return {block: last[block] / first[block] for block in first if block in last}

    def grows(self, name: str) -> stats.Estimate | None:
        ratios = list(self.by_block(name).values())
        return stats.paired_ratio(stats.logarithms(ratios)) if ratios else None

    def over(self, name: str, other: str) -> stats.Estimate | None:
        """Growth over another's."""
        mine, theirs = self.by_block(name), self.by_block(other)
        ratios = [mine[block] / theirs[block] for block in mine if block in theirs]
        return stats.paired_ratio(stats.logarithms(ratios)) if ratios else None

    def ranked(self) -> list[tuple[str, stats.Estimate]]:
        """Who grows least first."""
        grown = [(name, estimate) for name in self.names() if (estimate := self.grows(name)) is not None]
        return sorted(grown, key=lambda one: one[1].ratio)


def _growths(analysis: Analysis, sweep: Sweep, which: str) -> Growths:
    good = analysis.of_pass(which).good
    values = {
        row: {
            name: {
                block: value
                for block, entry in good.get((row, name), {}).items()
                if (value := _measured(which, row, entry)) > 0
            }
            for name in analysis.contenders
        }
        for row in sweep.rows.values()
    }
    return Growths(sweep, {row: {name: v for name, v in by.items() if v} for row, by in values.items()})


def _estimate(estimate: stats.Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{words.ratio(estimate.ratio)} {words.interval(estimate)}".rstrip()


def _table(name: str, growths: Growths) -> Table:
    sweep, ranked = growths.sweep, growths.ranked()
    headings = ["allocator", *(f"{sweep.key}={value:,}" for value in sweep.rows), "grows", "over the least"]
    lines = []
    for allocator, grown in ranked:
        values = [growths.median(row, allocator) for row in sweep.rows.values()]
        lines.append(
            [
                allocator,
                *("-" if value is None else words.number(value) for value in values),
                _estimate(grown),
                _estimate(growths.over(allocator, ranked[0][0])),
            ]
        )
    return Table(name, headings, lines)


def _curves(growths: Growths) -> dict[str, list[list[float]]]:
    return {
        name: [
            [float(value), float(f"{median:.4g}")]
            for value, row in growths.sweep.rows.items()
            if (median := growths.median(row, name)) is not None
        ]
        for name in growths.names()
    }


def _lead(growths: Growths, counted: Growths | None) -> str:
    ranked = growths.ranked()
    (least, first), (most, last) = ranked[0], ranked[-1]
    values = list(growths.sweep.rows)
    text = f"From {growths.sweep.key}={values[0]:,} to {values[-1]:,}, a call takes "
    text += f"{words.ratio(first.ratio)} times as long with {least}"
    if most != least:
        text += f" and {words.ratio(last.ratio)} times with {most}"
    instructions = counted.ranked() if counted else []
    if instructions:
        name, estimate = instructions[-1]
        flat = [who for who, grown in instructions if grown.ratio <= 1.15]
        text += f"; instructions grow within 15 % in {', '.join(flat) or 'none'}"
        if name not in flat:
            text += f", and most in {name}, {words.ratio(estimate.ratio)} times"
    return f"{text} ({growths.sweep.title})."


def section(analysis: Analysis) -> Section | None:
    tables: list[Table] = []
    curves: dict[str, dict[str, list[list[float]]]] = {}
    lead = ""
    for sweep in sweeps(analysis):
        timed, counted = (_growths(analysis, sweep, which) for which in (TIME, INSTRUCTIONS))
        if timed.ranked():
            tables.append(_table(f"{sweep.title}: ns per call", timed))
            curves[sweep.title] = _curves(timed)
            lead = lead or _lead(timed, counted)
        if counted.ranked():
            tables.append(_table(f"{sweep.title}: the allocator's instructions per call", counted))
    if not tables:
        return None
    plot = Plot(
        "Time per call against the number that was varied, per allocator; the figures are in the tables",
        "the number that was varied",
        "ns per call",
        curves,
        log_x=True,
        log_y=True,
    )
    return Section(
        "growth",
        "Growth with the size of the work",
        tables,
        lead=lead,
        note=NOTE,
        plot=plot if curves else None,
    )
