"""Whether the recorder can see a program's heap: it is preloaded, and no other malloc may stand before it."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from cli import elf

SHT_DYNSYM = 11
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")


def defines(path: Path, name: str) -> bool:
    """Whether a 64-bit ELF program defines a function that its shared libraries will use too."""
    try:
        image = path.read_bytes()
        if not image.startswith(b"\x7fELF\x02\x01"):
            return False
        (start,) = struct.unpack_from("<Q", image, 40)
        size, count = struct.unpack_from("<HH", image, 58)
        sections = [SECTION.unpack_from(image, start + index * size) for index in range(count)]
        for section in sections:
            if section[1] != SHT_DYNSYM:
                continue
            names = sections[section[6]][4]
            for at in range(section[4], section[4] + section[5], SYMBOL.size):
                found, _, _, index, _, _ = SYMBOL.unpack_from(image, at)
                if index != 0 and image.startswith(name.encode() + b"\0", names + found):
                    return True
    except (OSError, struct.error, IndexError):
        pass
    return False


def why_not(image: Path) -> str | None:
    """Why a program cannot be recorded and what to do, in words that follow its name; None if it can."""
    if elf.is_static(image):
        return "is statically linked: nothing can be preloaded into it; link it dynamically to record it"
    try:
        facts = image.stat()
    except OSError:
        return None
    other_user = facts.st_mode & stat.S_ISUID and facts.st_uid != os.geteuid()
    other_group = facts.st_mode & stat.S_ISGID and facts.st_gid != os.getegid()
    if other_user or other_group or elf.has_capabilities(image):
        return (
            "runs with rights of its own (set-user-ID, set-group-ID or capabilities) and cannot be recorded: "
            "nothing can be preloaded into it; run a copy without them"
        )
    if defines(image, "malloc"):
        return "has a malloc of its own, which hides the recorder's, and cannot be recorded; build it without"
    return None
