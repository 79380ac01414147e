"""The console that tables go to: as wide as the terminal, or wide enough for tables in a pipe."""

from __future__ import annotations

import os
import sys

from rich.console import Console

PIPE_WIDTH = 160


def tables() -> Console:
    sized = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if sized else PIPE_WIDTH)
