"""The figures of a report for other programs: one flat table as CSV, the same with the sentences as JSON."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Iterator

from results import blind, words
from results.analysis import BOUND, Analysis

COLUMNS = (
    "workload",
    "allocator",
    "kind",
    "metric",
    "unit",
    "median",
    "baseline",
    "ratio",
    "low",
    "high",
    "samples",
    "failed",
    "adjusted_p",
    "verdict",
)


def _lines(analysis: Analysis, baseline: str) -> Iterator[dict[str, Any]]:
    """One line per row, allocator and metric that has a sample or a failure."""
    for metric in analysis.metrics:
        for (row, name), cell in analysis.comparison(metric, baseline).items():
            if not cell.runs:
                continue
            estimate = cell.estimate
            bounds = (estimate.ratio, estimate.low, estimate.high) if estimate else (None, None, None)
            tested = name != baseline and analysis.kinds[name] != BOUND
            values = (
                *(row, name, analysis.kinds[name], metric.key, metric.unit, cell.median, baseline),
                *bounds,
                cell.runs - cell.failed,
                cell.failed,
                cell.p if tested else None,
                words.verdict(cell.verdict, metric) if tested else None,
            )
            yield dict(zip(COLUMNS, values))


def csv_text(analysis: Analysis, baseline: str | None = None) -> str:
    """Ratios are to the baseline, with their 95 % intervals; an empty field is a figure that there is not."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for line in _lines(analysis, analysis.baseline(baseline)):
        writer.writerow(
            {**line, "workload": _plain(line["workload"]), "allocator": _plain(line["allocator"])}
        )
    return stream.getvalue()


def _plain(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return "'" + text if text[:1] in "=+-@\t" else text


def json_text(analysis: Analysis, baseline: str | None = None) -> str:
    chosen = analysis.baseline(baseline)
    overall = {
        metric.key: [
            {
                "allocator": line.allocator,
                "ratio": line.estimate.ratio if line.estimate else None,
                "low": line.estimate.low if line.estimate else None,
                "high": line.estimate.high if line.estimate else None,
                "workloads": line.rows,
                "leads": line.allocator in words.together(analysis, metric, chosen)[0],
            }
            for line in analysis.overall(metric, chosen)
        ]
        for metric in analysis.metrics
    }
    floors = {metric.key: analysis.overall_floor(metric) for metric in analysis.metrics}
    report = {
        "baseline": chosen,
        "sentences": words.opening(analysis, chosen),
        "cannot_tell": blind.spots(analysis, chosen),
        "warnings": analysis.ours["warnings"],
        "noise_floor": floors,
        "overall": overall,
        "cells": list(_lines(analysis, chosen)),
    }
    return json.dumps(report, indent=1, allow_nan=False) + "\n"
