"""What the further passes give: latency curves, memory over time, scaling, fragmentation. As data
for the page's plots and as the tables behind them."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from results import stats, words
from results.analysis import BOUND, CONTROL, Analysis
from results.metrics import LATENCY, TIMELINE
from results.store import Json

MIB = 2**20
# Points of all curves together that a page carries; with more curves each has fewer.
MOST_POINTS = 150_000
LEAST_POINTS = 8

LATENCIES = (
    ("malloc p50", "latency_malloc_p50_ns"),
    ("p99", "latency_malloc_p99_ns"),
    ("p99.9", "latency_malloc_p999_ns"),
    ("p99.99", "latency_malloc_p9999_ns"),
    ("worst", "latency_malloc_max_ns"),
    ("free p50", "latency_free_p50_ns"),
    ("free p99.9", "latency_free_p999_ns"),
    ("free worst", "latency_free_max_ns"),
    ("first allocation", "time_to_first_allocation_ns"),
)
DRAINS = (
    ("at the start", "rss_start_bytes"),
    ("100 ms after the last free", "rss_after_free_100ms_bytes"),
    ("after 1 s", "rss_after_free_1s_bytes"),
    ("after 5 s", "rss_after_free_5s_bytes"),
)
FRAGMENTATIONS = ("internal_fragmentation", "external_fragmentation")


def _names(analysis: Analysis) -> list[str]:
    """Who has curves: everybody but the A/A control."""
    return [name for name, kind in analysis.kinds.items() if kind != CONTROL]


def _median(analysis: Analysis, pass_: str, row: str, name: str, key: str) -> float | None:
    entries = analysis.of_pass(pass_).good.get((row, name), {}).values()
    values = [entry[key] for entry in entries if isinstance(entry.get(key), (int, float))]
    return stats.median(values) if values else None


def _table(
    analysis: Analysis, pass_: str, columns: Sequence[tuple[str, str]], text: Callable[[float | None], str]
) -> Json:
    """A table of counters of a pass, one part per row: {"headings", "parts": [{"row", "lines"}]}."""
    parts = []
    found = [
        column
        for column in columns
        if any(
            column[1] in entry
            for blocks in analysis.of_pass(pass_).good.values()
            for entry in blocks.values()
        )
    ]
    for row in analysis.rows if found else []:
        lines = [
            {
                "name": name,
                "kind": analysis.kinds[name],
                "columns": [text(_median(analysis, pass_, row, name, key)) for _, key in found],
            }
            for name in _names(analysis)
            if (row, name) in analysis.of_pass(pass_).good
        ]
        if lines:
            parts.append({"row": row, "lines": lines})
    return {"headings": [title for title, _ in found], "parts": parts}


def nanoseconds(value: float | None) -> str:
    """120 ns, 3.4 µs, 12 ms."""
    if value is None:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if value >= size:
            return f"{words.number(value / size)} {unit}"
    return f"{value:.0f} ns"


def _mebibytes(value: float | None) -> str:
    return "-" if value is None else words.number(value / MIB)


def _factor(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def latency_table(analysis: Analysis) -> Json:
    return _table(analysis, LATENCY, LATENCIES, nanoseconds)


def drain_table(analysis: Analysis) -> Json:
    """Resident memory before the work and after everything was freed, in MiB."""
    return _table(analysis, TIMELINE, DRAINS, _mebibytes)


def fragmentation(analysis: Analysis) -> Json:
    """Workloads down, contenders across: "1.10 / 1.07", internal and external fragmentation at the peak."""
    names, lines = analysis.contenders, []
    for row in analysis.rows:
        columns = []
        for name in names:
            internal, external = (_median(analysis, TIMELINE, row, name, key) for key in FRAGMENTATIONS)
            columns.append("-" if internal is None else f"{_factor(internal)} / {_factor(external)}")
        if any(text != "-" for text in columns):
            lines.append({"name": row, "kind": "", "columns": columns})
    return {"headings": names, "lines": lines}


# ---- scaling ----


def _scaling(analysis: Analysis) -> dict[str, dict[str, list[tuple[int, stats.Estimate]]]]:
    """workload -> allocator -> (threads, operations per second), of workloads with several thread counts."""
    found: dict[str, dict[str, list[tuple[int, stats.Estimate]]]] = {}
    for row in analysis.rows:
        workload, slash, threads = row.rpartition("/threads:")
        if not slash or not threads.isdigit():
            continue
        for name in _names(analysis):
            entries = analysis.good.get((row, name), {}).values()
            speeds = [entry["ops_per_second"] for entry in entries if entry.get("ops_per_second", 0) > 0]
            estimate = stats.paired_ratio(stats.logarithms(speeds)) if speeds else None
            if estimate:
                found.setdefault(workload, {}).setdefault(name, []).append((int(threads), estimate))
    return {
        workload: curves
        for workload, curves in found.items()
        if len({threads for curve in curves.values() for threads, _ in curve}) > 1
    }


def scaling_table(analysis: Analysis) -> list[Json]:
    """Per workload: operations per second at each thread count, and how many times that of the fewest."""
    tables = []
    for workload, curves in _scaling(analysis).items():
        counts = sorted({threads for curve in curves.values() for threads, _ in curve})
        lines = []
        for name, curve in curves.items():
            at = dict(curve)
            first = at[min(at)].ratio
            texts = [
                f"{_millions(at[count])} ({at[count].ratio / first:.2f}×)" if count in at else "-"
                for count in counts
            ]
            lines.append({"name": name, "kind": analysis.kinds[name], "columns": texts})
        headings = [f"{count} thread{'s' if count > 1 else ''}" for count in counts]
        tables.append({"row": workload, "headings": headings, "lines": lines})
    return tables


def _millions(estimate: stats.Estimate) -> str:
    low, high = estimate.low / 1e6, estimate.high / 1e6
    return f"{words.number(estimate.ratio / 1e6)} [{words.number(low)}, {words.number(high)}]"


# ---- data of the plots ----


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def thinned(points: list[Any], most: int) -> list[Any]:
    """At most `most` of the points, evenly, with the first and the last."""
    if len(points) <= most:
        return points
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]


def exceedance(histogram: Sequence[Sequence[float]]) -> list[list[float]]:
    """[ns, share of the calls that took longer] of a histogram of [upper end, calls]; the last point is the
    worst call."""
    total = sum(count for _, count in histogram)
    if not total:
        return []
    points, slower = [], total
    for upper, count in histogram:
        slower -= count
        points.append([_rounded(upper), _rounded(max(slower, 1) / total)])
    return points


def _detail(analysis: Analysis, pass_: str) -> dict[str, dict[str, Json]]:
    """row -> allocator -> the detail of its first sample in this pass. Rows as they were measured: a profile
    begins with those that say most, and a plot shows its first."""
    found: dict[str, dict[str, Json]] = {}
    for row in dict.fromkeys(row for row, _ in analysis.of_pass(pass_).good):
        for name in _names(analysis):
            blocks = analysis.of_pass(pass_).good.get((row, name), {})
            detail = next((e["detail"][pass_] for e in blocks.values() if pass_ in e.get("detail", {})), None)
            if detail:
                found.setdefault(row, {})[name] = detail
    return found


def _timeline(detail: Json, most: int) -> Json:
    fields = detail["fields"]
    ms, rss = fields.index("ms"), fields.index("rss")
    live = fields.index("live") if "live" in fields else None
    points = [
        [_rounded(point[ms]), _mib(point[rss]), _mib(point[live]) if live is not None else None]
        for point in thinned(detail["points"], most)
    ]
    after = [[_rounded(at), _mib(value)] for at, value in thinned(detail.get("after_free", []), most)]
    return {"points": points, "free_at": detail.get("free_at_ms"), "after": after}


def _mib(value: float | None) -> float | None:
    return None if value is None else _rounded(value / MIB)


def page_data(analysis: Analysis) -> Json:
    """The curves, by row and allocator."""
    latency, timeline = _detail(analysis, LATENCY), _detail(analysis, TIMELINE)
    curves = sum(2 * len(by_name) for part in (latency, timeline) for by_name in part.values())
    most = max(LEAST_POINTS, MOST_POINTS // max(1, curves))
    return {
        "latency": {
            row: {
                name: {
                    call: thinned(exceedance(facts["histogram"]), most)
                    for call, facts in detail["calls"].items()
                    if facts["histogram"]
                }
                for name, detail in by_name.items()
            }
            for row, by_name in latency.items()
        },
        "timeline": {
            row: {name: _timeline(detail, most) for name, detail in by_name.items()}
            for row, by_name in timeline.items()
        },
        "scaling": {
            workload: {
                name: [
                    [threads, *(_rounded(x / 1e6) for x in (one.ratio, one.low, one.high))]
                    for threads, one in curve
                ]
                for name, curve in by_name.items()
            }
            for workload, by_name in _scaling(analysis).items()
        },
        "bounds": analysis.named(BOUND),
    }
