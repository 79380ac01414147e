"""launch_task.py FOLDER JOB TASK: what a task of a job array does on its node (launch_array.py starts it).

Does its units one after the other and writes each result as a whole. A unit's work says what to do:
  measure   samples of one block of one row: "jobs", fields of worker.Job; all on this node, in random order
  command   a program: "argv"; its exit status and the end of its output are the result
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a task is started by its path, not through the command
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[0] = str(ROOT)
    sys.path.insert(1, str(ROOT / "scripts"))

from cli import elf, machine, worker  # noqa: E402  (the path above must come first)
from results.compare import MACHINE_KEYS  # noqa: E402
from results.store import write_atomically  # noqa: E402

Json = dict[str, Any]

# The node is ours alone; the load that its kernel still shows is that of the task before.
NO_LOAD = {"load_avg": [0.0, 0.0, 0.0]}


def node_name() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def other_builds(libraries: dict[str, str]) -> str | None:
    """What differs on this node from the files with which the run was planned ({path: build id})."""
    for path, planned in libraries.items():
        here = elf.build_id(Path(path))
        if here is None:
            return f"{path} is not there"
        if here != planned:
            return f"{path} is another build"
    return None


def claim_kind(folder: Path, facts: Json) -> str | None:
    """The first node decides the kind of the whole run; says how this one differs from it, None if not."""
    path = folder / "kind.json"
    mine = {key: facts[key] for key in MACHINE_KEYS}
    draft = folder / f".kind-{node_name()}-{os.getpid()}"
    draft.write_text(json.dumps(mine), encoding="utf-8")
    try:
        os.link(draft, path)  # fails if another was first, on shared file systems too
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    first = json.loads(path.read_bytes())
    different = [f"{key} is {mine[key]}, not {first.get(key)}" for key in mine if mine[key] != first.get(key)]
    return f"another kind of node: {'; '.join(different)}" if different else None


def measure(work: Json) -> Json:
    chance = random.Random()
    jobs = list(work["jobs"].items())
    chance.shuffle(jobs)
    before, samples = machine.moment(), []
    for position, (allocator, fields) in enumerate(jobs):
        started = datetime.now().astimezone().isoformat(timespec="milliseconds")
        raw = worker.measure(worker.Job(**fields), chance)
        samples.append({"allocator": allocator, "position": position, "started": started, "raw": raw})
    return {"samples": samples, "before": before, "after": machine.moment()}


def command(work: Json) -> Json:
    ended = worker.run_program(work["argv"], os.environ, work.get("timeout"))
    return {"status": ended.status, "output": worker.last_lines(ended.output), "seconds": ended.seconds}


DO = {"measure": measure, "command": command}


def main() -> int:
    folder, job, task = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    numbers = json.loads((folder / f"{job}.json").read_bytes())["tasks"][task]
    facts, node = machine.facts(), node_name()
    write_atomically(
        folder / f"node-{node}.json",
        json.dumps({"facts": facts, "warnings": machine.warnings(facts, NO_LOAD, os.environ)}),
    )
    for number in numbers:
        work = json.loads((folder / f"unit-{number}.todo.json").read_bytes())["work"]
        result: Json = {"node": node, "job": os.environ.get("SLURM_ARRAY_JOB_ID"), "task": int(task)}
        refusal = None
        if work.get("same_kind"):
            refusal = other_builds(work["libraries"]) or claim_kind(folder, facts)
        result.update({"refused": refusal} if refusal else DO[work["do"]](work))
        write_atomically(folder / f"unit-{number}.json", json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
