"""What results cannot tell, in sentences: shown in every report beside what they do tell."""

from __future__ import annotations

from results import stats, words
from results.analysis import Analysis
from results.metrics import INSTRUCTIONS, LATENCY, TIME, TIMELINE, Metric

UNSEEN = {
    LATENCY: "tail latency (--passes latency)",
    TIMELINE: "memory over time and after everything is freed (--passes timeline)",
    INSTRUCTIONS: "instruction counts (--passes instructions)",
}


def spots(analysis: Analysis, baseline: str) -> list[str]:
    """All of it, each sentence once."""
    said: dict[str, None] = {}
    for metric in analysis.metrics:
        if not analysis.of_pass(metric.pass_).good:
            continue  # the opening says that it was not measured
        said.update(dict.fromkeys(_of_metric(analysis, metric, baseline)))
    said.update(dict.fromkeys(_of_run(analysis)))
    return list(said)


def _of_metric(analysis: Analysis, metric: Metric, baseline: str) -> list[str]:
    said = []
    least = analysis.least_blocks(metric)
    subject = "" if metric.pass_ == TIME else f"{metric.title}: "
    more = "more --reps" if metric.pass_ == TIME else f"--passes time,{metric.pass_}={stats.LEAST_BLOCKS}"
    if analysis.too_few(metric):
        blocks = "1 block" if least == 1 else f"{least} blocks"
        said.append(
            f"{subject}Some cells have only {blocks}; below {stats.LEAST_BLOCKS} no difference is claimed. "
            f"Run with {more}."
        )
    elif least == stats.LEAST_BLOCKS and not metric.counted:
        said.append(
            f"{subject}With {least} blocks a 95 % interval covers at most "
            f"{100 * (1 - 2 ** (1 - least)):.0f} % in truth; profile standard gives better ones."
        )
    return [*said, *_of_tests(analysis, metric, baseline, least)]


def _of_tests(analysis: Analysis, metric: Metric, baseline: str, least: int) -> list[str]:
    """What the corrected test and the noise floor cannot see."""
    said = []
    tests = sum(
        bool(analysis.values(metric, row, name))
        for row in analysis.rows
        for name in analysis.contenders
        if name != baseline
    )
    twin = least if analysis.control_of(baseline) else 0
    enough = least >= stats.LEAST_BLOCKS and tests > 0
    if enough and stats.least_p(least, least + twin) * tests >= stats.SIGNIFICANCE:
        said.append(
            f"{metric.title}: with {least} samples a cell and {tests} cells in the table, even complete "
            "separation of two samples does not pass the corrected test, so no cell is called different."
        )
    floor = analysis.overall_floor(metric)
    if floor and floor > 1.1:
        said.append(
            f"{metric.title}: the two entries of {analysis.ours['baseline']} differ by up to "
            f"{(floor - 1) * 100:.0f} % overall, so smaller differences cannot be seen. "
            "Measure on a quieter machine."
        )
    return said


def _of_run(analysis: Analysis) -> list[str]:
    ours, said = analysis.ours, []
    if analysis.control_of(ours["baseline"]) is None:
        said.append("There is no A/A control in these results, so the noise floor is unknown.")
    if ours["partial"]:
        said.append(
            "The run is partial: it was stopped before its end. `heaparena run --resume` completes it."
        )
    unseen = [text for name, text in UNSEEN.items() if not analysis.of_pass(name).good]
    if analysis.of_programs:
        said.append(
            "Real programs were measured as wholes: how long single calls of malloc take is not seen, and "
            "what the allocator changes may be little beside the program's other work."
        )
    elif unseen:
        said.append(f"Not measured: {words.listed(unseen)}.")
    left_out = ours.get("workloads_left_out", [])
    if left_out:
        count = len(set(analysis.workload_of.values()))
        said.append(
            f"Profile {ours['profile']} measured {count} workloads and left out {len(left_out)} "
            f"({', '.join(left_out[:8])}{', ...' if len(left_out) > 8 else ''}): "
            "an allocator may do well here and badly there."
        )
    if len({entry_threads(row) for row in analysis.rows} - {0}) == 1:
        said.append("One thread count was measured, so nothing is said of how allocators scale.")
    return said


def entry_threads(row: str) -> int:
    """The thread count in a row's name; 0 in a row that does not scale."""
    threads = row.rpartition("/threads:")[2]
    return int(threads) if threads.isdigit() else 0
