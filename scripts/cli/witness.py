"""What the witness (workloads/witness.c) saw: whose malloc a program and its children called, how often."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

LAYOUT = struct.Struct("=8sQQ1024s1024s1024s")  # `testimony` in workloads/witness.c
MAGIC = b"witness1"
FOLDER = "HEAPARENA_WITNESS"  # the variable that names the folder


@dataclass(frozen=True)
class Testimony:
    """One executed program, its forked children included."""

    program: str  # its executable
    first: str  # the object whose malloc the program calls
    next: str  # the object whose malloc stands behind the witness
    calls: int
    bytes: int  # requested in all

    def uses(self, library: str) -> bool:
        """Whether the allocations that the witness saw went to this library."""
        return _same(self.next, library)

    def has_own_malloc(self, witness: Path) -> bool:
        """Whether a malloc in the executable stands before every preloaded one."""
        return not _same(self.first, str(witness))


def _same(one: str, other: str) -> bool:
    return bool(one and other) and os.path.realpath(one) == os.path.realpath(other)


def read(folder: Path) -> list[Testimony]:
    """All testimonies in a folder, the program that requested the most bytes first."""
    found = []
    for path in sorted(folder.iterdir()):
        image = path.read_bytes()
        if len(image) == LAYOUT.size and image.startswith(MAGIC):
            _, calls, size, *texts = LAYOUT.unpack(image)
            program, first, following = (_text(part) for part in texts)
            found.append(Testimony(program, first, following, calls, size))
    return sorted(found, key=lambda one: (one.bytes, one.calls), reverse=True)


def _text(part: bytes) -> str:
    return part.split(b"\0", 1)[0].decode("utf-8", "replace")


def total(testimonies: Sequence[Testimony]) -> tuple[int, int]:
    """(calls, bytes) of all of them."""
    return sum(one.calls for one in testimonies), sum(one.bytes for one in testimonies)
