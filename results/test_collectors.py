"""The section of collectors: its figures are medians of the samples' counters; only collectors are in it."""

from __future__ import annotations

from results import collectors, report, sections
from results.analysis import Analysis
from results.conftest import Json, simulated


def with_collections(data: Json) -> Json:
    """`fast` becomes a collector: its longest pauses are 1, 2, ... ms; `system` frees by hand."""
    for entry in data["benchmarks"]:
        if entry["allocator"] == "fast":
            entry.update(
                {
                    "gc_collections": 10,
                    "gc_pause_p50_seconds": 2e-6,
                    "gc_pause_p99_seconds": 5e-4,
                    "gc_pause_max_seconds": (entry["block"] + 1) * 1e-3,
                    "gc_pause_total_seconds": 2.5,
                    "gc_utilisation": 0.75,
                    "gc_moved_bytes": 3 * 2**20,
                }
            )
    return data


def test_figures_are_medians_and_missing_ones_are_said() -> None:
    data = with_collections(simulated({"system": 1.0, "fast": 0.5}, ["gc-trees"], 5))
    made = collectors.section(Analysis(data))
    assert made is not None and made.plot is not None
    (table,) = made.tables
    (line,) = table.lines
    figures = dict(zip(table.headings, line))
    assert table.name == "gc-trees" and figures["collector"] == "fast"
    assert figures["longest pause"] == "3 ms" and figures["pause, median"] == "2 µs"
    assert figures["all pauses"] == "2.5 s" and figures["utilisation"] == "75 %"
    assert figures["moved"] == "3.0 MiB" and figures["live"] == "-" and figures["of them minor"] == "-"
    assert made.plot.curves["gc-trees"]["fast"] == [[50.0, 0.002], [99.0, 0.5], [100.0, 3.0]]


def test_nothing_is_shown_without_collectors() -> None:
    assert collectors.section(Analysis(simulated({"system": 1.0, "fast": 0.5}, ["churn"], 5))) is None


def test_the_control_is_left_out_and_the_section_is_in_the_page() -> None:
    data = simulated({"system": 1.0, "fast": 0.5, "slow": 2.0}, ["gc-trees", "gc-map"], 3)
    for entry in data["benchmarks"]:
        if entry["allocator"] != "fast":
            entry.update({"gc_collections": 1, "gc_pause_max_seconds": 9e-3})
    analysis = Analysis(with_collections(data))
    made = collectors.section(analysis)
    assert made is not None
    assert [line[0] for line in made.tables[0].lines] == ["system", "fast", "slow"]
    assert "gc-map: the longest pause was 2 ms with fast and 9 ms with" in made.lead
    assert collectors.section in sections.MAKERS
    assert 'id="collectors"' in report.html(analysis)
