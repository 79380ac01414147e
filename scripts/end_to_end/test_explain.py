"""heaparena explain and run --ablate over the programs that were built."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from conftest import BUILD, Command, load, refused


def test_explain_tells_the_path_of_each_kind(heaparena: Command) -> None:
    done = heaparena("explain", "8", "100", "32KiB", "32769", "1MiB", "--json")
    assert done.returncode == 0, done.stderr
    tiny, small, most, large, huge = json.loads(done.stdout)["requests"]
    assert [one["kind"] for one in (tiny, small, most, large, huge)] == [
        "tiny",
        "small",
        "small",
        "large",
        "large",
    ]
    assert small["object_size"] == 112 and small["waste_bytes"] == 12
    assert large["object_size"] == 40960 and large["span_pages"] == 5
    for one in (tiny, small, most, large, huge):
        assert sum(one["served_growing"].values()) == sum(one["served_pairs"].values()) == one["probes"]
    assert max(small["served_pairs"], key=lambda level: small["served_pairs"][level]) == "stack"
    assert "large-cache" in large["served_pairs"] and "large-cache" not in huge["served_pairs"]
    text = heaparena("explain", "100", "--align", "256")
    assert "aligned_alloc(256, 100) through gomalloc" in text.stdout and "256 B; waste 156 B" in text.stdout
    assert "refused: Cannot allocate memory" in heaparena("explain", "4194304TiB").stdout
    refused(heaparena("explain", "10x"), "10x", "not a number of bytes")
    refused(heaparena("explain", "100", "--align", "3"), "power of two")


def test_ablate_measures_every_level(heaparena: Command, tmp_path: Path) -> None:
    out = tmp_path / "levels"
    done = heaparena(
        "run", "--ablate", "--workloads", "churn", "--reps", "2", "--scale", "0.01", "--out", out
    )
    assert done.returncode == 0, done.stderr
    names = {
        name
        for name, facts in load(out)["context"]["heaparena"]["allocators"].items()
        if not facts["control_of"]
    }
    assert names == {
        "gomalloc", "gomalloc-linear", "gomalloc-no-tiny", "gomalloc-no-stack", "gomalloc-no-mcache",
        "gomalloc-no-large-cache", "gomalloc-no-mcentral", "gomalloc-no-page-cache",
    }  # fmt: skip
    assert load(out)["context"]["heaparena"]["baseline"] == "gomalloc"
    assert '<section id="levels">' in (out / "report.html").read_text()
    assert "What each level buys" in done.stdout


def test_textbook_allocators_stand_beside_robson(heaparena: Command, tmp_path: Path) -> None:
    out = tmp_path / "robson"
    done = heaparena(
        "run", "--allocators", "gomalloc,firstfit,nextfit,bestfit,segfit,buddy,linear,gomalloc-linear",
        "--workloads", "frag-robson:live=2:max=1024", "--threads", "1", "--reps", "1", "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Fragmentation against Robson's bounds" in done.stdout
    page = (out / "report.html").read_text()
    assert '<section id="robson">' in page and "bound: any allocator" in page
    heaps = {entry["allocator"]: entry["rss_over_live"] for entry in load(out)["benchmarks"]}
    assert heaps["firstfit"] < heaps["linear"]  # holes are used again, or they are not


def test_the_order_of_first_fit_is_one_of_two() -> None:
    for order, status in (("lifo", 0), ("address", 0), ("LIFO", 2)):
        done = subprocess.run(
            [str(BUILD / "bin" / "heaparena-worker"), "--probe", "--allocator", "firstfit"],
            env={**os.environ, "HEAPARENA_FIRSTFIT_ORDER": order},
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stderr
    assert done.stderr == "heaparena: HEAPARENA_FIRSTFIT_ORDER=LIFO: give address or lifo\n"


def test_gomalloc_linear_is_in_the_linear_layout() -> None:
    for name, layout in (("gomalloc", "sparse"), ("gomalloc-linear", "linear")):
        done = subprocess.run(
            [str(BUILD / "bin" / "heaparena-worker"), "--probe", "--allocator", name],
            env={**os.environ, "GOMALLOC_STATS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stderr.splitlines()[-1])["Layout"] == layout
        assert ("example" in json.loads(done.stdout)["traits"]) == (layout == "linear")
