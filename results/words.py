"""Numbers and verdicts in words, and the sentences at the top of a report. Shared by all formats."""

from __future__ import annotations

from results import stats
from results.analysis import Analysis, Cell, Overall
from results.metrics import Metric
from results.stats import Estimate

FAILED = "failed"
MARKS = {stats.FASTER: "▼", stats.SLOWER: "▲", FAILED: "✗"}
LEGEND = (
    "▼ less and ▲ more than the baseline: interval, corrected test and noise floor agree; "
    "no mark: no difference shown; ✗ samples failed"
)


def ratio(value: float) -> str:
    """Three significant digits, as far as a ratio needs them."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def interval(estimate: Estimate, samples: int | None = None) -> str:
    """The 95 % interval; nothing for a single sample, which has none. `samples` is for estimates whose own
    count is that of workloads."""
    if (estimate.count if samples is None else samples) < 2:
        return ""
    return f"[{ratio(estimate.low)}, {ratio(estimate.high)}]"


def number(value: float | None) -> str:
    """A quantity with about three digits."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def cell(entry: Cell) -> str:
    """A cell of a ratio table: 0.87 [0.85, 0.90] and a mark."""
    if entry.estimate is None:
        return MARKS[FAILED] + " failed" if entry.failed else "-"
    text = f"{ratio(entry.estimate.ratio)} {interval(entry.estimate)}".rstrip()
    mark = MARKS.get(entry.verdict)
    return f"{text} {mark}" if mark else text


def overall(line: Overall) -> str:
    if line.estimate is None:
        return "-"
    return f"{ratio(line.estimate.ratio)} {interval(line.estimate, line.samples)}".rstrip()


def verdict(said: str, metric: Metric) -> str:
    """A verdict in the metric's own words."""
    return {stats.FASTER: metric.less, stats.SLOWER: metric.more}.get(said, said)


def change(value: float, metric: Metric, other: str) -> str:
    """12 % less time than system, 2.3 times the memory of system, ..."""
    title = metric.title.lower()
    if value >= 2:
        return f"{ratio(value)} times the {title} of {other}"
    if abs(value - 1) < 0.0005:
        return f"as much {title} as {other}"
    digits = 0 if abs(value - 1) >= 0.1 else 1
    said = metric.less if value < 1 else metric.more
    return f"{abs(1 - value) * 100:.{digits}f}\N{NO-BREAK SPACE}% {said} than {other}"


def percent_range(estimate: Estimate) -> str:
    """The interval as changes: −15.0 to −8.1 %."""
    return f"{(estimate.low - 1) * 100:+.1f} to {(estimate.high - 1) * 100:+.1f}\N{NO-BREAK SPACE}%".replace(
        "-", "−"
    )


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def together(analysis: Analysis, metric: Metric, baseline: str) -> tuple[list[str], str, Estimate | None]:
    """The leaders: the first over all rows and everybody who cannot be told from it. The next. First/next.
    Nobody where there are too few samples or contenders to say so."""
    if len(analysis.contenders) < 2 or analysis.too_few(metric):
        return [], "", None
    ranked = [
        line
        for line in analysis.overall(metric, baseline)
        if line.allocator in analysis.contenders
        and line.estimate
        and line.rows == line.of
        and not line.failed
    ]
    if not ranked:
        return [], "", None
    floor = analysis.overall_floor(metric) or 1.0
    first = ranked[0].allocator
    leaders, following, gap = [first], "", None
    for line in ranked[1:]:
        estimate = analysis.against(metric, first, line.allocator)
        if estimate and not (estimate.high < 1 and estimate.ratio < 1 / floor):
            leaders.append(line.allocator)
        elif gap is None:
            following, gap = line.allocator, estimate
    return leaders, following, gap


def _lowest(analysis: Analysis, metric: Metric, baseline: str) -> str:
    """Who had the least, as an observation: "; lowest here: mimalloc, 0.71 times that of system"."""
    for line in analysis.overall(metric, baseline):
        if (
            line.allocator in analysis.contenders
            and line.estimate
            and line.rows == line.of
            and not line.failed
        ):
            if line.allocator == baseline:
                return f"; lowest here: {baseline}"
            return f"; lowest here: {line.allocator}, {ratio(line.estimate.ratio)} times that of {baseline}"
    return ""


