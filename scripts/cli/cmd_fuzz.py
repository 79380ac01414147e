"""heaparena fuzz: looks for programs that break an allocator, and makes each one small."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cli import build, files, fuzz_cluster, launch, own_allocators, session
from cli.errors import EXIT_FAILED, EXIT_GOOD, EXIT_INTERRUPTED, UserError, unknown

Json = dict[str, Any]

EXAMPLES = """examples:
  heaparena fuzz                                              gomalloc, one minute
  heaparena fuzz --allocator mimalloc --target threads --seconds 600 --jobs 2
  heaparena fuzz --allocator mine=/path/libmine.so --keep-going
  GOMALLOC_LAYOUT=linear heaparena fuzz --seconds 300         the environment reaches the allocator
  heaparena fuzz --target schedule                            gomalloc's own races, explored
  heaparena fuzz --target differential --against mimalloc     the same calls on both

A library needs no instrumentation and is not preloaded: it is loaded beside the fuzzer's own heap. A finding
is kept as NAME.c (plain malloc and free calls: cc -pthread NAME.c), NAME.hat (a trace), NAME.fuzz (the
program) and NAME.txt (which rule, which blocks). A second call goes on from the corpus. Exit status: 0
nothing found, 1 found, 2 wrong input."""

OP_TARGETS = ("ops", "threads", "schedule", "oom", "differential")
# libFuzzer programs of their own, in builds with the preset `fuzz`.
FILE_TARGETS = ("trace", "import_text", "import_mtrace", "options", "core")
PROGRESS = re.compile(rb"^#(\d+)\s+\S+\s+(?:cov: (\d+) )?(?:ft: (\d+) )?corp: (\d+)/\S+")
SEEDS_APART = 1009  # more than there are jobs
LIBFUZZER_INTERRUPTED = 72
FOUND = 77
SAY_EVERY = 5.0


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "fuzz",
        help="look for programs that break an allocator",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--allocator",
        default="gomalloc",
        metavar="A",
        help="a name, or NAME=/path/lib.so (default: gomalloc)",
    )
    parser.add_argument(
        "--target", default="ops", metavar="T", help=", ".join(OP_TARGETS + FILE_TARGETS) + " (default: ops)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=_count, metavar="N", help="how long (default: 60)")
    length.add_argument("--runs", type=_count, metavar="N", help="how many executions, over all jobs")
    parser.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="processes side by side (default: 1)"
    )
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="inputs to go on from; new ones go there")
    parser.add_argument("--out", type=Path, metavar="DIR", help="findings and logs (results/runs/fuzz/...)")
    parser.add_argument("--against", metavar="A,...", help="for differential: the other allocators (system)")
    parser.add_argument("--oracles", metavar="LIST", help="which checks: all,-errno for example")
    parser.add_argument(
        "--seeds", type=Path, nargs="+", default=[], metavar="TRACE", help="begin with these too"
    )
    parser.add_argument("--seed", type=_count, metavar="N", help="of all chance, for a run that repeats")
    parser.add_argument("--max-operations", type=_count, default=64, metavar="N", help="of one input (64)")
    parser.add_argument("--merge", action="store_true", help="first drop inputs that add nothing")
    parser.add_argument("--blind", action="store_true", help="random programs without feedback (a control)")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first finding")
    launch.add_options(parser, "in parts that merge their corpora every ten minutes", "2")
    parser.set_defaults(handle=handle)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1 << 40:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


@dataclass
class Finding:
    name: str
    text: str
    path: Path


@dataclass
class Campaign:
    """What all workers of a call share."""

    program: Path
    options: list[str]  # of heaparena-fuzz; empty for a libFuzzer program of its own
    own_program: bool
    out: Path
    corpus: Path
    keep_going: bool
    findings: list[Finding] = field(default_factory=list)

    def say(self, text: str) -> None:
        print(text, flush=True)


@dataclass
class Worker:
    campaign: Campaign
    number: int
    arguments: list[str]
    runs: int  # executions that it owes; 0: as many as there is time for
    seed: int  # of its first process; 0: chance
    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None
    read: int = 0
    starts: int = 0
    before: int = 0  # executions of processes of this worker that ended
    executions: int = 0
    features: int = 0
    inputs: int = 0

    @property
    def journal(self) -> Path:
        return self.campaign.out / f"worker-{self.number}.journal"

    @property
    def log_path(self) -> Path:
        return self.campaign.out / f"worker-{self.number}.log"

    def start(self) -> None:
        """A process for the executions still owed, if there are any."""
        campaign = self.campaign
        self.before += self.executions
        self.executions = 0
        libfuzzer = list(self.arguments)
        if self.runs:
            if self.before >= self.runs:
                return
            libfuzzer.append(f"-runs={self.runs - self.before}")
        if self.seed:  # another one behind each finding: the same would find the same
            libfuzzer.append(f"-seed={self.seed + SEEDS_APART * self.starts}")
        self.starts += 1
        libfuzzer.append(str(campaign.corpus))
        if campaign.own_program:
            command = [str(campaign.program), *libfuzzer]
        else:
            journal = ["--journal", str(self.journal)]
            command = [str(campaign.program), "run", *campaign.options, *journal, "--", *libfuzzer]
        self.read = 0
        if self.log:
            self.log.close()
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def count(self) -> None:
        """Executions by the journal too: libFuzzer's own lines come late."""
        self.executions = max(self.executions, int(self.state().get("programs", 0)))

    def look(self) -> None:
        """Takes in what libFuzzer wrote since the last look."""
        with open(self.log_path, "rb") as log:
            log.seek(self.read)
            text = log.read()
        end = text.rfind(b"\n") + 1
        self.read += end
        for line in text[:end].splitlines():
            found = PROGRESS.match(line)
            if found:
                self.executions = int(found[1])
                self.features = int(found[3] or found[2] or 0)
                self.inputs = int(found[4])

    def last_words(self) -> str:
        lines = self.log_path.read_text(errors="replace").strip().splitlines()
        said = [line for line in lines if "heaparena-fuzz:" in line or "ERROR" in line or "gomalloc:" in line]
        own = [line for line in said if "libFuzzer:" not in line]  # what the target itself says
        return (own or said or lines or ["nothing"])[-1]

    def state(self) -> Json:
        """What the process left in its journal; empty for programs that have none."""
        if self.campaign.own_program or not self.journal.is_file():
            return {}
        done = subprocess.run(
            [self.campaign.program, "journal", str(self.journal)], capture_output=True, text=True, check=False
        )
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def _programs(arguments: argparse.Namespace) -> tuple[Path, bool]:
    """The program that serves the target, and whether it is a libFuzzer program of its own."""
    if arguments.target in OP_TARGETS:
        path = build.build_directory() / "bin" / "heaparena-fuzz"
        if not path.is_file():
            raise UserError(
                f"fuzz: heaparena-fuzz is not built: no {path}; it needs libFuzzer (Debian: apt-get install "
                "libclang-rt-14-dev), then `cmake --preset release && cmake --build --preset release`"
            )
        return path, False
    if arguments.target not in FILE_TARGETS:
        raise unknown("target", arguments.target, OP_TARGETS + FILE_TARGETS)
    name = f"{arguments.target}_fuzz"
    for folder in (build.build_directory(), build.ROOT / "build" / "fuzz"):
        if (folder / "bin" / name).is_file():
            return folder / "bin" / name, True
    raise UserError(
        f"fuzz: {name} is not built; it needs clang: `cmake --preset fuzz && cmake --build --preset fuzz`"
    )


