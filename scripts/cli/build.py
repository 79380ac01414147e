"""Where heaparena's own programs and files are, in a checkout and installed alike.

Installed, this tree is PREFIX/share/heaparena and the programs are in PREFIX/lib/heaparena, which is laid out
as a build folder is (bin/, lib/).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

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


FACTS = "heaparena-build.json"  # written by every build: scripts/cmake/build_facts.cmake


def facts() -> dict[str, Any] | None:
    """What the programs were built from (version, commit, compiler, ...); None before the first build."""
    try:
        found: dict[str, Any] = json.loads((build_directory() / FACTS).read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return None


def version() -> str:
    """Of CMake's project() in a checkout, built or not; of what was installed elsewhere."""
    if CHECKOUT:
        text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
        match = re.search(r"project\(heaparena VERSION (\S+)", text)
        assert match, "CMakeLists.txt names no version"
        return match[1]
    return str((facts() or {}).get("version", "of unknown version"))


def commit() -> str | None:
    """The commit that the programs were built from, -dirty if files differed from it; None if unknown."""
    found = (facts() or {}).get("commit")
    return str(found) if found else None


def described() -> str:
    """One line for --version."""
    found = facts()
    if found is None:
        return f"heaparena {version()}, not built: no {build_directory() / FACTS}"
    kind = ", ".join(word for word in (found["build_type"], found["sanitizers"]) if word)
    of = f"commit {found['commit']}" if found["commit"] else "unknown commit"
    return f"heaparena {found['version']}, {of}, built by {found['compiler']} ({kind})"
