"""Which CPUs measured processes may use: --cpus and --isolate."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from cli.errors import UserError

MOST = 65535  # the largest CPU number that is believed
ISOLATED = Path("/sys/devices/system/cpu/isolated")


@dataclass(frozen=True)
class Choice:
    cpus: tuple[int, ...] = ()  # empty: all
    warnings: list[dict[str, str]] = field(default_factory=list)


def cpu_list(text: str) -> list[int]:
    """[0, 1, 2, 8] of "0-2,8"; ValueError if it is not of that form."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(first + last) > 9:
            raise ValueError(part)
        if int(last or first) > MOST:
            raise ValueError(part)
        numbers.update(range(int(first), int(last or first) + 1))
    return sorted(numbers)


def choose(wanted: str | None, isolate: bool) -> Choice:
    """The CPUs of --cpus or --isolate. With --isolate heaparena itself moves to the others."""
    usable = sorted(os.sched_getaffinity(0))
    warnings: list[dict[str, str]] = []
    if wanted is not None:
        chosen = _given(wanted, usable)
    elif isolate:
        chosen, warnings = _isolated(usable)
    else:
        return Choice()
    if isolate:
        others = [cpu for cpu in usable if cpu not in chosen]
        if not others:
            raise UserError(
                f"--isolate: --cpus {wanted} leaves no CPU to heaparena itself; leave out one of them"
            )
        os.sched_setaffinity(0, others)
    return Choice(tuple(chosen), warnings)


def _given(text: str, usable: list[int]) -> list[int]:
    try:
        numbers = cpu_list(text)
    except ValueError:
        raise UserError(f"--cpus {text}: not a list of CPUs such as 0-3,8") from None
    absent = [str(cpu) for cpu in numbers if cpu not in usable]
    if absent or not numbers:
        raise UserError(
            f"--cpus {text}: no CPU {', '.join(absent)} here; usable: {','.join(map(str, usable))}"
        )
    return numbers


def _isolated(usable: list[int]) -> tuple[list[int], list[dict[str, str]]]:
    """The kernel's isolated CPUs if there are any; else all but the first, and what that lacks."""
    try:
        found = [cpu for cpu in cpu_list(ISOLATED.read_text(encoding="ascii")) if cpu in usable]
    except (OSError, ValueError):
        found = []
    if found and len(found) < len(usable):
        return found, []
    if len(usable) < 2:
        raise UserError("--isolate: there is one CPU only; nothing can be kept off it")
    todo = "boot with isolcpus=LIST nohz_full=LIST for CPUs that the kernel keeps other programs off"
    return usable[1:], [
        {"what": "the kernel has no isolated CPUs: --isolate only kept heaparena off", "todo": todo}
    ]
