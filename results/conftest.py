"""Builders of result files for the tests of this room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from results import store

Json = dict[str, Any]
Noise = Callable[[str, str, int], float]

KNOWN = Path(__file__).with_name("testdata") / "known.json"


def allocator(spec: str, traits: tuple[str, ...] = (), control_of: str | None = None) -> Json:
    return {
        "spec": spec,
        "version": "1.0",
        "library": None if "bound" in traits else f"/usr/lib/lib{spec}.so",
        "build_id": "00ff00ff",
        "env": {},
        "traits": list(traits),
        "control_of": control_of,
    }


def entry(row: str, name: str, block: int, time: float, memory: float) -> Json:
    run = f"{row}/{name}"
    return {
        "name": run,
        "run_name": run,
        "run_type": "iteration",
        "repetitions": 1,
        "repetition_index": block,
        "threads": 1,
        "iterations": 1,
        "real_time": time,
        "cpu_time": time,
        "time_unit": "ms",
        "allocator": name,
        "workload": row.partition("/")[0],
        "cell": f"{row}-{name}",
        "block": block,
        "seed": 1 + block,
        "memory_bytes": memory,
        "operations": 1000,
        "peak_live_bytes": 2**20,
        "ops_per_second": 1e6 / time if time else 0.0,
    }


def failed(row: str, name: str, block: int, message: str) -> Json:
    return {**entry(row, name, block, 0, 0), "error_occurred": True, "error_message": message}


def results(names: dict[str, Json], workloads: list[str], entries: list[Json]) -> Json:
    machine = {"cpu": "test CPU", "cores": 2, "kernel": "Linux 6", "libc": "glibc 2.36", "caches": []}
    facts = {
        name: {"spec": name, "summary": f"what {name} does", "explain": "", "parameters": {}}
        for name in workloads
    }
    return {
        "context": {
            "date": "2026-11-23T10:00:00+00:00",
            "num_cpus": 2,
            "heaparena": {
                "schema": 1,
                "version": "0.1.0",
                "commit": None,
                "command": ["heaparena", "run"],
                "profile": "standard",
                "baseline": "system",
                "seed": 1,
                "scale": 1.0,
                "repetitions": 15,
                "partial": False,
                "machine": machine,
                "allocators": names,
                "workloads": facts,
                "warnings": [{"what": "the machine was busy", "todo": "stop other programs"}],
            },
        },
        "benchmarks": entries,
    }


def simulated(
    speeds: dict[str, float],
    rows: list[str],
    blocks: int,
    seed: int = 1,
    spread: float = 0.02,
    bounds: tuple[str, ...] = (),
) -> Json:
    """A run with an A/A control of `system`, log-normal noise, and a drift that hits whole blocks."""
    chance = np.random.default_rng(seed)
    names = {name: allocator(name, ("bound",) if name in bounds else ()) for name in speeds}
    names["system~aa"] = allocator("system", control_of="system")
    entries = []
    for row in rows:
        for block in range(blocks):
            drift = chance.lognormal(0, 0.1)
            for name in names:
                speed = speeds[name.removesuffix("~aa")]
                time = 100 * speed * drift * chance.lognormal(0, spread)
                memory = 2**21 * speed * chance.lognormal(0, spread / 10)
                entries.append(entry(row, name, block, time, memory))
    return results(names, [row.partition("/")[0] for row in rows], entries)


def with_passes(data: Json) -> Json:
    """Adds a latency and a timeline sample to each cell, and a second thread count to rows of two threads."""
    added = []
    for one in data["benchmarks"]:
        row, name = store.row_of(one), one["allocator"]
        if row.endswith("/threads:2"):
            single = f"{row[:-1]}1/{name}"
            added.append({**one, "name": single, "run_name": single})
        if one["block"] or one.get("error_occurred"):
            continue
        for pass_, make in (("latency", _latency), ("timeline", _timeline)):
            run = f"{row}/{name}/pass:{pass_}"
            added.append({**one, "name": run, "run_name": run, "pass": pass_, **make(one["real_time"] / 100)})
    data["benchmarks"] += added
    return data


def _latency(speed: float) -> Json:
    histogram = [[10.0 * speed * 1.2**step, int(1e6 * 0.7**step) + 1] for step in range(60)]
    call = {"count": sum(count for _, count in histogram), "histogram": histogram}
    return {
        "latency_malloc_p50_ns": 20 * speed,
        "latency_malloc_p999_ns": 900 * speed,
        "latency_malloc_max_ns": 4e6,
        "detail": {"latency": {"unit": "ns", "overhead_ns": 9, "calls": {"malloc": call, "free": call}}},
    }


def _timeline(speed: float) -> Json:
    points = [[5.0 * step, speed * step * 1e6, step * 9e5] for step in range(100)]
    after = [[500.0 + ms, speed * 4e7] for ms in (100, 1000, 5000)]
    detail = {"fields": ["ms", "rss", "live"], "points": points, "free_at_ms": 500.0, "after_free": after}
    return {
        "rss_start_bytes": 5e6,
        "rss_after_free_1s_bytes": speed * 4e7,
        "internal_fragmentation": 1.1,
        "external_fragmentation": 1.05,
        "detail": {"timeline": detail},
    }


@pytest.fixture
def known() -> Json:
    """A small stored run whose answers can be worked out by hand; see testdata/known.json."""
    data: Json = json.loads(KNOWN.read_text(encoding="utf-8"))
    return data