def _short_name(spec: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", spec.partition("=")[0]) or "allocator"


def _campaign(arguments: argparse.Namespace) -> Campaign:
    program, own = _programs(arguments)
    subject = _short_name(arguments.allocator) + "-" if not own else ""
    out = arguments.out or build.runs() / "fuzz" / f"{subject}{arguments.target}"
    corpus = arguments.corpus or out / "corpus"
    try:
        (out / "findings").mkdir(parents=True, exist_ok=True)
        corpus.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"fuzz: {error.filename}: {error.strerror}; choose another folder with --out"
        ) from None
    options = ["--target", arguments.target, "--allocator", arguments.allocator]
    if arguments.target == "differential":
        options += ["--against", arguments.against or "system"]
    elif arguments.against:
        raise UserError("fuzz: --against goes with --target differential")
    if arguments.oracles:
        options += ["--oracles", arguments.oracles]
    if arguments.blind:
        options.append("--blind")
    return Campaign(program, [] if own else options, own, out, corpus, arguments.keep_going)


def _seed(campaign: Campaign, traces: list[Path]) -> None:
    """Inputs to begin with, into an empty corpus; also the first time that the allocator is opened."""
    if campaign.own_program:
        shipped = build.ROOT / "fuzz" / "corpus" / campaign.program.name.removesuffix("_fuzz")
        for path in sorted(shipped.glob("*")):
            shutil.copyfile(path, campaign.corpus / path.name)
        return
    options = [option for option in campaign.options if option != "--blind"]
    for trace in traces:
        files.readable(trace, "fuzz: --seeds", "`heaparena record` makes one")
    command = [str(campaign.program), "seeds", *options, str(campaign.corpus), *map(str, traces)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"the program ended with status {done.returncode}"]
        raise UserError("fuzz: " + said[-1].removeprefix("heaparena-fuzz: "))


