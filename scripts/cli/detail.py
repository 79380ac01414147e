"""Reads the detail file of a further pass and trims it to what a report draws: curves of bounded size."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Sequence

from results.metrics import LATENCY, MAP, TIMELINE

Json = dict[str, Any]

LARGEST = 64 << 20
BUCKETS = 80  # of a histogram
POINTS = 160  # of a curve
FIELDS = ("ms", "rss", "live", "usable", "pss", "huge")


def read(path: Path, pass_: str) -> Json:
    """{"detail": ...} of a pass that has one, or {"error_occurred": ...}."""
    trim = {LATENCY: _latency, TIMELINE: timeline, MAP: _whole}.get(pass_)
    if trim is None:
        return {}
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it has more than 64 MiB")
        data = json.loads(path.read_bytes(), parse_constant=_refuse)
        return {"detail": {pass_: trim(data[pass_])}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        return {
            "error_occurred": True,
            "error_message": f"worker wrote no usable detail of pass {pass_}: {why}",
        }


def _refuse(text: str) -> float:
    raise ValueError(text)


def _whole(data: Json) -> Json:
    """Pictures are read by results/heap_map.py, which checks them."""
    return dict(data)


def _latency(data: Json) -> Json:
    calls = {}
    for name, call in data["calls"].items():
        numbers = {key: _number(call[key]) for key in ("p50", "p99", "p999", "p9999", "max") if key in call}
        histogram = [[_number(upper), int(count)] for upper, count in call["histogram"]]
        calls[str(name)] = {"count": int(call["count"]), **numbers, "histogram": buckets(histogram)}
    return {"unit": "ns", "overhead_ns": _number(data.get("overhead_ns", 0)), "calls": calls}


def buckets(histogram: Sequence[Sequence[float]]) -> list[list[float]]:
    """The histogram with at most BUCKETS buckets, each ending where one of the original ends. Buckets are
    joined evenly on a logarithmic scale, so that the worst calls stay apart."""
    filled = sorted([upper, count] for upper, count in histogram if count > 0)
    if len(filled) <= BUCKETS:
        return filled
    logs = [math.log(max(upper, 1)) for upper, _ in filled]
    width = (logs[-1] - logs[0]) / (BUCKETS - 1) or 1.0
    joined: dict[int, list[float]] = {}
    for (upper, count), place in zip(filled, logs):
        bucket = joined.setdefault(math.ceil((place - logs[0]) / width), [upper, 0])
        bucket[0], bucket[1] = upper, bucket[1] + count
    return list(joined.values())


def timeline(data: Json) -> Json:
    """A curve of memory over time, trimmed: of {"points": [{"ms", "rss", ...}], ...}."""
    points = data["points"]
    have = [field for field in FIELDS if any(field in point for point in points)]
    if "ms" not in have or "rss" not in have:
        raise ValueError("points lack ms or rss")
    rows = [[_number(point.get(field)) for field in have] for point in points]
    after = [[_number(point["ms"]), _number(point["rss"])] for point in data.get("after_free", [])]
    return {
        "interval_ms": _number(data.get("interval_ms", 0)),
        "fields": have,
        "points": thinned(rows, have.index("rss")),
        "free_at_ms": _number(data.get("free_at_ms")),
        "after_free": thinned(after, 1),
    }


def thinned(points: list[list[Any]], key: int) -> list[list[Any]]:
    """At most POINTS of the points: of each stretch the largest, so that no peak is lost; the
    first and the last stay."""
    if len(points) <= POINTS:
        return points
    inner, stretches = points[1:-1], POINTS - 2
    cuts = [len(inner) * part // stretches for part in range(stretches + 1)]
    chosen = [max(inner[a:b], key=lambda point: point[key] or 0) for a, b in zip(cuts, cuts[1:])]
    return [points[0], *chosen, points[-1]]


def _number(value: Any) -> Any:
    """A number with six digits at most: a report needs no more."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    return value if isinstance(value, int) else float(f"{value:.6g}")
