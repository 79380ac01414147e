"""tidy_commands.py COMPILE_COMMANDS FOLDER: writes to FOLDER/compile_commands.json what clang-tidy needs.

clang-tidy analyses a file once for each command that compiles it, and several libraries are made of the
same files. Kept is one command for each set of definitions, so that every variant of the code is seen once.
Where only the level of assertion differs it is the highest: that is the code of the others and more."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path


def definitions(command: str) -> frozenset[str]:
    """Those that choose what code there is: not CMake's name of the library, nor the level of assertion."""
    words = [word for word in shlex.split(command) if word.startswith(("-D", "-U"))]
    return frozenset(
        word for word in words if not word.endswith("_EXPORTS") and not word.startswith("-DGM_ASSERT_LEVEL=")
    )


def distinct(entries: list[dict[str, str]]) -> list[dict[str, str]]:
    """One entry for each file and set of definitions, that with the level of assertion if there is one."""
    kept: dict[tuple[str, frozenset[str]], dict[str, str]] = {}
    for entry in entries:
        key = entry["file"], definitions(entry["command"])
        if key not in kept or "-DGM_ASSERT_LEVEL=" in entry["command"]:
            kept[key] = entry
    return list(kept.values())


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: tidy_commands.py COMPILE_COMMANDS FOLDER", file=sys.stderr)
        return 2
    try:
        entries = distinct(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
        (Path(sys.argv[2]) / "compile_commands.json").write_text(json.dumps(entries), encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        print(f"tidy_commands: {sys.argv[1]}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
