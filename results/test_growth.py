"""Growth with the size of the work: which rows belong together, and figures that are known."""

from __future__ import annotations

import copy

from results import growth, report
from results.analysis import Analysis
from results.conftest import Json, simulated

LIVE = (10_000, 100_000, 1_000_000)
# Time at each of LIVE over that at the first, and the allocator's instructions.
TIMES = {"system": (1.0, 2.0, 8.0), "fast": (1.0, 2.0, 4.0)}
COUNTS = {"system": (100.0, 100.0, 180.0), "fast": (50.0, 52.0, 55.0)}


def swept(blocks: int = 5) -> Json:
    """Two allocators at three sizes of the live set, on one thread and on two: fast grows fourfold, system
    eightfold, on two threads alike."""
    rows = [f"churn:live={live}/threads:{threads}" for threads in (1, 2) for live in LIVE]
    data = simulated({"system": 1.0, "fast": 0.5}, [*rows, "churn/threads:1"], blocks, spread=1e-6)
    facts = data["context"]["heaparena"]["workloads"]
    for live in LIVE:
        facts[f"churn:live={live}"]["parameters"] = {"live": str(live)}
    counted = []
    for entry in data["benchmarks"]:
        name = entry["allocator"].removesuffix("~aa")
        live = facts[entry["workload"]]["parameters"].get("live")
        if live is None:
            continue
        place = LIVE.index(int(live))
        # 1000 operations: so many us are so many ns each.
        entry["real_time"] = 0.01 * TIMES[name][place] * (1 + 0.5 * entry["block"])
        if entry["block"] == 0:
            run = entry["name"] + "/pass:instructions"
            more = {"name": run, "run_name": run, "pass": "instructions"}
            more["instructions_allocator_per_operation"] = COUNTS[name][place]
            counted.append({**copy.deepcopy(entry), **more})
    data["benchmarks"] += counted
    return data


def test_rows_that_differ_in_one_number() -> None:
    one, two = growth.sweeps(Analysis(swept()))
    assert (one.title, one.key) == ("churn", "live")
    assert one.rows == {live: f"churn:live={live}/threads:1" for live in LIVE}
    assert two.title == "churn, 2 threads"


def test_near_numbers_and_texts_are_no_sweep() -> None:
    data = simulated({"system": 1.0}, ["churn:live=100", "churn:live=300", "churn:law=fixed"], 1)
    facts = data["context"]["heaparena"]["workloads"]
    facts["churn:live=100"]["parameters"] = {"live": "100"}
    facts["churn:live=300"]["parameters"] = {"live": "300"}
    facts["churn:law=fixed"]["parameters"] = {"law": "fixed"}
    assert growth.section(Analysis(data)) is None
    facts["churn:live=300"]["parameters"] = {"live": "400"}
    assert growth.sweeps(Analysis(data)) == [], "the name does not say that number"


def test_growth_is_taken_within_blocks() -> None:
    data = swept()
    first = "churn:live=10000/threads:1/"
    data["benchmarks"] = [
        one for one in data["benchmarks"] if one["block"] < 4 or not one["name"].startswith(first)
    ]
    made = growth.section(Analysis(data))
    assert made is not None and made.plot is not None
    time, counted = made.tables[:2]
    assert time.headings == [
        "allocator",
        *("live=10,000", "live=100,000", "live=1,000,000"),
        "grows",
        "over the least",
    ]
    # Medians over blocks that drift threefold (factors 1 to 3, the middle 2; without the last 1.75). Growth
    # does not drift.
    assert time.lines == [
        ["fast", "17.5", "40.0", "80.0", "4.00 [4.00, 4.00]", "1.00 [1.00, 1.00]"],
        ["system", "17.5", "40.0", "160", "8.00 [8.00, 8.00]", "2.00 [2.00, 2.00]"],
    ]
    assert counted.lines == [
        ["fast", "50.0", "52.0", "55.0", "1.10", "1.00"],
        ["system", "100", "100", "180", "1.80", "1.64"],
    ]
    assert made.lead == (
        "From live=10,000 to 1,000,000, a call takes 4.00 times as long with fast and 8.00 times with "
        "system; instructions grow within 15 % in fast, and most in system, 1.80 times (churn)."
    )
    assert made.plot.curves["churn"]["fast"] == [[1e4, 17.5], [1e5, 40.0], [1e6, 80.0]]


def test_two_threads_work_beside_each_other() -> None:
    made = growth.section(Analysis(swept(1)))
    assert made is not None
    two = next(table for table in made.tables if table.name == "churn, 2 threads: ns per call")
    assert two.lines[0][:2] == ["fast", "20.0"] and two.lines[0][4] == "4.00", "no interval of one sample"


def test_who_failed_at_one_end_has_no_growth() -> None:
    data = swept(1)
    for entry in data["benchmarks"]:
        if entry["allocator"] == "fast" and entry["workload"] == "churn:live=1000000":
            entry |= {"error_occurred": True, "error_message": "ended by signal 9"}
    made = growth.section(Analysis(data))
    assert made is not None
    assert [line[0] for line in made.tables[0].lines] == ["system"]


def test_it_is_in_the_report() -> None:
    analysis = Analysis(swept())
    assert '<section id="growth">' in report.html(analysis)
    assert "## Growth with the size of the work" in report.markdown(analysis)
    assert growth.section(Analysis(simulated({"system": 1.0}, ["churn"], 5))) is None
