"""Faults of gomalloc proper: reads a table of small changes to core/ and writes the changed copies.

mutate.py list TABLE                      one line each, for CMake: name|what|target|oracle|within|files|with
mutate.py write TABLE NAME ROOT FOLDER    ROOT's files as that mutant wants them, to FOLDER/core/...

Where an old text is not found exactly once, the code has moved on, and the mutant has to be written anew for
it: the copy is one whose program says so in one line and fails its test. (The build goes on: it is not broken
for all who change core/.) The format of the tables is told in README.md, "Add".
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

WORDS = ("what", "target", "oracle", "within")


@dataclass
class Change:
    file: str
    line: int  # of the table, where its old text begins
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


@dataclass
class Mutant:
    name: str
    words: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    compiled_with: list[str] = field(default_factory=list)  # sources that see a changed header

    def files(self) -> list[str]:
        return list(dict.fromkeys(change.file for change in self.changes))


def fail(message: str) -> NoReturn:
    print(f"mutate.py: {message}", file=sys.stderr)
    raise SystemExit(1)


def read_line(mutant: Mutant, file: str, text: str, where: str, line: int) -> str:
    """Takes one line of a mutant's entry; returns the file that the next changes are for."""
    word, _, rest = text.partition(" ")
    changes = mutant.changes
    if word == "file":
        return rest.strip()
    if word == "with":
        mutant.compiled_with += rest.split()
    elif word == "-" and file:
        last = changes[-1] if changes else None
        if last is None or last.new or last.file != file or last.line + len(last.old) != line:
            changes.append(Change(file, line))
        changes[-1].old.append(rest)
    elif word == "+" and changes and changes[-1].file == file:
        changes[-1].new.append(rest)
    elif word in WORDS:
        mutant.words[word] = rest.strip()
    else:
        fail(f'{where}: "{text}" is none of: {", ".join(WORDS)}, file, with, "- old text", "+ new text"')
    return file


def check(mutant: Mutant, where: str) -> None:
    missing = [word for word in WORDS if not mutant.words.get(word)]
    if missing or not (mutant.changes or mutant.words["oracle"] == "none"):
        fail(f"{where}: mutant {mutant.name} lacks {', '.join(missing) or 'a change'}")
    if not mutant.words["within"].isdigit():
        fail(f"{where}: mutant {mutant.name}: within \"{mutant.words['within']}\" is no number of executions")


def read_table(path: Path) -> list[Mutant]:
    mutants: list[Mutant] = []
    file = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        is_code = line.startswith(("  - ", "  + "))
        text = line[2:] if is_code else line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        if line.startswith("mutant "):
            mutants.append(Mutant(text.split()[1]))
            file = ""
        elif mutants:
            file = read_line(mutants[-1], file, text, f"{path}:{number}", number)
        else:
            fail(f'{path}:{number}: begin with "mutant NAME"')
    for mutant in mutants:
        check(mutant, str(path))
    if len({mutant.name for mutant in mutants}) != len(mutants):
        fail(f"{path}: two mutants have one name")
    return mutants


STALE = """
#include <unistd.h>
__attribute__((constructor)) static void stale_mutant(void) {
  static const char why[] = "%s\\n";
  (void)!write(2, why, sizeof why - 1);
  _exit(1);
}
"""


def changed(text: str, change: Change, mutant: Mutant, table: Path) -> str:
    old, new = "\n".join(change.old), "\n".join(change.new)
    if text.count(old) == 1:
        return text.replace(old, new)
    found = text.count(old)
    why = (
        f"{table.name}:{change.line}: mutant {mutant.name}: its old text is in {change.file} {found} times, "
        "not once; write the mutant anew for the code as it is now"
    )
    print(f"mutate.py: {why}", file=sys.stderr)
    return text + STALE % why


def write(table: Path, name: str, root: Path, folder: Path) -> None:
    mutant = next((one for one in read_table(table) if one.name == name), None)
    if mutant is None:
        fail(f"{table}: no mutant is called {name}")
    for left in (folder / "core").glob("*.[ch]"):  # of an earlier form of it: includes would find them first
        left.unlink()
    for file in mutant.files():
        text = (root / file).read_text()
        for change in mutant.changes:
            if change.file == file:
                text = changed(text, change, mutant, table)
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def main(arguments: list[str]) -> int:
    if len(arguments) == 2 and arguments[0] == "list":
        for mutant in read_table(Path(arguments[1])):
            files = ",".join(mutant.files())
            words = "|".join(mutant.words[word] for word in WORDS)
            print(f"{mutant.name}|{words}|{files}|{','.join(mutant.compiled_with)}")
        return 0
    if len(arguments) == 5 and arguments[0] == "write":
        write(Path(arguments[1]), arguments[2], Path(arguments[3]), Path(arguments[4]))
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
