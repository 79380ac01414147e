"""The result as tables for a terminal (rich)."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from results import blind, sections, words
from results.analysis import Analysis, Cell
from results.metrics import Metric
from results.stats import FASTER, SLOWER

STYLES = {FASTER: "cyan", SLOWER: "dark_orange", words.FAILED: "bold red"}
COLUMN = 23  # characters that one workload takes


def show(analysis: Analysis, console: Console, baseline: str | None = None) -> None:
    """Everything a decision needs, in the order of the HTML report."""
    reference = analysis.baseline(baseline)
    for metric in analysis.metrics:
        _matrix(analysis, metric, reference, console)
    for section in sections.of(analysis):
        section.show(console)
    _overall(analysis, reference, console)
    console.print(words.LEGEND, style="dim", highlight=False)
    for sentence in words.opening(analysis, reference):
        console.print(sentence, highlight=False)
    _remarks(analysis, reference, console)


def _matrix(analysis: Analysis, metric: Metric, baseline: str, console: Console) -> None:
    """Allocators down, workloads across; split where the terminal is too narrow."""
    cells = analysis.comparison(metric, baseline)
    names = [*analysis.contenders, *analysis.named("bound")]
    fit = max(1, (console.width - max(map(len, names), default=0) - 8) // COLUMN)
    for start in range(0, len(analysis.rows), fit):
        end = start + fit
        rows = analysis.rows[start:end]
        title = Text(f"{metric.title}, ratio to {baseline} (less is better)", style="italic")
        console.print(title)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("")
        for row in rows:
            table.add_column(row, justify="right", overflow="fold")
        for name in names:
            label = Text(name) if name in analysis.contenders else Text(f"{name} (bound)", style="dim")
            table.add_row(label, *(_text(cells[row, name], metric, name == baseline) for row in rows))
        console.print(table)
        console.print()


def _text(cell: Cell, metric: Metric, is_baseline: bool) -> Text:
    if is_baseline and cell.median is not None:
        return Text(f"{words.number(cell.median)} {metric.unit}", style="bold")
    return Text(words.cell(cell), style=STYLES.get(cell.verdict, ""))


def _overall(analysis: Analysis, baseline: str, console: Console) -> None:
    table = Table(
        title=f"All workloads: geometric mean of the ratios to {baseline}",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    table.add_column("allocator")
    metrics = analysis.metrics
    for metric in metrics:
        table.add_column(metric.title.lower(), justify="right")
        table.add_column("best in", justify="right")
    table.add_column("failed", justify="right")
    by_metric = {
        metric.key: {line.allocator: line for line in analysis.overall(metric, baseline)}
        for metric in metrics
    }
    best = {metric.key: words.best_rows(analysis, metric, baseline) for metric in metrics}
    for first in analysis.overall(metrics[0], baseline):
        name = first.allocator
        if name not in analysis.contenders:
            continue
        columns = [name]
        for metric in metrics:
            line = by_metric[metric.key][name]
            part = "" if line.rows == line.of else f" ({line.rows} of {line.of})"
            columns += [words.overall(line) + part, str(best[metric.key][name])]
        table.add_row(*columns, str(first.failed) if first.failed else "-")
    console.print(table)
    console.print()


def _remarks(analysis: Analysis, baseline: str, console: Console) -> None:
    failed = words.failed_sentence(analysis)
    if failed:
        console.print(failed, style="bold red", highlight=False)
    for failure in analysis.failures():
        console.print(
            f"  {failure.row} / {failure.allocator}: {failure.message.splitlines()[0]}",
            highlight=False,
            markup=False,
        )
    for line in blind.spots(analysis, baseline):
        console.print(line, style="yellow", highlight=False)
    for warning in analysis.ours["warnings"]:
        console.print(
            f"warning: {warning['what']}: {warning['todo']}", style="yellow", highlight=False, markup=False
        )
