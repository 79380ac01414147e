"""heaparena compare over real builds: a slower malloc is planted and must be flagged by its instructions; the
same build twice must not be. (By time: the same with `--precision`; needs a quiet machine. See
results/README.md.)"""

import json
import subprocess
from pathlib import Path

import pytest

from conftest import BUILD, Command, GOMALLOC

SOURCE = Path(__file__).with_name("planted_slowdown.c")


def build(folder: Path, name: str, spin: int) -> Path:
    """libgomalloc with `spin` turns of three instructions before every malloc."""
    path = folder / f"lib{name}.so"
    place = BUILD / "lib"
    link = [f"-L{place}", "-lgomalloc", f"-Wl,-rpath,{place}"]
    command = ["cc", "-O2", "-shared", "-fPIC", f"-DSPIN={spin}", "-o", str(path), str(SOURCE), *link]
    subprocess.run(command, check=True)
    return path


@pytest.mark.skipif(not GOMALLOC.exists(), reason="a build without libgomalloc.so")
def test_a_planted_slowdown_is_flagged_by_instructions(heaparena: Command, tmp_path: Path) -> None:
    base, new = build(tmp_path, "base", 0), build(tmp_path, "new", 1)
    out = tmp_path / "ab"
    contenders = f"base={base},twin={base},new={new}"
    work = ("--workloads", "fastpath", "--threads", 1, "--metric", "instructions", "--scale", 0.1)
    measured = heaparena("run", "--allocators", contenders, "--baseline", "base", *work, "--out", out)
    assert measured.returncode == 0, measured.stderr
    words = ("compare", out, "--metric", "instructions", "--fail-above", "2%", "--json", "--base", "base")
    slower = heaparena(*words, "--new", "new")
    assert slower.returncode == 1, slower.stdout
    (cell,) = json.loads(slower.stdout)["cells"]
    assert 1.02 < cell["low"] <= cell["ratio"] < 1.3 and cell["verdict"] == "regression"
    twin = heaparena(*words, "--new", "twin")
    assert twin.returncode == 0 and json.loads(twin.stdout)["cells"][0]["ratio"] == pytest.approx(
        1, abs=0.005
    )
