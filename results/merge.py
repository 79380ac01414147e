"""Joins result files into one: the samples of all of them, each file's blocks kept together."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Sequence

from results import compare
from results.analysis import Analysis
from results.store import BadResults, Json

IDENTITY = ("spec", "build_id", "env", "control_of")


def merge(files: Sequence[tuple[str, Json]], force: bool) -> tuple[Json, list[str]]:
    """The joined file, and remarks. Files of other machines, parameters or builds are refused; with `force`
    the builds are kept apart under names of their own."""
    name, first = files[0]
    merged = copy.deepcopy(first)
    remarks: list[str] = []
    for other_name, other in files[1:]:
        different = [*compare.differences(Analysis(merged), Analysis(other)), *_other_builds(merged, other)]
        if different and not force:
            raise BadResults(
                f"merge: {name} and {other_name} differ in {'; '.join(different)}; "
                "measure both alike, or join them all the same with --force"
            )
        remarks += [f"joined in spite of: {words}" for words in different]
        remarks += _add(merged, copy.deepcopy(other), _label(other_name))
    ours = merged["context"]["heaparena"]
    ours["merged_from"] = [name for name, _ in files]
    return merged, remarks


def _label(name: str) -> str:
    """A word for a file: its folder."""
    path = Path(name)
    return (path.parent if path.suffix == ".json" else path).resolve().name


def _other_builds(merged: Json, other: Json) -> list[str]:
    mine, theirs = (data["context"]["heaparena"]["allocators"] for data in (merged, other))
    found = []
    for name in mine.keys() & theirs.keys():
        keys = [key for key in IDENTITY if mine[name][key] != theirs[name][key]]
        if keys:
            found.append(f"{' and '.join(keys)} of allocator {name}")
    return sorted(found)


def _add(merged: Json, other: Json, label: str) -> list[str]:
    """Takes the other file's samples over, in blocks of their own; one that is there already counts once."""
    ours, theirs = merged["context"]["heaparena"], other["context"]["heaparena"]
    names = _renamed(ours["allocators"], theirs["allocators"], label)
    seen = {_sample(entry) for entry in merged["benchmarks"]}
    block = 1 + max((entry["block"] for entry in merged["benchmarks"]), default=-1)
    session = ours.get("sessions", 1)
    added = [entry for entry in other["benchmarks"] if _sample(entry) not in seen]
    for entry in added:
        new = names[entry["allocator"]]
        for key in ("name", "run_name"):
            entry[key] = _with_name(entry[key], entry["allocator"], new)
        entry.update(allocator=new, block=entry["block"] + block, repetition_index=entry["block"] + block)
        entry["session"] = entry.get("session", 1) + session
    merged["benchmarks"] += added
    for name, facts in theirs["allocators"].items():
        if facts["control_of"]:
            facts["control_of"] = names[facts["control_of"]]
        ours["allocators"].setdefault(names[name], facts)
    for name, facts in theirs["workloads"].items():
        ours["workloads"].setdefault(name, facts)
    ours["repetitions"] += theirs["repetitions"]
    ours["sessions"] = session + theirs.get("sessions", 1)
    ours["partial"] = ours["partial"] or theirs["partial"]
    ours["warnings"] += [one for one in theirs["warnings"] if one not in ours["warnings"]]
    dropped = len(other["benchmarks"]) - len(added)
    return [f"{label}: {dropped} samples were there already"] if dropped else []


def _renamed(mine: Json, theirs: Json, label: str) -> dict[str, str]:
    """Their allocators' names in the joined file: another build under the same name gets the label added."""
    names = {}
    for name, facts in theirs.items():
        same = name not in mine or all(mine[name][key] == facts[key] for key in IDENTITY)
        names[name] = name if same else f"{name}@{label}"
    return names


def _with_name(text: str, old: str, new: str) -> str:
    """ROW/OLD[/pass:P] with another allocator's name."""
    head, tail, rest = text.rpartition("/" + old)
    return f"{head}/{new}{rest}" if tail else text


def _sample(entry: Json) -> tuple[Any, ...]:
    """What tells a sample from all others: its name and the moment it was started."""
    return entry["run_name"], entry["block"], entry.get("started"), entry["real_time"]
