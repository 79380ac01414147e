"""heaparena trace: looks into traces."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cli import worker
from cli.errors import EXIT_GOOD, UserError

Json = dict[str, Any]

EXAMPLES = """examples:
  heaparena trace info server.hat
  heaparena trace info server.hat --json"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "trace",
        help="look into traces",
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


def existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such trace; `heaparena record -o {path} -- CMD` makes one")
    return path


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
    info = worker.trace_info(existing(arguments.file))
    if arguments.json:
        print(json.dumps(info, indent=2))
        return EXIT_GOOD
    _show(info)
    return EXIT_GOOD
