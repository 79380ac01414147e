"""heaparena misuse: what heap bugs do under each allocator. Each trial does one wrong thing in a process of
its own and goes on with checked operations; the verdict says whether it was detected, faulted, had no effect,
showed late, passed in silence, or corrupted the heap: blocks overlap, or a live block changed."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator, Sequence

from rich.console import Console

from cli import build, entries, files, misuse_program, screen, worker
from cli.entries import Allocator
from cli.errors import EXIT_FAILED, EXIT_GOOD, UserError, unknown
from cli.options import add_entries, whole_number
from results import misuse, store

Json = dict[str, Any]

PROGRAM = "heaparena-misuse"
THREADS = ("owner", "other")
NO_CONTENDERS = {"bound", "shared-blocks", "never-frees", "trace-only"}
MISUSE_JSON, MISUSE_HTML, MISUSE_MD = "misuse.json", "misuse.html", "misuse.md"

EXAMPLES = """examples:
  heaparena misuse --allocators system,gomalloc,mimalloc -o misuse
  heaparena misuse --allocators mine=/path/libmine.so --cases double-free,interior-free --sizes 8,64,1MiB
  heaparena misuse --allocators gomalloc --expect-detected gomalloc       for CI
  heaparena misuse --search --allocators system --seconds 60              sequences that defeat the allocator

Sizes are 8, 64, 1KiB, 4KiB, 64KiB, 256KiB and 1MiB unless named. --list-cases says what each case does.
--search makes random sequences of correct operations with one class of misuse, looks for blocks that overlap,
memory handed out at an address that the program chose, and writes to memory that is not the allocator's, and
prints the shortest C program for each, compiled with cc and run three times.

exit status: 0 it ran, whatever was seen; 1 an allocator of --expect-detected missed a wrong free, or trials
failed before anything wrong was done; 2 nothing was run"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "misuse",
        help="what heap bugs do under each allocator: detected, silent, corruption",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_entries(parser)
    parser.add_argument("--cases", action="append", metavar="C,...", help="default: all; see --list-cases")
    parser.add_argument(
        "--sizes", action="append", metavar="N,...", help="of blocks: bytes, KiB or MiB up to 1MiB"
    )
    parser.add_argument(
        "--threads",
        action="append",
        metavar="T,...",
        help="who does the wrong operation: owner, other (default: both)",
    )
    parser.add_argument("--trials", type=whole_number(1), default=20, metavar="N", help="of each cell (20)")
    parser.add_argument(
        "--aftermath",
        type=whole_number(2),
        default=2000,
        metavar="N",
        help="checked operations after it (2000)",
    )
    parser.add_argument(
        "--seed", type=whole_number(0), default=1, metavar="N", help="of the trials' chance (1)"
    )
    parser.add_argument(
        "--jobs", type=whole_number(1), metavar="N", help="allocators at a time (default: CPUs)"
    )
    parser.add_argument(
        "-o", "--out", type=Path, metavar="DIR", help="writes misuse.json, misuse.html, misuse.md"
    )
    parser.add_argument(
        "--into",
        type=Path,
        metavar="RESULTS",
        help="also adds it to this results.json, as a section of its report",
    )
    parser.add_argument("--json", action="store_true", help="print misuse.json instead of tables")
    parser.add_argument("--plain", action="store_true", help="tables as Markdown, for logs")
    parser.add_argument(
        "--expect-detected",
        action="append",
        metavar="NAME,...",
        help="exit 1 unless these detected every double, invalid, misaligned, interior and foreign free",
    )
    parser.add_argument("--search", action="store_true", help="look for sequences that defeat the allocator")
    parser.add_argument(
        "--misuse", action="append", metavar="M,...", help="with --search: classes of misuse (default: all)"
    )
    parser.add_argument(
        "--seconds", type=whole_number(1), default=10, metavar="N", help="with --search: for each class (10)"
    )
    parser.add_argument("--list-cases", action="store_true", help="say what the cases and classes are")
    parser.set_defaults(handle=handle)


# ---- the program ----


