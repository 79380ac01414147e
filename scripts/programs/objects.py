"""Allocation-heavy Python for scripts/bench to record: JSON, dictionaries, strings, sorting, with a fixed
seed.

Run with PYTHONMALLOC=malloc, so that the interpreter's small objects come from malloc too.
Usage: objects.py [ROUNDS]
"""

import json
import random
import sys
from typing import Any


def record(number: int, rng: random.Random) -> dict[str, Any]:
    """One made-up order: nested dictionaries, lists, strings and numbers."""
    return {
        "id": number,
        "name": "".join(rng.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(rng.randrange(8, 60))),
        "lines": [
            {"item": rng.randrange(10_000), "price": rng.random() * 100} for _ in range(rng.randrange(1, 8))
        ],
        "tags": [f"tag-{rng.randrange(500)}" for _ in range(rng.randrange(6))],
    }


def one_round(rng: random.Random, kept: dict[int, dict[str, Any]]) -> int:
    """Makes records, passes them through JSON, groups and sorts them; `kept` outlives the round."""
    orders = [record(rng.randrange(100_000), rng) for _ in range(400)]
    orders = json.loads(json.dumps(orders))
    by_tag: dict[str, list[int]] = {}
    for order in orders:
        for tag in order["tags"]:
            by_tag.setdefault(tag, []).append(order["id"])
        if order["id"] % 4 == 0:
            kept[order["id"] % 3000] = order
    words = sorted(" ".join(str(order["name"]) for order in orders).split())
    return len(by_tag) + len(set(words))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rng = random.Random(2026)
    kept: dict[int, dict[str, Any]] = {}
    print(sum(one_round(rng, kept) for _ in range(rounds)), len(kept))


if __name__ == "__main__":
    main()
