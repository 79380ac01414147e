"""heaparena list: the allocators and workloads that can be used here."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli import screen, worker
from cli.entries import COLLECTOR
from cli.errors import EXIT_GOOD, UserError, unknown
from cli.profiles import PROFILES

Json = dict[str, Any]

EXAMPLES = """examples:
  heaparena list
  heaparena list workloads --explain churn
  heaparena list --json | jq -r '.allocators[] | select(.available) | .name'"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "list",
        help="allocators and workloads that can be used here",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="?", choices=("allocators", "workloads", "collectors"), help="only these"
    )
    parser.add_argument(
        "--explain", metavar="W", help="what a workload does, what it shows, and its parameters"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(handle=handle)


def _allocator(entry: Json) -> Json:
    """An allocator of the catalogue with what a probe says of it."""
    why_not, version, library = entry["why_not"], None, entry.get("library")
    traits, operations = entry.get("traits", []), {}
    if not why_not:
        try:
            answer = worker.probe(entry.get("spec", entry["name"]), os.environ)
            version, library = answer.get("version"), answer.get("library")
            traits, operations = answer.get("traits", traits), answer.get("operations", {})
        except UserError as error:
            why_not = str(error)
    return {
        "name": entry["name"],
        "available": not why_not,
        "why_not": why_not or None,
        "version": version,
        "library": library,
        "summary": entry.get("summary", ""),
        "package": entry.get("package"),
        "traits": traits,
        "operations": operations,
    }


def _workloads(known: Json) -> list[Json]:
    return [
        {
            "name": entry["name"],
            "summary": entry["summary"],
            "explain": entry.get("explain", ""),
            "scales": bool(entry.get("scales")),
            "mutator": bool(entry.get("mutator")),
            "parameters": entry["parameters"],
        }
        for entry in known["workloads"]
    ]


def _show_allocators(found: list[Json], console: Console, title: str) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "version", "what it is", "library, or why it is missing"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for entry in found:
        place = entry["library"] or "linked into the worker"
        if entry["available"]:
            table.add_row(entry["name"], entry["version"], entry["summary"], place)
        else:
            package = f"; install {entry['package']}" if entry["package"] else ""
            table.add_row(
                f"[dim]{entry['name']}[/]", "-", entry["summary"], f"[yellow]{entry['why_not']}{package}[/]"
            )
    console.print(table)


def _show_workloads(found: list[Json], console: Console) -> None:
    table = Table(title="Workloads", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "what it does", "parameters (default)"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for entry in found:
        parameters = ", ".join(
            f"{item['name']} ({item['default']})" if item.get("default") else item["name"]
            for item in entry["parameters"]
        )
        table.add_row(entry["name"], entry["summary"], parameters or "-")
    console.print(table)
    console.print("More on one: heaparena list workloads --explain NAME", style="dim", highlight=False)


def _explain(entry: Json, console: Console) -> None:
    profiles = [
        name
        for name, one in PROFILES.items()
        if entry["name"] in [spec.partition(":")[0] for spec in one.names([entry])]
    ]
    console.print(f"[bold]{escape(entry['name'])}[/]: {escape(entry['summary'])}\n", highlight=False)
    if entry["explain"]:
        console.print(entry["explain"] + "\n", markup=False, highlight=False, width=min(100, console.width))
    console.print(
        f"Threads: {'as many as asked for' if entry['scales'] else 'its own number'}. "
        f"In profiles: {', '.join(profiles) or 'none'}.\n",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("parameter", "default", "from", "to", "what it is"):
        table.add_column(heading, justify="right" if heading in ("from", "to") else "left")
    for item in entry["parameters"]:
        least, most = item.get("least", 0), item.get("most", 0)
        limits = (f"{least}", f"{most}") if least or most else ("", "")
        told = item.get("help", "")
        if words := item.get("words"):
            told += f" (one of {', '.join(words)})"
        table.add_row(item["name"], str(item.get("default", "")), *limits, escape(told))
    if entry["parameters"]:
        console.print(table)


def handle(arguments: argparse.Namespace) -> int:
    console, known = screen.tables(), worker.catalogue()
    workloads = _workloads(known)
    if arguments.explain is not None:
        return _handle_explain(arguments, workloads, console)
    wants = (arguments.what,) if arguments.what else ("allocators", "collectors", "workloads")
    collect = [COLLECTOR in entry.get("traits", ()) for entry in known["allocators"]]
    allocators, collectors = (
        [_allocator(entry) for entry, collects in zip(known["allocators"], collect) if collects == wanted]
        if kind in wants
        else []
        for kind, wanted in (("allocators", False), ("collectors", True))
    )
    if arguments.json:
        found = {"allocators": allocators, "workloads": workloads, "collectors": collectors}
        print(json.dumps({key: found[key] for key in (wants if arguments.what else found)}, indent=2))
        return EXIT_GOOD
    if "allocators" in wants:
        _show_allocators(allocators, console, "Allocators")
        console.print()
    if "collectors" in wants:
        _show_allocators(collectors, console, "Collectors, for the gc-... workloads")
        console.print()
    if "workloads" in wants:
        _show_workloads(workloads, console)
    return EXIT_GOOD


def _handle_explain(arguments: argparse.Namespace, workloads: list[Json], console: Console) -> int:
    by_name = {entry["name"]: entry for entry in workloads}
    if arguments.what in ("allocators", "collectors"):
        raise UserError("list: --explain explains workloads; `heaparena list allocators` says what those are")
    if arguments.explain not in by_name:
        raise unknown("workload in --explain", arguments.explain, by_name)
    if arguments.json:
        print(json.dumps(by_name[arguments.explain], indent=2))
    else:
        _explain(by_name[arguments.explain], console)
    return EXIT_GOOD
