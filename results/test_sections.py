"""The registry of further sections, and size-class waste, the section that proves it."""

from __future__ import annotations

import math

import pytest

from results import class_waste, report, sections, store, terminal
from results.analysis import Analysis
from results.conftest import Json, simulated, with_passes
from results.section import Plot, Section, Table
from rich.console import Console

POWERS = [[1, 16], [16, 16], [17, 32], [32, 32], [33, 64], [64, 64], [65, 128], [128, 128]]
EXACT = [[size, size] for size in (1, 15, 16, 1024, 32768, 2**20)]


def with_classes(data: Json) -> Json:
    facts = data["context"]["heaparena"]["allocators"]
    facts["system"]["class_waste"] = {"most": 2**20, "steps": POWERS}
    facts["fast"]["class_waste"] = {"most": 2**20, "steps": EXACT}
    if "slow" in facts:
        facts["slow"]["class_waste"] = {"missing": "it has no usable_size"}
    return data


def test_mean_and_worst_of_known_classes() -> None:
    found = class_waste.worst(POWERS)
    assert found and found[0] == pytest.approx((128 / 65 - 1) * 100) and found[1] == 65
    assert class_waste.waste_at(POWERS, 20) == pytest.approx(60)
    assert class_waste.waste_at(POWERS, 128) == 0 and class_waste.waste_at(POWERS, 129) is None
    # Mean of 32/s - 1 over ln s from 17 to 32: (32/17 - 1) / ln(32/17) - 1; requests are whole bytes.
    mean = (32 / 17 - 1) / math.log(32 / 17) - 1
    assert class_waste.mean_waste(POWERS, 17, 32) == pytest.approx(mean * 100, rel=0.02)
    assert class_waste.mean_waste(EXACT, 16, 2**20) == 0
    assert class_waste.mean_waste(POWERS, 1025, 32768) is None


def test_section_of_class_waste() -> None:
    data = with_passes(simulated({"system": 1.0, "fast": 0.5, "slow": 2.0}, ["churn"], 5))
    assert class_waste.section(Analysis(data)) is None
    made = class_waste.section(Analysis(store.validate(with_classes(data), "test")))
    assert made is not None and made.plot is not None
    system, fast = made.tables[0].lines
    assert system[0] == "system" and "96.9 % at 65 B" in system and system[-1] == "10.0 %"
    assert "0.0 %" in fast
    assert "Left out: slow, for it has no usable_size." in made.note
    assert made.plot.curves["every request"]["system"][0] == [1, 1500.0]
    assert [point[0] for point in made.plot.curves["worst request of each class"]["system"]] == [
        1,
        17,
        33,
        65,
    ]


def test_a_section_is_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    analysis = Analysis(with_classes(simulated({"system": 1.0, "fast": 0.5}, ["churn"], 5)))
    page = report.html(analysis)
    assert '<a href="#class-waste">' in page and '<section id="class-waste">' in page
    assert "class-waste-plot" in page
    text = report.markdown(analysis)
    assert "## Size-class waste" in text and "| system |" in text
    terminal.show(analysis, Console(width=140))
    assert "96.9 % at 65 B" in capsys.readouterr().out


def test_own_sections_are_taken_and_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    def maker(_analysis: Analysis) -> Section:
        evil = "<img src=x>|"
        return Section("own", evil, [Table(evil, [evil, "b"], [[evil, evil]])], lead=evil, note=evil,
                       plot=Plot(evil, "x", "y", {evil: {evil: [[1.0, None]]}}))  # fmt: skip

    monkeypatch.setattr(sections, "MAKERS", (maker, lambda _analysis: None))
    analysis = Analysis(simulated({"system": 1.0, "fast": 0.5}, ["churn"], 5))
    assert [one.id for one in sections.of(analysis)] == ["own"]
    page = report.html(analysis)
    assert "<img" not in page and "&lt;img src=x&gt;" in page
    assert "| <img src=x>\\| | <img src=x>\\| |" in report.markdown(analysis)


def test_a_ragged_table_is_refused() -> None:
    with pytest.raises(ValueError, match="1 columns under 2 headings"):
        Table("t", ["a", "b"], [["x"]])


def test_ids_are_unique() -> None:
    """An id of a further section must not be that of a section of the page itself."""
    data = with_classes(with_passes(simulated({"system": 1.0, "fast": 0.5}, ["churn/threads:2"], 5)))
    page = report.html(Analysis(data)).partition("<script")[0]
    found = [part.partition('"')[0] for part in page.split('<section id="')[1:]]
    assert len(found) == len(set(found)) >= 8


def test_damaged_class_waste_is_refused() -> None:
    data = with_classes(simulated({"system": 1.0, "fast": 0.5}, ["churn"], 5))
    data["context"]["heaparena"]["allocators"]["fast"]["class_waste"]["steps"] = [[0, math.pi]]
    with pytest.raises(store.BadResults, match="class_waste.steps"):
        store.validate(data, "test")
