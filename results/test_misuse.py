"""misuse.json: intervals, expectations, tables, the page and the section of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from results import misuse, misuse_expected, report, store
from results.analysis import Analysis
from results.conftest import simulated
from results.store import BadResults


def cell(allocator: str, case: str, size: int = 64, by: str = "owner", **verdicts: int) -> dict[str, Any]:
    named = {name.replace("_", " "): count for name, count in verdicts.items()}
    return {
        "allocator": allocator,
        "case": case,
        "size": size,
        "by": by,
        "trials": sum(verdicts.values()),
        "verdicts": {
            name: {"count": count, "how": "SIGABRT", "example": f"{allocator} <{name}>"}
            for name, count in named.items()
        },
    }


def measured(*cells: dict[str, Any]) -> dict[str, Any]:
    names = dict.fromkeys(one["allocator"] for one in cells)
    return {
        "schema": 1,
        "command": "heaparena misuse",
        "heaparena": "0.1.0",
        "trials": 20,
        "aftermath": 2000,
        "seed": 1,
        "cases": [{"name": name, "summary": name} for name in dict.fromkeys(one["case"] for one in cells)],
        "allocators": [{"name": name, "version": "1", "library": None} for name in names],
        "cells": list(cells),
        "findings": [],
        "searches": [],
    }


KNOWN = measured(
    cell("gomalloc", "double-free", detected=20),
    cell("gomalloc", "stack-free", detected=20),
    cell("system", "double-free", detected=15, silent_corruption=5),
    cell("system", "double-free", by="other", silent_corruption=20),
    cell("system", "stack-free", faulted=20),
    cell("system", "overflow-64", silent=20),
    cell("mimalloc", "double-free", detected=1, silent_corruption=19),
    cell("mimalloc", "sized-free-mismatch", skipped=20),
)


def test_wilson_is_the_textbook_interval() -> None:
    for count, trials, least, most in ((0, 20, 0, 0.1611), (20, 20, 0.8389, 1), (5, 10, 0.2366, 0.7634)):
        low, high = misuse.wilson(count, trials)
        assert low == pytest.approx(least, abs=1e-4) and high == pytest.approx(most, abs=1e-4)
    assert misuse.wilson(0, 0) == (0.0, 1.0)


def test_shares_never_round_to_none_or_all() -> None:
    assert misuse.shares(misuse.sums([cell("a", "x", detected=999, late=1)])) == "detected 99 %, late 1 %"
    assert misuse.shares(misuse.sums([cell("a", "x", skipped=3)])) == "-"


def test_expectations() -> None:
    assert misuse_expected.row_of("double-free", 8, "owner") == "double free, small"
    assert misuse_expected.row_of("double-free", 1 << 20, "owner") == "double free, large"
    assert misuse_expected.row_of("double-free-late", 1 << 20, "other") == "double free by another thread"
    assert misuse_expected.row_of("read-after-free", 8, "owner") is None
    lines, compared = misuse_expected.compare(KNOWN["cells"])
    assert compared == 7  # gomalloc 2, system 4, mimalloc 1: what was skipped is compared with nothing
    assert lines == [
        ("double free, small", "system", "detected", "detected 15 of 20, silent corruption 5 of 20"),
        ("double free, small", "mimalloc", "no check", "silent corruption 19 of 20, detected 1 of 20"),
        ("overflow, 8 to 64 bytes", "system", "late, or by chance", "silent 20 of 20"),
    ]
    # A neutralised sized free is what gomalloc promises; a corrupting one is not.
    assert not misuse_expected.differs("N", {"neutralised": 1, "silent": 3})
    assert misuse_expected.differs("N", {"neutralised": 3, "silent corruption": 1})


def test_differences_say_why_where_it_is_known() -> None:
    lines = misuse.differences(KNOWN).lines
    assert [line[-1] for line in lines] == [
        misuse_expected.EXPLAINED["double free, small", "system"],
        "not looked into",
        "not looked into",
    ]
    for row, name in misuse_expected.EXPLAINED:
        assert name in misuse_expected.EXPECTED[row]


def test_totals_count_what_was_tried() -> None:
    assert misuse.totals(KNOWN).headings[2:] == list(misuse.VERDICTS)
    assert misuse.totals(KNOWN).lines == [
        ["gomalloc", "2", "40", "0", "0", "0", "0", "0"],
        ["system", "4", "15", "20", "0", "0", "20", "25"],
        ["mimalloc", "1", "1", "0", "0", "0", "0", "19"],
    ]


def test_a_glance_shows_the_worst() -> None:
    lines = dict(misuse.glance(KNOWN))
    bars = dict(zip(("gomalloc", "system", "mimalloc"), lines["double-free"]))
    assert bars["gomalloc"] == misuse.Glance([("detected", 100.0)], "detected 100 %")
    assert bars["system"] == misuse.Glance(
        [("detected", 37.5), ("silent corruption", 62.5)], "silent corruption 62 %"
    )
    assert [one.word for one in lines["sized-free-mismatch"]] == ["cannot be tried"] * 3
    assert 'style="width: 37.50%"' in misuse.page(KNOWN)


def test_every_expectation_has_cases_and_a_source() -> None:
    rows = {
        misuse_expected.row_of(f"double-free{more}", size, by)
        for more in ("", "-late")
        for size in (8, 1 << 20)
        for by in ("owner", "other")
    }
    assert rows | set(misuse_expected.ROWS.values()) == set(misuse_expected.EXPECTED)
    for letters in misuse_expected.EXPECTED.values():
        assert set(letters) <= set(misuse_expected.SOURCES)
        assert set(letters.values()) <= set(misuse_expected.WORDS)


def test_what_was_missed() -> None:
    assert misuse.missed(KNOWN, "gomalloc") == []
    assert misuse.missed(KNOWN, "system") == [
        "double-free, 64 B, by owner: detected 75 %, silent corruption 25 %",
        "double-free, 64 B, by other: silent corruption 100 %",
        "stack-free, 64 B, by owner: faulted 100 %",
    ]
    assert "detected by gomalloc. Silent corruption was proven in 0 of 40 trials of gomalloc" in misuse.lead(
        KNOWN
    )


def test_the_page_says_everything_and_escapes() -> None:
    page = misuse.page(KNOWN)
    for text in ("double-free, 64 B, by other", "95 % [76, 99]", "system &lt;detected&gt;", "Not as sources"):
        assert text in page
    assert "<detected>" not in page
    assert "| double-free | detected 100 % |" in misuse.markdown(KNOWN)


def test_section_of_the_report(tmp_path: Path) -> None:
    data = simulated({"system": 1.0, "fast": 0.5}, ["churn"], 5)
    assert misuse.section(Analysis(data)) is None
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    store.add_extra(path, misuse.ID, KNOWN)
    analysis = Analysis(store.load(path))
    assert 'id="misuse"' in report.html(analysis)
    assert "## Heap bugs" in report.markdown(analysis)


def test_damaged_data_are_refused() -> None:
    bad = json.loads(json.dumps(KNOWN))
    bad["cells"][0]["verdicts"]["fine"] = {"count": 1, "how": "", "example": ""}
    with pytest.raises(BadResults, match="misuse.json: cells.0.verdicts"):
        misuse.validate(bad, "misuse.json")
