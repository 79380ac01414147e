"""Line coverage of a folder from what the tests of a coverage build left (gcov's counters).

    coverage.py BUILD FOLDER [--at-least PERCENT] [--lines]

Prints each file's percentage, the least covered first, and the whole; --lines also which lines never ran.
What several programs were built from counts once: a line ran if any of them ran it. Tests (*_test.c) do not
count. Exit status: 0, 1 when the whole lies below PERCENT, 2 when there are no counters.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

Lines = dict[int, int]  # how often a line ran


def gcov(counters: list[Path], folder: Path) -> dict[Path, Lines]:
    """The lines of the folder's files in all the counters."""
    ran: dict[Path, Lines] = defaultdict(dict)
    done = subprocess.run(
        ["gcov", "--stdout", "--json-format", *map(str, counters)],
        capture_output=True,
        text=True,
        check=False,
    )
    for report in done.stdout.splitlines():
        if not report.startswith("{"):
            continue
        facts = json.loads(report)
        for file in facts["files"]:
            path = (Path(facts["current_working_directory"]) / file["file"]).resolve()
            if not path.is_relative_to(folder) or path.stem.endswith("_test"):
                continue
            for line in file["lines"]:
                number = int(line["line_number"])
                ran[path][number] = ran[path].get(number, 0) + int(line["count"])
    return ran


def percent(lines: Lines) -> float:
    return 100 * sum(1 for count in lines.values() if count) / len(lines)


def ranges(numbers: list[int]) -> str:
    """1 2 3 7 as "1-3 7"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at-least", type=float, default=0, metavar="PERCENT")
    parser.add_argument("--lines", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    counters = sorted(path.resolve() for path in arguments.build.rglob("*.gcda"))
    ran = {path: lines for path, lines in gcov(counters, folder).items() if lines} if counters else {}
    if not ran:
        print(
            f"coverage.py: no counters of {arguments.folder} under {arguments.build}; build the preset "
            "coverage and run its tests first",
            file=sys.stderr,
        )
        return 2
    for path, lines in sorted(ran.items(), key=lambda item: (percent(item[1]), item[0])):
        covered = sum(1 for count in lines.values() if count)
        print(f"{percent(lines):6.1f} %  {covered:5} of {len(lines):5}  {path.relative_to(folder)}")
        missing = [number for number, count in sorted(lines.items()) if not count]
        if arguments.lines and missing:
            print(f"          never ran: {ranges(missing)}")
    total = sum(len(lines) for lines in ran.values())
    covered = sum(1 for lines in ran.values() for count in lines.values() if count)
    whole = 100 * covered / total
    print(f"{whole:6.1f} %  {covered:5} of {total:5}  {arguments.folder}")
    if whole < arguments.at_least:
        print(f"coverage.py: {whole:.1f} % lies below {arguments.at_least:g} %", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
