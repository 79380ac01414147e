"""heaparena trace: tells what traces hold, makes traces of logs and of parts of traces, and fits models."""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import build, files, trace_proof, worker
from cli.errors import EXIT_GOOD, EXIT_USAGE, UserError
from results import store, trace_page

Json = dict[str, Any]

EXAMPLES = """examples:
  heaparena trace info server.hat                         totals, sizes, lifetimes
  heaparena trace stat server.hat --html server.html      distributions, live bytes, threads, with plots
  heaparena trace cut server.hat -o start.hat --seconds 0:30
  heaparena trace merge web.hat database.hat -o machine.hat
  heaparena trace anonymize server.hat -o public.hat --round-sizes class
  heaparena trace fit server.hat -o server.json --check   then: heaparena run --workloads model:server.json
  heaparena trace import --from mtrace old.log -o old.hat
  heaparena trace verify server.hat                       replays it and counts anew what was issued
  heaparena trace validate server.hat -- ./server         the program and its replay under each allocator"""

TEXT_FORM = """the text form: one operation a line; after # a comment; ID is a number that tells a live block:
  malloc ID SIZE            calloc ID SIZE (the product)     realloc ID SIZE [NEW-ID]     free ID
  aligned_alloc ID ALIGNMENT SIZE       posix_memalign ID ALIGNMENT SIZE
  free_sized ID SIZE [ALIGNMENT]        purge
  failed malloc SIZE        failed calloc SIZE               failed realloc ID SIZE
  thread N [NAME]           the operations that follow are thread N's; the file begins with thread 0
  spawn N                   the thread starts thread N       join N      thread N has ended
  exit                      the thread's last operation
  time NS                   when the operations that follow happened, since the start
  meta KEY: VALUE           kept with the trace, such as the command

mtrace is what glibc writes to the file named by MALLOC_TRACE after mtrace() (glibc 2.34 and newer: with
LD_PRELOAD=libc_malloc_debug.so). It has neither times nor threads."""


@dataclass(frozen=True)
class Action:
    """A command of heaparena-trace that is passed on as it is."""

    name: str
    help: str
    description: str
    output: str | None = "FILE"  # what -o names
    several: bool = False
    epilog: str = EXAMPLES


ACTIONS = (
    Action(
        "stat",
        "distributions, live bytes over time, each thread's part",
        "Sizes, lifetimes (in operations and in time), live bytes over time, reuse distance, and a table of "
        "threads. Reuse distance: operations between a free and the next allocation that its block could "
        "serve (the same quarter of an octave, the newest free first).",
        output=None,
    ),
    Action(
        "cut",
        "a part of a trace",
        "Cuts by operations or by time. Blocks that are live at the start are allocated there, which is "
        "marked in the trace; what the part does not free stays live.",
    ),
    Action(
        "merge",
        "several traces as one",
        "Interleaves traces by time, as programs that ran side by side. Their processes stay apart unless "
        "--one-process is given.",
        several=True,
    ),
    Action(
        "anonymize",
        "without what gives its owner away",
        "Drops the command, remarks, names, thread ids and the clock; sizes and times can be rounded. What "
        "stays is who allocated and freed how much in which order: `fit` tells less.",
    ),
    Action(
        "fit",
        "a small statistical model of a trace",
        "Makes a model file for the workload model:MODEL: sizes, lifetimes, live bytes over time, reallocs, "
        "threads and who frees whose blocks, without the sequence itself. The largest blocks are listed one "
        "by one. --check prints how like the trace the work made from it is; the exit status is 1 if not: "
        "sizes within a KS distance of 0.02, peak of live bytes within 5 %, frees by other threads within 2 "
        "points.",
        output="MODEL",
    ),
    Action(
        "import",
        "a trace of another program's log",
        "Makes a trace of what glibc's mtrace wrote, or of a text that a script wrote.",
        epilog=TEXT_FORM,
    ),
)


