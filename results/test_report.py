"""The written reports: self-contained, complete, escaped, fast enough; and what they say of odd results."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path

import pytest

from results import blind, curves, export, report, store, terminal, view
from results.analysis import Analysis
from results.conftest import Json, allocator, failed, results, simulated, with_passes
from results.store import BadResults
from rich.console import Console


def test_html_is_self_contained_and_complete(known: Json) -> None:
    page = report.html(Analysis(known))
    assert not re.search(r'(?:src|href)\s*=\s*"(?!#|data:)', page.partition('<script type="text/plain"')[0])
    for words in (
        "churn",
        "larson/threads:2",
        "fast",
        "null",
        "the machine was busy",
        "test CPU",
        "Noise floor",
    ):
        assert words in page
    assert len(page) < 4 << 20


def test_nobody_is_said_to_lead_where_samples_are_few(known: Json) -> None:
    few = simulated({"system": 1.0, "fast": 0.5}, ["churn"], 3)
    page = report.html(Analysis(few))
    assert "too few samples to say who leads; lowest here: fast, 0.5" in page
    assert 'lead-tag">' not in page
    assert 'lead-tag">leads' in report.html(Analysis(known))
    assert not any(line["leads"] for line in json.loads(export.json_text(Analysis(few)))["overall"]["time"])


def test_further_passes_are_in_page_and_markdown(known: Json) -> None:
    analysis = Analysis(with_passes(known))
    page, text = report.html(analysis), report.markdown(analysis)
    for words in ("Tail latency", "Memory over time", "Fragmentation", "4.00 ms"):
        assert words in page
    for words in (
        "## Tail latency",
        "p99.9",
        "## Threads: larson",
        "after 1 s",
        "Tail latency: Some cells have",
    ):
        assert words in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") >= 4 for line in table)


def test_a_run_without_a_time_pass_says_so(known: Json) -> None:
    data = with_passes(known)
    data["benchmarks"] = [one for one in data["benchmarks"] if one.get("pass") == "timeline"]
    text = report.markdown(Analysis(data))
    assert "Time: not measured (--passes time)." in text
    assert "How sure:" not in text and "0 blocks" not in text and "after 1 s" in text


def test_plots_show_the_row_first_that_was_measured_first(known: Json) -> None:
    data = with_passes(known)
    data["benchmarks"].reverse()
    drawn = curves.page_data(Analysis(data))["timeline"]
    seen = [store.row_of(one) for one in data["benchmarks"] if one.get("pass") == "timeline"]
    assert list(drawn) == list(dict.fromkeys(seen)) != Analysis(data).rows


def test_one_latency_sample_shows_no_interval() -> None:
    analysis = Analysis(with_passes(simulated({"system": 1.0, "fast": 0.5}, ["churn"], 7)))
    (line,) = [line for line in view.leaders(analysis, "system") if line["name"] == "fast"]
    assert "[" in line["columns"][0]["text"] and "[" not in line["columns"][2]["text"]


def test_exceedance_falls_to_the_worst_call() -> None:
    points = curves.exceedance([[10, 90], [20, 9], [1000, 1]])
    assert points == [[10, 0.1], [20, 0.01], [1000, 0.01]]
    assert curves.exceedance([]) == []


def test_csv_has_a_line_per_cell_and_metric(known: Json) -> None:
    lines = list(csv.DictReader(io.StringIO(export.csv_text(Analysis(known)))))
    found = [line for line in lines if line["allocator"] == "fast" and line["metric"] == "time"]
    assert [(line["workload"], line["ratio"][:3], line["verdict"]) for line in found] == [
        ("churn", "0.5", "less time"),
        ("larson/threads:2", "0.8", "less time"),
    ]
    known["context"]["heaparena"]["allocators"]["=1+1"] = allocator("evil")
    known["benchmarks"].append({**known["benchmarks"][0], "allocator": "=1+1"})
    assert "'=1+1" in export.csv_text(Analysis(known))


def test_what_a_quick_run_cannot_tell(known: Json) -> None:
    known["context"]["heaparena"].update(profile="quick", workloads_left_out=["tree", "lru"])
    said = "\n".join(blind.spots(Analysis(known), "system"))
    assert "left out 2 (tree, lru)" in said and "Not measured: tail latency" in said


def test_markdown_has_every_cell(known: Json) -> None:
    text = report.markdown(Analysis(known))
    assert "| churn | 1.00 [1.00, 1.00] | 0.50 [0.50, 0.50] ▼ |" in text
    assert "## Distance to the bounds" in text and "time over null" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") >= 4 for line in table)


def test_terminal_shows_the_same(known: Json, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show(Analysis(known), Console(width=140))
    shown = capsys.readouterr().out
    assert "0.50 [0.50, 0.50] ▼" in shown and "fast leads over 2 workloads" in shown
    assert "null (bound)" in shown


def test_names_and_messages_are_escaped(known: Json) -> None:
    evil = "<img src=x onerror=alert(1)> | </script>"
    known["context"]["heaparena"]["allocators"][evil] = allocator("evil")
    known["benchmarks"].append(failed("churn", evil, 0, evil))
    page = report.html(Analysis(known))
    assert evil not in page and "&lt;img" in page
    assert "<img" not in page
    assert evil.replace("|", "\\|") in report.markdown(Analysis(known))


def test_failures_are_shown_with_their_words(known: Json) -> None:
    known["benchmarks"].append(failed("churn", "fast", 7, "killed by SIGSEGV\nfree(): invalid pointer"))
    for text in (report.html(Analysis(known)), report.markdown(Analysis(known))):
        assert "free(): invalid pointer" in text and "1 samples failed" not in text
        assert "1 sample failed (fast)" in text


def test_bounds_alone_can_be_compared() -> None:
    page = report.markdown(
        Analysis(simulated({"system": 1.0, "null": 0.1}, ["churn"], 5, bounds=("null", "system")))
    )
    assert "0 contenders" in page


def test_results_without_samples_are_refused() -> None:
    empty = Analysis(results({"system": allocator("system")}, ["churn"], []))
    assert not empty.showable()
    with pytest.raises(BadResults, match="no sample"):
        report.html(empty)


def _with_rows(rows: int) -> Json:
    """Results of 20 allocators."""
    names = {"system": 1.0, **{f"allocator{index}": 0.5 + index / 20 for index in range(19)}}
    return simulated(names, [f"work{index}" for index in range(rows)], 5)


def test_a_large_report_is_small(tmp_path: Path) -> None:
    """10,000 cells."""
    report.write(Analysis(_with_rows(500)), tmp_path, ("html", "md"))
    assert (tmp_path / "report.html").stat().st_size < 20 << 20


def test_four_times_the_rows_take_four_times_the_work(tmp_path: Path) -> None:
    """Counted in calls of Python functions, which no load of the machine changes."""

    def calls(rows: int) -> int:
        data, count = _with_rows(rows), 0

        def counted(_frame: object, event: str, _argument: object) -> None:
            nonlocal count
            count += event == "call"

        former = sys.getprofile()
        sys.setprofile(counted)
        try:
            report.write(Analysis(data), tmp_path, ("html", "md"))
        finally:
            sys.setprofile(former)
        return count

    calls(1)  # imports, compiles templates
    assert calls(160) < 4.1 * calls(40)
