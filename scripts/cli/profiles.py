"""The profiles of `heaparena run`, as one table: which workloads, how often, how big, which passes.

A new workload joins a profile by its name here; `full` takes every workload of the worker. Figures behind the
table (two cores): all synthetic workloads take about 11 s an allocator and block at scale 0.1, `drain`
5 s more at any scale, a latency sample about as long as one of time, a timeline sample 5 s more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

from results.metrics import INSTRUCTIONS, LATENCY, TIMELINE


@dataclass(frozen=True)
class PassPlan:
    """A further pass: how often, with which part of the profile's scale, when it stops taking rows, and which
    workloads it takes before it stops."""

    name: str
    repetitions: int
    scale: float = 1.0  # multiplies the run's scale
    budget_seconds: float | None = None
    first: tuple[str, ...] = ()  # workloads; the others follow as the run has them


# What --passes asks for where the profile has no such pass: instructions are counted by a slow simulator.
ASKED_FOR = {
    LATENCY: PassPlan(LATENCY, 1),
    TIMELINE: PassPlan(TIMELINE, 1),
    INSTRUCTIONS: PassPlan(INSTRUCTIONS, 2, 0.04),
}


# Of the workloads these have a curve over time that says most; the pass waits 5 s after each, so it sees few.
UNSTEADY = ("spikes", "frag-sawtooth", "drain", "trace:clang", "trace:python-json", "fleet", "blowup")
# Budgets end before the rows do on a machine with many allocators, and what was recorded comes last in a run.
RECORDED = ("trace:clang", "trace:git", "trace:python-json", "trace:sqlite", "trace:threads")
FILE_WORKLOADS = ("trace", "model")  # need a file, so no profile can name them by themselves


@dataclass(frozen=True)
class Profile:
    name: str
    purpose: str
    workloads: tuple[str, ...] | None  # None: all but those that need a file, or all mutator programs
    traces: tuple[str, ...] | None  # names in workloads/traces; None: all of them
    repetitions: int
    scale: float
    scaling: tuple[str, ...] = ()  # measured at 1, 2, 4, ... CPUs; others that scale use all CPUs
    passes: tuple[PassPlan, ...] = ()
    mutators: bool = False  # its workloads are the mutator programs, which run over collectors too
    threads: int | None = None  # of workloads that scale; None: one for each CPU

    def names(self, known: Sequence[Mapping[str, object]]) -> list[str]:
        """Its synthetic workloads."""
        every = [
            str(entry["name"])
            for entry in known
            if entry["name"] not in FILE_WORKLOADS and bool(entry.get("mutator")) == self.mutators
        ]
        return every if self.workloads is None else list(self.workloads)


def powers(cpus: int) -> list[int]:
    """1, 2, 4, ... and the number of CPUs itself."""
    counts = [1]
    while counts[-1] * 2 <= cpus:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == cpus else [*counts, cpus]


# Random replacement among small blocks; the live set is there before the clock starts.
GROWING = "churn-even:min=16:max=64:fill=before"
# Nothing passes from thread to thread. With no allocator (null) the first is the machine's own gain.
THREAD_LOCAL = ("fastpath", "churn-even:live=10000:fill=before", "batch")

PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "quick",
            "a first look, under two minutes on two cores",
            ("churn", "strings", "larson", "prodcons", "frag-sawtooth"),
            ("python-json",),
            5,
            0.2,
        ),
        Profile(
            "standard",
            "for decisions, under ten minutes; with tail latency and memory over time",
            (
                *("churn", "churn-measured", "strings", "hashmap", "larson", "prodcons", "sh8"),
                *("frag-sawtooth", "spikes"),
            ),
            ("clang", "git", "python-json"),
            7,
            0.25,
            (),
            (PassPlan(LATENCY, 1, 1.0, 60.0, RECORDED), PassPlan(TIMELINE, 1, 1.0, 75.0, UNSTEADY)),
        ),
        Profile(
            "full",
            "every workload and every pass, under 40 minutes with five allocators",
            None,
            None,
            7,
            0.2,
            ("churn", "larson", "sh8", "batch-random"),
            (
                PassPlan(LATENCY, 1, 1.0, 300.0, RECORDED),
                PassPlan(TIMELINE, 1, 1.0, 240.0, UNSTEADY),
                PassPlan(INSTRUCTIONS, 1, 0.05, 180.0),
            ),
        ),
        Profile(
            "growth",
            "how the cost of a call grows with the number of live blocks (10^4 to 10^7) and with threads",
            (f"{GROWING}:live=10000..10000000", *THREAD_LOCAL),
            (),
            5,
            0.5,
            THREAD_LOCAL,
            (PassPlan(INSTRUCTIONS, 1, 0.05, 240.0),),
            threads=1,
        ),
        Profile(
            "collectors",
            "mutator programs over every collector, over allocators with manual freeing, and in Go",
            None,
            (),
            5,
            1.0,
            mutators=True,
        ),
    )
}
