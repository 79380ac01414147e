"""Collectors: what they did in the mutator programs (workloads gc-...): pauses, the mutator's share of the
time, collections, bytes moved. A section of the report, from the counters of the samples."""

from __future__ import annotations

import statistics
from typing import Any, Mapping, Sequence

from results.analysis import CONTROL, Analysis
from results.metrics import TIME
from results.section import Plot, Section, Table

Json = Mapping[str, Any]

COUNTER = "gc_collections"  # samples of collectors have it, those of manual freeing do not
QUANTILES = (
    (50.0, "gc_pause_p50_seconds"),
    (90.0, "gc_pause_p90_seconds"),
    (99.0, "gc_pause_p99_seconds"),
    (100.0, "gc_pause_max_seconds"),
)
HEADINGS = (
    "collector",
    "collections",
    "of them minor",
    "pause, median",
    "pause, 99 %",
    "longest pause",
    "all pauses",
    "utilisation",
    "worst 10 ms",
    "moved",
    "live",
    "heap, peak",
)
NOTE = (
    "Each figure is the median over the samples. A pause is a time in which all mutator threads stood still; "
    "utilisation is the mutator's share of the wall time, and under “worst 10 ms” the least share that it "
    "had in any ten milliseconds (minimum mutator utilisation). Live is what the last whole collection found "
    "(Go: what the heap held at the end), moved what was copied or slid to another address. Collectors that "
    "work beside the mutator (Go, lazy sweeping) have short pauses and pay elsewhere: Go's utilisation is "
    "its own account of the collector's processor time, so compare times as well. Allocators without a "
    "collector run the same programs with frees written by hand; they stand in the tables of time and memory."
)


def median(samples: Sequence[Json], key: str) -> float | None:
    """None if the samples lack the counter."""
    found = [float(entry[key]) for entry in samples if key in entry]
    return statistics.median(found) if found else None


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def amount(size: float | None) -> str:
    return "-" if size is None else f"{size / 2**20:,.1f} MiB"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.0f} %"


def count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _line(name: str, samples: Sequence[Json]) -> list[str]:
    def of(key: str) -> float | None:
        return median(samples, f"gc_{key}")

    return [
        name,
        count(of("collections")),
        count(of("minor_collections")),
        duration(of("pause_p50_seconds")),
        duration(of("pause_p99_seconds")),
        duration(of("pause_max_seconds")),
        duration(of("pause_total_seconds")),
        share(of("utilisation")),
        share(of("mmu_10ms")),
        amount(of("moved_bytes")),
        amount(of("live_bytes")),
        amount(of("heap_peak_bytes")),
    ]


def _curve(samples: Sequence[Json]) -> list[list[float]]:
    """[share of the pauses in per cent, they were at most this long in ms], where there were pauses."""
    points = [(percent, median(samples, key)) for percent, key in QUANTILES]
    return [[percent, float(f"{value * 1e3:.4g}")] for percent, value in points if value]


def _measured(analysis: Analysis) -> dict[str, dict[str, Sequence[Json]]]:
    """row -> collector -> samples."""
    found: dict[str, dict[str, Sequence[Json]]] = {}
    for (row, name), blocks in analysis.of_pass(TIME).good.items():
        samples = [entry for entry in blocks.values() if COUNTER in entry]
        if samples and analysis.kinds[name] != CONTROL:
            found.setdefault(row, {})[name] = samples
    return {row: found[row] for row in analysis.rows if row in found}


def _lead(measured: Mapping[str, Mapping[str, Sequence[Json]]]) -> str:
    """Who paused least at worst, row by row."""
    said = []
    for row, by_name in measured.items():
        longest = {
            name: value
            for name, samples in by_name.items()
            if (value := median(samples, "gc_pause_max_seconds")) is not None
        }
        if len(longest) > 1:
            least = min(longest, key=lambda name: longest[name])
            most = max(longest, key=lambda name: longest[name])
            said.append(
                f"{row}: the longest pause was {duration(longest[least])} with {least} and "
                f"{duration(longest[most])} with {most}"
            )
    return "; ".join(said) + "." if said else ""


def section(analysis: Analysis) -> Section | None:
    measured = _measured(analysis)
    if not measured:
        return None
    tables = [
        Table(row, HEADINGS, [_line(name, samples) for name, samples in by_name.items()])
        for row, by_name in measured.items()
    ]
    curves = {
        row: {name: curve for name, samples in by_name.items() if (curve := _curve(samples))}
        for row, by_name in measured.items()
    }
    return Section(
        "collectors",
        "Collectors",
        tables,
        lead=_lead(measured),
        note=NOTE,
        plot=Plot(
            "Pauses by rank: how long the shortest half, nine tenths, 99 per cent and all of a collector's "
            "pauses were at most; the figures are in the tables below",
            "share of the pauses, %",
            "at most, ms",
            {row: by_name for row, by_name in curves.items() if by_name},
            log_y=True,
        ),
    )