def leader_sentence(analysis: Analysis, metric: Metric, baseline: str) -> str:
    """Who leads in one metric, by how much, how sure; or that it cannot be said."""
    title = metric.title
    if len(analysis.contenders) < 2:
        return f"{title}: only one contender, so there is nothing to lead."
    if not analysis.of_pass(metric.pass_).good:
        return f"{title}: not measured (--passes {metric.pass_})."
    if analysis.too_few(metric):
        return f"{title}: too few samples to say who leads{_lowest(analysis, metric, baseline)}."
    leaders, following, gap = together(analysis, metric, baseline)
    if not leaders:
        return f"{title}: no contender finished every workload, so nobody leads overall."
    count = len(analysis.rows_of(metric))
    where = f"over {count} workloads" if count > 1 else "in the one workload"
    lines = {line.allocator: line for line in analysis.overall(metric, baseline)}
    if len(leaders) > 1:
        ratios = sorted(one.ratio for name in leaders if (one := lines[name].estimate) and name != baseline)
        span = " to ".join(dict.fromkeys((ratio(ratios[0]), ratio(ratios[-1]))))
        return (
            f"{title}: {listed(leaders)} lead {where} and cannot be told apart "
            f"({span} times the {title.lower()} of {baseline})."
        )
    said = [f"{title}: {leaders[0]} leads {where}"]
    first = lines[leaders[0]]
    several = first.samples > 1  # one sample, of a counted metric, has no interval
    if leaders[0] != baseline and first.estimate:
        said.append(f", {change(first.estimate.ratio, metric, baseline)}")
        said.append(f" ({percent_range(first.estimate)})" if several else "")
    if gap and following != baseline:
        said.append(f"; {change(gap.ratio, metric, 'the next, ' + following)}")
        said.append(f" ({percent_range(gap)})" if several else "")
    return "".join(said) + "."


def opening(analysis: Analysis, baseline: str) -> list[str]:
    """The paragraph at the top of a report: who leads, who is beaten by nobody, and how sure that is."""
    said = [leader_sentence(analysis, metric, baseline) for metric in analysis.metrics]
    return [*said, *_unbeaten_sentence(analysis, baseline), *_sure_sentence(analysis)]


def _unbeaten_sentence(analysis: Analysis, baseline: str) -> list[str]:
    """Who is left when one wants little time and little memory; nothing where there is no choice to make."""
    metrics = [metric for metric in analysis.metrics if metric.key in ("time", "memory")]
    if len(metrics) < 2 or any(analysis.too_few(metric) for metric in metrics):
        return []
    by_metric = [
        {line.allocator: line.estimate.ratio for line in analysis.overall(metric, baseline) if line.estimate}
        for metric in metrics
    ]
    names = [name for name in analysis.contenders if all(name in ratios for ratios in by_metric)]

    def beaten(name: str) -> bool:
        return any(all(ratios[other] < ratios[name] for ratios in by_metric) for other in names)

    left = [name for name in names if not beaten(name)]
    if len(names) < 3 or len(left) == len(names):
        return []
    verb = "is" if len(left) == 1 else "are"
    return [f"Both: {listed(left)} {verb} beaten by nobody in time and memory at once, by these ratios."]


def _sure_sentence(analysis: Analysis) -> list[str]:
    """How many samples, and how far the same allocator entered twice lay apart; nothing without a sample."""
    if not analysis.of_pass(analysis.metrics[0].pass_).good:
        return []
    timed = [metric for metric in analysis.metrics if analysis.least_blocks(metric) >= stats.LEAST_BLOCKS]
    floors = [(metric, floor) for metric in timed if (floor := analysis.overall_floor(metric))]
    count = analysis.least_blocks(analysis.metrics[0])
    said = f"How sure: {count} {'sample' if count == 1 else 'samples'} a cell"
    if not floors:
        return [f"{said}, and no noise floor: small differences mean nothing."]
    apart = listed(
        [f"{(floor - 1) * 100:.1f}\N{NO-BREAK SPACE}% in {metric.title.lower()}" for metric, floor in floors]
    )
    return [
        f"{said}; one allocator entered twice differed by up to {apart}, and nothing smaller is called a "
        "difference."
    ]


def best_rows(analysis: Analysis, metric: Metric, baseline: str) -> dict[str, int]:
    """How many rows each contender has the least median in."""
    cells = analysis.comparison(metric, baseline)
    wins = dict.fromkeys(analysis.contenders, 0)
    for row in analysis.rows:
        medians = {
            name: median for name in analysis.contenders if (median := cells[row, name].median) is not None
        }
        if medians:
            wins[min(medians, key=lambda name: medians[name])] += 1
    return wins


def failed_sentence(analysis: Analysis) -> str | None:
    failed = sorted({name for one in analysis.passes.values() for _, name in one.bad})
    if not failed:
        return None
    count = analysis.failed_count()
    samples = "1 sample" if count == 1 else f"{count} samples"
    return f"{samples} failed ({listed(failed)}); a contender with failures is not ranked."
