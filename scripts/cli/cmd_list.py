"""heaparena list: the allocators and workloads that can be used here."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from rich.console import Console
from rich.table import Table

from cli import screen, worker
from cli.errors import EXIT_GOOD, UserError

Json = dict[str, Any]

EXAMPLES = """examples:
  heaparena list
  heaparena list --json | jq -r '.allocators[] | select(.available) | .name'"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "list",
        help="allocators and workloads that can be used here",
        epilog=EXAMPLES,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(handle=handle)


def _allocator(entry: Json) -> Json:
    """An allocator of the catalogue with what a probe says of it."""
    why_not, version, library = entry["why_not"], None, entry.get("library")
    traits, operations = entry.get("traits", []), {}
    if not why_not:
        try:
            answer = worker.probe(entry["name"], os.environ)
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


def gather() -> Json:
    known = worker.catalogue()
    workloads = [
        {
            "name": entry["name"],
            "summary": entry["summary"],
            "explain": entry.get("explain", ""),
            "scales": bool(entry.get("scales")),
            "parameters": entry["parameters"],
        }
        for entry in known["workloads"]
    ]
    return {
        "allocators": [_allocator(entry) for entry in known["allocators"]],
        "workloads": workloads,
        "collectors": [],
    }


def _show(found: Json, console: Console) -> None:
    table = Table(title="Allocators", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "version", "what it is", "library, or why it is missing"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for entry in found["allocators"]:
        place = entry["library"] or "linked into the worker"
        if entry["available"]:
            table.add_row(entry["name"], entry["version"], entry["summary"], place)
        else:
            package = f"; install {entry['package']}" if entry["package"] else ""
            table.add_row(
                f"[dim]{entry['name']}[/]", "-", entry["summary"], f"[yellow]{entry['why_not']}{package}[/]"
            )
    console.print(table)
    console.print()
    table = Table(title="Workloads", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "what it does", "parameters (default)"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for entry in found["workloads"]:
        parameters = ", ".join(
            f"{item['name']} ({item['default']})" if item.get("default") else item["name"]
            for item in entry["parameters"]
        )
        table.add_row(entry["name"], entry["summary"], parameters or "-")
    console.print(table)


def handle(arguments: argparse.Namespace) -> int:
    found = gather()
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        _show(found, screen.tables())
    return EXIT_GOOD
