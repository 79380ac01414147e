"""Holds a trace's replay against the program that it was recorded from: both are run under the same
allocators, in turn, and what differs in the program should differ the same way in the replay.

`measure` takes the samples, `judge` is pure: it works on samples alone.
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from cli import real_program, worker
from cli.entries import Allocator
from cli.errors import UserError
from results import stats

Json = dict[str, Any]

TIME, MEMORY = "time", "memory"
PROGRAM, REPLAY = "program", "replay"
LEAST_RHO = 0.8
# samples[PROGRAM][MEMORY]["mimalloc"]: one value a block, seconds or bytes
Samples = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]


@dataclass(frozen=True)
class Pair:
    """Two allocators that the program tells apart: ratios first / second of the program and of the replay."""

    first: str
    second: str
    program: stats.Estimate
    replay: stats.Estimate

    @property
    def alike(self) -> bool:
        return (self.program.ratio > 1) == (self.replay.ratio > 1)


@dataclass(frozen=True)
class Judged:
    """What one quantity (time or memory) showed."""

    floors: Mapping[str, float]  # of program and replay, as factors
    ratios: Mapping[str, Mapping[str, stats.Estimate]]  # [program or replay][allocator], to the baseline
    pairs: Sequence[Pair]
    rho: float | None  # Spearman's, over the allocators' medians; None for fewer than three

    @property
    def alike(self) -> int:
        return sum(pair.alike for pair in self.pairs)

    @property
    def exceptions(self) -> list[Pair]:
        return [pair for pair in self.pairs if not pair.alike]


@dataclass
class Taken:
    samples: dict[str, dict[str, dict[str, list[float]]]] = field(
        default_factory=lambda: {side: {TIME: {}, MEMORY: {}} for side in (PROGRAM, REPLAY)}
    )


def _add(taken: Taken, side: str, name: str, seconds: float, size: float) -> None:
    taken.samples[side][TIME].setdefault(name, []).append(seconds)
    taken.samples[side][MEMORY].setdefault(name, []).append(size)


def measure(
    launch: Callable[[Allocator], real_program.Launch],
    job: Callable[[Allocator], worker.Job],
    entries: Sequence[Allocator],
    blocks: int,
    chance: random.Random,
    say: Callable[[str], None],
) -> Samples:
    """In each block every allocator once, in random order: the program, then the replay. UserError when
    either fails."""
    taken = Taken()
    for block in range(blocks):
        say(f"block {block + 1} of {blocks}")
        for entry in chance.sample(list(entries), len(entries)):
            outcome = real_program.run(launch(entry))
            if outcome.fault or outcome.status != 0:
                last = (outcome.words.splitlines() or [""])[-1]
                raise UserError(f"trace validate: program under {entry.name}: {outcome.ended} {last}".strip())
            _add(taken, PROGRAM, entry.name, outcome.wall_seconds, outcome.peak_rss_bytes)
            raw = worker.measure(job(entry), chance)
            if raw.get("error_occurred"):
                raise UserError(f"trace validate: replay with {entry.name}: {raw['error_message']}")
            _add(taken, REPLAY, entry.name, raw["wall_seconds"], raw["memory_bytes"])
    return taken.samples


def _estimate(values: Mapping[str, Sequence[float]], first: str, second: str) -> stats.Estimate:
    found = stats.paired_ratio(stats.logarithms(values[first]) - stats.logarithms(values[second]))
    assert found is not None
    return found


def _floor(values: Mapping[str, Sequence[float]], baseline: Allocator) -> float:
    logs = stats.logarithms(values[baseline.control().name]) - stats.logarithms(values[baseline.name])
    return stats.noise_floor(logs) or 1.0


def _rho(program: Sequence[float], replay: Sequence[float]) -> float | None:
    if len(program) < 3 or len(set(program)) == 1 or len(set(replay)) == 1:
        return None
    from scipy import stats as scipy_stats  # here: its import takes longer than most commands

    return float(scipy_stats.spearmanr(program, replay).statistic)


def judge(samples: Samples, names: Sequence[str], baseline: Allocator, what: str) -> Judged:
    """What the samples say of one quantity."""
    sides = {side: samples[side][what] for side in (PROGRAM, REPLAY)}
    floors = {side: _floor(values, baseline) for side, values in sides.items()}
    pairs = []
    for first, second in itertools.combinations(names, 2):
        seen = _estimate(sides[PROGRAM], first, second)
        more = seen.low > 1 and seen.ratio > floors[PROGRAM]
        less = seen.high < 1 and seen.ratio < 1 / floors[PROGRAM]
        if more or less:
            pairs.append(Pair(first, second, seen, _estimate(sides[REPLAY], first, second)))
    medians = [[stats.median(sides[side][name]) for name in names] for side in (PROGRAM, REPLAY)]
    ratios = {
        side: {name: _estimate(values, name, baseline.name) for name in names}
        for side, values in sides.items()
    }
    return Judged(floors, ratios, pairs, _rho(medians[0], medians[1]))


def faithful(judged: Mapping[str, Judged]) -> bool:
    """Whether replay orders alike whatever the program tells apart, and memory correlates."""
    rho = judged[MEMORY].rho
    return not any(one.exceptions for one in judged.values()) and (rho is None or rho >= LEAST_RHO)


# ---- what is printed ----


def _cell(value: float, scale: float, estimate: stats.Estimate, is_baseline: bool) -> str:
    if is_baseline:
        return f"{value / scale:,.1f} | 1"
    return f"{value / scale:,.1f} | {estimate.ratio:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _table(samples: Samples, names: Sequence[str], baseline: str, what: str, judged: Judged) -> list[str]:
    scale, unit = (1e-3, "ms") if what == TIME else (2.0**20, "MiB")
    lines = [
        f"| allocator | program, {unit} | of {baseline}'s | replay, {unit} | of {baseline}'s |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in names:
        cells = [
            _cell(stats.median(samples[side][what][name]), scale, judged.ratios[side][name], name == baseline)
            for side in (PROGRAM, REPLAY)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _sentences(what: str, judged: Judged, count: int) -> list[str]:
    every = count * (count - 1) // 2
    floors = ", ".join(f"{side} {100 * (floor - 1):.1f} %" for side, floor in judged.floors.items())
    lines = [
        f"{what}: of {every} pairs of allocators the program tells {len(judged.pairs)} apart; replay orders "
        f"{judged.alike} of them alike. Noise floors: {floors}."
    ]
    if judged.rho is not None:
        goal = f" (goal: at least {LEAST_RHO})" if what == MEMORY else ""
        lines[0] += f" Spearman's rho of the medians: {judged.rho:.2f}{goal}."
    lines += [
        f"- {pair.first} against {pair.second}: program {pair.program.ratio:.3f}, "
        f"replay {pair.replay.ratio:.3f} [{pair.replay.low:.3f}, {pair.replay.high:.3f}]"
        for pair in judged.exceptions
    ]
    return lines


def markdown(
    title: str, samples: Samples, names: Sequence[str], baseline: str, judged: Mapping[str, Judged]
) -> str:
    lines = [f"### {title}", ""]
    for what in (TIME, MEMORY):
        heading = "wall time" if what == TIME else "peak resident memory"
        lines += [f"**{heading}**", "", *_table(samples, names, baseline, what, judged[what]), ""]
        lines += [*_sentences(what, judged[what], len(names)), ""]
    return "\n".join(lines)


def as_json(trace: Path, command: Sequence[str], samples: Samples, judged: Mapping[str, Judged]) -> str:
    found: Json = {"trace": str(trace), "command": list(command), "faithful": faithful(judged)}
    for what, one in judged.items():
        found[what] = {
            "noise_floors": dict(one.floors),
            "pairs": len(one.pairs),
            "alike": one.alike,
            "spearman_rho": one.rho,
            "exceptions": [[pair.first, pair.second] for pair in one.exceptions],
            "samples": {side: {name: list(v) for name, v in samples[side][what].items()} for side in samples},
        }
    return json.dumps(found, indent=2)