def _add(actions: Any, action: Action) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        action.name,
        help=action.help,
        epilog=action.epilog,
        description=action.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    count: Any = "+" if action.several else 1
    parser.add_argument("files", nargs=count, metavar="FILE", help="what is read; - is standard input")
    if action.output:
        parser.add_argument(
            "-o", "--out", metavar=action.output, required=action.name != "fit", help="what is written"
        )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(handle=handle_tool)
    return parser


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "trace",
        help="look into traces, cut and merge them, fit models, import logs",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    info = actions.add_parser(
        "info",
        help="what a trace amounts to",
        epilog=EXAMPLES,
        description="Reads the whole trace, checks it, and says what it amounts to.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    info.add_argument("file", type=Path, metavar="FILE")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(handle=handle_info)
    trace_proof.add(actions)
    own = {action.name: _add(actions, action) for action in ACTIONS}
    own["stat"].add_argument(
        "--html", type=Path, metavar="OUT", help="as a page with plots, one file that opens without a network"
    )
    own["stat"].set_defaults(handle=handle_stat)
    window = own["cut"].add_mutually_exclusive_group(required=True)
    window.add_argument("--operations", metavar="FROM:TO", help="numbers of operations, TO not included")
    window.add_argument("--seconds", metavar="FROM:TO", help="time since the trace's start")
    own["merge"].add_argument(
        "--by-clock", action="store_true", help="as their clocks stood to each other, not all from one start"
    )
    own["merge"].add_argument("--one-process", action="store_true", help="all threads are one process's")
    own["anonymize"].add_argument(
        "--round-sizes", metavar="TO", help="class: up to four classes an octave; pow2: up to powers of two"
    )
    own["anonymize"].add_argument("--round-times", metavar="NS", help="down to multiples of so many ns")
    own["fit"].add_argument("--check", action="store_true", help="print the fidelity table")
    own["fit"].add_argument("-m", "--model", metavar="MODEL", help="with --check: a model made before")
    own["fit"].add_argument("--seed", metavar="N", help="with --check: of the work that is made")
    own["import"].add_argument(
        "--from", dest="form", required=True, choices=("mtrace", "text"), help="what the log is"
    )


# Options of the tool by the attribute that holds them.
OPTIONS = {
    "out": "-o",
    "operations": "--operations",
    "seconds": "--seconds",
    "by_clock": "--by-clock",
    "one_process": "--one-process",
    "round_sizes": "--round-sizes",
    "round_times": "--round-times",
    "check": "--check",
    "model": "-m",
    "seed": "--seed",
    "form": "--from",
    "json": "--json",
}


def handle_stat(arguments: argparse.Namespace) -> int:
    if arguments.html is None:
        return handle_tool(arguments)
    if arguments.html.is_dir():
        raise UserError(f"--html {arguments.html} is a folder; give the name of a file")
    if not arguments.html.absolute().parent.is_dir():
        raise UserError(f"--html {arguments.html}: no such folder: {arguments.html.parent}; make it first")
    done = _tool([str(build.program("heaparena-trace")), "stat", "--json", "--", *arguments.files], True)
    store.write_atomically(arguments.html, trace_page.html(json.loads(done.stdout)))
    print(arguments.html)
    return done.returncode


def _tool(command: list[str], keep: bool) -> subprocess.CompletedProcess[bytes]:
    """Runs heaparena-trace, its complaint as ours; `keep`: its output is not the user's."""
    stdout = subprocess.PIPE if keep else None
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if done.returncode == EXIT_USAGE or done.returncode < 0:
        raise UserError((said[-1] if said else "heaparena-trace failed").removeprefix("heaparena-trace: "))
    return done


def handle_tool(arguments: argparse.Namespace) -> int:
    """Lets heaparena-trace do it, in our place: its output and its status."""
    command = [str(build.program("heaparena-trace")), arguments.action]
    for attribute, option in OPTIONS.items():
        value = getattr(arguments, attribute, None)
        if value is True:
            command.append(option)
        elif value:
            command += [option, str(value)]
    return _tool([*command, "--", *arguments.files], False).returncode


def _quantity(key: str, value: Any) -> str:
    """A figure with the unit that its name tells."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and "bytes" in key and value >= 1 << 20:
        return f"{value:,} ({value / 2**20:.1f} MiB)"
    if isinstance(value, int) and key.endswith("_ns"):
        return f"{value / 1e9:.3f} s"
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _histogram(title: str, classes: list[Json]) -> None:
    """Counts by powers of two, with bars."""
    total = sum(entry["count"] for entry in classes) or 1
    most = max((entry["count"] for entry in classes), default=1)
    print(f"\n{title}")
    for entry in classes:
        count = entry["count"]
        bar = "█" * round(30 * count / most) or "▏"
        print(f"{entry['from']:>12,}  {count:>12,}  {100 * count / total:5.1f} %  {bar}")


def _show(info: Json) -> None:
    plain = {
        key: value
        for key, value in info.items()
        if isinstance(value, (bool, int, float, str)) and value != ""
    }
    plain.pop("clock_start_ns", None)
    plain.update({f"{kind} calls": count for kind, count in info.get("by_kind", {}).items() if count})
    plain.update({key: "; ".join(lines) for key, lines in info.get("meta", {}).items()})
    width = max((len(key) for key in plain), default=0)
    for key, value in plain.items():
        print(f"{key.removesuffix('_ns').replace('_', ' '):<{width}}  {_quantity(key, value)}")
    for key, title in (
        ("sizes", "sizes: bytes from, allocations"),
        ("lifetimes", "lifetimes: operations from, objects"),
    ):
        if info.get(key):
            _histogram(title, info[key])


def handle_info(arguments: argparse.Namespace) -> int:
    info = worker.trace_info(files.trace(arguments.file))
    if arguments.json:
        print(json.dumps(info, indent=2))
        return EXIT_GOOD
    _show(info)
    return EXIT_GOOD
