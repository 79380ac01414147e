"""Robson's bounds: known values, and the section on results whose figures are known."""

from __future__ import annotations

import pytest

from results import fragmentation, report
from results.analysis import Analysis
from results.conftest import Json, simulated


def with_requests(data: Json, heaps: dict[str, float]) -> Json:
    """Samples of frag-robson from 32 bytes to 64 KiB at 32 MiB, as the worker writes them: facts are text."""
    for entry in data["benchmarks"]:
        if entry["workload"] == "frag-robson":
            entry |= {"least_request": "32", "most_request": "65536", "peak_live_bytes": float(2**25)}
            name = entry["allocator"].removesuffix("~aa")
            entry["rss_over_live"] = heaps[name] + 0.01 * (entry["block"] - 2)
    return data


def test_bounds_at_known_places() -> None:
    # n = 1: no holes can be wrong. n = 2: with M units, 3/2 M - 1 (Knuth 2.5, the smallest case of Robson's).
    assert fragmentation.any_allocator(1, 100) == 1
    assert fragmentation.any_allocator(2, 100) * 100 == pytest.approx(149)
    assert fragmentation.buddy(1024, 1e6) == 11
    assert fragmentation.first_fit(1, 100) == pytest.approx(1.4427, abs=1e-4)
    assert fragmentation.first_fit(4, 100) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 0.693147, rel=1e-5)
    assert fragmentation.first_fit(101, 1e9) == pytest.approx(
        sum(1 / i for i in range(1, 102)) / 0.6931472, rel=1e-5
    )
    assert fragmentation.best_fit(1000, 1e9) == pytest.approx(999, rel=1e-3)
    # Where the adversary has no room, best fit is still no better than the best.
    assert fragmentation.best_fit(1000, 1000) == fragmentation.any_allocator(1000, 1000)


def test_the_order_of_the_bounds() -> None:
    for power in range(2, 16):
        n, units = 2.0**power, 1e9
        assert fragmentation.any_allocator(n, units) < fragmentation.first_fit(n, units)
        assert fragmentation.first_fit(n, units) < fragmentation.buddy(n, units) + 1
        assert power < 4 or fragmentation.buddy(n, units) < fragmentation.best_fit(n, units)


def test_section() -> None:
    plain = simulated({"system": 1.0, "fast": 0.5}, ["frag-robson", "churn"], 5)
    assert fragmentation.section(Analysis(plain)) is None
    analysis = Analysis(with_requests(plain, {"system": 3.5, "fast": 2.0}))
    made = fragmentation.section(analysis)
    assert made is not None and made.plot is not None
    table = made.tables[0]
    assert list(table.headings) == ["heap / peak live bytes", "frag-robson"]
    assert dict((line[0], line[1]) for line in table.lines) == {
        "live bytes at the peak (M), MiB": "32.0",
        "largest over smallest request (n)": "2,048",
        "system": "3.50",
        "fast": "2.00",
        "bound: any allocator": "6.50",
        "bound: first fit": "11.83",
        "bound: buddy": "12.00",
        "bound: best fit": "2043.00",
    }
    assert "fast took 2.00 times the peak of live bytes, system 3.50 times" in made.lead
    assert made.plot.curves["frag-robson"]["fast"] == [[2048.0, 2.0]]
    assert made.plot.curves["frag-robson"]["bound: buddy"][-1] == [2048.0, 12.0]
    assert '<section id="robson">' in report.html(analysis)
