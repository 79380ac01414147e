#!/usr/bin/python3
"""Stands in for heaparena-worker in the tests of the command: same options, invented figures, faults on
demand.

The allocator's name decides what happens: crashy, hangs, garbage, silent and failing do what they are called;
`unsteady` crashes in its first block only. FAKE_SLOWER multiplies the time, FAKE_SLEEP makes samples last.
"""

import argparse
import json
import os
import random
import signal
import sys
import time

SPEED = {"system": 1.0, "mimalloc": 0.7, "jemalloc": 0.85, "tcmalloc": 0.71, "null": 0.2, "bump": 0.4}
FAT = {"system": 1.0, "mimalloc": 1.6, "jemalloc": 1.2, "tcmalloc": 1.1, "null": 0.1, "bump": 4.0}
FAULTY = ("crashy", "hangs", "garbage", "silent", "failing", "unsteady")


def allocator(name: str) -> dict[str, object]:
    bound = name in ("null", "bump")
    return {
        "name": name,
        "summary": f"{name}, invented",
        "kind": "linked" if bound else "library",
        "package": "lib" + name,
        "library": None if bound else "/lib/x86_64-linux-gnu/libc.so.6",
        "why_not": "no libmissing.so on this machine"
        if name == "missing"
        else "not shown"
        if name in FAULTY
        else None,
        "traits": ["bound", "never-frees"] if bound else [],
    }


def parameter(name: str, default: str, least: float, most: float) -> dict[str, object]:
    return {"name": name, "default": default, "help": "a number", "least": least, "most": most}


def catalogue() -> dict[str, object]:
    churn = {
        "name": "churn",
        "summary": "random replacement",
        "explain": "Replaces random objects in a live set.",
        "scales": True,
        "parameters": [
            parameter("live", "1000", 1, 100000),
            parameter("speed", "1", 0.01, 1000.0),
            {"name": "fill", "default": "timed", "help": "made", "words": ["timed", "before"]},
        ],
    }
    flat = {"name": "flat", "summary": "one thread only", "explain": "", "scales": False, "parameters": []}
    larson = {"name": "larson", "summary": "server", "explain": "", "scales": True, "parameters": []}
    prodcons = {
        "name": "prodcons",
        "summary": "producers and consumers",
        "explain": "",
        "scales": True,
        "parameters": [],
    }
    others = [
        {"name": name, "summary": f"{name}, invented", "explain": "", "scales": True, "parameters": []}
        for name in ("strings", "frag-sawtooth", "churn-measured", "hashmap", "sh8", "spikes")
    ]
    trace = {"name": "trace", "summary": "replays a trace", "explain": "", "scales": False, "parameters": []}
    names = [*SPEED, "missing"]
    return {
        "allocators": [allocator(name) for name in names],
        "workloads": [churn, flat, larson, prodcons, *others, trace],
    }


def probe(spec: str) -> int:
    name, _, path = spec.partition("=")
    if path.endswith("nomalloc.so"):
        print(f"heaparena-worker: {path}: has no malloc; give a library that replaces it", file=sys.stderr)
        return 2
    entry = allocator(name)
    print(
        json.dumps(
            {
                "name": name,
                "version": "1.0",
                "library": path or entry["library"],
                "traits": entry["traits"],
                "operations": {"usable_size": True},
            }
        )
    )
    return 0


