"""heaparena map from the outside: gomalloc seen from within, others by their addresses, bad input."""

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import BUILD, Command, TRACES, refused

pytestmark = pytest.mark.skipif(
    not (BUILD / "lib" / "libgomalloc.so").exists(), reason="a build without libgomalloc.so"
)


def drawn(heaparena: Command, out: Path, *more: object) -> Any:
    done = heaparena("map", "-o", out, *more)
    assert done.returncode == 0, done.stderr
    for name in ("map.html", "map.png", "map.json"):
        assert (out / name).stat().st_size > 1000
    return json.loads((out / "map.json").read_text())


def test_survivors_hold_pages(heaparena: Command, tmp_path: Path) -> None:
    words = ("--workloads", "frag-survivor", "--scale", "0.02", "--frames", "16", "--after", "1500")
    maps = drawn(heaparena, tmp_path, *words, "--allocators", "gomalloc,system")
    assert set(maps) == {"gomalloc", "system"}
    for name, map_ in maps.items():
        frames = {frame["phase"]: frame for frame in map_["frames"]}
        work = [frame for frame in map_["frames"] if not frame["phase"]]
        assert 4 <= len(work) <= 16
        done, freed = frames["at the end of the work"], frames["when everything was freed"]
        assert done["live_bytes"] > 0 and freed["live_bytes"] == freed["live_blocks"] == 0
        assert done["resident_bytes"] > 4 * done["live_bytes"], name  # what the workload is for
        # Live letters and live bytes agree: sixteenths are rounded up.
        drawn_bytes = sum(
            ("0123456789abcdefghijklmnopqrstuv".index(page) & 15) / 15 * 4096 for page in done["use"]
        )
        assert drawn_bytes >= done["live_bytes"] * 0.95
        assert not any("0123456789abcdefghijklmnopqrstuv".index(page) & 15 for page in freed["use"])
    ours = maps["gomalloc"]["frames"]
    assert "kind" not in maps["system"]["frames"][-1] and all("kind" in frame for frame in ours)
    largest = max(ours, key=lambda frame: frame["live_bytes"])
    assert set(largest["kind"]) & set("abcdefghijk") and largest["room_bytes"] >= largest["live_bytes"]
    # One and a half seconds after all was freed, gomalloc's scavenger has given it back.
    assert ours[-1]["resident_bytes"] < ours[-2]["resident_bytes"] / 2


def test_a_trace_of_several_threads(heaparena: Command, tmp_path: Path) -> None:
    words = ("--workloads", TRACES / "threads.hat", "--allocators", "gomalloc,mimalloc")
    maps = drawn(heaparena, tmp_path, *words, "--after", 0, "--png", "1,last")
    one, other = (map_["frames"] for map_ in maps.values())
    same = ("phase", "operations", "live_bytes", "live_blocks")
    assert one[-1]["operations"] > 10_000
    assert [one[-1][key] for key in same] == [other[-1][key] for key in same]


def test_bad_input_is_refused(heaparena: Command, tmp_path: Path) -> None:
    usual = ("map", "--workloads", "churn", "--allocators", "system", "-o", tmp_path / "out")
    refused(heaparena(*usual, "--frames", 7), "--frames", "from 8 to 120")
    refused(heaparena(*usual, "--every", 0), "--every", "from 1")
    refused(heaparena(*usual, "--png", "first"), "--png", "'first'")
    refused(heaparena(*usual[:4], "sistem", *usual[5:]), "sistem", "system")
    refused(heaparena("map", "--workloads", "trace:none.hat", "-o", tmp_path), "none.hat")
    assert not (tmp_path / "out").exists()
