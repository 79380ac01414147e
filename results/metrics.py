"""What is measured and compared: one table of metrics, each with the worker's pass that it comes from."""

from __future__ import annotations

from dataclasses import dataclass

TIME, LATENCY, TIMELINE, INSTRUCTIONS = "time", "latency", "timeline", "instructions"
MAP = "map"  # pictures of the heap, of `heaparena map`: never in a result file
PASSES = (TIME, LATENCY, TIMELINE, INSTRUCTIONS)


@dataclass(frozen=True)
class Metric:
    """A measured quantity that is compared by ratio; less is better."""

    key: str
    field: str
    title: str
    unit: str
    factor: float  # multiplies the field to give the unit
    less: str  # words for a lower ratio
    more: str
    pass_: str = TIME
    note: str = ""
    counted: bool = False  # not timed: one sample says what many say
    drifts: bool = False  # with the machine's clock, temperature and load


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric("time", "real_time", "Time", "ms", 1.0, "less time", "more time", drifts=True),
        Metric("memory", "memory_bytes", "Memory", "MiB", 1 / 2**20, "less memory", "more memory"),
        Metric(
            "latency",
            "latency_malloc_p999_ns",
            "Tail latency",
            "ns",
            1.0,
            "less tail latency",
            "more tail latency",
            LATENCY,
            "Tail latency is the 99.9th percentile of malloc's time.",
            drifts=True,
        ),
        Metric(
            "instructions",
            "instructions_allocator_per_operation",
            "Instructions",
            "an operation",
            1.0,
            "fewer instructions",
            "more instructions",
            INSTRUCTIONS,
            "Instructions are those inside the allocator: counted, so that load does not matter.",
            True,
        ),
    )
}
