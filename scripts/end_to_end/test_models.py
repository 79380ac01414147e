"""A model fitted to a trace stands for it: fit, then run the generated work over allocators."""

from pathlib import Path

from conftest import Command, TRACES, load, refused


def test_a_fitted_model_runs_as_a_workload(heaparena: Command, tmp_path: Path) -> None:
    model = tmp_path / "work.json"
    assert heaparena("trace", "fit", TRACES / "python-json.hat", "-o", model).returncode == 0
    done = heaparena(
        *("run", "--allocators", "system,gomalloc", "--workloads", f"model:{model}"),
        *("--reps", 1, "--out", tmp_path / "D"),
    )
    assert done.returncode == 0, done.stderr
    assert {entry["workload"] for entry in load(tmp_path / "D")["benchmarks"]} == {"model:work"}


def test_what_is_no_model_is_refused(heaparena: Command, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[1, 2")
    refused(heaparena("run", "--workloads", f"model:{wrong}", "--out", tmp_path / "D"), "wrong.json", "fit")
    refused(
        heaparena("run", "--workloads", "model:/nonexistent.json", "--out", tmp_path / "D"),
        "/nonexistent.json",
    )
