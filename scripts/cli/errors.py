"""How heaparena says no: one line, what is wrong, where, and what to do; exit status 2."""

from __future__ import annotations

import difflib
from typing import Iterable

EXIT_GOOD, EXIT_FAILED, EXIT_USAGE, EXIT_BUG, EXIT_INTERRUPTED = 0, 1, 2, 70, 130


class UserError(Exception):
    """Something a person must change; shown as `heaparena: MESSAGE`, never as a traceback."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not there, with the nearest names that are."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return UserError(f"unknown {kind} '{name}'; did you mean {' or '.join(near)}?")
    return UserError(f"unknown {kind} '{name}'; known: {', '.join(names) or 'none'}")
