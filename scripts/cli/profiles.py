"""The profiles of `heaparena run`, as one table: which workloads, how often, how big.

A new workload joins a profile by its name here; `traces` names those of workloads/traces that take part,
None for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable


@dataclass(frozen=True)
class Profile:
    name: str
    purpose: str
    workloads: tuple[str, ...]
    traces: tuple[str, ...] | None
    repetitions: int
    scale: float
    threads: Callable[[int], list[int]]  # thread counts of workloads that scale, from the number of CPUs


def _powers(cpus: int) -> list[int]:
    counts = [1]
    while counts[-1] * 2 <= cpus:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == cpus else [*counts, cpus]


def _all(cpus: int) -> list[int]:
    return [cpus]


SYNTHETIC = ("churn", "larson", "prodcons")

PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "quick", "a first look, about a minute on two cores", SYNTHETIC, ("python-json",), 5, 0.5, _all
        ),
        Profile(
            "standard", "for decisions: small differences can be told apart", SYNTHETIC, None, 15, 0.5, _all
        ),
        Profile(
            "full",
            "every thread count, four times the work, for publication",
            SYNTHETIC,
            None,
            30,
            2.0,
            _powers,
        ),
    )
}
