"""Shows how far a run is: a bar with the expected end on a terminal, a line per block in a log."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cli.plan import Plan, Sample


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _ending(left: float | None) -> str:
    if left is None:
        return "measuring how long it takes"
    end = datetime.now() + timedelta(seconds=left)
    return f"{_span(left)} left, done at {end:%H:%M}"


class PlainProgress:
    """For logs and pipes: one line per block, one per failure."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan, self.console, self.start = plan, console, time.monotonic()

    def __enter__(self) -> "PlainProgress":
        plan = self.plan
        self._say(
            f"{len(plan)} samples: {len(plan.rows)} workload rows x {len(plan.allocators)} allocators "
            f"(with the A/A control) x {plan.repetitions} blocks"
        )
        return self

    def __exit__(self, *_: Any) -> None:
        self._say(f"measured for {_span(time.monotonic() - self.start)}")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def starting(self, sample: Sample, done: int, left_seconds: float | None) -> None:
        """Nothing: a line per sample would bury the log."""

    def failed(self, sample: Sample, message: str) -> None:
        self._say(
            f"FAILED {sample.row.name}/{sample.allocator.name}, block {sample.block + 1}: "
            + message.replace("\n", "\n    ")
        )

    def block_done(self, block: int, done: int, left_seconds: float | None) -> None:
        self._say(
            f"block {block + 1} of {self.plan.repetitions} done, {done} of {len(self.plan)} samples, "
            f"{_ending(left_seconds)}"
        )


class BarProgress(PlainProgress):
    """For people at a terminal."""

    def __enter__(self) -> "BarProgress":
        super().__enter__()
        self.bar = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[ending]}"),
            TextColumn("[dim]{task.description}"),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("", total=len(self.plan), ending="")
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()
        super().__exit__()

    def starting(self, sample: Sample, done: int, left_seconds: float | None) -> None:
        self.bar.update(
            self.task,
            completed=done,
            ending=_ending(left_seconds),
            description=f"{sample.row.name} / {sample.allocator.name}",
        )

    def block_done(self, block: int, done: int, left_seconds: float | None) -> None:
        self.bar.update(self.task, completed=done)
