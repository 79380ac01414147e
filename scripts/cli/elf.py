"""The facts heaparena reads off an ELF file: is it one, for which machine, is it statically linked, what is
its build id, does it bring an allocator."""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from pathlib import Path
from typing import Iterator

PT_INTERP, PT_NOTE = 3, 4
NT_GNU_BUILD_ID = 3
# What stands in the image of a program that brings an allocator. A hint for people, never a proof.
OWN_ALLOCATORS = (
    (b"\xff Go buildinf:", "a Go program: the allocator of Go's runtime"),
    (b"<jemalloc>: ", "jemalloc is linked in"),
    (b"PartitionAlloc", "PartitionAlloc is linked in"),
    (b"TCMALLOC_", "tcmalloc is linked in"),
    (b"mimalloc: ", "mimalloc is linked in"),
)


def is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _segments(image: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, content) of each program header."""
    wide, order = image[4] == 2, "<" if image[5] == 1 else ">"
    if wide:
        (offset,) = struct.unpack_from(order + "Q", image, 32)
        size, count = struct.unpack_from(order + "HH", image, 54)
    else:
        (offset,) = struct.unpack_from(order + "I", image, 28)
        size, count = struct.unpack_from(order + "HH", image, 42)
    for index in range(count):
        at = offset + index * size
        (kind,) = struct.unpack_from(order + "I", image, at)
        (start,) = struct.unpack_from(order + ("Q" if wide else "I"), image, at + (8 if wide else 4))
        (length,) = struct.unpack_from(order + ("Q" if wide else "I"), image, at + (32 if wide else 16))
        end = start + length
        yield kind, image[start:end]


def is_static(path: Path) -> bool:
    """True for an ELF program without an interpreter: nothing can be preloaded into it."""
    if not is_elf(path):
        return False
    try:
        return all(kind != PT_INTERP for kind, _ in _segments(path.read_bytes()))
    except (struct.error, IndexError):
        return False


def build_id(path: Path) -> str | None:
    """The GNU build id; for a file without one, the SHA-256 of its content. None if it cannot be read."""
    try:
        image = path.read_bytes()
    except OSError:
        return None
    try:
        for kind, content in _segments(image):
            found = _note(content, image[5] == 1) if kind == PT_NOTE else None
            if found:
                return found
    except (struct.error, IndexError):
        pass
    return "sha256:" + hashlib.sha256(image).hexdigest()


def _note(content: bytes, little: bool) -> str | None:
    at = 0
    while at + 12 <= len(content):
        name_size, size, kind = struct.unpack_from("<III" if little else ">III", content, at)
        name_at = at + 12
        content_at = name_at + (name_size + 3) // 4 * 4
        end = content_at + size
        if kind == NT_GNU_BUILD_ID and content.startswith(b"GNU\0", name_at):
            return content[content_at:end].hex()
        at = (end + 3) // 4 * 4
    return None


def machine(path: Path) -> tuple[int, int] | None:
    """(class: 1 for 32 bits and 2 for 64, machine number) of an ELF file."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError:
        return None
    if len(head) < 20 or not head.startswith(b"\x7fELF"):
        return None
    (number,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
    return head[4], number


def has_capabilities(path: Path) -> bool:
    """Whether the file gives its process capabilities; the dynamic loader then ignores LD_PRELOAD."""
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def own_allocator(path: Path) -> str | None:
    """Which allocator the program seems to bring, in words."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
            return next((words for mark, words in OWN_ALLOCATORS if image.find(mark) >= 0), None)
    except (OSError, ValueError):
        return None
