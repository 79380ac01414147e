"""Where heaparena's own programs and files are, in a checkout and installed alike.

Installed, this tree is PREFIX/share/heaparena and the programs are in PREFIX/lib/heaparena, which is laid out
as a build folder is (bin/, lib/).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from cli.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
TRACES = ROOT / "workloads" / "traces"
CHECKOUT = (ROOT / "CMakeLists.txt").is_file()


def runs() -> Path:
    """Where results go if nothing else is said: in the checkout, or the user's own data folder."""
    if CHECKOUT:
        return ROOT / "results" / "runs"
    data = os.environ.get("XDG_DATA_HOME") or Path(os.environ.get("HOME") or "/") / ".local" / "share"
    return Path(data) / "heaparena" / "runs"


def build_directory() -> Path:
    """$HEAPARENA_BUILD, or build/release of this checkout, or what was installed beside this file."""
    usual = ROOT / "build" / "release" if CHECKOUT else ROOT.parents[1] / "lib" / "heaparena"
    return Path(os.environ.get("HEAPARENA_BUILD") or usual).absolute()


def _find(place: str, name: str, mode: int) -> Path:
    path = build_directory() / place / name
    if not path.is_file() or not os.access(path, mode):
        if not CHECKOUT and not os.environ.get("HEAPARENA_BUILD"):
            raise UserError(f"{name} is missing from this installation: no {path}; install heaparena again")
        raise UserError(
            f"{name} is not built: no {path}; run scripts/bench, or `cmake --preset release && "
            "cmake --build --preset release`, or set HEAPARENA_BUILD to a build folder"
        )
    return path


def program(name: str) -> Path:
    """Path of one of our programs, e.g. heaparena-worker."""
    return _find("bin", name, os.X_OK)


def recorder() -> Path:
    """Path of the library that records a program's heap operations."""
    return _find("lib", "libheaparena-record.so", os.R_OK)


def library(name: str) -> Path:
    """Path of one of our libraries, e.g. libheaparena-witness.so."""
    return _find("lib", name, os.R_OK)


def commit() -> str | None:
    """The checkout's commit, with -dirty if files differ from it; None outside a git checkout."""
    if not CHECKOUT:
        return None

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "HEAD")
    if not head:
        return None
    return head + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
