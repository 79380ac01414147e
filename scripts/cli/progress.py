"""Shows how far a run is and who leads: a bar with the expected end and the leaders on a terminal, a line per
block in a log."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from cli.plan import Plan, Sample
from cli.steering import Steering

LEADERS_IN_A_LINE = 8  # rows named one by one in a log


def span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _ending(left: float | None) -> str:
    if left is None:
        return "measuring how long it takes"
    end = datetime.now() + timedelta(seconds=left)
    return f"{span(left)} left, done at {end:%H:%M}"


def _leaders(steering: Steering) -> dict[str, str]:
    return {row.name: said for row in steering.plan.rows if (said := steering.leader(row.name))}


class PlainProgress:
    """For logs and pipes: a line or two per block, one per failure."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan, self.console, self.start = plan, console, time.monotonic()
        self.shown: dict[str, str] = {}  # the leaders said last

    def __enter__(self) -> "PlainProgress":
        plan = self.plan
        blocks = (
            f"{plan.repetitions}" if plan.most <= plan.repetitions else f"{plan.repetitions} to {plan.most}"
        )
        further = "".join(f", then pass {pass_.name}" for pass_ in plan.further)
        self._say(
            f"{len(plan.rows)} workload rows x {len(plan.allocators)} allocators (with the A/A control)"
            + (f" x {blocks} blocks{further}" if plan.timed else further.replace(", then", ","))
        )
        return self

    def __exit__(self, *_: Any) -> None:
        self._say(f"measured for {span(time.monotonic() - self.start)}")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def starting(self, sample: Sample, steering: Steering) -> None:
        """Nothing: a line per sample would bury the log."""

    def failed(self, sample: Sample, message: str) -> None:
        self._say(f"FAILED {sample.name}, block {sample.block + 1}: " + message.replace("\n", "\n    "))

    def block_done(self, what: str, steering: Steering) -> None:
        done, total, left = steering.progress()
        self._say(f"{what} done, {done} of {total} samples, {_ending(left)}")
        leaders = _leaders(steering)
        if leaders == self.shown:
            return
        self.shown = leaders
        if len(leaders) > LEADERS_IN_A_LINE:
            names = Counter(said.partition(" ")[0] for said in leaders.values())
            self._say("  least time: " + ", ".join(f"{name} in {n} rows" for name, n in names.most_common()))
        elif leaders:
            self._say("  least time: " + "; ".join(f"{row}: {said}" for row, said in leaders.items()))


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
        )
        self.task = self.bar.add_task("", total=None, ending="")
        self.live = Live(self.bar, console=self.console, transient=True, refresh_per_second=4)
        self.live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.live.stop()
        super().__exit__()

    def starting(self, sample: Sample, steering: Steering) -> None:
        self._update(steering, sample.name)

    def block_done(self, what: str, steering: Steering) -> None:
        self._update(steering, what)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("workload")
        table.add_column("least time so far, ratio to " + steering.baseline)
        leaders = list(_leaders(steering).items())
        room = max(3, self.console.height - 5)
        for row, said in leaders[:room]:
            table.add_row(row, said)
        if len(leaders) > room:
            table.add_row(f"... and {len(leaders) - room} more", "")
        self.live.update(Group(table, self.bar))

    def _update(self, steering: Steering, what: str) -> None:
        done, total, left = steering.progress()
        self.bar.update(self.task, completed=done, total=total, ending=_ending(left), description=what)
