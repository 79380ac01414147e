"""What the HTML page shows, as plain data: built here, laid out in templates/report.html.j2."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from results import stats, words
from results.analysis import BOUND, Analysis
from results.metrics import METRICS, Metric

Json = dict[str, Any]

# Up to this many ratios the page carries every choice of baseline; a larger table keeps the one it was made
# for.
MOST_RATIOS = 20_000
# Up to this many samples the page shows each as a dot.
MOST_DOTS = 40_000
CODES = {
    stats.FASTER: "l",
    stats.SLOWER: "m",
    words.FAILED: "f",
    stats.TOO_FEW: "t",
    stats.NO_DIFFERENCE: "n",
}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _packed(estimate: stats.Estimate | None) -> list[float] | None:
    if estimate is None:
        return None
    return [_rounded(estimate.ratio), _rounded(estimate.low), _rounded(estimate.high), estimate.count]


def page_data(analysis: Analysis, baseline: str) -> Json:
    """The tables that the page's script sorts, filters and re-bases; everything is computed here, nothing
    there."""
    names = [*analysis.contenders, *analysis.named(BOUND)]
    with_samples = [
        name for name in analysis.contenders if any((row, name) in analysis.good for row in analysis.rows)
    ]
    total = len(analysis.rows) * len(names) * len(analysis.metrics) * len(with_samples)
    bases = with_samples if total <= MOST_RATIOS else []
    bases = bases if baseline in bases else [baseline, *bases]
    data: Json = {
        "rows": analysis.rows,
        "names": names,
        "contenders": analysis.contenders,
        "bases": bases,
        "baseline": baseline,
        "metrics": {},
    }
    for metric in analysis.metrics:
        entry: Json = {
            "title": metric.title,
            "unit": metric.unit,
            "less": metric.less,
            "more": metric.more,
            "ratios": {},
            "overall": {},
        }
        samples = analysis.least_blocks(metric)
        for base in bases:
            cells = analysis.comparison(metric, base)
            entry["ratios"][base] = [
                [[_packed(cells[row, name].estimate), CODES[cells[row, name].verdict]] for name in names]
                for row in analysis.rows
            ]
            lines = {line.allocator: line for line in analysis.overall(metric, base)}
            overall = [lines[name].estimate for name in names]
            entry["overall"][base] = [
                _packed(replace(one, count=samples) if one else None) for one in overall
            ]
        cells = analysis.comparison(metric, baseline)
        entry["medians"] = [[_median(cells[row, name].median) for name in names] for row in analysis.rows]
        data["metrics"][metric.key] = entry
    return data


def _median(value: float | None) -> float | None:
    return None if value is None else _rounded(value)


def leaders(analysis: Analysis, baseline: str) -> list[Json]:
    """The table under the first paragraph: one line per contender."""
    by_metric = {
        metric.key: {line.allocator: line for line in analysis.overall(metric, baseline)}
        for metric in analysis.metrics
    }
    best = {metric.key: words.best_rows(analysis, metric, baseline) for metric in analysis.metrics}
    first = analysis.metrics[0]
    ahead = {metric.key: words.together(analysis, metric, baseline)[0] for metric in analysis.metrics}
    table = []
    for line in analysis.overall(first, baseline):
        name = line.allocator
        if name not in analysis.contenders:
            continue
        columns = []
        for metric in analysis.metrics:
            own = by_metric[metric.key][name]
            columns.append(
                {
                    "text": words.overall(own),
                    "ratio": own.estimate.ratio if own.estimate else None,
                    "leads": name in ahead[metric.key],
                    "tested": own.samples >= stats.LEAST_BLOCKS,
                    "better": own.better,
                    "worse": own.worse,
                    "best": best[metric.key][name],
                    "part": "" if own.rows == own.of else f"{own.rows} of {own.of} workloads",
                }
            )
        table.append(
            {"name": name, "is_baseline": name == baseline, "failed": line.failed, "columns": columns}
        )
    return table


def heat(analysis: Analysis, metric: Metric, baseline: str) -> list[Json]:
    """The ratio table for the chosen baseline; the script redraws it for others."""
    cells = analysis.comparison(metric, baseline)
    table = []
    for row in analysis.rows:
        line = []
        for name in analysis.contenders:
            cell = cells[row, name]
            line.append(
                {
                    "text": words.ratio(cell.estimate.ratio) if cell.estimate else words.cell(cell),
                    "range": words.interval(cell.estimate) if cell.estimate else "",
                    "mark": words.MARKS.get(cell.verdict, "") if cell.estimate else "",
                    "tint": tint(cell.estimate.ratio) if cell.estimate else 0,
                    "verdict": words.verdict(cell.verdict, metric),
                    "ratio": cell.estimate.ratio if cell.estimate else "",
                }
            )
        table.append({"row": row, "cells": line})
    return table


def tint(ratio: float) -> int:
    """Colour step of a ratio: -4 (half and less) over 0 (the same) to 4 (twice and more)."""
    for step, limit in enumerate((1.02, 1.1, 1.3, 1.7)):
        if max(ratio, 1 / ratio) < limit:
            return step if ratio > 1 else -step
    return 4 if ratio > 1 else -4


def bounds(analysis: Analysis) -> Json:
    """How far each contender is from what is possible: ratios to the bounds' time, and memory over live
    bytes."""
    names = [
        name for name in analysis.named(BOUND) if any((row, name) in analysis.good for row in analysis.rows)
    ]
    table, samples = [], analysis.least_blocks()
    for name in analysis.contenders:
        distances = [analysis.against(METRICS["time"], name, bound) for bound in names]
        live = [
            [
                over
                for entry in analysis.good.get((row, name), {}).values()
                if (over := _over_live(entry)) is not None
            ]
            for row in analysis.rows
        ]
        waste = stats.geometric_mean([stats.logarithms(row) for row in live])
        table.append(
            {
                "name": name,
                "columns": [_line(one, samples) for one in [*distances, waste]],
            }
        )
    known = names or any(line["columns"][-1] != "-" for line in table)
    return {
        "names": names,
        "headings": [*(f"time over {name}" for name in names), "memory over peak live bytes"],
        "table": table if known else [],  # real programs have no bounds
    }


def _over_live(entry: Json) -> float | None:
    live = entry.get("peak_live_bytes", 0)
    return entry["memory_bytes"] / live if live > 0 and entry["memory_bytes"] > 0 else None


def _line(estimate: stats.Estimate | None, samples: int) -> str:
    return f"{words.ratio(estimate.ratio)} {words.interval(estimate, samples)}".rstrip() if estimate else "-"


COUNTERS = (
    ("ops_per_second", "operations/s", 1.0),
    ("cpu_seconds", "CPU s", 1.0),
    ("user_seconds", "user s", 1.0),
    ("system_seconds", "system s", 1.0),
    ("peak_rss_bytes", "peak RSS, MiB", 2**-20),
    ("peak_live_bytes", "peak live, MiB", 2**-20),
    ("rss_over_live", "RSS over live", 1.0),
    ("minor_faults", "minor faults", 1.0),
    ("major_faults", "major faults", 1.0),
)


def _counted(analysis: Analysis) -> list[tuple[str, str, float]]:
    """Those that some sample has: real programs have no operations and no live bytes."""
    seen = {key for blocks in analysis.good.values() for entry in blocks.values() for key in entry}
    return [counter for counter in COUNTERS if counter[0] in seen]


def workloads(analysis: Analysis) -> list[Json]:
    """One section per row: what it is, the samples as dots, the counters as a table."""
    dots = analysis.sample_count() <= MOST_DOTS
    counted = _counted(analysis)  # once: it looks at every sample
    sections = []
    for row in analysis.rows:
        facts = analysis.ours["workloads"].get(analysis.workload_of[row], {})
        names = [
            name for name in analysis.kinds if (row, name) in analysis.good or (row, name) in analysis.bad
        ]
        floors = {metric.title: analysis.floor(metric, row) for metric in analysis.metrics}
        sections.append(
            {
                "row": row,
                "summary": facts.get("summary", ""),
                "explain": facts.get("explain", ""),
                "spec": facts.get("spec", ""),
                "floors": [
                    f"{title.lower()} {(floor - 1) * 100:.1f} %" for title, floor in floors.items() if floor
                ],
                "strips": [_strip(analysis, metric, row, names) for metric in analysis.metrics]
                if dots
                else [],
                "counters": [_counters(analysis, row, name, counted) for name in names],
                "command": analysis.repeat_command(row, analysis.ours["baseline"]) if names else "",
            }
        )
    return sections


def _strip(analysis: Analysis, metric: Metric, row: str, names: list[str]) -> Json:
    """Dots of one row in one metric, as percentages of the strip's width, from 0 to the largest contender's
    value.

    A bound beyond that scale (bump's memory) gets an arrow: it must not squeeze the contenders together.
    """
    values = {name: list(analysis.values(metric, row, name).values()) for name in names}
    shown = [max(found) for name, found in values.items() if found and analysis.kinds[name] != BOUND]
    most = max(shown or [max(found) for found in values.values() if found], default=1.0)
    lanes = []
    for name, found in values.items():
        if found:
            middle = stats.median(found)
            dots = [round(100 * value / most, 2) for value in found if value <= most]
            lanes.append(
                {
                    "name": name,
                    "kind": analysis.kinds[name],
                    "median": words.number(middle),
                    "dots": dots,
                    "count": len(found),
                    "centre": round(100 * middle / most, 2),
                    "beyond": middle > most,
                }
            )
    return {
        "title": metric.title,
        "unit": metric.unit,
        "most": words.number(most),
        "half": words.number(most / 2),
        "lanes": lanes,
    }


def _counters(analysis: Analysis, row: str, name: str, counted: list[tuple[str, str, float]]) -> Json:
    entries = list(analysis.good.get((row, name), {}).values())
    columns = []
    for metric in analysis.metrics:
        values = list(analysis.values(metric, row, name).values())
        columns.append(
            f"{words.number(stats.median(values))} ({words.number(min(values))}–{words.number(max(values))})"
            if values
            else "-"
        )
    for key, _, factor in counted:
        values = [entry[key] * factor for entry in entries if isinstance(entry.get(key), (int, float))]
        columns.append(words.number(stats.median(values)) if values else "-")
    return {
        "name": name,
        "kind": analysis.kinds[name],
        "samples": len(entries),
        "columns": columns,
        "failed": len(analysis.bad.get((row, name), [])),
    }


def headings(analysis: Analysis) -> list[str]:
    return [f"{metric.title.lower()}, {metric.unit} (range)" for metric in analysis.metrics] + [
        title for _, title, _ in _counted(analysis)
    ]


FURTHER_FACTS = (
    ("frequency_range", "frequency range"),
    ("turbo", "turbo"),
    ("smt", "hyper-threading"),
    ("thp_defrag", "huge page compaction"),
    ("overcommit", "memory overcommit"),
    ("cpu_limit", "CPU limit of the container"),
    ("memory_limit", "memory limit of the container"),
    ("isolated_cpus", "isolated CPUs"),
    ("clock", "clock"),
    ("microcode", "microcode"),
    ("worker_build_id", "build id of the worker"),
)


def machine(analysis: Analysis) -> list[tuple[str, str]]:
    """Machine facts as label and text."""
    facts, load = analysis.ours["machine"], analysis.ours.get("load", {})
    lines = [
        (
            "CPU",
            f"{facts['cpu']}, {facts.get('usable_cores', facts['cores'])} of {facts['cores']} cores used",
        ),
        ("caches", ", ".join(facts.get("caches", [])) or "unknown"),
        ("memory", f"{facts.get('memory_bytes', 0) / 2**30:.1f} GiB"),
        ("kernel", facts["kernel"]),
        ("C library", facts.get("libc", "unknown")),
        ("transparent huge pages", facts.get("thp", "unknown")),
        ("frequency governor", facts.get("governor", "unknown")),
        ("NUMA nodes", str(facts.get("numa_nodes", 1))),
        ("address randomisation", facts.get("aslr", "unknown")),
        *((label, str(facts[key])) for key, label in FURTHER_FACTS if facts.get(key) not in (None, "")),
    ]
    if analysis.ours.get("cpus"):
        lines.append(("measured on CPUs", ", ".join(map(str, analysis.ours["cpus"]))))
    if "before" in load:
        lines.append(("load before", f"{load['before']['load_avg'][0]:.2f}"))
    if "after" in load:
        lines.append(
            (
                "load after",
                f"{load['after']['load_avg'][0]:.2f}; {load.get('steal_percent', 0):g} % of CPU time stolen",
            )
        )
    return lines


def reproduce(analysis: Analysis) -> list[str]:
    """The commands that made these results."""
    commit = (analysis.ours.get("commit") or "").removesuffix("-dirty")
    commands = [f"git checkout {commit[:12]}"] if commit else []
    return [
        *commands,
        "cmake --preset release && cmake --build --preset release",
        shlex.join(["scripts/" + analysis.ours["command"][0], *analysis.ours["command"][1:]]),
    ]
