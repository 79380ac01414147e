"""A real program as a workload of a run: what is started for each sample, and how a sample is taken."""

from __future__ import annotations

import hashlib
import random
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Sequence

from cli import detail, real_program, worker
from cli.entries import Allocator, Workload
from cli.errors import UserError
from cli.plan import Sample
from cli.real_program import Launch, Outcome
from results.metrics import TIMELINE

Json = dict[str, Any]

CURVE_SECONDS = 0.005  # between two points of the RSS curve
SHOWN = 60  # characters of two different outputs that a message shows


@dataclass(frozen=True)
class ProgramWorkload(Workload):
    """A workload that is a program of its own. `command` is the server where there is a `load`."""

    command: tuple[str, ...] = ()
    load: tuple[str, ...] = ()  # the client that is put on a server; empty: the program ends by itself
    ready: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    input: Path | None = None
    directory: Path | None = None
    prepare: str | None = None  # shell commands before and after each run, not measured
    cleanup: str | None = None
    status: int = 0  # the exit status of a good run
    expects_output: bool = False  # whether stdout must be the same under every allocator
    again: tuple[str, ...] = ()  # words of `heaparena exec` that repeat it; empty: `heaparena run` knows it

    def facts(self) -> Json:
        return {**super().facts(), **({"again": list(self.again)} if self.again else {})}


@dataclass(frozen=True)
class Taken:
    """One run of a program: its outcome, what it printed, and what went wrong."""

    outcome: Outcome  # of the program; of the server where there is a load
    seconds: float  # what is compared: the program's wall time, or the load's
    fault: str | None
    sha256: str = ""
    size: int = 0  # bytes it printed
    head: bytes = b""  # the first of them


def take(
    work: ProgramWorkload,
    preload: Sequence[str],
    settings: Mapping[str, str],
    timeout: float,
    cpus: Sequence[int] = (),
    interval: float = 0.0,
) -> Taken:
    """Runs the program once with its preparation and its cleanup. The cleanup runs whatever happened."""
    fault = _aside(work, work.prepare, "--prepare")
    if fault:
        return Taken(Outcome(fault, 127), 0.0, fault)
    try:
        with tempfile.TemporaryDirectory(prefix="heaparena-") as folder:
            output = Path(folder) / "stdout"
            launch = Launch(
                work.command,
                preload,
                {**work.environment, **settings},
                timeout,
                work.input,
                output,
                directory=work.directory,
                cpus=cpus,
                interval=interval,
            )
            taken = _serve(work, launch) if work.load else _run(work, launch)
            return _with_output(taken, output)
    finally:
        fault = _aside(work, work.cleanup, "--cleanup")
        if fault:
            raise UserError(fault)


