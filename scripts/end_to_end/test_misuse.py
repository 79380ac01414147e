"""heaparena misuse from the outside: gomalloc detects every wrong free, an allocator that believes everything
is shown to corrupt its heap, the search finds why, and with detection switched off the verdict is another."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import BUILD, ROOT, Command, load, refused

sys.path[0:0] = [str(ROOT), str(ROOT / "scripts")]

from cli import misuse_program  # noqa: E402  (the path above must come first)

NAIVE = f"naive={BUILD}/lib/libheaparena-naive-fixture.so"
FREES = (
    *("double-free", "double-free-between", "double-free-late", "invalid-free", "misaligned-free"),
    *(
        "interior-free",
        "interior-free-forged",
        "stack-free",
        "stack-free-forged",
        "static-free",
        "mapped-free",
    ),
)

pytestmark = pytest.mark.skipif(
    not (BUILD / "bin" / "heaparena-misuse").exists(), reason="a build without heaparena-misuse"
)


def cells(data: Any, **wanted: object) -> list[Any]:
    return [cell for cell in data["cells"] if all(cell[key] == value for key, value in wanted.items())]


def test_gomalloc_detects_and_naive_corrupts(heaparena: Command, tmp_path: Path) -> None:
    words = ("--sizes", "8,64,64KiB,1MiB", "--trials", "4", "-o", tmp_path)
    done = heaparena("misuse", "--allocators", f"gomalloc,{NAIVE}", *words, "--expect-detected", "gomalloc")
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "misuse.json").read_text())
    for case in FREES:
        assert cells(data, allocator="gomalloc", case=case), case
    for cell in cells(data, allocator="gomalloc"):
        assert "error" not in cell["verdicts"], cell
        if cell["case"] in FREES:
            assert cell["verdicts"]["detected"]["count"] == cell["trials"] == 4
            assert cell["verdicts"]["detected"]["example"].startswith("gomalloc: "), cell
    for case in ("double-free", "double-free-between", "interior-free", "realloc-freed"):
        for cell in cells(data, allocator="naive", case=case):
            assert cell["verdicts"]["silent corruption"]["count"] == 4, cell
    # C++'s operators: naive believes the size, gomalloc and what lies between it and the operators do not.
    for case in ("sized-delete-mismatch", "aligned-delete-mismatch", "aligned-delete-as-plain"):
        for cell in cells(data, allocator="gomalloc", case=case):
            assert set(cell["verdicts"]) <= {"neutralised", "silent"}, cell
    wrong = cells(data, allocator="naive", case="sized-delete-mismatch", size=64)
    assert wrong and all("silent corruption" in cell["verdicts"] for cell in wrong), wrong
    # Padding behind a block takes a write; the same write a block further does not.
    small = cells(data, allocator="naive", case="overflow-64", size=8)
    assert all(cell["verdicts"].get("silent corruption") for cell in small)
    page = (tmp_path / "misuse.html").read_text()
    assert "silent corruption" in page and "double free of" in page and "double-free-late" in page
    assert (
        "Every double, invalid, misaligned, interior and foreign free was detected by gomalloc."
        in done.stdout
    )


def test_what_was_not_detected_fails(heaparena: Command) -> None:
    words = ("misuse", "--cases", "double-free,stack-free", "--sizes", "64", "--trials", "3")
    done = heaparena(*words, "--allocators", NAIVE, "--expect-detected", "naive")
    assert done.returncode == 1
    assert "naive: not detected: double-free, 64 B, by owner: silent corruption 100 %" in done.stderr
    off = ("--allocators", "gomalloc", "--env", "gomalloc:GOMALLOC_ON_ERROR=report", "--json")
    done = heaparena(*words, *off, "--expect-detected", "gomalloc")
    assert done.returncode == 1
    for cell in json.loads(done.stdout)["cells"]:
        assert list(cell["verdicts"]) == ["neutralised"], cell
        assert "reported and ignored" in cell["verdicts"]["neutralised"]["example"]


def test_a_new_thread_is_not_given_what_was_freed(heaparena: Command) -> None:
    # The C library allocates for it: unless it began before, the second free hits its record.
    words = ("--cases", "double-free", "--sizes", "1MiB", "--threads", "other", "--trials", "60")
    done = heaparena("misuse", "--allocators", "gomalloc", *words, "--expect-detected", "gomalloc")
    assert done.returncode == 0, done.stdout + done.stderr


def test_cases_are_listed_and_results_taken_into_a_report(heaparena: Command, tmp_path: Path) -> None:
    listed = heaparena("misuse", "--list-cases")
    assert listed.returncode == 0 and "\nclasses of --search: " in listed.stdout
    assert {line.split()[0] for line in listed.stdout.splitlines()[:-2]} >= set(FREES)
    results = tmp_path / "results.json"
    results.write_bytes((ROOT / "results" / "testdata" / "known.json").read_bytes())
    words = ("--cases", "double-free", "--sizes", "64", "--trials", "2", "--aftermath", "3")
    done = heaparena("misuse", "--allocators", "gomalloc", *words, "--into", results)
    assert done.returncode == 0, done.stderr
    taken = load(tmp_path)["context"]["heaparena"]["extra"]["misuse"]
    assert taken["aftermath"] == 3 and len(taken["cells"]) == 2
    assert heaparena("report", results, "--format", "html").returncode == 0
    assert "double-free" in (tmp_path / "report.html").read_text()


def test_search(heaparena: Command, tmp_path: Path) -> None:
    words = ("misuse", "--search", "--misuse", "double-free", "--seconds", "1", "--json")
    data = json.loads(heaparena(*words, "--allocators", f"gomalloc,{NAIVE}").stdout)
    assert {one["allocator"]: one["hits"] > 0 for one in data["searches"]} == {
        "gomalloc": False,
        "naive": True,
    }
    found = next(one for one in data["findings"] if one["finding"] == "overlap")
    assert found["allocator"] == "naive" and found["confirmed"] == found["runs"] == 3
    # malloc, free, free, malloc, malloc: nothing can be left out.
    assert [one["op"] for one in found["operations"]] == [
        "allocate",
        "free",
        "misuse",
        "allocate",
        "allocate",
    ]
    assert len(re.findall(r"\bfree\(", found["program"])) == 2
    # The same program under the C library's malloc shows no overlap: it is the allocator that it proves.
    source = tmp_path / "found.c"
    source.write_text(found["program"])
    program = tmp_path / "found"
    subprocess.run(["cc", "-O0", "-fno-builtin", "-w", "-o", str(program), str(source)], check=True)
    assert subprocess.run([str(program)], capture_output=True).returncode == -6


def test_bad_input(heaparena: Command) -> None:
    refused(heaparena("misuse", "--cases", "double-fee"), "double-free")
    refused(heaparena("misuse", "--sizes", "2MiB"), "2MiB", "1MiB")
    refused(heaparena("misuse", "--threads", "third"), "other")
    refused(heaparena("misuse", "--allocators", "null"), "misused")
    refused(heaparena("misuse", "--out", "/dev/null"), "is a file; give a folder")
    refused(heaparena("misuse", "--misuse", "double-free"), "--search")
    refused(
        heaparena("misuse", "--allocators", "gomalloc", "--expect-detected", "system", "--trials", "1"),
        "gomalloc",
    )


def test_nothing_can_be_left_out_of_what_is_found(heaparena: Command) -> None:
    words = ("misuse", "--search", "--misuse", "overflow", "--seconds", "3", "--seed", "2", "--json")
    found = json.loads(heaparena(*words, "--allocators", NAIVE).stdout)["findings"][0]
    library = NAIVE.partition("=")[2]
    environment = dict(os.environ)
    assert misuse_program.confirm(found["program"], library, environment) == misuse_program.RUNS
    operations = found["operations"]
    tried = 0
    for left_out in range(len(operations)):
        kept = [one for number, one in enumerate(operations) if number != left_out]
        rest = {**found, "operations": kept}
        try:
            program = misuse_program.source(rest, "naive", "1", library)
            shown = misuse_program.confirm(program, library, environment)
        except (KeyError, RuntimeError):  # a block that is used later
            continue
        tried += 1
        assert shown == 0, operations[left_out]
    assert tried >= 3