def _merge(campaign: Campaign) -> None:
    """Keeps the inputs of the corpus that add something, the smallest first."""
    smaller = campaign.corpus.with_name(campaign.corpus.name + ".merged")
    shutil.rmtree(smaller, ignore_errors=True)
    smaller.mkdir()
    head = [str(campaign.program)] + ([] if campaign.own_program else ["run", *campaign.options, "--"])
    before = sum(1 for _ in campaign.corpus.iterdir())
    command = [*head, "-merge=1", str(smaller), str(campaign.corpus)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    kept = sum(1 for _ in smaller.iterdir())
    if done.returncode != 0 or kept == 0:
        shutil.rmtree(smaller)
        raise UserError(f"fuzz: --merge failed; the corpus is as it was: {done.stderr.strip()[-200:]}")
    for path in campaign.corpus.iterdir():
        path.unlink()
    for path in smaller.iterdir():
        path.rename(campaign.corpus / path.name)
    smaller.rmdir()
    campaign.say(f"merged: {kept:,} of {before:,} inputs kept")


def _worker(arguments: argparse.Namespace, campaign: Campaign, number: int) -> Worker:
    # The program goes by processor time (patience.h), which threads that sleep for ever do not use:
    # those are left to libFuzzer.
    own = ["-reload=1", "-print_final_stats=0", "-timeout=120", "-use_value_profile=0"]
    own.append(f"-artifact_prefix={campaign.out / 'findings'}/")
    if not campaign.own_program:
        own += [f"-max_len={8 * arguments.max_operations}", "-entropic_scale_per_exec_time=1"]
    runs = max(1, arguments.runs // arguments.jobs) if arguments.runs else 0
    return Worker(campaign, number, own, runs, arguments.seed + number if arguments.seed else 0)


def _finding(worker: Worker, status: int) -> Finding:
    """A worker died of what it found: the shortest program for it."""
    campaign = worker.campaign
    findings = campaign.out / "findings"
    if campaign.own_program:
        newest = max(findings.iterdir(), key=lambda path: path.stat().st_mtime, default=worker.log_path)
        return Finding("crash", worker.last_words(), newest)
    number = 1 + len(list(findings.glob("*.json"))) + len(list(findings.glob("*.journal")))
    base = findings / f"finding-{number}"
    campaign.say(f"worker {worker.number}: {worker.last_words()}")
    campaign.say("making it small ...")
    options = [option for option in campaign.options if option != "--blind"]
    command = [campaign.program, "minimize", *options, "--journal", worker.journal, "--out", base]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    facts = base.with_suffix(".json")
    if done.returncode == EXIT_FAILED and facts.is_file():
        found = json.loads(facts.read_text())
        name = f"{found['oracle']}-{number}"
        for suffix in (".c", ".fuzz", ".hat", ".txt", ".json"):
            path = base.with_suffix(suffix)
            if suffix == ".txt":
                path.write_text(path.read_text().replace(base.name, name))
            path.rename(findings / (name + suffix))
        return Finding(name, f"{found['text']} ({found['records']} operations)", findings / f"{name}.c")
    kept = findings / f"unreproduced-{number}.journal"
    shutil.copyfile(worker.journal, kept)
    text = f"status {status}: {worker.last_words()}; it did not happen again in a fresh process"
    return Finding(f"unreproduced-{number}", text, kept)


def _total(workers: list[Worker]) -> int:
    return sum(worker.before + worker.executions for worker in workers)


def _progress(workers: list[Worker], started: float) -> str:
    spent = max(time.monotonic() - started, 0.001)
    for worker in workers:
        worker.count()
    total = _total(workers)
    features = max(worker.features for worker in workers)
    inputs = max(worker.inputs for worker in workers)
    return (
        f"{spent:6.0f} s  {total:>12,} executions  {total / spent:>9,.0f}/s  features {features:,}  "
        f"corpus {inputs:,}"
    )


def _ended(worker: Worker, status: int, going_on: bool) -> bool:
    """Deals with a worker that ended; False when the campaign is to stop."""
    campaign = worker.campaign
    worker.look()
    if status in (0, LIBFUZZER_INTERRUPTED, -signal.SIGINT, -signal.SIGTERM):
        worker.process = None
        return True
    if status == 2:
        raise UserError("fuzz: " + worker.last_words().removeprefix("heaparena-fuzz: "))
    worker.count()
    found = _finding(worker, status)
    campaign.findings.append(found)
    campaign.say(f"FOUND  {found.name}: {found.text}\n       {found.path}")
    worker.process = None
    if not campaign.keep_going or not going_on:
        return False
    worker.start()
    return True


def _watch(workers: list[Worker], seconds: float) -> None:
    """Until the time is over, every worker is done, or one found something."""
    started = time.monotonic()
    said = started
    end = started + seconds
    for worker in workers:
        worker.start()
    while any(worker.process for worker in workers):
        time.sleep(0.1)
        now = time.monotonic()
        for worker in workers:
            worker.look()
            status = worker.process.poll() if worker.process else None
            if status is not None and not _ended(worker, status, now < end):
                return
        if now >= end:
            return
        if now - said >= SAY_EVERY:
            said = now
            workers[0].campaign.say(_progress(workers, started))


def _stop(workers: list[Worker]) -> None:
    """Ends the workers that still run; libFuzzer leaves its corpus on SIGINT."""
    for worker in workers:
        if worker.process and worker.process.poll() is None:
            worker.process.send_signal(signal.SIGINT)
    for worker in workers:
        if worker.process:
            try:
                status = worker.process.wait(10)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
                status = 0
            worker.look()
            if status == FOUND or (status < 0 and -status not in (signal.SIGINT, signal.SIGKILL)):
                worker.campaign.keep_going = False
                _ended(worker, status, False)
        if worker.log:
            worker.log.close()


def _mix(workers: list[Worker]) -> str:
    """The share of each operation, and a word on those that never ran."""
    total: dict[str, int] = {}
    for worker in workers:
        for name, count in worker.state().get("operations", {}).items():
            total[name] = total.get(name, 0) + count
    whole = sum(total.values())
    if not whole:
        return ""
    parts = [f"{name} {100 * count / whole:.1f} %" for name, count in total.items() if count]
    never = [name for name, count in total.items() if not count]
    return "operations: " + ", ".join(parts) + (f"; never: {', '.join(never)}" if never else "")


def handle(arguments: argparse.Namespace) -> int:
    launch.refuse_without_slurm(arguments)
    arguments.allocator = own_allocators.resolve(arguments.allocator, os.environ)
    campaign = _campaign(arguments)
    with session.locked(campaign.out):  # else two campaigns would write into one journal
        return _run(arguments, campaign)


def _run(arguments: argparse.Namespace, campaign: Campaign) -> int:
    if arguments.seeds or not any(campaign.corpus.iterdir()):
        _seed(campaign, arguments.seeds)
    if arguments.merge:
        _merge(campaign)
    if arguments.launcher != "local":
        return fuzz_cluster.run(arguments, campaign, _merge)
    workers = [_worker(arguments, campaign, number) for number in range(arguments.jobs)]
    seconds = float(arguments.seconds or (1e9 if arguments.runs else 60))
    what = arguments.target if campaign.own_program else f"{arguments.allocator}, {arguments.target}"
    campaign.say(f"fuzzing {what}; " f"corpus {os.path.relpath(campaign.corpus)}; Ctrl-C stops and keeps all")
    started = time.monotonic()
    interrupted = False
    try:
        _watch(workers, seconds)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        _stop(workers)
    campaign.say(_progress(workers, started))
    mix = _mix(workers)
    if mix:
        campaign.say(mix)
    if campaign.findings:
        campaign.say(f"{len(campaign.findings)} found; {os.path.relpath(campaign.out / 'findings')}")
        return EXIT_FAILED
    campaign.say("stopped; nothing found so far" if interrupted else "nothing found")
    return EXIT_INTERRUPTED if interrupted else EXIT_GOOD
