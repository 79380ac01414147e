"""Runs a real program once, under an allocator, through heaparena-launch: time, memory, faults, how it ended.

`run(Launch(...))` for a program that ends by itself, `serve(Launch(...), load, ...)` for a server with
a client that loads it. Neither raises for what the program does: `Outcome.fault` says it in words.
The library acts on the program and its children alone, not on heaparena-launch, which measures.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Collection, Mapping, Sequence

from cli import build, listening, worker
from cli.entries import Allocator
from cli.errors import UserError

Json = dict[str, Any]

READY_SECONDS = 10.0  # how long a server may take until it listens
STOP_SECONDS = 15.0  # how long it may take to end after SIGTERM: the launcher kills it after 10
LARGEST_RESULT = 1 << 20


@dataclass(frozen=True)
class Launch:
    """All that decides how a program is started. Without a `preload` it runs on the allocator it is linked
    with."""

    command: Sequence[str]
    preload: Sequence[str] = ()  # libraries, before those of LD_PRELOAD in our own environment
    environment: Mapping[str, str] = field(default_factory=dict)  # on top of ours
    timeout: float = 120.0
    input: Path | None = None  # what it reads from stdin; None: nothing
    output: Path | None = None  # where its stdout goes; None: nowhere
    errors: Path | None = (
        None  # where its stderr goes; None: its last lines are in `Outcome.words` all the same
    )
    directory: Path | None = None  # where it runs
    cpus: Collection[int] = ()  # CPUs it may use; none: all
    interval: float = 0.0  # seconds between two looks at its resident size; 0: none


@dataclass(frozen=True)
class Outcome:
    """How one run ended, and what the kernel counted for the program and the children it waited for."""

    fault: str | None  # it could not be started, or took too long; an exit status alone is no fault
    status: int  # exit status, or minus the signal that killed it
    wall_seconds: float = 0.0
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    peak_rss_bytes: int = 0  # of the largest process
    minor_faults: int = 0
    major_faults: int = 0
    left_behind: int = 0  # processes it left running, which were killed
    points: Sequence[Sequence[float]] = ()  # [milliseconds, resident bytes of all its processes]
    words: str = ""  # the last lines of its stderr

    @property
    def ended(self) -> str:
        """How it ended, in words."""
        return self.fault or worker.status_words(self.status)


def preload_of(allocator: Allocator) -> tuple[str, ...]:
    """The libraries that put an allocator into a program; UserError for one that no program can be given."""
    if allocator.name == "system" or allocator.spec == "system":
        return ()
    if allocator.library is None:
        raise UserError(
            f"allocator '{allocator.name}' is linked into heaparena's worker and cannot be put into a program"
            "; leave it out of --allocators"
        )
    path, _, prefix = allocator.spec.partition("=")[2].partition(":")
    if prefix and Path(path).is_file():
        raise UserError(
            f"--allocators {allocator.spec}: its functions begin with '{prefix}', so that a program's malloc "
            "is not replaced; give a build without a prefix"
        )
    return (allocator.library,)


def run(launch: Launch) -> Outcome:
    """Runs a program to its end. KeyboardInterrupt ends it first."""
    with tempfile.TemporaryDirectory(prefix="heaparena-") as folder:
        result, launch = Path(folder) / "launch.json", _with_errors(launch, Path(folder))
        try:
            with worker.pinned(launch.cpus):
                ended = worker.run_program(
                    _words(launch, result), _outer_environment(), None, cwd=launch.directory
                )
        except OSError as error:
            return Outcome(f"cannot be started: {error.strerror}", 127)
        return _outcome(launch, result, ended.output)


def _with_errors(launch: Launch, folder: Path) -> Launch:
    return launch if launch.errors else replace(launch, errors=folder / "stderr")


def _outer_environment() -> dict[str, str]:
    """The launcher's own: without what our user preloads, which goes to the program."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def _words(launch: Launch, result: Path) -> list[str]:
    """The command line of heaparena-launch."""
    words = [str(build.program("heaparena-launch")), "--result", str(result)]
    words += ["--timeout", repr(launch.timeout)] if launch.timeout else []
    words += ["--interval", repr(launch.interval * 1e3)] if launch.interval else []
    for option, path in (("input", launch.input), ("output", launch.output), ("errors", launch.errors)):
        words += [f"--{option}", str(path.absolute())] if path else []
    theirs = os.environ.get("LD_PRELOAD", "")
    preload = ":".join(part for part in (*launch.preload, theirs) if part)
    words += ["--preload", preload] if preload else []
    for name, value in launch.environment.items():
        words += ["--set", f"{name}={value}"]
    return [*words, "--", *launch.command]


