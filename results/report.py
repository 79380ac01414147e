"""Writes the reports: one self-contained HTML page, the same as Markdown, its figures as CSV and JSON."""

from __future__ import annotations

import base64
import functools
import gzip
import json
from pathlib import Path
from typing import Any, Sequence

from results import blind, curves, export, sections, store, view, words
from results.analysis import Analysis
from results.templating import TEMPLATES, environment

SCRIPTS = ("report.js", "curves.js", "sections.js")
DEBIAN_PLOTLY = Path("/usr/share/python3-plotly/plotly.js")


@functools.lru_cache(maxsize=1)
def _plotly_packed() -> str:
    """Plotly's library, gzip in base64, for the page to unpack; empty if it is not installed (the page then
    has its tables only)."""
    try:
        script = DEBIAN_PLOTLY.read_bytes()
    except OSError:
        try:
            from plotly.offline import get_plotlyjs

            script = get_plotlyjs().encode()
        except (ImportError, OSError):
            return ""
    return base64.b64encode(gzip.compress(script, 6, mtime=0)).decode()


def _script_json(data: Any) -> str:
    """JSON that may stand inside a <script> element."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _common(analysis: Analysis, baseline: str) -> dict[str, Any]:
    """What both templates need."""
    ours = analysis.ours
    floors = [
        (metric.title, floor) for metric in analysis.metrics if (floor := analysis.overall_floor(metric))
    ]
    return {
        "analysis": analysis,
        "ours": ours,
        "context": analysis.data["context"],
        "baseline": baseline,
        "words": words,
        "metrics": analysis.metrics,
        "notes": [metric.note for metric in analysis.metrics if metric.note],
        "sentences": words.opening(analysis, baseline),
        "failed_sentence": words.failed_sentence(analysis),
        "failures": analysis.failures(),
        "leaders": view.leaders(analysis, baseline),
        "bounds": view.bounds(analysis),
        "blind_spots": blind.spots(analysis, baseline),
        "floors": floors,
        "machine": view.machine(analysis),
        "reproduce": view.reproduce(analysis),
        "workloads": view.workloads(analysis),
        "headings": view.headings(analysis),
        "fragmentation": curves.fragmentation(analysis),
        "latencies": curves.latency_table(analysis),
        "drains": curves.drain_table(analysis),
        "scaling": curves.scaling_table(analysis),
        "sections": sections.of(analysis),
    }


def html(analysis: Analysis, baseline: str | None = None) -> str:
    """The page as one string: styles, script, data and plot library inside."""
    chosen = analysis.baseline(baseline)
    common = _common(analysis, chosen)
    heats = {metric.key: view.heat(analysis, metric, chosen) for metric in analysis.metrics}
    drawn = {one.id: plot for one in common["sections"] if (plot := one.page_data())}
    data = {**view.page_data(analysis, chosen), "curves": curves.page_data(analysis), "sections": drawn}
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            **common,
            heats=heats,
            data=_script_json(data),
            plotly=_plotly_packed(),
            style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
            script="".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS),
        )
    )


def markdown(analysis: Analysis, baseline: str | None = None) -> str:
    chosen = analysis.baseline(baseline)
    tables = []
    for metric in analysis.metrics:
        cells = analysis.comparison(metric, chosen)
        names = [*analysis.contenders, *analysis.named("bound")]
        lines = [[row, *(words.cell(cells[row, name]) for name in names)] for row in analysis.rows]
        tables.append({"title": metric.title, "names": names, "lines": lines})
    return environment().get_template("report.md.j2").render(**_common(analysis, chosen), tables=tables)


def write(analysis: Analysis, out: Path, formats: Sequence[str], baseline: str | None = None) -> list[Path]:
    """Writes report.FORMAT of these formats into `out`; returns their paths."""
    makers = {"html": html, "md": markdown, "csv": export.csv_text, "json": export.json_text}
    written = []
    for name in formats:
        path = out / f"report.{name}"
        store.write_atomically(path, makers[name](analysis, baseline))
        written.append(path)
    return written
