"""Allocators that the user named once and for all: $HEAPARENA_ALLOCATORS and the file allocators in the
configuration folder. They stand in the catalogue beside those that the worker knows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Iterator, Mapping

from cli.errors import UserError

Json = dict[str, Any]

VARIABLE = "HEAPARENA_ALLOCATORS"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def configuration(environment: Mapping[str, str]) -> Path:
    """The file with one NAME=/path/lib.so[:prefix_] a line; # starts a comment."""
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME") or "/", ".config")
    return Path(base) / "heaparena" / "allocators"


def _words(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(where it stands, NAME=PATH) of each; the variable's come first and win."""
    for word in environment.get(VARIABLE, "").split(","):
        if word.strip():
            yield VARIABLE, word.strip()
    file = configuration(environment)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for number, line in enumerate(lines, 1):
        word = line.partition("#")[0].strip()
        if word:
            yield f"{file}:{number}", word


def entries(known: list[Json], environment: Mapping[str, str]) -> list[Json]:
    """Catalogue entries with a `spec` for the worker. A name that heaparena knows already is refused."""
    taken = {entry["name"] for entry in known}
    found: dict[str, Json] = {}
    for where, word in _words(environment):
        name, equals, target = word.partition("=")
        if not equals or not target or not NAME.fullmatch(name):
            raise UserError(f"{where}: '{word}' is not of the form NAME=/path/lib.so")
        if name in taken:
            raise UserError(f"{where}: '{name}' is heaparena's own name for an allocator; choose another")
        path, colon, prefix = os.path.expanduser(target).partition(":")
        if not os.path.isabs(path):
            raise UserError(f"{where}: {path} is no absolute path, and the working folder changes; give one")
        found.setdefault(
            name,
            {
                "name": name,
                "summary": f"yours, named in {where.rpartition(':')[0] or where}",
                "kind": "library",
                "library": path,
                "package": None,
                "why_not": None if os.path.isfile(path) else f"{path}: no such file; see {where}",
                "traits": [],
                "spec": f"{name}={path}{colon}{prefix}",
            },
        )
    return list(found.values())


def resolve(words: str, environment: Mapping[str, str]) -> str:
    """A,B,... with the user's own names as NAME=/path; all else as it was."""
    own = {entry["name"]: str(entry["spec"]) for entry in entries([], environment)}
    return ",".join(own.get(word, word) for word in words.split(","))
