"""heaparena doctor: what is installed, what is missing, and what would make measurements better here."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from cli import build, machine, programs, screen, worker
from cli.errors import EXIT_FAILED, EXIT_GOOD, UserError

Json = dict[str, Any]

OK, MISSING, OPTIONAL = "ok", "missing", "optional"
STYLES = {OK: "green", MISSING: "bold red", OPTIONAL: "yellow"}
PYTHON = ("rich", "numpy", "scipy", "jinja2", "plotly", "jsonschema")
BUILT = (("bin", "heaparena-worker"), ("bin", "heaparena-trace"), ("bin", "heaparena-launch"))
PRELOADED = ("libgomalloc.so", "libheaparena-record.so", "libheaparena-witness.so")
BUILD_COMMAND = "cmake --preset release && cmake --build --preset release"
TOOLS = (
    ("valgrind", "valgrind", "instruction counts (--passes instructions)"),
    ("sbatch", "slurm-client", "runs on a cluster (--launcher slurm)"),
)
WATCH_SECONDS = 1.0  # how long stolen time and load are looked at
LEAST_FREE = 1 << 30  # bytes of disk for results

EXAMPLES = """examples:
  heaparena doctor             what to install, and what to change before measuring
  heaparena doctor --json      the same for scripts

exit status: 0 everything that `heaparena run` needs is there, 1 something is missing (the command that
mends it is shown). Advice alone does not change the status."""


@dataclass(frozen=True)
class Check:
    """One thing that is there or not."""

    group: str
    name: str
    state: str  # ok, missing (run needs it) or optional (missing, and run goes without)
    found: str  # what is there, or what is lacking without it
    todo: str = ""  # the command that mends it


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="say what is missing, and what would make measurements better here",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(handle=handle)


def handle(arguments: argparse.Namespace) -> int:
    checks = [*_python(), *_built(), *_allocators(), *_tools(), *_programs(), _room()]
    facts = machine.settings()
    suggestions = advice(facts, *_watch())
    missing = [check for check in checks if check.state == MISSING]
    status = EXIT_FAILED if missing else EXIT_GOOD
    if arguments.json:
        print(
            json.dumps(
                {
                    "ready": not missing,
                    "checks": [asdict(check) for check in checks],
                    "machine": facts,
                    "advice": suggestions,
                    "exit_status": status,
                },
                indent=2,
            )
        )
    else:
        _show(checks, facts, suggestions, missing)
    return status


# ---- what is there ----


def _python() -> list[Check]:
    found = [
        Check("python", name, OK, "installed")
        if importlib.util.find_spec(name)
        else Check("python", name, MISSING, "not installed", f"apt-get install python3-{name}")
        for name in PYTHON
    ]
    if importlib.util.find_spec("PIL"):
        return [*found, Check("python", "PIL", OK, "installed")]
    lacking = "not installed: no pictures of heaps (heaparena map)"
    return [*found, Check("python", "PIL", OPTIONAL, lacking, "apt-get install python3-pil")]


def _built() -> list[Check]:
    found = []
    for place, name in (*BUILT, *(("lib", name) for name in PRELOADED)):
        path = build.build_directory() / place / name
        there = os.access(path, os.R_OK | (os.X_OK if place == "bin" else 0)) and path.is_file()
        todo = BUILD_COMMAND if build.CHECKOUT else "install heaparena again"
        found.append(
            Check("heaparena", name, OK, str(path))
            if there
            else Check("heaparena", name, MISSING, f"no {path}", todo)
        )
    return found


def _allocators() -> list[Check]:
    try:
        known = worker.catalogue()["allocators"]
    except UserError as error:
        return [Check("allocators", "list", MISSING, str(error), BUILD_COMMAND)]
    found = []
    for entry in known:
        if entry["why_not"]:
            package = entry.get("package")
            todo = f"apt-get install {package}" if package else "build heaparena again"
            found.append(Check("allocators", entry["name"], OPTIONAL, entry["why_not"], todo))
        elif entry["kind"] != "linked":
            found.append(Check("allocators", entry["name"], OK, entry.get("library") or "the C library's"))
    return found


def _tools() -> list[Check]:
    return [
        Check("tools", name, OK, str(shutil.which(name)))
        if shutil.which(name)
        else Check("tools", name, OPTIONAL, f"not installed: no {purpose}", f"apt-get install {package}")
        for name, package, purpose in TOOLS
    ]


def _programs() -> list[Check]:
    """The program set of `run --profile programs`."""
    found = []
    for program in programs.PROGRAMS.values():
        missing = program.missing()
        found.append(
            Check(
                "programs",
                program.name,
                OPTIONAL,
                f"{', '.join(missing)} not installed: left out of profile {programs.PROFILE}",
                f"apt-get install {program.packages}",
            )
            if missing
            else Check("programs", program.name, OK, program.summary)
        )
    return found


def _room() -> Check:
    """Whether results can be written."""
    place = build.runs()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        return Check(
            "results", "folder", OPTIONAL, f"{place} cannot be written", "give --out DIR to every run"
        )
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE:
        return Check("results", "folder", OPTIONAL, f"{free >> 20} MiB free in {place}", "make room there")
    return Check("results", "folder", OK, f"{free / 2**30:.1f} GiB free in {place}")


# ---- what could be better ----


def _watch() -> tuple[Json, float]:
    """The load now, and the per cent of CPU time that a hypervisor took away in the last moments."""
    before = machine.moment()
    time.sleep(WATCH_SECONDS)
    after = machine.moment()
    return after, machine.steal_percent(before, after)


def advice(facts: Json, now: Json, steal: float) -> list[Json]:
    """What would make measurements better, most general first: each with the command that does it."""
    found = machine.warnings(facts, now, os.environ)
    found += machine.warnings_after(steal, now, now, facts["usable_cores"])
    if facts["swap"]:
        found.append(_advice("swap is on: memory figures shrink when pages go there", "sudo swapoff -a"))
    if facts["smt"] == "on":
        found.append(
            _advice(
                "hyper-threading is on: a thread's speed depends on its neighbour in the core",
                "echo off | sudo tee /sys/devices/system/cpu/smt/control, or --cpus with one CPU a core",
            )
        )
    if facts["memory_limit"]:
        found.append(
            _advice(
                f"the container may use {facts['memory_limit']} of memory: larger samples are killed",
                "lift the limit, or leave out large workloads",
            )
        )
    if not facts["isolated_cpus"] and facts["usable_cores"] > 2:
        found.append(
            _advice(
                "the kernel keeps no CPUs free of other programs",
                "boot with isolcpus=LIST nohz_full=LIST, then measure with --isolate",
            )
        )
    found += _counters()
    return found


def _counters() -> list[Json]:
    """Hardware counters: heaparena counts with valgrind, people look further with perf."""
    if not Path("/sys/bus/event_source/devices/cpu").exists():
        return [
            _advice(
                "the machine shows no hardware counters: `perf stat` cannot explain a difference here",
                "measure on bare metal, or count with --passes instructions",
            )
        ]
    try:
        level = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return []
    if level <= 2 or os.geteuid() == 0:
        return []
    todo = "sudo sysctl kernel.perf_event_paranoid=2"
    return [_advice(f"hardware counters are closed to users (perf_event_paranoid is {level})", todo)]


def _advice(what: str, todo: str) -> Json:
    return {"what": what, "todo": todo}


# ---- in the terminal ----


def _show(checks: list[Check], facts: Json, suggestions: list[Json], missing: list[Check]) -> None:
    console = screen.tables()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "", "state", "", "what mends it"):
        table.add_column(heading, overflow="fold")
    last = ""
    for check in checks:
        group = check.group if check.group != last else ""
        last = check.group
        state = f"[{STYLES[check.state]}]{check.state}[/]"
        table.add_row(group, check.name, state, check.found, check.todo)
    console.print(table)
    console.print(f"\n{facts['cpu']}, {facts['usable_cores']} CPUs, {facts['kernel']}", highlight=False)
    if suggestions:
        console.print("\nMeasurements would be better if:", style="bold")
    for one in suggestions:
        console.print(f"  {one['what']}", highlight=False, markup=False)
        console.print(f"      {one['todo']}", style="cyan", highlight=False, markup=False)
    said = "Everything that `heaparena run` needs is there."
    if missing:
        said = f"Missing for `heaparena run`: {', '.join(check.name for check in missing)}."
    console.print("\n" + said, style="bold red" if missing else "green", highlight=False)
