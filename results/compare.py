"""Two result files against each other, or two allocators of one: NEW/BASE per cell with intervals, and what
got worse."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Sequence

from rich.console import Console
from rich.table import Table

from results import stats, words
from results.analysis import Analysis
from results.metrics import Metric
from results.stats import Estimate
from results.store import BadResults

MACHINE_KEYS = ("cpu", "cores", "kernel", "libc", "thp", "governor")
WORSE, BETTER, SAME = "regression", "improvement", "within the threshold, or not sure"


@dataclass(frozen=True)
class Line:
    """One cell that both files have."""

    row: str
    allocator: str
    metric: Metric
    base: float
    new: float
    estimate: Estimate
    verdict: str
    is_reference: bool = False  # the same build in both: its ratio is the machine's drift


@dataclass
class Comparison:
    """NEW against BASE: two files, or two `entries` of one."""

    threshold: float
    reference: str | None = None
    entries: tuple[str, str] | None = None
    floors: list[str] = field(default_factory=list)  # of the run that both entries are in
    drift: list[Line] = field(default_factory=list)  # the reference's own cells: judged never
    lines: list[Line] = field(default_factory=list)
    newly_failed: list[tuple[str, str]] = field(default_factory=list)
    only_in_one: list[str] = field(default_factory=list)

    @property
    def regressions(self) -> list[Line]:
        return [line for line in self.lines if line.verdict == WORSE]

    @property
    def decided(self) -> bool:
        """Whether there are samples enough to say anything."""
        return any(line.verdict != stats.TOO_FEW for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "reference": self.reference,
            "entries": self.entries,
            "method": self.method(),
            "regressions": len(self.regressions),
            "newly_failed": [{"row": row, "allocator": name} for row, name in self.newly_failed],
            "only_in_one": self.only_in_one,
            "cells": [
                {
                    "row": line.row,
                    "allocator": line.allocator,
                    "metric": line.metric.key,
                    "base": line.base,
                    "new": line.new,
                    "unit": line.metric.unit,
                    "ratio": line.estimate.ratio,
                    "low": line.estimate.low,
                    "high": line.estimate.high,
                    "samples": line.estimate.count,
                    "verdict": line.verdict,
                }
                for line in self.lines
            ],
            "drift": [
                {
                    "row": line.row,
                    "metric": line.metric.key,
                    "ratio": line.estimate.ratio,
                    "low": line.estimate.low,
                    "high": line.estimate.high,
                }
                for line in self.drift
            ],
        }

    def method(self) -> str:
        """How the machine's drift was dealt with, in a sentence."""
        if self.entries:
            base, new = self.entries
            noise = f" The noise floor of the run is {', '.join(self.floors)}." if self.floors else ""
            return f"Ratios of {new} to {base} within the blocks of one run.{noise}"
        if self.reference:
            drift = [line.estimate.ratio for line in self.drift]
            seen = (
                f" {self.reference} itself changed by {(min(drift) - 1) * 100:+.1f} to "
                f"{(max(drift) - 1) * 100:+.1f} %."
                if drift
                else ""
            )
            return (
                f"Times are ratios to {self.reference}, the same build in both runs, so that the machine's "
                f"drift between them cancels.{seen}"
            )
        return (
            "The machine's drift between the two runs is in these ratios of times: no allocator of the same "
            "build is in both files to take it out (add system to both, or measure both builds in one run: "
            "--base, --new)."
        )

    def _timed(self) -> bool:
        return bool(self.entries) or any(line.metric.drifts for line in [*self.lines, *self.drift])

    def summary(self) -> list[str]:
        """The outcome in sentences."""
        count, said = len(self.regressions), [self.method()] if self._timed() else []
        beyond = f"a whole 95 % interval beyond {self.threshold * 100:g} %"
        said.append(
            f"{count} of {len(self.lines)} comparisons are regressions ({beyond})."
            if count
            else f"No regression: none of {len(self.lines)} comparisons has {beyond}."
        )
        said += [f"Failed in NEW only: {row} / {name}." for row, name in self.newly_failed]
        few = sum(line.verdict == stats.TOO_FEW for line in self.lines)
        if few:
            said.append(
                f"{few} of them have fewer than {stats.LEAST_BLOCKS} samples, so nothing is claimed of them."
            )
        if self.only_in_one:
            said.append(f"Not compared, in one file only: {', '.join(self.only_in_one)}.")
        return said

    def _row(self, line: Line) -> list[str]:
        mark = {WORSE: "▲ ", BETTER: "▼ "}.get(line.verdict, "")
        return [
            line.row,
            line.allocator,
            line.metric.title.lower(),
            f"{words.number(line.base)} {line.metric.unit}",
            f"{words.number(line.new)} {line.metric.unit}",
            f"{line.estimate.ratio:.3f}",
            f"[{line.estimate.low:.3f}, {line.estimate.high:.3f}]",
            mark + line.verdict,
        ]

    HEADINGS = ("workload", "allocator", "metric", "base", "new", "new/base", "95 % interval", "verdict")

    def as_markdown(self) -> str:
        lines = ["| " + " | ".join(self.HEADINGS) + " |", "|---|---|---|--:|--:|--:|--:|---|"]
        lines += [
            "| " + " | ".join(text.replace("|", "\\|") for text in self._row(line)) + " |"
            for line in self.lines
        ]
        return "\n".join([*self.summary(), "", *lines])

    def show(self, console: Console) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for index, heading in enumerate(self.HEADINGS):
            table.add_column(heading, justify="right" if 3 <= index <= 6 else "left", overflow="fold")
        styles = {WORSE: "dark_orange", BETTER: "cyan"}
        for line in self.lines:
            table.add_row(
                *(text.replace("[", "\\[") for text in self._row(line)), style=styles.get(line.verdict)
            )
        console.print(table)
        for sentence in self.summary():
            console.print(sentence, highlight=False, markup=False)


