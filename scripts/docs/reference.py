#!/usr/bin/python3
"""Writes reference.md beside this file from the command's own parser; --check says whether it is up to date.

A test fails while the two differ, so run this after a change of any option or help text.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parents[2]
sys.path[0:0] = [str(ROOT), str(ROOT / "scripts")]

from cli import main as command  # noqa: E402  (the path above must come first)

FILE = Path(__file__).with_name("reference.md")
WIDTH = 110

HEAD = """# Reference

Every subcommand with every option, as `heaparena COMMAND --help` shows it. Written by
`scripts/docs/reference.py`; do not edit. First steps are in [tutorial.md](tutorial.md).

"""


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser's own subcommands by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def walk(parser: argparse.ArgumentParser, depth: int = 2) -> Iterator[tuple[int, argparse.ArgumentParser]]:
    yield depth, parser
    for one in subcommands(parser).values():
        yield from walk(one, min(depth + 1, 4))


def anchor(parser: argparse.ArgumentParser) -> str:
    return parser.prog.replace(" ", "-")


def text() -> str:
    """The whole page."""
    os.environ["COLUMNS"] = str(WIDTH)
    found = list(walk(command.parser()))
    contents = [f"{'  ' * (depth - 2)}* [{one.prog}](#{anchor(one)})" for depth, one in found]
    parts = [
        f"{'#' * depth} {one.prog}\n\n```text\n{one.format_help().rstrip()}\n```\n" for depth, one in found
    ]
    return HEAD + "\n".join(contents) + "\n\n" + "\n".join(parts)


def main() -> int:
    if sys.argv[1:] not in ([], ["--check"]):
        print("usage: reference.py [--check]", file=sys.stderr)
        return 2
    wanted = text()
    if sys.argv[1:]:
        have = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
        if have != wanted:
            print(f"{FILE.name} is not what the parser says; run scripts/docs/reference.py", file=sys.stderr)
        return 0 if have == wanted else 1
    FILE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