def _lines(arguments: Sequence[str], environment: dict[str, str]) -> Iterator[Json]:
    """The program's answers, one by one."""
    command = [str(build.program(PROGRAM)), *arguments]
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            for line in process.stdout:
                answer: Json = json.loads(line)
                yield answer
        except ValueError:
            process.kill()
            raise UserError(f"{PROGRAM} answered with something that is not JSON; build it again") from None
        except BaseException:
            process.kill()
            raise
        errors = process.stderr.read().strip()
    if process.returncode:
        last = errors.splitlines()[-1] if errors else f"ended with status {process.returncode}"
        raise UserError(last.removeprefix(f"{PROGRAM}: "))


def _catalogue() -> Json:
    return next(iter(_lines(["--list"], dict(os.environ))))


def _chosen(values: Sequence[str] | None, what: str, known: Sequence[str]) -> list[str]:
    wanted = entries.split_list(values)
    for name in wanted:
        if name not in known:
            raise unknown(what, name, known)
    return wanted or list(known)


def size_of(text: str) -> int:
    """Bytes of "64", "4KiB" or "1MiB"."""
    number, factor = text, 1
    for suffix, unit in (("KiB", 1024), ("MiB", 1024**2), ("B", 1)):
        if text.endswith(suffix):
            number, factor = text.removesuffix(suffix), unit
            break
    if not (number.isascii() and number.isdecimal() and 1 <= int(number) * factor <= 1024**2):
        raise UserError(f"--sizes {text}: not a size from 1 to 1MiB, such as 64, 4KiB or 1MiB")
    return int(number) * factor


def _environment(entry: Allocator) -> dict[str, str]:
    return {**os.environ, **entry.environment}


def _facts(entry: Allocator) -> Json:
    return {"name": entry.name, "version": entry.version, "library": entry.library}


# ---- trials ----


def _trials(arguments: argparse.Namespace, known: Json) -> list[str]:
    """What the program is told of the trials; UserError for names that are not there."""
    cases = _chosen(arguments.cases, "case", [case["name"] for case in known["cases"]])
    threads = _chosen(arguments.threads, "thread", THREADS)
    words = ["--cases", ",".join(cases), "--by", ",".join(threads), "--trials", str(arguments.trials)]
    words += ["--aftermath", str(arguments.aftermath), "--seed", str(arguments.seed)]
    if arguments.sizes:
        words += ["--sizes", ",".join(str(size_of(text)) for text in entries.split_list(arguments.sizes))]
    return words


def _run_trials(entry: Allocator, words: Sequence[str]) -> list[Json]:
    return [
        {"allocator": entry.name, **answer}
        for answer in _lines(["--allocator", entry.spec, *words], _environment(entry))
        if "case" in answer
    ]


# ---- the search ----


def _run_search(
    entry: Allocator, classes: Sequence[str], arguments: argparse.Namespace
) -> tuple[list[Json], list[Json]]:
    found, searched = [], []
    for name in classes:
        words = ["--search", name, "--seconds", str(arguments.seconds), "--seed", str(arguments.seed)]
        for answer in _lines(["--allocator", entry.spec, *words], _environment(entry)):
            if "finding" in answer:
                program = misuse_program.source(answer, entry.name, entry.version, entry.library)
                confirmed = misuse_program.confirm(program, entry.library, _environment(entry))
                answer |= {"allocator": entry.name, "program": program, "confirmed": confirmed}
                found.append({**answer, "runs": misuse_program.RUNS})
            elif "searched" in answer:
                searched.append({"allocator": entry.name, **answer})
    return found, searched


# ---- the command ----


