#!/usr/bin/python3
"""Is guidance by extra counters better than none? Fuzzes the planted library, which is not instrumented, with
feedback and blind, from the same seeds, and prints how many executions each needed until it found the fault.

    fuzz/feedback_experiment.py [--build build/release] [--seeds 10] [--runs 40000] [--planted deep,late]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


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
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=40000)
    parser.add_argument("--planted", default="deep,late")
    arguments = parser.parse_args()
    for planted in arguments.planted.split(","):
        for blind in (False, True):
            needed = sorted(
                executions(arguments.build.absolute(), planted, seed, arguments.runs, blind)
                for seed in range(1, arguments.seeds + 1)
            )
            found = sum(1 for count in needed if count <= arguments.runs)
            print(
                f"{planted:8} {'blind' if blind else 'guided':7} found {found} of {len(needed)}, "
                f"median {statistics.median(needed):,.0f} executions ({', '.join(map(str, needed))})",
                flush=True,
            )


if __name__ == "__main__":
    main()
