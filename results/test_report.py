"""The written reports: self-contained, complete, escaped, fast enough; and what they say of odd results."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from results import report, terminal
from results.analysis import Analysis
from results.conftest import Json, allocator, failed, results, simulated
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


def test_markdown_has_every_cell(known: Json) -> None:
    text = report.markdown(Analysis(known))
    assert "| churn | 1.00 [1.00, 1.00] | 0.50 [0.50, 0.50] ▼ |" in text
    assert "## Distance to the limits" in text and "time over null" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") >= 4 for line in table)


def test_terminal_shows_the_same(known: Json, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show(Analysis(known), Console(width=140))
    shown = capsys.readouterr().out
    assert "0.50 [0.50, 0.50] ▼" in shown and "fast leads over 2 workloads" in shown
    assert "null (limit)" in shown


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


def test_a_large_report_is_quick_and_small(tmp_path: Path) -> None:
    """10,000 cells: 20 allocators, 500 rows."""
    names = {"system": 1.0, **{f"allocator{index}": 0.5 + index / 20 for index in range(19)}}
    data = simulated(names, [f"work{index}" for index in range(500)], 5)
    begin = time.monotonic()
    analysis = Analysis(data)
    report.write(analysis, tmp_path, ("html", "md"))
    assert time.monotonic() - begin < 20  # about 5 s on an idle machine
    assert (tmp_path / "report.html").stat().st_size < 20 << 20
