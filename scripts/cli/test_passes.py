"""Further passes, adaptive repetition, pinning, and stored runs, against the fake worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli import detail
from cli.conftest import Run
from cli.pinning import cpu_list
from results import store
from results.analysis import Analysis
from results.metrics import METRICS

Json = dict[str, Any]
TWO = ("--allocators", "system,mimalloc", "--workloads", "flat")
COMPARE_PY = Path("/usr/share/benchmark/compare.py")


def load(out: Path) -> tuple[Json, list[Json]]:
    data = store.load(out)
    return data["context"]["heaparena"], data["benchmarks"]


def test_all_passes_are_kept_apart(heaparena: Run, tmp_path: Path) -> None:
    passes = "time,latency=2,timeline,instructions"
    done = heaparena("run", *TWO, "--reps", 5, "--passes", passes, "--out", "D", "--plain")
    assert done.returncode == 0, done.stderr
    assert "least time: flat: mimalloc 0." in done.stderr  # the pretended times vary from sample to sample
    assert "pass latency, block 2 of 2 done" in done.stderr
    context, entries = load(tmp_path / "D")
    assert context["passes"] == {"time": 5, "latency": 2, "timeline": 1, "instructions": 2}
    counts = {name: sum(e.get("pass", "time") == name for e in entries) for name in context["passes"]}
    assert counts == {"time": 15, "latency": 6, "timeline": 3, "instructions": 6}
    analysis = Analysis(store.load(tmp_path / "D"))
    assert len(analysis.values(METRICS["time"], "flat", "mimalloc")) == 5
    assert [metric.key for metric in analysis.metrics] == ["time", "memory", "latency", "instructions"]
    curves = next(e["detail"] for e in entries if e.get("pass") == "timeline")["timeline"]
    assert len(curves["points"]) == detail.POINTS and curves["after_free"][-1][0] == 7000
    calls = next(e["detail"] for e in entries if e.get("pass") == "latency")["latency"]["calls"]["malloc"]
    assert len(calls["histogram"]) <= detail.BUCKETS
    assert sum(count for _, count in calls["histogram"]) == calls["count"]
    text = (tmp_path / "D" / "report.md").read_text(encoding="utf-8")
    for words in ("## Tail latency", "## Resident memory after", "## Fragmentation", "Tail latency: too few"):
        assert words in text


def test_a_pass_is_resumed_and_repeated_alone(heaparena: Run, tmp_path: Path) -> None:
    assert heaparena("run", *TWO, "--reps", 1, "--out", "D").returncode == 0
    more = heaparena("run", *TWO, "--reps", 1, "--passes", "time,latency", "--out", "D", "--resume")
    assert more.returncode == 0 and "3 samples are there" in more.stderr
    assert len(load(tmp_path / "D")[1]) == 6
    alone = heaparena("run", *TWO, "--metric", "instructions", "--out", "E")
    assert alone.returncode == 0, alone.stderr
    assert {entry["pass"] for entry in load(tmp_path / "E")[1]} == {"instructions"}
    assert "Instructions" in alone.stdout and "Time" not in alone.stdout


def test_a_garbled_detail_fails_its_sample_only(heaparena: Run, tmp_path: Path) -> None:
    done = heaparena("run", *TWO, "--reps", 1, "--passes", "time,latency", "--out", "D", FAKE_GARBLED="1")
    assert done.returncode == 1
    bad = [entry for entry in load(tmp_path / "D")[1] if entry.get("error_occurred")]
    assert len(bad) == 3 and {entry["pass"] for entry in bad} == {"latency"}
    assert "no usable detail of pass latency" in bad[0]["error_message"]
    analysis = Analysis(store.load(tmp_path / "D"))
    assert not analysis.bad and "--passes latency" in analysis.failures()[0].repeat


def test_profile_standard_has_bounded_passes(heaparena: Run, tmp_path: Path) -> None:
    done = heaparena("run", *TWO, "--profile", "standard", "--reps", 1, "--out", "D")
    assert done.returncode == 0
    assert load(tmp_path / "D")[0]["passes"] == {"time": 1, "latency": 1, "timeline": 1}


def test_instructions_gate_flags_five_per_cent_in_one_run(heaparena: Run) -> None:
    words = ("run", *TWO, "--profile", "quick", "--metric", "instructions", "--out")
    assert heaparena(*words, "base").returncode == 0
    assert heaparena(*words, "same").returncode == 0
    assert heaparena(*words, "slow", FAKE_SLOWER="1.05").returncode == 0
    gate = ("--metric", "instructions", "--fail-above", "3%")
    assert heaparena("compare", "base", "same", *gate).returncode == 0
    worse = heaparena("compare", "base", "slow", *gate, "--markdown")
    assert worse.returncode == 1 and "▲ regression" in worse.stdout
    refused = heaparena("compare", "base", "slow", "--metric", "time")
    assert refused.returncode == 2 and "heaparena run --metric time" in refused.stderr


def test_a_gate_with_too_few_samples_is_refused(heaparena: Run) -> None:
    assert heaparena("run", *TWO, "--reps", 2, "--out", "D").returncode == 0
    refused = heaparena("compare", "D", "D", "--metric", "time")
    assert refused.returncode == 2 and "no cell has 5 samples" in refused.stderr
    assert "nothing is claimed" in heaparena("compare", "D", "D").stdout


def test_adaptive_repetition_stops_when_precise(heaparena: Run, tmp_path: Path) -> None:
    words = ("run", *TWO, "--reps", 5, "--plain")
    coarse = heaparena(*words, "--precision", "20%", "--out", "coarse")
    assert coarse.returncode == 0 and len(load(tmp_path / "coarse")[1]) == 15
    fine = heaparena(*words, "--precision", "0.01%", "--reps-max", 7, "--out", "fine")
    assert fine.returncode == 0, fine.stderr
    context, entries = load(tmp_path / "fine")
    assert len(entries) == 21 and "block 7 of 5 to 7" in fine.stderr
    assert any("still wider than 0.01 %" in one["what"] for one in context["warnings"])
    middle = heaparena(*words, "--precision", "1.5%", "--reps-max", 60, "--out", "middle")
    assert middle.returncode == 0
    blocks = {entry["block"] for entry in load(tmp_path / "middle")[1]}
    assert 5 <= len(blocks) < 60
    by_block = [sum(e["block"] == block for e in load(tmp_path / "middle")[1]) for block in blocks]
    assert set(by_block) == {3}  # whole rows only


def test_cpus_are_said_in_the_context(heaparena: Run, tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    assert heaparena("run", *TWO, "--reps", 1, "--cpus", str(cpu), "--out", "D").returncode == 0
    context, entries = load(tmp_path / "D")
    assert context["cpus"] == [cpu] and {entry["affinity"] for entry in entries} == {str(cpu)}
    assert "measured on CPUs" in (tmp_path / "D" / "report.md").read_text(encoding="utf-8")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_isolate_keeps_a_cpu_for_itself(heaparena: Run, tmp_path: Path) -> None:
    assert heaparena("run", *TWO, "--reps", 1, "--isolate", "--out", "D").returncode == 0
    assert load(tmp_path / "D")[0]["cpus"]


def test_cpu_lists() -> None:
    assert cpu_list("0-2, 8") == [0, 1, 2, 8]
    for text in ("", "a", "1-", "-1", "0-99999999999", "3,,4"):
        with pytest.raises(ValueError):
            cpu_list(text)


def test_histograms_are_trimmed_without_loss() -> None:
    fine = [[1.5**step, 1000 - step] for step in range(300)]
    joined = detail.buckets([*fine, [1e60, 0]])
    assert len(joined) <= detail.BUCKETS and joined[-1][0] == fine[-1][0]
    assert sum(count for _, count in joined) == sum(count for _, count in fine)
    assert {upper for upper, _ in joined} <= {upper for upper, _ in fine}
    points = [[float(at), 1.0 if at != 777 else 9.0] for at in range(5000)]
    thin = detail.thinned(points, 1)
    assert len(thin) == detail.POINTS and max(rss for _, rss in thin) == 9.0 and thin[-1] == points[-1]


# ---- stored runs ----


def test_list_show_merge_prune(heaparena: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert heaparena("run", *TWO, "--reps", 3, "--out", f"runs/{name}").returncode == 0
    (tmp_path / "runs" / "torn").mkdir()
    (tmp_path / "runs" / "torn" / "results.json").write_text("{", encoding="utf-8")
    found = json.loads(heaparena("results", "list", "--dir", "runs", "--json").stdout)
    assert [Path(run["path"]).name for run in found] == ["torn", "b", "a"]
    assert [run["samples"] for run in found] == [0, 9, 9] and "cannot be read" in heaparena(
        "results", "list", "--dir", "runs"
    ).stdout
    shown = json.loads(heaparena("results", "show", "a", "--dir", "runs", "--json").stdout)
    assert {cell["samples"] for cell in shown["cells"]} == {3}
    assert "3 cells, 9 samples" in heaparena("results", "show", "runs/a").stdout
    merged = heaparena("results", "merge", "a", "b", "--dir", "runs", "--out", "both")
    assert merged.returncode == 0, merged.stderr
    context, entries = load(tmp_path / "both")
    assert len(entries) == 18 and {entry["block"] for entry in entries} == set(range(6))
    assert context["repetitions"] == 6 and len({entry["cell"] for entry in entries}) == 3
    assert "mimalloc" in heaparena("report", "both", "--format", "terminal").stdout
    assert (
        "would be removed" in heaparena("results", "prune", "--dir", "runs", "--keep", 1, "--dry-run").stdout
    )
    assert heaparena("results", "prune", "--dir", "runs", "--partial").returncode == 0
    (tmp_path / "runs" / "a" / "notes.txt").write_text("mine", encoding="utf-8")
    kept = heaparena("results", "prune", "--dir", "runs", "--keep", 0).stdout
    assert "a: kept: it holds notes.txt" in kept and os.listdir(tmp_path / "runs") == ["a"]


def test_merge_refuses_what_differs(heaparena: Run, tmp_path: Path) -> None:
    assert heaparena("run", *TWO, "--reps", 1, "--out", "a").returncode == 0
    assert heaparena("run", *TWO, "--reps", 1, "--out", "b", "--scale", "0.5").returncode == 0
    refused = heaparena("results", "merge", "a", "b", "--out", "both")
    assert (
        refused.returncode == 2 and "scale (0.25, 0.5)" in refused.stderr and not (tmp_path / "both").exists()
    )
    data = store.load(tmp_path / "b")
    data["context"]["heaparena"]["allocators"]["mimalloc"]["build_id"] = "another"
    store.save(tmp_path / "b" / "results.json", data)
    forced = heaparena("results", "merge", "a", "b", "--out", "both", "--force")
    assert forced.returncode == 0 and "build_id of allocator mimalloc" in forced.stdout
    assert "mimalloc@b" in load(tmp_path / "both")[0]["allocators"]
    data["context"]["heaparena"]["schema"] = 9
    (tmp_path / "b" / "results.json").write_text(json.dumps(data), encoding="utf-8")
    assert "version 9" in heaparena("results", "merge", "a", "b", "--out", "c", "--force").stderr


# ---- other programs read the file ----


def test_fields_of_github_action_benchmark(heaparena: Run, tmp_path: Path) -> None:
    """Its `googlecpp` tool reads benchmarks[] with these fields."""
    assert heaparena("run", *TWO, "--reps", 1, "--passes", "time,latency", "--out", "D").returncode == 0
    data = json.loads((tmp_path / "D" / "results.json").read_text(encoding="utf-8"))
    for entry in data["benchmarks"]:
        assert isinstance(entry["name"], str) and entry["time_unit"] in ("ns", "us", "ms", "s")
        for key in ("real_time", "cpu_time", "iterations", "threads"):
            assert isinstance(entry[key], (int, float)) and not isinstance(entry[key], bool)


@pytest.mark.skipif(not COMPARE_PY.exists(), reason="libbenchmark-tools is not installed")
def test_google_benchmarks_compare_reads_the_file(heaparena: Run, tmp_path: Path) -> None:
    for name, slower in (("a", "1"), ("b", "1.5")):
        words = ("run", *TWO, "--reps", 9, "--passes", "time,latency", "--out", name)
        assert heaparena(*words, FAKE_SLOWER=slower).returncode == 0
    shutil.copytree(COMPARE_PY.parent, tmp_path / "tools")
    done = subprocess.run(
        [
            "/usr/bin/python3",
            "tools/compare.py",
            "--no-color",
            "benchmarks",
            "a/results.json",
            "b/results.json",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "flat/mimalloc" in done.stdout and "flat/mimalloc_pvalue" in done.stdout.replace(" ", "")