def _measure(chosen: Sequence[Allocator], arguments: argparse.Namespace, known: Json) -> Json:
    console = Console(stderr=True)
    data: Json = {
        "schema": 1,
        "command": shlex.join(["heaparena", *sys.argv[1:]]),
        "heaparena": build.version(),
        "trials": arguments.trials,
        "aftermath": arguments.aftermath,
        "seed": arguments.seed,
        "cases": [{"name": case["name"], "summary": case["summary"]} for case in known["cases"]],
        "allocators": [_facts(entry) for entry in chosen],
        "cells": [],
        "findings": [],
        "searches": [],
    }
    words = [] if arguments.search else _trials(arguments, known)
    classes = _chosen(arguments.misuse, "class of misuse", known["search"]) if arguments.search else []

    def one(entry: Allocator) -> tuple[list[Json], list[Json], list[Json]]:
        if arguments.search:
            return ([], *_run_search(entry, classes, arguments))
        return _run_trials(entry, words), [], []

    with ThreadPoolExecutor(arguments.jobs or len(os.sched_getaffinity(0))) as pool:
        for entry, (cells, found, searched) in zip(chosen, pool.map(one, chosen)):
            data["cells"] += cells
            data["findings"] += found
            data["searches"] += searched
            if not arguments.json:
                said = f"{sum(cell['trials'] for cell in cells):,} trials" if cells else f"{len(found)} found"
                console.print(f"{entry.name} {entry.version}: {said}", highlight=False, markup=False)
    misuse.validate(data, MISUSE_JSON)
    return data


def _write(data: Json, out: Path) -> list[Path]:
    store.write_atomically(out / MISUSE_JSON, json.dumps(data, indent=1, allow_nan=False) + "\n")
    store.write_atomically(out / MISUSE_HTML, misuse.page(data))
    store.write_atomically(out / MISUSE_MD, misuse.markdown(data))
    return [out / name for name in (MISUSE_JSON, MISUSE_HTML, MISUSE_MD)]


def _show(data: Json, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(data, allow_nan=False))
    elif arguments.plain:
        print(misuse.markdown(data), end="")
    else:
        misuse.make_section(data, whole=False).show(screen.tables())
        for one in data["findings"]:
            print(one["program"])
        for one in data["searches"]:
            what = f"{one['allocator']}, {one['searched']}"
            print(f"{what}: {one['hits']:,} of {one['sequences']:,} sequences led to something")


def _faults(data: Json, expected: Sequence[str]) -> list[str]:
    """What makes the exit status 1, in lines."""
    lines = []
    for name in expected:
        if not any(cell["allocator"] == name and cell["case"] in misuse.FREES for cell in data["cells"]):
            raise UserError(
                f"--expect-detected {name}: no wrong free was tried; add cases, such as double-free"
            )
        lines += [f"{name}: not detected: {line}" for line in misuse.missed(data, name)]
    for cell in data["cells"]:
        if (one := cell["verdicts"].get("error")) is not None:
            lines.append(
                f"{cell['allocator']}: {cell['case']}, {cell['size']} B: {one['count']} trials ended before "
                f"anything wrong was done: {one['how']} {one['example']}".rstrip()
            )
    return lines


def _list(known: Json) -> int:
    for case in known["cases"]:
        print(f"{case['name']:24}{case['summary']}")
    print(f"\nclasses of --search: {', '.join(known['search'])}")
    return EXIT_GOOD


def handle(arguments: argparse.Namespace) -> int:
    known = _catalogue()
    if arguments.list_cases:
        return _list(known)
    if arguments.misuse and not arguments.search:
        raise UserError("--misuse goes with --search; for trials name --cases")
    expected = entries.split_list(arguments.expect_detected)
    if expected and arguments.search:
        raise UserError("--expect-detected goes with trials, not with --search")
    if arguments.into is not None:
        store.load(arguments.into)
    if arguments.out is not None:
        files.folder(arguments.out)
    wanted = entries.split_list(arguments.allocators)
    chosen, left_out = entries.allocators(wanted, arguments.env, worker.catalogue()["allocators"])
    chosen = [entry for entry in chosen if not NO_CONTENDERS & set(entry.traits)]
    if not chosen:
        raise UserError("--allocators: none of these frees memory, so none can be misused; name others")
    names = [entry.name for entry in chosen]
    for name in expected:
        if name not in names:
            raise unknown("allocator in --expect-detected", name, names)
    for line in left_out:
        print(f"left out, for it cannot be used: {line}", file=sys.stderr)
    data = _measure(chosen, arguments, known)
    written = _write(data, arguments.out) if arguments.out else []
    if arguments.into is not None:
        store.add_extra(arguments.into, misuse.ID, data)
    _show(data, arguments)
    if not arguments.json:
        for path in written:
            print(path)
    faults = _faults(data, expected)
    for line in faults:
        print(line, file=sys.stderr)
    return EXIT_FAILED if faults else EXIT_GOOD