def _aside(work: ProgramWorkload, command: str | None, option: str) -> str | None:
    """Runs --prepare or --cleanup; says what went wrong."""
    if command is None:
        return None
    done = subprocess.run(
        ["sh", "-c", command], cwd=work.directory, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode == 0:
        return None
    words = worker.last_lines(done.stderr.decode("utf-8", "replace")).splitlines()
    said = f": {words[-1]}" if words else ""
    return f"{option} {shlex.quote(command)} ended with {worker.status_words(done.returncode)}{said}"


def _run(work: ProgramWorkload, launch: Launch) -> Taken:
    outcome = real_program.run(launch)
    bad = outcome.fault or (outcome.ended if outcome.status != work.status else None)
    return Taken(outcome, outcome.wall_seconds, bad)


def _serve(work: ProgramWorkload, launch: Launch) -> Taken:
    load = Launch(
        work.load, (), work.environment, launch.timeout, work.input, launch.output, directory=work.directory
    )
    served = real_program.serve(replace(launch, input=None, output=None), load, work.ready or None)
    client = served.load
    if served.fault or client is None:
        return Taken(served.server, 0.0, served.fault)
    bad = client.fault or (client.ended if client.status != work.status else None)
    words = f"\n{client.words}" if client.words else ""
    return Taken(served.server, client.wall_seconds, f"the load: {bad}{words}" if bad else None)


def _with_output(taken: Taken, output: Path) -> Taken:
    if not output.is_file():
        return taken
    digest = hashlib.sha256()
    head = b""
    with output.open("rb") as file:
        while chunk := file.read(1 << 20):
            head = head or chunk
            digest.update(chunk)
    return replace(taken, sha256=digest.hexdigest(), size=output.stat().st_size, head=head)


def difference(theirs: Taken, reference: Taken) -> str:
    """Where two outputs part, in words."""
    ours = reference.head
    for at, (one, other) in enumerate(zip(theirs.head, ours)):
        if one != other:
            break
    else:
        at = min(len(theirs.head), len(ours))
    start = max(0, theirs.head.rfind(b"\n", 0, at) + 1, at - SHOWN // 2)
    end = start + SHOWN
    shown = [repr(text[start:end].decode("utf-8", "replace")) for text in (theirs.head, ours)]
    return (
        f"its output ({theirs.size:,} bytes) differs from the expected ({reference.size:,} bytes) "
        f"at byte {at:,}: {shown[0]} instead of {shown[1]}"
    )


class ProgramSampler:
    """Takes the samples of programs for a session (session.Sampler)."""

    def __init__(
        self, timeout: float, references: Mapping[str, Taken], absent: Mapping[tuple[str, str], str]
    ) -> None:
        self.timeout = timeout
        self.references = references  # program -> the run that others must equal
        self.absent = absent  # (program, allocator) -> why the allocator is not in the program

    def measure(self, sample: Sample, cpus: Sequence[int], chance: random.Random) -> Json:
        work = sample.row.workload
        assert isinstance(work, ProgramWorkload)
        absent = self.absent.get((work.name, sample.allocator.control_of or sample.allocator.name))
        if absent:
            return {"error_occurred": True, "error_message": absent}
        begin = time.monotonic()
        padding = chance.randrange(worker.PADDING_MOST)
        curve = sample.pass_.name == TIMELINE
        settings = {**sample.allocator.environment, "HEAPARENA_PADDING": "x" * padding}
        preload = real_program.preload_of(sample.allocator)
        taken = take(work, preload, settings, self.timeout, cpus, CURVE_SECONDS if curve else 0.0)
        entry = self._entry(work, taken)
        if curve and not entry.get("error_occurred"):
            entry["detail"] = {TIMELINE: _curve(taken.outcome)}
        entry["worker_seconds"] = round(time.monotonic() - begin, 6)
        entry["environment_padding"] = padding
        return entry

    def _entry(self, work: ProgramWorkload, taken: Taken) -> Json:
        outcome = taken.outcome
        facts: Json = {
            "exit_status": outcome.status,
            "output_bytes": taken.size,
            "output_sha256": taken.sha256,
        }
        if outcome.left_behind:
            facts["left_behind"] = outcome.left_behind
        reason = taken.fault
        reference = self.references.get(work.name)
        if reason is None and work.expects_output and reference and taken.sha256 != reference.sha256:
            reason = difference(taken, reference)
        if reason is not None:
            words = f"\n{outcome.words}" if outcome.words else ""
            return {**facts, "error_occurred": True, "error_message": reason + words}
        return {
            **facts,
            "iterations": 1,
            "real_time": taken.seconds * 1e9,
            "time_unit": "ns",
            "operations": 1,
            "wall_seconds": taken.seconds,
            "cpu_seconds": outcome.user_seconds + outcome.system_seconds,
            "user_seconds": outcome.user_seconds,
            "system_seconds": outcome.system_seconds,
            "peak_rss_bytes": outcome.peak_rss_bytes,
            "memory_bytes": outcome.peak_rss_bytes,
            "minor_faults": outcome.minor_faults,
            "major_faults": outcome.major_faults,
        }

    def doubts(self, entries: Sequence[Json]) -> list[Json]:
        """Outputs that depend on the allocator, where nobody asked for equal ones."""
        printed: dict[str, dict[str, set[str]]] = {}
        for entry in entries:
            if entry.get("output_sha256") and not entry.get("error_occurred"):
                by_allocator = printed.setdefault(entry["workload"], {})
                by_allocator.setdefault(entry["allocator"], set()).add(entry["output_sha256"])
        found = []
        for name, by_allocator in printed.items():
            steady = all(len(sums) == 1 for sums in by_allocator.values())
            if steady and len({next(iter(sums)) for sums in by_allocator.values()}) > 1:
                found.append(
                    {
                        "what": f"the output of {name} is always the same under one allocator, and differs "
                        "between allocators",
                        "todo": "look at both outputs; --expect-output makes a difference a failure",
                    }
                )
        return found


def _curve(outcome: Outcome) -> Json:
    # A program may end before anybody looks; what it took at most is known all the same.
    looks = outcome.points or [(outcome.wall_seconds * 1e3, outcome.peak_rss_bytes)]
    points = [{"ms": ms, "rss": rss} for ms, rss in looks]
    return detail.timeline({"interval_ms": CURVE_SECONDS * 1e3, "points": points})


def runnable(allocators: Sequence[Allocator], wanted: bool) -> list[Allocator]:
    """The allocators that a program can be given. Others are left out, or refused if they were asked for."""
    found = []
    for entry in allocators:
        try:
            real_program.preload_of(entry)
        except UserError:
            if wanted:
                raise
            continue
        found.append(entry)
    return found
