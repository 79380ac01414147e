"""The launcher's own rules, without a cluster: its nodes are played by this process. The real one is in
end_to_end/test_slurm.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from cli import launch_array, launch_task, machine, main, own_allocators
from cli.conftest import Run
from cli.errors import UserError
from cli.slurm import Slurm
from results import store

Json = dict[str, Any]
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"


class PlayedSlurm(Slurm):
    """Carries tasks out at once, each on the next node that is not excluded. `lose` says which tasks die."""

    nodes: list[str] = []
    kinds: dict[str, str] = {}
    lose: Callable[[int, int], bool] = staticmethod(lambda job, task: False)
    array_limit = 1000

    def check(self) -> None:
        self.jobs: list[dict[int, str]] = []

    def least_cpus(self) -> int:
        return 3

    def largest_array(self) -> int:
        return self.array_limit

    def submit(self, script: Path, tasks: int, at_once: int | None, log: Path, name: str) -> str:
        free = [node for node in self.nodes if node not in self.excluded]
        if not free:
            raise UserError("--launcher slurm: sbatch refuses: no node")
        job, facts = len(self.jobs) + 1, machine.facts()
        self.jobs.append({})
        for task in range(1, tasks + 1):
            node = free[task % len(free)]
            self.jobs[-1][task] = node
            if type(self).lose(job, task):
                continue
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SLURMD_NODENAME", node)
                patch.setattr(machine, "facts", lambda: {**facts, "cpu": self.kinds[node]})
                patch.setattr(sys, "argv", ["", str(script.parent), script.stem, str(task)])
                assert launch_task.main() == 0
        return str(job)

    def unfinished(self, job: str) -> dict[int, str]:
        return {}

    def ending(self, job: str, task: int) -> str:
        return "NODE_FAIL"


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, fake_build: Path) -> type[PlayedSlurm]:
    """`heaparena run --launcher slurm` in this process meets the played cluster."""
    monkeypatch.setenv("HEAPARENA_BUILD", str(fake_build))
    monkeypatch.setattr("cli.launch.Slurm", PlayedSlurm)
    monkeypatch.setattr("cli.launch_array.FIRST_POLL", 0.0)
    for name, value in (("nodes", ["a", "b"]), ("kinds", {"a": "X", "b": "X"}), ("array_limit", 1000)):
        monkeypatch.setattr(PlayedSlurm, name, value)
    monkeypatch.setattr(PlayedSlurm, "lose", staticmethod(lambda job, task: False))
    return PlayedSlurm


def run(out: Path, *words: str) -> int:
    return main.main(
        [
            "run",
            "--launcher",
            "slurm",
            "--allocators",
            "system,mimalloc",
            "--plain",
            "--out",
            str(out),
            *words,
        ]
    )


def results(out: Path) -> tuple[Json, list[Json]]:
    data = store.load(out)
    return data["context"]["heaparena"], data["benchmarks"]


def test_a_block_stays_on_one_node(played: type[PlayedSlurm], tmp_path: Path) -> None:
    assert run(tmp_path / "D", "--workloads", "flat,churn", "--reps", "4") == 0
    ours, entries = results(tmp_path / "D")
    assert len(entries) == 2 * 3 * 4 and {entry["node"] for entry in entries} == {"a", "b"}
    of_block: dict[tuple[str, int], set[str]] = {}
    for entry in entries:
        of_block.setdefault((entry["workload"], entry["block"]), set()).add(entry["node"])
    assert all(len(nodes) == 1 for nodes in of_block.values())
    assert {entry["threads"] for entry in entries if entry["workload"] == "churn"} == {
        3
    }  # the nodes', not ours
    assert ours["launcher"]["units"] == {"a": 4, "b": 4}


def test_kinds_of_nodes_never_meet(played: type[PlayedSlurm], tmp_path: Path) -> None:
    played.kinds = {"a": "X", "b": "Y"}
    assert run(tmp_path / "D", "--workloads", "flat", "--reps", "5") == 0
    ours, entries = results(tmp_path / "D")
    assert len(entries) == 15 and not [entry for entry in entries if entry.get("error_occurred")]
    (node,) = {entry["node"] for entry in entries}
    assert ours["machine"]["cpu"] == played.kinds[node]
    (refused,) = ours["launcher"]["refused_nodes"].items()
    assert refused[0] != node and "another kind of node: cpu is" in refused[1]
    assert not ours["launcher"]["retried"]


def test_no_node_left_is_said(
    played: type[PlayedSlurm], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "D", "--workloads", "flat", "--reps", "1") == 0
    played.kinds = {"a": "Z", "b": "Z"}
    words = ("--workloads", "flat", "--reps", "2", "--resume")
    assert run(tmp_path / "D", *words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "sbatch refuses" in said and "nodes left out: " in said and "cpu is Z, not X" in said
    assert len(results(tmp_path / "D")[1]) == 3  # what was there is still there


def test_a_lost_task_is_done_again_once(played: type[PlayedSlurm], tmp_path: Path) -> None:
    def second_of_first(job: int, task: int) -> bool:
        return job == 1 and task == 2

    played.lose = staticmethod(second_of_first)
    assert run(tmp_path / "D", "--workloads", "flat", "--reps", "3") == 0
    ours, entries = results(tmp_path / "D")
    assert len(entries) == 9 and len(ours["launcher"]["retried"]) == 1
    assert "flat, block 2 (task 1_2: NODE_FAIL" in ours["launcher"]["retried"][0]


def test_arrays_respect_the_limit(played: type[PlayedSlurm], tmp_path: Path) -> None:
    played.array_limit = 3
    assert run(tmp_path / "D", "--workloads", "flat", "--reps", "8") == 0
    job = json.loads((tmp_path / "D" / launch_array.FOLDER / "job-1.json").read_text(encoding="utf-8"))
    assert [len(numbers) for numbers in job["tasks"].values()] == [3, 3, 2]
    assert len(results(tmp_path / "D")[1]) == 24


def test_precision_asks_for_more_blocks(played: type[PlayedSlurm], tmp_path: Path) -> None:
    words = (
        "--workloads",
        "churn",
        "--threads",
        "1",
        "--reps",
        "2",
        "--precision",
        "0.001%",
        "--reps-max",
        "5",
    )
    assert run(tmp_path / "D", *words) == 0
    ours, entries = results(tmp_path / "D")
    assert {entry["block"] for entry in entries} == set(range(5)) and len(ours["launcher"]["jobs"]) == 3


def test_local_and_cluster_results_do_not_mix(
    played: type[PlayedSlurm], tmp_path: Path, heaparena: Run
) -> None:
    words = ("run", "--allocators", "system,mimalloc", "--workloads", "flat", "--reps", 1, "--out", "D")
    assert heaparena(*words).returncode == 0
    assert run(tmp_path / "D", "--workloads", "flat", "--reps", "2", "--resume") == 2


def test_another_build_on_a_node_is_refused(tmp_path: Path) -> None:
    assert launch_task.other_builds({}) is None
    assert "another build" in str(launch_task.other_builds({LIBC: "0" * 40}))
    assert "is not there" in str(launch_task.other_builds({str(tmp_path / "x.so"): "0" * 40}))


def test_a_command_as_a_unit(tmp_path: Path) -> None:
    done = launch_task.command({"argv": ["/bin/sh", "-c", "echo said; exit 3"]})
    assert done["status"] == 3 and done["output"] == "said"


def test_own_allocators_are_listed_and_run(heaparena: Run, tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path), "HEAPARENA_ALLOCATORS": f"mine={LIBC}"}
    (tmp_path / "heaparena").mkdir()
    file = tmp_path / "heaparena" / "allocators"
    file.write_text(f"# ours\n\nother={LIBC}:x_  # with a prefix\nmine=/not/this\n", encoding="utf-8")
    listed = json.loads(heaparena("list", "--json", **home).stdout)["allocators"]
    found = {entry["name"]: entry for entry in listed}
    assert found["mine"]["available"] and found["mine"]["library"] == LIBC
    assert "other" in found and "named in" in found["other"]["summary"]
    done = heaparena(
        "run", "--allocators", "system,mine", "--workloads", "flat", "--reps", 1, "--out", "D", **home
    )
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "D")[0]["allocators"]["mine"]["spec"] == f"mine={LIBC}"


@pytest.mark.parametrize(
    "text, said",
    [
        ("libmine.so", "not of the form NAME=/path/lib.so"),
        ("mine=", "not of the form"),
        ("mine=lib.so", "no absolute path"),
        (f"system={LIBC}", "heaparena's own name"),
    ],
)
def test_own_allocators_badly_named(heaparena: Run, text: str, said: str) -> None:
    done = heaparena("list", HEAPARENA_ALLOCATORS=text)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "heaparena").mkdir()
    (tmp_path / "heaparena" / "allocators").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="allocators: cannot be read"):
        own_allocators.entries([], {"XDG_CONFIG_HOME": os.fspath(tmp_path)})


def test_prune_takes_the_cluster_state_along(played: type[PlayedSlurm], tmp_path: Path) -> None:
    assert run(tmp_path / "runs" / "D", "--workloads", "flat", "--reps", "1") == 0
    assert (tmp_path / "runs" / "D" / launch_array.FOLDER).is_dir()
    stranger = tmp_path / "runs" / "D" / launch_array.FOLDER / "thesis.tex"
    stranger.write_text("", encoding="utf-8")
    words = ["results", "prune", "--dir", str(tmp_path / "runs"), "--keep", "0"]
    main.main(words)
    assert stranger.exists()
    stranger.unlink()
    main.main(words)
    assert not (tmp_path / "runs" / "D").exists()


def test_own_names_resolve_in_a_list() -> None:
    home = {"XDG_CONFIG_HOME": "/nonexistent", "HEAPARENA_ALLOCATORS": "a=/x/liba.so,b=/x/libb.so:b_"}
    assert own_allocators.resolve("system,b,c=/y.so,a", home) == "system,b=/x/libb.so:b_,c=/y.so,a=/x/liba.so"
