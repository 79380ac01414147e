"""Talks to the C side: the worker (one process, one sample) and the trace tool. All their output is parsed
here."""

from __future__ import annotations

import contextlib
import json
import os
import random
import selectors
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Collection, Iterator, Mapping, Sequence

from cli import build, detail, own_allocators
from cli.errors import UserError
from results.metrics import INSTRUCTIONS, LATENCY, MAP, TIME, TIMELINE

Json = dict[str, Any]

STDERR_LINES = 12  # how much of a failed worker's last words is kept
TAIL_BYTES = 16384
LARGEST_RESULT = 16 << 20
PADDING_MOST = 4096  # bytes of environment padding: the stack's start moves by as much
REQUIRED_COUNTERS = {
    TIME: ("real_time", "operations", "wall_seconds", "cpu_seconds", "peak_rss_bytes", "memory_bytes"),
    LATENCY: ("latency_malloc_p999_ns", "latency_malloc_max_ns"),
    TIMELINE: ("rss_start_bytes",),
    MAP: (),
    INSTRUCTIONS: ("instructions_total", "instructions_allocator_per_operation"),
}


@dataclass(frozen=True)
class Ended:
    """How a program ended: `status` as in Popen (negative: the signal), None after the timeout."""

    status: int | None
    output: str
    seconds: float


def run_program(
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout: float | None,
    cwd: Path | None = None,
) -> Ended:
    """Runs a program in a process group of its own, keeps the tail of its output, and leaves no process
    behind."""
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    watch = os.pidfd_open(process.pid)
    tail = b""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            selector.register(watch, selectors.EVENT_READ)
            ended = False
            while not ended:
                left = None if timeout is None else start + timeout - time.monotonic()
                if left is not None and left <= 0:
                    break
                for key, _ in selector.select(left):
                    ended = ended or key.fd == watch
                    if key.fd == pipe and not (chunk := _read_some(pipe)):
                        selector.unregister(pipe)
                    elif key.fd == pipe:
                        tail = (tail + chunk)[-TAIL_BYTES:]
        tail = (tail + _read_some(pipe))[-TAIL_BYTES:]
        seconds = time.monotonic() - start
    finally:
        kill_group(process)
        os.close(watch)
        process.stdout.close()
    return Ended(process.returncode if ended else None, tail.decode("utf-8", "replace"), seconds)


def _read_some(pipe: int) -> bytes:
    try:
        return os.read(pipe, 65536)
    except BlockingIOError:
        return b""


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends whatever is left of the process's group and reaps the process."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def last_lines(output: str) -> str:
    """The last lines of a program's output, printable."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    clean = "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}"
        for c in "\n".join(lines[-STDERR_LINES:])
    )
    return clean[-4000:]


@contextlib.contextmanager
def pinned(cpus: Collection[int]) -> Iterator[None]:
    """Programs started meanwhile may use these CPUs only; none: no change."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _ask(command: list[str], environment: Mapping[str, str], timeout: float | None = 120) -> Json:
    """Runs one of our programs that answers in JSON on stdout. Its exit 2 becomes a UserError."""
    try:
        done = subprocess.run(
            command, env=dict(environment), capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"`{' '.join(command)}` gave no answer within {timeout:g} s") from None
    except OSError as error:
        raise UserError(f"{command[0]} cannot be started: {error.strerror}; build it again") from None
    errors = last_lines(done.stderr.decode("utf-8", "replace"))
    name = Path(command[0]).name
    if done.returncode != 0:
        why = errors.splitlines()[-1] if errors else _ending(done.returncode)
        raise UserError(why.removeprefix(f"{name}: "))
    try:
        answer = json.loads(done.stdout)
        if isinstance(answer, dict):
            return answer
    except ValueError:
        pass
    raise UserError(
        f"{name} answered with something that is not JSON; was it built from this checkout? Build it again"
    )


def catalogue() -> Json:
    """The allocators and workloads that the worker knows, and the user's own allocators, which have a
    `spec`."""
    answer = _ask([str(build.program("heaparena-worker")), "--list"], os.environ)
    if not all(isinstance(answer.get(key), list) for key in ("allocators", "workloads")):
        raise UserError(
            "heaparena-worker --list lacks allocators or workloads; build it again from this checkout"
        )
    answer["allocators"] += own_allocators.entries(answer["allocators"], os.environ)
    return answer


def probe(spec: str, environment: Mapping[str, str]) -> Json:
    """Version, library, traits and operations of an allocator; UserError if the spec is bad."""
    command = [str(build.program("heaparena-worker")), "--probe", "--allocator", spec]
    return _ask(command, {**os.environ, **environment})


def class_waste(spec: str, environment: Mapping[str, str]) -> Json:
    """What the allocator hands out by request size ("steps"), or why that is not known ("missing")."""
    command = [str(build.program("heaparena-worker")), "--classes", "--allocator", spec]
    try:
        return _ask(command, {**os.environ, **environment})
    except UserError as error:
        return {"missing": f"it could not be measured: {error}"}


def trace_info(path: Path) -> Json:
    """What a trace amounts to; UserError if it is damaged."""
    return _sized(_ask_trace_tool("info", str(path)), path)


