#!/usr/bin/python3
"""Is guidance by extra counters better than none? Fuzzes the planted library, which is not instrumented, with
feedback and blind, from the same seeds, and prints how many executions each needed until it found the fault;
a campaign that did not find it counts as one more than --runs. p: chance of such a difference if there were
none (Mann and Whitney's test, two-sided). Executions do not depend on the machine's load.

    fuzz/feedback_experiment.py [--build build/release] [--seeds 9] [--runs 60000] [--planted wear,crowd]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scipy.stats import mannwhitneyu

ROOT = Path(__file__).resolve().parents[1]
# planted_steps.c's, which need several steps; then some that chance finds.
PLANTED = "lock,order,crowd,wear,distance,deep,late,failed"


def executions(build: Path, planted: str, seed: int, runs: int, blind: bool) -> int:
    """Executions until the fault was found; runs + 1 if it was not."""
    program = build / "bin" / "heaparena-fuzz"
    allocator = f"planted={build / 'lib' / 'libheaparena-planted.so'}"
    environment = {**os.environ, "HEAPARENA_PLANTED": planted}
    with tempfile.TemporaryDirectory() as folder:
        corpus, journal = Path(folder) / "corpus", Path(folder) / "journal"
        corpus.mkdir()
        subprocess.run([program, "seeds", "--allocator", allocator, corpus], env=environment, check=True)
        command = [
            str(program),
            "run",
            "--allocator",
            allocator,
            "--journal",
            str(journal),
            *(["--blind"] if blind else []),
        ]
        tail = [
            "--",
            f"-runs={runs}",
            f"-seed={seed}",
            "-max_len=512",
            "-len_control=0",
            "-print_final_stats=0",
            str(corpus),
        ]
        done = subprocess.run([*command, *tail], env=environment, capture_output=True, check=False)
        state = json.loads(
            subprocess.run([program, "journal", journal], capture_output=True, check=True).stdout
        )
        return int(state["programs"]) if done.returncode == 77 else runs + 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--seeds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=60000)
    parser.add_argument("--planted", default=PLANTED)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    build, runs = arguments.build.absolute(), arguments.runs
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for planted in arguments.planted.split(","):
            needed: dict[bool, list[int]] = {}
            for blind in (False, True):
                waiting = [
                    pool.submit(executions, build, planted, seed, runs, blind)
                    for seed in range(1, arguments.seeds + 1)
                ]
                needed[blind] = sorted(one.result() for one in waiting)
                found = sum(1 for count in needed[blind] if count <= runs)
                print(
                    f"{planted:8} {'blind' if blind else 'guided':7} found {found} of {len(waiting)}, "
                    f"median {statistics.median(needed[blind]):,.0f} executions "
                    f"({', '.join(map(str, needed[blind]))})",
                    flush=True,
                )
            ratio = statistics.median(needed[True]) / statistics.median(needed[False])
            chance = float(mannwhitneyu(needed[False], needed[True]).pvalue)
            print(f"{planted:8} blind needs {ratio:.2f} times as many, p = {chance:.4f}", flush=True)


if __name__ == "__main__":
    main()
