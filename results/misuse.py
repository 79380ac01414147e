"""Heap bugs: what each did under each allocator: misuse.json, its tables, and a section of the report.

misuse.schema.json defines the file; `heaparena misuse` writes it.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Mapping, Sequence

import jsonschema

from results import misuse_expected
from results.analysis import Analysis
from results.section import Section, Table
from results.store import BadResults
from results.templating import TEMPLATES, environment

Json = Mapping[str, Any]

ID = "misuse"
SCHEMA_PATH = Path(__file__).with_name("misuse.schema.json")
TITLE = "Heap bugs"
Z = 1.959964  # of a 95 % interval
BAD = "silent corruption"

# Frees that an allocator can always tell from correct ones.
FREES = (
    "double-free",
    "double-free-between",
    "double-free-late",
    "invalid-free",
    "misaligned-free",
    "interior-free",
    "interior-free-forged",
    "stack-free",
    "stack-free-forged",
    "static-free",
    "mapped-free",
)

# From the best to the worst for who made the mistake.
VERDICTS = {
    "detected": "the allocator ended the program before the wrong operation returned",
    "faulted": "it crashed or hung there",
    "neutralised": "shown to have had no effect: it was refused or reported and ignored, it stayed within "
    "the block, or the block came back to one owner at a time",
    "late": "the program ended or hung in the checked operations that followed",
    "silent": "nothing was seen, and no harm proven",
    BAD: "proven, by live blocks that overlap or a live block whose bytes changed; where the wrong operation "
    "is a write past a block, it is the neighbour that it hit",
}

NOTE = (
    "Each figure is the share of trials, each a process of its own with another heap. "
    + " ".join(f"{name}: {meaning}." for name, meaning in VERDICTS.items())
    + " A free after the block was handed out again (double-free-reused) is a correct call to every "
    "allocator: what stands there is what became of its new owner."
)


def wilson(count: int, trials: int) -> tuple[float, float]:
    """A 95 % interval of a share (Wilson's score)."""
    if trials == 0:
        return 0.0, 1.0
    share = count / trials
    middle = share + Z * Z / (2 * trials)
    half = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    scale = 1 + Z * Z / trials
    low = 0.0 if count == 0 else (middle - half) / scale
    high = 1.0 if count == trials else (middle + half) / scale
    return low, high


@functools.lru_cache(maxsize=1)
def _validator() -> Any:
    return jsonschema.Draft7Validator(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


def validate(data: Any, name: str) -> Json:
    """`data` if it is the content of a misuse.json; BadResults with the first fault."""
    fault = jsonschema.exceptions.best_match(_validator().iter_errors(data))
    if fault is not None:
        where = ".".join(map(str, fault.absolute_path)) or "the file"
        raise BadResults(f"{name}: {where}: {fault.message[:200]}")
    found: Json = data
    return found


def sums(cells: Sequence[Json], **wanted: Any) -> Counter[str]:
    """Verdicts of the cells that have these values."""
    found: Counter[str] = Counter()
    for cell in cells:
        if all(cell[key] == value for key, value in wanted.items()):
            found.update({name: one["count"] for name, one in cell["verdicts"].items()})
    return found


def shares(counts: Counter[str]) -> str:
    """Verdicts with their shares, the most common first; "-" if nothing could be tried."""
    tried = Counter({name: count for name, count in counts.items() if name != "skipped"})
    whole = sum(tried.values())
    if not whole:
        return "-"
    return ", ".join(f"{name} {_percent(count, whole)}" for name, count in tried.most_common())


def _percent(count: int, whole: int) -> str:
    """Rounded, but never to 0 or 100 when it is neither."""
    percent = round(100 * count / whole)
    if percent == 100 and count < whole:
        percent = 99
    return f"{max(percent, 1)} %"


def _interval(counts: Counter[str]) -> str:
    """The share of silent corruption with its interval."""
    whole = sum(counts.values()) - counts["skipped"]
    if not whole:
        return "-"
    low, high = wilson(counts[BAD], whole)
    return f"{100 * counts[BAD] / whole:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def _names(data: Json) -> list[str]:
    return [entry["name"] for entry in data["allocators"]]


def _cases(data: Json) -> list[str]:
    there = {cell["case"] for cell in data["cells"]}
    return [case["name"] for case in data["cases"] if case["name"] in there]


def matrix(data: Json) -> Table:
    names = _names(data)
    by_name = {name: [cell for cell in data["cells"] if cell["allocator"] == name] for name in names}
    lines = [[case, *(shares(sums(by_name[name], case=case)) for name in names)] for case in _cases(data)]
    return Table("All sizes, both threads", ["misuse", *names], lines)


def totals(data: Json) -> Table:
    """How often each verdict was given, over all cases."""
    lines = []
    for name in _names(data):
        counts = sums(data["cells"], allocator=name)
        cells = sum(
            any(verdict != "skipped" for verdict in cell["verdicts"])
            for cell in data["cells"]
            if cell["allocator"] == name
        )
        lines.append([name, f"{cells:,}", *(f"{counts[verdict]:,}" for verdict in VERDICTS)])
    return Table("Trials by verdict", ["allocator", "cells", *VERDICTS], lines)


@dataclass(frozen=True)
class Glance:
    """One case under one allocator, as a bar: (verdict, its share in percent)."""

    parts: Sequence[tuple[str, float]]
    word: str  # the share of silent corruption, or else the most common verdict


def glance(data: Json) -> list[tuple[str, list[Glance]]]:
    """The matrix as the page draws it: case, then an entry for each allocator."""
    lines = []
    for case in _cases(data):
        line = []
        for name in _names(data):
            counts = sums(data["cells"], case=case, allocator=name)
            whole = sum(counts[verdict] for verdict in VERDICTS)
            parts = [
                (verdict, 100 * counts[verdict] / whole) for verdict in VERDICTS if whole and counts[verdict]
            ]
            said = BAD if counts[BAD] else max(VERDICTS, key=lambda verdict: counts[verdict])
            word = f"{said} {_percent(counts[said], whole)}" if whole else "cannot be tried"
            line.append(Glance(parts, word))
        lines.append((case, line))
    return lines


def corruption(data: Json) -> Table:
    names = _names(data)
    lines = [
        [case, *(_interval(sums(data["cells"], case=case, allocator=name)) for name in names)]
        for case in _cases(data)
    ]
    return Table("Share of silent corruption, with its 95 % interval", ["misuse", *names], lines)


def differences(data: Json) -> Table:
    lines, _ = misuse_expected.compare(data["cells"])
    explained = [
        (*line, misuse_expected.EXPLAINED.get((line[0], line[1]), "not looked into")) for line in lines
    ]
    return Table(
        "Not as sources and documents let one expect",
        ("misuse", "allocator", "expected", "seen", "why"),
        explained or [("none", "", "", "", "")],
    )


def messages(data: Json) -> Table:
    """What each allocator said first, case by case."""
    lines = []
    for name in _names(data):
        for case in _cases(data):
            for cell in data["cells"]:
                one = cell["verdicts"].get("detected") or cell["verdicts"].get("late")
                if cell["allocator"] == name and cell["case"] == case and one and one["example"]:
                    lines.append((name, case, one["example"]))
                    break
    return Table("What they said", ("allocator", "misuse", "message"), lines or [("none", "", "")])


def details(data: Json) -> Table:
    """Cell by cell."""
    names = _names(data)
    keys = list(dict.fromkeys((cell["case"], cell["size"], cell["by"]) for cell in data["cells"]))
    by_key = {(cell["case"], cell["size"], cell["by"], cell["allocator"]): [cell] for cell in data["cells"]}
    lines = [
        [
            f"{case}, {size:,} B, by {by}",
            *(shares(sums(by_key.get((case, size, by, name), []))) for name in names),
        ]
        for case, size, by in keys
    ]
    return Table("Cell by cell", ["misuse, size, thread", *names], lines)


def findings(data: Json) -> Table:
    lines = [
        (
            f"{one['allocator']}: {one['misuse']}",
            one["finding"],
            f"{len(one['operations'])}",
            f"{one['confirmed']} of {one['runs']}",
        )
        for one in data["findings"]
    ]
    return Table("Found by search", ("allocator, misuse", "leads to", "operations", "confirmed"), lines)


def lead(data: Json) -> str:
    """Who detected every wrong free, and who never let corruption pass."""
    if not data["cells"]:
        return ""
    said = []
    whole = [name for name in _names(data) if not missed(data, name) and _tried_frees(data, name)]
    if whole:
        complete = set(FREES) <= set(_cases(data))
        frees = "double, invalid, misaligned, interior and foreign free" if complete else "wrong free tried"
        said.append(f"Every {frees} was detected by {', '.join(whole)}.")
    corrupted = {name: sums(data["cells"], allocator=name)[BAD] for name in _names(data)}
    total = {
        name: sum(counts.values()) - counts["skipped"]
        for name in _names(data)
        if (counts := sums(data["cells"], allocator=name))
    }
    said.append(
        "Silent corruption was proven in "
        + ", ".join(f"{corrupted[name]:,} of {total[name]:,} trials of {name}" for name in total)
        + "."
    )
    different, compared = misuse_expected.compare(data["cells"])
    if compared:
        said.append(f"Of {compared} expectations {len(different)} were not met as written.")
    return " ".join(said)


def _tried_frees(data: Json, name: str) -> bool:
    return any(cell["allocator"] == name and cell["case"] in FREES for cell in data["cells"])


def missed(data: Json, name: str) -> list[str]:
    """Cells of wrong frees that the allocator did not detect in every trial, in words."""
    return [
        f"{cell['case']}, {cell['size']:,} B, by {cell['by']}: {shares(sums([cell]))}"
        for cell in data["cells"]
        if cell["allocator"] == name
        and cell["case"] in FREES
        and cell["verdicts"].get("detected", {"count": 0})["count"] < cell["trials"]
    ]


def make_section(data: Json, whole: bool) -> Section:
    """`whole`: with every cell, for the page of its own."""
    tables = []
    if data["cells"]:
        tables += [totals(data), matrix(data), differences(data), messages(data)]
        if whole:
            tables += [corruption(data), details(data)]
    if data["findings"]:
        tables.append(findings(data))
    return Section(ID, TITLE, tables, lead=lead(data), note=NOTE if data["cells"] else "")


def section(analysis: Analysis) -> Section | None:
    data = analysis.ours.get("extra", {}).get(ID)
    return make_section(validate(data, f"extra.{ID}"), whole=False) if data else None


def page(data: Json) -> str:
    """misuse.html."""
    return (
        environment()
        .get_template("misuse.html.j2")
        .render(
            section=replace(make_section(data, whole=True), title="In figures", lead=""),
            lead=lead(data),
            data=data,
            sources=misuse_expected.SOURCES,
            verdicts=VERDICTS,
            glance=glance(data),
            style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        )
    )


def markdown(data: Json) -> str:
    text = make_section(data, whole=True).as_markdown()
    for one in data["findings"]:
        text += f"\n### {one['allocator']}: {one['misuse']} leads to {one['finding']}\n"
        text += f"\n```c\n{one['program']}```\n"
    return text