def _ask_trace_tool(*words: str) -> Json:
    """However long it takes: a trace may be of any length."""
    return _ask([str(build.program("heaparena-trace")), *words, "--json"], os.environ, None)


def _sized(facts: Json, path: Path) -> Json:
    """The facts of a trace with the size of its file."""
    size = path.stat().st_size
    each = round(size / max(1, facts.get("operations", 0)), 3)
    return {**facts, "file_bytes": size, "bytes_per_operation": each}


def trace_collect(spool: Path, output: Path, meta: Mapping[str, str]) -> Json:
    """Joins what the recorder left in `spool` into one trace."""
    told = [word for key, value in meta.items() for word in ("--meta", f"{key}: {value}")]
    return _sized(_ask_trace_tool("collect", str(spool), "-o", str(output), *told), output)


def trace_cut(whole: Path, output: Path, start: float, end: float) -> Json:
    """Makes a trace of what lies between two times of another, in seconds since that one's start."""
    _ask_trace_tool("cut", str(whole), "-o", str(output), "--seconds", f"{start:.9f}:{end:.9f}")
    return trace_info(output)


@dataclass(frozen=True)
class Job:
    """All that decides one sample."""

    allocator: str
    workload: str
    threads: int
    seed: int
    scale: float
    verify: bool
    environment: Mapping[str, str]
    timeout: float
    pass_: str = TIME
    cpus: tuple[int, ...] = ()
    more: tuple[str, ...] = ()  # options of the pass

    def arguments(self, out: str) -> list[str]:
        command = [
            "--allocator",
            self.allocator,
            "--workload",
            self.workload,
            "--threads",
            str(self.threads),
            "--seed",
            str(self.seed),
            "--scale",
            repr(self.scale),
            "--out",
            out,
        ]
        if self.pass_ != TIME:
            command += ["--pass", self.pass_, "--detail", f"{out}.detail", *self.more]
        return [*command, "--verify"] if self.verify else command


def measure(job: Job, chance: random.Random) -> Json:
    """Takes one sample in a fresh worker. Returns its benchmark entry, or one with error_occurred; never
    raises for what the worker does."""
    with tempfile.TemporaryDirectory(prefix="heaparena-") as folder:
        out = Path(folder) / "sample.json"
        padding = chance.randrange(PADDING_MOST)
        environment = {**os.environ, **job.environment, "HEAPARENA_PADDING": "x" * padding}
        command = [str(build.program("heaparena-worker")), *job.arguments(str(out))]
        try:
            with pinned(job.cpus):
                ended = run_program(command, environment, job.timeout)
        except OSError as error:
            ended = Ended(127, f"cannot be started: {error.strerror}", 0.0)
        entry = _entry(ended, out, job.timeout, job.pass_)
        if job.pass_ != TIME and not entry.get("error_occurred"):
            entry.update(detail.read(Path(f"{out}.detail"), job.pass_))
    entry["worker_seconds"] = round(ended.seconds, 6)
    entry["environment_padding"] = padding
    return entry


def _entry(ended: Ended, out: Path, timeout: float, pass_: str) -> Json:
    entry, fault = _read_result(out, REQUIRED_COUNTERS[pass_])
    said = entry.get("error_message") if entry.get("error_occurred") else None
    if ended.status is None:
        reason = f"timeout: no result within {timeout:g} s"
    elif ended.status != 0:
        reason = str(said or _ending(ended.status))
    elif said or fault:
        reason = str(said or fault)
    else:
        return entry
    words = last_lines(ended.output)
    return {"error_occurred": True, "error_message": f"{reason}\n{words}" if words else reason}


def label_facts(entry: Json) -> dict[str, str]:
    """The "key=value" words of a result's label: pass_checksum (what the measured pass did); of a replay also
    ops_checksum and, if verified, curve; more where a workload has more to say."""
    return dict(part.split("=", 1) for part in str(entry.get("label", "")).split() if "=" in part)


def _ending(status: int) -> str:
    return status_words(status) if status < 0 else f"worker ended with {status_words(status)}"


def status_words(status: int) -> str:
    """How a process ended, from subprocess's return code. Python has no name for most real-time signals."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"killed by {name} ({signal.strsignal(-status) or 'unknown signal'})"


def _read_result(out: Path, required: Sequence[str]) -> tuple[Json, str | None]:
    """The one benchmark entry in a worker's result file, or ({}, what is wrong with it)."""
    try:
        if out.stat().st_size > LARGEST_RESULT:
            return {}, "worker wrote a result file of more than 16 MiB"
        data = json.loads(out.read_bytes(), parse_constant=_refuse_constant)
        entry = data["benchmarks"][0]
        if not isinstance(entry, dict):
            raise TypeError
    except FileNotFoundError:
        return {}, "worker ended with exit status 0 but wrote no result file"
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        return {}, "worker wrote garbage instead of a result"
    if entry.get("error_occurred"):
        return entry, str(entry.get("error_message") or "workload failed")
    for key in required:
        value = entry.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            return {}, f"worker wrote garbage: {key} is {value!r}"
    context = data.get("context")
    entry["worker_context"] = context if isinstance(context, dict) else {}
    return entry, None


def _refuse_constant(text: str) -> float:
    raise ValueError(text)
