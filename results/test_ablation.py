"""The section of gomalloc's levels, on simulated runs whose truth is known."""

from __future__ import annotations

from results import ablation, report
from results.analysis import Analysis
from results.conftest import Json, simulated
from results.metrics import INSTRUCTIONS

SPEEDS = {"system": 1.0, "gomalloc": 0.8, "gomalloc-no-mcache": 3.2, "gomalloc-no-tiny": 0.8}


def test_ratios_are_to_the_whole_allocator() -> None:
    analysis = Analysis(simulated(SPEEDS, ["churn", "larson"], 15, spread=0.005))
    made = ablation.section(analysis)
    assert made is not None
    lines = {line[0]: line for line in made.tables[0].lines}
    assert set(lines) == {"tiny blocks", "thread caches (mcache)"}  # what was measured, nothing else
    assert 3.9 < float(lines["thread caches (mcache)"][2].split()[0]) < 4.1
    assert 0.97 < float(lines["tiny blocks"][2].split()[0]) < 1.03
    assert "thread caches (mcache) save the most time here" in made.lead
    assert "instructions" not in made.tables[0].headings  # nothing was counted
    assert [line[0] for line in made.tables[1].lines] == ["churn", "larson"]
    assert '<section id="levels">' in report.html(analysis)


def test_counted_instructions_have_a_column() -> None:
    data = simulated(SPEEDS, ["churn"], 5)
    for entry in [one for one in data["benchmarks"] if one["block"] == 0]:
        count = 40.0 if entry["allocator"] == "gomalloc-no-mcache" else 20.0
        name = f"{entry['name']}/pass:{INSTRUCTIONS}"
        counted: Json = {"name": name, "run_name": name, "pass": INSTRUCTIONS}
        data["benchmarks"].append({**entry, **counted, "instructions_allocator_per_operation": count})
    made = ablation.section(Analysis(data))
    assert made is not None
    at = list(made.tables[0].headings).index("instructions")
    found = {line[0]: line[at].split()[0] for line in made.tables[0].lines}
    assert found == {"tiny blocks": "1.00", "thread caches (mcache)": "2.00"}


def test_nothing_is_claimed_without_a_difference() -> None:
    alike = {"system": 1.0, "gomalloc": 0.8, "gomalloc-no-tiny": 0.8, "gomalloc-no-stack": 0.8}
    made = ablation.section(Analysis(simulated(alike, ["churn"], 15, spread=0.05)))
    assert made is not None and made.lead == "No level's worth in time is shown by this run."


def test_no_section_without_variants() -> None:
    assert ablation.section(Analysis(simulated({"system": 1.0, "gomalloc": 0.8}, ["churn"], 5))) is None
    layouts = {"system": 1.0, "gomalloc": 0.8, "gomalloc-linear": 0.8}
    assert ablation.section(Analysis(simulated(layouts, ["churn"], 5))) is None
    without = {"system": 1.0, "gomalloc-no-tiny": 1.0}
    assert ablation.section(Analysis(simulated(without, ["churn"], 5))) is None
