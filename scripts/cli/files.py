"""The files and folders that the command line names: refused in one line each, before any work is done."""

from __future__ import annotations

import os
from pathlib import Path

from cli.errors import UserError


def readable(path: Path, said: str, todo: str = "") -> Path:
    """`path`, if it is a file that can be read. `said`: where the name stands; `todo`: how to get such a
    file."""
    if path.is_dir():
        raise UserError(f"{said}: {path} is a folder; give a file")
    if not path.exists():
        raise UserError(f"{said}: no such file: {path}" + (f"; {todo}" if todo else ""))
    if not path.is_file():  # a pipe ends with its first reader
        raise UserError(f"{said}: {path} is no ordinary file; give one that can be read again")
    if not os.access(path, os.R_OK):
        raise UserError(f"{said}: {path} cannot be read: permission denied; chmod +r it")
    return path


def trace(path: Path) -> Path:
    """`path`, if there is a file that may be a trace; the trace tool says what is wrong in it."""
    return readable(path, "the trace", f"`heaparena record -o {path} -- CMD` makes one")


def folder(out: Path) -> Path:
    """`out`, made if it is missing, and proved to be a folder that can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".heaparena-{os.getpid()}"
        probe.write_text("writable\n", encoding="utf-8")
        probe.unlink()
    except FileExistsError:
        raise UserError(f"--out {out}: is a file; give a folder") from None
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror}; choose another folder") from None
    return out