def _outcome(launch: Launch, result: Path, said: str) -> Outcome:
    try:
        if result.stat().st_size > LARGEST_RESULT:
            raise ValueError
        found = json.loads(result.read_bytes())
        words = worker.last_lines(_tail(launch.errors))
    except (OSError, ValueError):
        return Outcome(f"heaparena-launch gave no result: {worker.last_lines(said) or 'it was killed'}", 127)
    error, timed_out = found.pop("start_error"), found.pop("timed_out")
    fault = None
    if error:
        fault = f"cannot be started: {os.strerror(error)}"
    elif timed_out:
        fault = f"timeout: not ended within {launch.timeout:g} s"
    names = Outcome.__dataclass_fields__
    return Outcome(fault, **{key: value for key, value in found.items() if key in names}, words=words)


def _tail(path: Path | None) -> str:
    if path is None or not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - worker.TAIL_BYTES))
        return file.read().decode("utf-8", "replace")


# ---- servers ----


@dataclass(frozen=True)
class Served:
    """A server's run with the load that was put on it."""

    server: Outcome
    load: Outcome | None  # None: the server was never ready
    fault: str | None  # what went wrong, if something did


def serve(server: Launch, load: Launch, ready: Sequence[str] | None = None) -> Served:
    """Starts a server, waits until it listens (or until the command `ready` ends with status 0),
    puts the load on it, and stops it with SIGTERM. `load.preload` is empty: the server is under test."""
    with tempfile.TemporaryDirectory(prefix="heaparena-") as folder:
        result, server = Path(folder) / "server.json", _with_errors(server, Path(folder))
        with worker.pinned(server.cpus):
            process = subprocess.Popen(
                _words(server, result),
                env=_outer_environment(),
                cwd=server.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            waited = _wait_until_ready(process, ready)
            loaded = run(load) if waited is None else None
            gone = process.poll() is not None
            process.terminate()
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return Served(
                Outcome("did not end after SIGTERM", 127), None, "the server did not end after SIGTERM"
            )
        finally:
            worker.kill_group(process)
        ended = _outcome(server, result, "")
    return Served(ended, loaded, waited or _server_fault(ended, gone))


def _server_fault(ended: Outcome, gone: bool) -> str | None:
    if ended.fault or gone:
        return f"the server ended while it was loaded: {ended.ended}"
    if ended.status not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
        return f"the server ended badly when it was stopped: {ended.ended}"
    return None


def _wait_until_ready(process: "subprocess.Popen[bytes]", ready: Sequence[str] | None) -> str | None:
    """None when the server is ready, else why it is not."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            return "the server ended before it was ready"
        if _is_ready(process.pid, ready):
            return None
        time.sleep(0.02)
    wanted = f"`{' '.join(ready)}` did not succeed" if ready else "it does not listen on any socket"
    return f"the server was not ready after {READY_SECONDS:g} s: {wanted}"


def _is_ready(launcher: int, ready: Sequence[str] | None) -> bool:
    if ready is None:
        return listening.any_of_tree(launcher)
    try:
        done = subprocess.run(
            ready, stdin=subprocess.DEVNULL, capture_output=True, timeout=READY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    except OSError as error:
        raise UserError(f"--ready {ready[0]}: cannot be started: {error.strerror}") from None
    return done.returncode == 0
