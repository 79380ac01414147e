"""The runs stored under results/runs: one folder each. Their names, facts, cells, and their removal."""

from __future__ import annotations

import fcntl
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cli import launch_array
from cli.errors import UserError, unknown
from results import store
from results.metrics import TIME

Json = dict[str, Any]

# What `heaparena run` and `report` write. Prune removes nothing else.
OURS = re.compile(
    r"results(\.previous)?\.json|report\.(html|md|csv|json)|\.lock|\.(results|report)\.[a-z.]+[^/]*"
)


@dataclass(frozen=True)
class Run:
    path: Path
    size: int  # bytes of its result file
    changed: float
    fault: str | None  # why it cannot be read
    date: str = ""
    profile: str = ""
    allocators: int = 0
    workloads: int = 0
    samples: int = 0
    failed: int = 0
    partial: bool = False

    def as_json(self) -> Json:
        return {**asdict(self), "path": str(self.path)}


def stored(root: Path) -> list[Run]:
    """The runs in a folder, newest first."""
    if not root.is_dir():
        return []
    found = [_read(path) for path in root.iterdir() if (path / store.FILE_NAME).is_file()]
    return sorted(found, key=lambda run: (run.changed, run.path.name), reverse=True)


def _read(path: Path) -> Run:
    status = (path / store.FILE_NAME).stat()
    try:
        data = store.load(path)
    except store.BadResults as error:
        return Run(path, status.st_size, status.st_mtime, str(error))
    ours, entries = data["context"]["heaparena"], data["benchmarks"]
    return Run(
        path,
        status.st_size,
        status.st_mtime,
        None,
        data["context"]["date"][:16].replace("T", " "),
        ours["profile"],
        sum(not facts["control_of"] for facts in ours["allocators"].values()),
        len(ours["workloads"]),
        len(entries),
        sum(bool(entry.get("error_occurred")) for entry in entries),
        ours["partial"],
    )


def find(name: str, root: Path) -> Path:
    """The folder or file of a run: a path, its name under `root`, or the start of that name."""
    if Path(name).exists():
        return Path(name)
    names = sorted(run.path.name for run in stored(root))
    matching = [other for other in names if other.startswith(name)] if name else []
    if name in names or len(matching) == 1:
        return root / (name if name in names else matching[0])
    if matching:
        raise UserError(f"run '{name}' could be any of: {', '.join(matching)}; give more of the name")
    raise unknown("run", name, names)


def cells(data: Json) -> list[Json]:
    """Every cell with its content key and the number of its samples."""
    found: dict[str, Json] = {}
    for entry in data["benchmarks"]:
        cell = found.setdefault(
            entry["cell"],
            {
                "cell": entry["cell"],
                "row": store.row_of(entry),
                "allocator": entry["allocator"],
                "pass": entry.get("pass", TIME),
                "samples": 0,
                "failed": 0,
            },
        )
        cell["failed" if entry.get("error_occurred") else "samples"] += 1
    return list(found.values())


def remove(path: Path, dry: bool) -> str | None:
    """Removes a run's folder; says why it was kept, if it was."""
    with open(path / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return "kept: a run is writing there"
        state = path / launch_array.FOLDER
        ours = [file for file in path.iterdir() if OURS.fullmatch(file.name) and file.is_file()]
        if state.is_dir() and all(launch_array.STATE.fullmatch(file.name) for file in state.iterdir()):
            ours.append(state)
        foreign = [file.name for file in path.iterdir() if file not in ours]
        if foreign:
            return f"kept: it holds {foreign[0]}, which is not heaparena's"
        if not dry:
            shutil.rmtree(path)
    return None