def differences(base: Analysis, new: Analysis) -> list[str]:
    """What makes the two files incomparable, as "kernel (a, b)"; empty if nothing does."""
    found = []
    for key in MACHINE_KEYS:
        one, two = (side.ours["machine"].get(key) for side in (base, new))
        if one != two:
            found.append(f"machine {key} ({one}, {two})")
    for key in ("scale", "seed"):
        if base.ours[key] != new.ours[key]:
            found.append(f"{key} ({base.ours[key]}, {new.ours[key]})")
    for name, facts in base.ours["workloads"].items():
        other = new.ours["workloads"].get(name)
        if other is None:
            continue
        if facts.get("trace_sha256") != other.get("trace_sha256"):
            found.append(f"trace of {name}")
        elif facts["parameters"] != other["parameters"]:
            found.append(f"parameters of {name}")
    return found


def _verdict(estimate: Estimate, threshold: float) -> str:
    if estimate.low > 1 + threshold:
        return WORSE
    return BETTER if estimate.high < 1 / (1 + threshold) else SAME


def reference_of(base: Analysis, new: Analysis, wanted: str | None = None) -> str | None:
    """What both runs measured beside the rest, by which the machine's drift between them shows: an allocator
    of the same build in both, the baseline if it can be. None: there is none. BadResults: not the wanted
    one."""
    both = [name for name in base.contenders if name in new.contenders]
    usual = [base.ours["baseline"], new.ours["baseline"], "system"] if len(both) > 1 else []
    for name in [wanted] if wanted else usual:
        if name in both and _same_build(base, new, name):
            return str(name)
    if wanted:
        raise BadResults(
            f"--reference {wanted}: not in both files with the same build; choose another, or none"
        )
    return None


def _same_build(base: Analysis, new: Analysis, name: str) -> bool:
    one, two = (side.ours["allocators"].get(name, {}) for side in (base, new))
    return all(one.get(key) == two.get(key) for key in ("build_id", "version", "library", "env"))


def compare(
    base: Analysis, new: Analysis, metrics: Sequence[Metric], threshold: float, reference: str | None = None
) -> Comparison:
    """Every cell that both have. The two files' samples are independent, so ratios are of medians, unpaired;
    with a reference, of medians of the block ratios to it."""
    found = Comparison(threshold, reference)
    names = base.contenders or base.named("bound")
    for row in base.rows:
        for name in names:
            if _newly_failed(base, new, row, name):
                found.newly_failed.append((row, name))
            for metric in metrics:
                line = _line(base, new, row, name, metric, found)
                if line is not None:
                    (found.drift if line.is_reference else found.lines).append(line)
    one, two = (_cells(side, metrics) for side in (base, new))
    found.only_in_one = sorted(
        f"{row}/{name}" for row, name in one ^ two if not _newly_failed(base, new, row, name)
    )
    return found


def compare_entries(
    run: Analysis, base: str, new: str, metrics: Sequence[Metric], threshold: float
) -> Comparison:
    """Two allocators of one run: paired within its blocks, so that drift hits both alike."""
    found = Comparison(threshold, None, (base, new))
    for name in (base, new):
        if name not in (seen for one in run.passes.values() for _, seen in (*one.good, *one.bad)):
            raise BadResults(f"{name}: not in this result; it has {', '.join(run.contenders)}")
    for row in run.rows:
        if any((row, new) in one.bad and (row, base) not in one.bad for one in run.passes.values()):
            found.newly_failed.append((row, new))
        for metric in metrics:
            estimate = stats.paired_ratio(run.log_ratios(metric, row, new, base))
            if estimate is None:
                continue
            old, now = (list(run.values(metric, row, name).values()) for name in (base, new))
            verdict = _judged(estimate, metric, threshold)
            found.lines.append(
                Line(row, f"{new} / {base}", metric, stats.median(old), stats.median(now), estimate, verdict)
            )
    floors = [(metric, floor) for metric in metrics if (floor := run.overall_floor(metric))]
    found.floors = [f"{metric.title.lower()} {(floor - 1) * 100:.1f} %" for metric, floor in floors]
    return found


def _newly_failed(base: Analysis, new: Analysis, row: str, name: str) -> bool:
    """Whether the cell has failed samples in NEW, in a pass where it has none in BASE."""
    return any(
        (row, name) in one.bad and (row, name) not in base.of_pass(key).bad for key, one in new.passes.items()
    )


def _cells(side: Analysis, metrics: Sequence[Metric]) -> set[tuple[str, str]]:
    passes = {metric.pass_ for metric in metrics}
    return {key for pass_ in passes for key in side.of_pass(pass_).good if key[1] in side.contenders}


def _judged(estimate: Estimate, metric: Metric, threshold: float) -> str:
    few = estimate.count < stats.LEAST_BLOCKS and not metric.counted
    return stats.TOO_FEW if few else _verdict(estimate, threshold)


def _line(
    base: Analysis, new: Analysis, row: str, name: str, metric: Metric, found: Comparison
) -> Line | None:
    """One cell in one metric; None if a file lacks it."""
    reference = found.reference if metric.drifts else None
    old, now = (list(side.values(metric, row, name).values()) for side in (base, new))
    if reference is None or name == reference:
        estimate = stats.unpaired_ratio(now, old)
    else:
        estimate = stats.ratio_of_medians(
            new.to_reference(metric, row, name, reference), base.to_reference(metric, row, name, reference)
        )
    if estimate is None:
        return None
    verdict = _judged(estimate, metric, found.threshold)
    line = Line(row, name, metric, stats.median(old), stats.median(now), estimate, verdict)
    return replace(line, is_reference=name == reference)
