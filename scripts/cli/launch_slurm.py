"""heaparena run on a cluster: every block of a row is one unit of a job array, so that all allocators of a
block are measured on one node and ratios stay within it; the results of one kind of node make one file."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict
from typing import Any, Iterator

from cli import build, machine
from cli.errors import UserError
from cli.launch_array import Array, read_json
from cli.plan import Row, Sample
from cli.profiles import PassPlan
from cli.session import Session, Watcher
from cli.slurm import Slurm
from results import store
from results.metrics import TIME

Json = dict[str, Any]


class SlurmLauncher:
    here = False

    def __init__(self, slurm: Slurm, nodes: int | None) -> None:
        self.slurm, self.nodes = slurm, nodes

    def cpus(self) -> int | None:
        return self.slurm.least_cpus()

    def run(self, session: Session, watcher: Watcher, resumed: bool) -> None:
        Merger(session, watcher, Array(self.slurm, session.out, self.nodes)).run(resumed)


class Merger:
    """Hands out the blocks that a session lacks, and puts what comes back into its results."""

    def __init__(self, session: Session, watcher: Watcher, array: Array) -> None:
        self.session, self.watcher, self.array = session, watcher, array
        self.plan, self.steering = session.plan, session.steering
        self.rows = {row.name: row for row in self.plan.rows}
        self.passes = {pass_.name: pass_ for pass_ in self.plan.passes()}
        self.entries = {entry.name: entry for entry in self.plan.allocators}
        worker = build.program("heaparena-worker")
        images = {str(worker): machine.facts()["worker_build_id"]}
        images |= {entry.library: entry.build_id for entry in self.plan.allocators if entry.library}
        self.libraries = {path: number for path, number in images.items() if number}

    def run(self, resumed: bool) -> None:
        if resumed:
            self._same_launcher()
        else:
            self.array.begin_anew()
        with self.session.conducted(here=False):
            try:
                if resumed:
                    self.array.attach(self._collect, self._tell)
                while works := list(self._missing()):
                    have = len(self.session.results["benchmarks"])
                    self.array.run(works, self._collect, self._tell)
                    for work, why in self.array.outcome.given_up:
                        self._give_up(work, why)
                    self.array.outcome.given_up.clear()
                    if len(self.session.results["benchmarks"]) == have:
                        raise UserError(
                            f"{self.array.folder}: the tasks' results are of another plan; use another --out"
                        )
            except KeyboardInterrupt:
                self._left_running()
                raise
            finally:
                self._note()

    def _same_launcher(self) -> None:
        """Samples of this machine and of the cluster's nodes must not meet in one file."""
        if self.session.results["benchmarks"] and not (self.array.folder / "kind.json").exists():
            raise UserError(
                f"--resume: {self.session.path} was measured without --launcher slurm; use another --out"
            )

    # ---- what to do ----

    def _missing(self) -> Iterator[Json]:
        """A unit for every block of a row that lacks a sample; with --precision, as many more blocks as the
        profile begins with for each row that is not precise enough."""
        time = self.plan.time
        if self.plan.timed:
            for row in self.plan.rows:
                begun = 0
                while begun < time.repetitions and not self._lacking(row, begun, time):
                    begun += 1
                if begun < self.plan.repetitions or self.steering.is_open(row, begun):
                    last = min(time.repetitions, max(begun + 1, self._round(begun)))
                    yield from self._units(row, range(begun, last), time)
        for pass_ in self.plan.further:
            for row in self.plan.rows_of(pass_):
                yield from self._units(row, range(pass_.repetitions), pass_)

    def _round(self, begun: int) -> int:
        return self.plan.repetitions if begun < self.plan.repetitions else begun + self.plan.repetitions

    def _units(self, row: Row, blocks: range, pass_: PassPlan) -> Iterator[Json]:
        for block in blocks:
            lacking = self._lacking(row, block, pass_)
            if lacking:
                yield {
                    "do": "measure",
                    "name": f"{row.name}, block {block + 1}"
                    + ("" if pass_.name == TIME else f", pass {pass_.name}"),
                    "row": row.name,
                    "block": block,
                    "pass": pass_.name,
                    "same_kind": True,
                    "libraries": self.libraries,
                    "jobs": {sample.allocator.name: self._job(sample) for sample in lacking},
                }

    def _lacking(self, row: Row, block: int, pass_: PassPlan) -> list[Sample]:
        samples = (Sample(row, entry, block, 0, pass_) for entry in self.plan.allocators)
        return [
            sample
            for sample in samples
            if (self.steering.cell(row, sample.allocator, pass_), block) not in self.steering.done
        ]

    def _job(self, sample: Sample) -> Json:
        """The fields of its worker.Job, as they come back from a file."""
        fields = asdict(self.session.job(sample))
        fields.pop("cpus")  # the node's
        as_written: Json = json.loads(json.dumps(fields))
        return as_written

    # ---- what came of it ----

    def _collect(self, work: Json, result: Json) -> None:
        """Takes a unit's samples over. One that is no longer planned, or there already, is left."""
        row, pass_ = self.rows.get(work["row"]), self.passes.get(work["pass"])
        if row is None or pass_ is None:
            return
        for one in result.get("samples", ()):
            entry = self.entries.get(one["allocator"])
            if entry is None or work["jobs"].get(entry.name) != self._job(
                Sample(row, entry, work["block"], 0, pass_)
            ):
                continue
            sample = Sample(row, entry, work["block"], one["position"], pass_)
            if (self.steering.cell(row, entry, pass_), sample.block) in self.steering.done:
                continue
            one["raw"]["node"] = result["node"]
            self.session.record(sample, one["started"], one["raw"], self.watcher)

    def _give_up(self, work: Json, why: str) -> None:
        """A unit whose task was lost twice: its samples are failed ones."""
        row, pass_ = self.rows[work["row"]], self.passes[work["pass"]]
        for position, name in enumerate(work["jobs"]):
            sample = Sample(row, self.entries[name], work["block"], position, pass_)
            raw = {"error_occurred": True, "error_message": f"its task was lost twice: {why}"}
            self.session.record(sample, "", raw, self.watcher)

    def _tell(self, words: str) -> None:
        self.watcher.block_done(words, self.steering)

    def _units_by_node(self) -> dict[str, int]:
        """How many blocks of rows each node measured."""
        units = {
            (entry["node"], store.row_of(entry), entry["block"], entry.get("pass", TIME))
            for entry in self.session.results["benchmarks"]
            if "node" in entry
        }
        return dict(sorted(Counter(unit[0] for unit in units).items()))

    def _left_running(self) -> None:
        jobs = [job for job in self.array.job_numbers() if self.array.slurm.unfinished(job)]
        if jobs:
            numbers = " ".join(jobs)
            self.session.warn(
                f"stopped while Slurm still had work of this run (job {numbers})",
                f"--resume takes over what it does meanwhile; `scancel {numbers}` ends it",
            )

    def _note(self) -> None:
        """Puts the nodes' facts in the place of this machine's, and says what did not go as planned."""
        ours, outcome = self.session.ours, self.array.outcome
        nodes = {
            path.stem.removeprefix("node-"): data
            for path in sorted(self.array.folder.glob("node-*.json"))
            if (data := read_json(path))
        }
        measured = {entry.get("node") for entry in self.session.results["benchmarks"]} & nodes.keys()
        before = machine.warnings(ours["machine"], self.session.before, os.environ)
        ours["warnings"] = [one for one in ours["warnings"] if one not in before]
        for name in sorted(measured):
            ours["machine"] = nodes[min(measured)]["facts"]
            ours["warnings"] += [one for one in nodes[name]["warnings"] if one not in ours["warnings"]]
        self.session.results["context"]["host_name"] = ", ".join(sorted(measured)) or "no node"
        ours["launcher"] = {
            "name": "slurm",
            "partition": self.array.slurm.partition,
            "jobs": self.array.job_numbers(),
            "nodes": {name: nodes[name]["facts"] for name in sorted(measured)},
            "units": self._units_by_node(),
            "retried": outcome.retried,
            "refused_nodes": outcome.refused,
        }
        if outcome.retried:
            self.session.warn(
                f"{len(outcome.retried)} of the cluster's tasks were lost and done again once: "
                + "; ".join(outcome.retried),
                "look at the nodes and the logs in " + str(self.array.folder),
            )
        for node, why in outcome.refused.items():
            self.session.warn(
                f"node {node} took no part: {why}",
                "measure it in a run of its own (--sbatch=--nodelist=...), or choose alike nodes by "
                "--sbatch=--constraint=...",
            )
