"""The table of planted faults, planted.md.

planted_table.py BUILD            exit status 1 when the table lacks a fault, names one that is gone, or says
                                  anything else of one than the code, and when some oracle has no fault at all
planted_table.py BUILD --write    runs every fault's test (ctest) and writes the table anew
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
sys.path.insert(0, str(FUZZ / "mutants"))
import mutate  # noqa: E402

PAGE = FUZZ / "planted.md"
HEAD = "| fault | what is wrong | target | oracle | within | seen |\n|---|---|---|---|---|---|\n"
TABLES = ("gomalloc.txt", "schedule.txt")
# Oracles whose faults are not in the table, and the test that plants them.
ELSEWHERE = {"differential": "planted_test.c"}


@dataclass
class Fault:
    name: str
    what: str
    target: str
    oracle: str
    within: str

    def row(self) -> list[str]:
        return [f"`{self.name}`", self.what, self.target, self.oracle, self.within]


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def all_faults(build: Path) -> tuple[list[Fault], list[str]]:
    """Every fault, and the names of all oracles."""
    faults: list[Fault] = []
    oracles: list[str] = []
    for line in run(str(build / "bin" / "fuzz_planted_test"), "list").splitlines():
        words = line.split("|")
        if words[0] == "oracles":
            oracles = words[1:]
        else:
            faults.append(Fault(words[0], words[1], words[2], words[3], words[4]))
    for table in TABLES:
        for mutant in mutate.read_table(FUZZ / "mutants" / table):
            what, target, oracle, within = (mutant.words[word] for word in mutate.WORDS)
            if oracle != "none":
                faults.append(Fault(mutant.name, what, target, oracle, within))
    return faults, oracles


def written_rows() -> dict[str, list[str]]:
    table = PAGE.read_text().partition(HEAD)[2]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: row for row in rows}


def write(faults: list[Fault], build: Path) -> int:
    said = run("ctest", "--test-dir", str(build), "-V", "-j", "2", "-R", "^fuzz_planted_test$|^fuzz_mutant_")
    lines = []
    for fault in faults:
        seen = re.search(rf"^\d+: {re.escape(fault.name)}: .*after (\d+) executions", said, re.M)
        if not seen:
            print(f"{fault.name}: no test says after how many executions it was killed", file=sys.stderr)
            return 1
        lines.append("| " + " | ".join([*fault.row(), seen.group(1)]) + " |\n")
    PAGE.write_text(PAGE.read_text().partition(HEAD)[0] + HEAD + "".join(lines))
    return 0


def check(faults: list[Fault], oracles: list[str]) -> int:
    wrong = []
    rows = written_rows()
    for fault in faults:
        row = rows.pop(f"`{fault.name}`", None)
        if row is None:
            wrong.append(f"{fault.name} is missing")
        elif row[:5] != fault.row():
            wrong.append(f"it says {row[:5]}, the code says {fault.row()}")
        elif not row[5].isdigit() or int(row[5]) > int(fault.within):
            wrong.append(f'{fault.name}: seen "{row[5]}", which is not within {fault.within}')
    wrong += [f"{name} is not a fault any more" for name in rows]
    named = {name for fault in faults for name in fault.oracle.split(",")} | set(ELSEWHERE)
    wrong += [f"no fault is planted for the oracle {name}" for name in oracles if name not in named]
    for line in wrong:
        print(f"fuzz/planted.md: {line}")
    if wrong:
        print("`python3 fuzz/planted_table.py BUILD --write` writes it anew")
    print(f"{len(faults)} faults, {len(oracles)} oracles")
    return 1 if wrong or not faults or not oracles else 0


def main(arguments: list[str]) -> int:
    if not arguments or arguments[1:] not in ([], ["--write"]):
        print(__doc__, file=sys.stderr)
        return 2
    build = Path(arguments[0])
    if not (build / "bin" / "fuzz_planted_test").exists():
        print(f"{build} is no build with the fuzzers; scripts/test makes build/release", file=sys.stderr)
        return 2
    faults, oracles = all_faults(build)
    return write(faults, build) if arguments[1:] else check(faults, oracles)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
