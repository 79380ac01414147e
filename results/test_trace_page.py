"""The page of a trace's statistics."""

from __future__ import annotations

from typing import Any

from results import trace_page

NONE = {"count": 0, "buckets": []}
SIZES: dict[str, Any] = {
    **{name: 64.0 for name in trace_page.QUANTILES},
    "count": 4,
    "buckets": [{"from": 16, "count": 1}, {"from": 64, "count": 2}, {"from": 100, "count": 1}],
}
STAT: dict[str, Any] = {
    "file": "a<b.hat",
    "operations": 7,
    "objects": 4,
    "never_freed": 1,
    "duration_ns": 2_000_000_000,
    "live_bytes_peak": 3 << 20,
    "live_objects_peak": 3,
    "remote_share": 1 / 3,
    "sizes": SIZES,
    "lifetimes": NONE,
    "lifetimes_ns": NONE,
    "reuse_distance": NONE,
    "curve": [{"operation": 1, "live_bytes": 1 << 20}, {"operation": 2, "live_bytes": 3 << 20}],
    "threads": [
        {
            "thread": 0,
            "operations": 7,
            "allocations": 4,
            "frees": 3,
            "remote_frees": 1,
            "requested_bytes": 1 << 20,
        }
    ],
}


def test_shares_below_a_value() -> None:
    assert trace_page.cumulated(SIZES["buckets"]) == ([16.0, 64.0, 100.0], [0.0, 25.0, 75.0])
    assert trace_page.cumulated([]) == ([], [])


def test_what_was_not_seen_is_not_drawn() -> None:
    figure = trace_page.figure(STAT)
    assert [line.name for line in figure.data] == ["live, MiB", "Requested sizes"]
    assert list(figure.data[0].y) == [1.0, 3.0] and list(figure.data[1].y) == [0.0, 25.0, 75.0]


def test_the_page_has_every_figure_as_text() -> None:
    page = trace_page.html(STAT)
    assert "a&lt;b.hat" in page and "a<b.hat" not in page
    for text in (
        "4, 1 of them never freed",
        "3.00 MiB in 3 objects",
        "33.33 %",
        "2.000 s",
        "Requested sizes, bytes",
    ):
        assert text in page
    assert page.count("<table") == 2 and "http://" not in page.split("<script")[0]