def misbehave(name: str, arguments: argparse.Namespace) -> None:
    """Does the fault that the allocator is named for, and does not come back from most of them."""
    if name == "crashy" or (name == "unsteady" and arguments.seed == 1):
        print("first words\nfree(): invalid pointer", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "hangs":
        print("about to hang", file=sys.stderr, flush=True)
        time.sleep(600)
    if name == "silent":
        sys.exit(0)
    if name == "garbage":
        print("\x01\x02 not a result")
        with open(arguments.out, "w", encoding="utf-8") as file:
            file.write('{"benchmarks": [{"real_time": NaN')
        sys.exit(0)


def further(arguments: argparse.Namespace, speed: float, live: int) -> dict[str, object]:
    """Counters of a further pass; its curves go to the detail file."""
    slow = float(os.environ.get("FAKE_SLOWER", "1"))
    if arguments.further == "instructions":
        each = round(120 * speed * slow, 3)
        return {"instructions_total": each * 100000, "instructions_allocator_per_operation": each}
    detail: dict[str, object] = {}
    counters: dict[str, object] = {"time_to_first_allocation_ns": 400}
    if arguments.further == "latency":
        upper = [10 * 1.1**step for step in range(120)]
        calls = [[end * speed, max(1, int(1e6 * 0.8**step))] for step, end in enumerate(upper)]
        parts = {"p50": 20 * speed, "p99": 90 * speed, "p999": 800 * speed * slow, "p9999": 5e3, "max": 9e5}
        call = {"count": sum(count for _, count in calls), **parts, "histogram": calls}
        detail = {"latency": {"unit": "ns", "overhead_ns": 12.5, "calls": {"malloc": call, "free": call}}}
        for name in ("malloc", "free"):
            counters.update({f"latency_{name}_{part}_ns": value for part, value in parts.items()})
    else:
        points = [
            {
                "ms": 5 * step,
                "rss": live * min(step, 200) / 180 * speed,
                "live": live * min(step, 200) / 200,
                "pss": 1,
            }
            for step in range(400)
        ]
        after = [{"ms": 2000 + ms, "rss": live * speed * 0.5} for ms in (100, 1000, 5000)]
        detail = {"timeline": {"interval_ms": 5, "points": points, "free_at_ms": 2000, "after_free": after}}
        for moment in ("100ms", "1s", "5s"):
            counters[f"rss_after_free_{moment}_bytes"] = live * speed * 0.5
        counters.update(
            rss_start_bytes=1 << 20, internal_fragmentation=1.1, external_fragmentation=1 + 0.05 * speed
        )
    with open(arguments.detail, "w", encoding="utf-8") as file:
        json.dump(detail if "FAKE_GARBLED" not in os.environ else {"latency": 7}, file)
    return counters


def sample(arguments: argparse.Namespace) -> int:
    name = arguments.allocator.partition("=")[0]
    misbehave(name, arguments)
    time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
    noise = random.lognormvariate(0, 0.01)
    wall = 0.01 * SPEED.get(name, 1.0) * float(os.environ.get("FAKE_SLOWER", "1")) * noise
    live = 8 << 20
    memory = int(live * 1.1 * FAT.get(name, 1.0) * random.lognormvariate(0, 0.002))
    entry: dict[str, object] = {
        "name": arguments.workload,
        "run_type": "iteration",
        "iterations": 1,
        "real_time": wall * 1e9,
        "cpu_time": wall * 1e9,
        "time_unit": "ns",
        "worker_threads": arguments.threads,
        "operations": 100000,
        "ops_per_second": 100000 / wall,
        "wall_seconds": wall,
        "cpu_seconds": wall * arguments.threads,
        "user_seconds": wall,
        "system_seconds": 0.0,
        "peak_rss_bytes": memory + (2 << 20),
        "start_rss_bytes": 2 << 20,
        "harness_bytes": 2 << 20,
        "memory_bytes": memory,
        "peak_live_bytes": live,
        "rss_over_live": memory / live,
        "minor_faults": memory // 4096,
        "major_faults": 0,
        "affinity": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
        "label": f"pass_checksum=0x{arguments.seed:08x} verified={int(arguments.verify)}"
        f" ops_checksum=0x{arguments.seed:08x}{' curve=match' if arguments.verify else ''}"
        f" tag={os.environ.get('FAKE_TAG', '-')}",
    }
    if arguments.further != "time":
        entry.update(further(arguments, SPEED.get(name, 1.0), live))
    if name == "failing":
        entry.update(error_occurred=True, error_message="block 7 lost its mark")
    with open(arguments.out, "w", encoding="utf-8") as file:
        json.dump({"context": {"library_build_type": "release"}, "benchmarks": [entry]}, file)
    return 1 if name == "failing" else 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--probe", action="store_true")
    for option in ("--allocator", "--workload", "--out"):
        parser.add_argument(option)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--pass", dest="further", default="time")
    parser.add_argument("--detail")
    arguments = parser.parse_args()
    if arguments.list:
        print(json.dumps(catalogue()))
        return 0
    return probe(arguments.allocator) if arguments.probe else sample(arguments)


sys.exit(main())
