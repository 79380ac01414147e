"""Pictures of heaps, as `heaparena map` took them: from the worker's letters (workloads/heap_map.h) to cells
of bounded number, figures per frame, and what they say in words. Drawn by heap_map_page.py and _png.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np
import numpy.typing as npt

from results import words

Json = dict[str, Any]
Bytes = npt.NDArray[np.uint8]

MIB = 2**20
ALPHABET = b"0123456789abcdefghijklmnopqrstuv"
AFTERWARDS = ("when everything was freed", "some time after that")  # the worker's words
MOST_CELLS = 12_288  # of one picture; larger heaps get several pages a cell
SPARSE = 4  # live sixteenths: a resident page with fewer is pinned by few blocks
LEVELS = 8  # shades of a share

# What a page is to an allocator that can be walked, in the order of the legend.
KINDS: tuple[tuple[str, str], ...] = (
    (".", "not known to the allocator"),
    ("R", "Reserved: address space only"),
    ("P", "Prepared: free, released to the system"),
    ("F", "Ready: free, kept for reuse"),
    ("a", "blocks to 16 B"),
    ("b", "to 32 B"),
    ("c", "to 64 B"),
    ("d", "to 128 B"),
    ("e", "to 256 B"),
    ("f", "to 512 B"),
    ("g", "to 1 KiB"),
    ("h", "to 2 KiB"),
    ("i", "to 4 KiB"),
    ("j", "to 8 KiB"),
    ("k", "over 8 KiB"),
    ("z", "blocks that are not alike"),
)
KIND_LETTERS = "".join(letter for letter, _ in KINDS)


class BadMap(Exception):
    """A map that cannot be drawn; the message is one line."""


@dataclass(frozen=True)
class Frame:
    """One moment. Bytes; `cells` and `kinds` have one entry per cell of the map."""

    phase: str  # "" in the course of the work
    operations: int
    ms: float
    live: int
    blocks: int
    outside: int  # live, but beyond the map's limit
    resident: int  # of the map's pages
    empty: int  # of these: pages with nothing live
    sparse: int  # of these: pages with little live
    states: dict[str, int] | None  # reserved, released, free, blocks, room; of the whole heap, by the walk
    live_cells: Bytes  # 0 .. LEVELS - 1
    resident_cells: Bytes
    kinds: Bytes | None  # index into KINDS

    @property
    def waste(self) -> int:
        """Resident bytes that no live block needs."""
        return max(0, self.resident - self.live + self.outside)


@dataclass(frozen=True)
class HeapMap:
    """The pictures of one allocator. Cells are in the order of addresses; breaks[i]: a gap before cell i."""

    name: str
    version: str
    frames: tuple[Frame, ...]
    cell_bytes: int
    cells: int
    breaks: tuple[int, ...]

    @property
    def walked(self) -> bool:
        return any(frame.kinds is not None for frame in self.frames)

    def peak(self) -> int:
        """Index of the frame with most live bytes."""
        return max(range(len(self.frames)), key=lambda index: self.frames[index].live)

    def worst(self) -> int:
        """Index of the frame before all is freed where most resident memory holds nothing live."""
        during = [i for i, frame in enumerate(self.frames) if frame.phase not in AFTERWARDS]
        return max(during, key=lambda index: self.frames[index].waste)


def _pages(text: str, chunks: int, per_chunk: int, what: str) -> Bytes:
    if len(text) != chunks * per_chunk or not text.isascii():
        raise BadMap(f"{what}: {len(text)} letters for {chunks} chunks")
    pages: Bytes = np.frombuffer(text.encode(), dtype=np.uint8)
    return pages


def _shares(pages: Bytes, order: npt.NDArray[np.int64], per_chunk: int, group: int) -> Bytes:
    """Means over cells of `group` pages, of values 0 .. 15, as levels: 0 only for nothing."""
    filled = np.zeros((len(order), per_chunk))
    known = pages.reshape(-1, per_chunk)
    here = order < len(known)
    filled[here] = known[order[here]]
    cells = filled.reshape(-1, group).mean(axis=1)
    levels: Bytes = np.ceil(cells * (LEVELS - 1) / 15).astype(np.uint8)
    return levels


def _kinds(pages: Bytes, order: npt.NDArray[np.int64], per_chunk: int, group: int) -> Bytes:
    """The kind that most pages of each cell have."""
    index = np.zeros(256, dtype=np.uint8)
    for place, letter in enumerate(KIND_LETTERS):
        index[ord(letter)] = place
    known = index[pages].reshape(-1, per_chunk)
    filled = np.zeros((len(order), per_chunk), dtype=np.uint8)
    here = order < len(known)
    filled[here] = known[order[here]]
    cells = filled.reshape(-1, group)
    counts = np.stack([(cells == kind).sum(axis=1) for kind in range(len(KINDS))])
    most: Bytes = counts.argmax(axis=0).astype(np.uint8)
    return most


def _states(raw: Json) -> dict[str, int] | None:
    if "blocks_bytes" not in raw:
        return None
    return {key: int(raw[f"{key}_bytes"]) for key in ("reserved", "released", "free", "blocks", "room")}


def read(name: str, version: str, raw: Json) -> HeapMap:
    """The map in a worker's detail; raises BadMap if it is damaged."""
    try:
        return _read(name, version, raw)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BadMap(f"{name}: the map is damaged: {type(error).__name__}: {error}") from None


def _read(name: str, version: str, raw: Json) -> HeapMap:
    per_chunk, page = int(raw["chunk_pages"]), int(raw["page"])
    chunks = np.array(raw["chunks"], dtype=np.int64)
    order = np.argsort(chunks, kind="stable")
    group = 1
    while len(chunks) * per_chunk > MOST_CELLS * group and group < per_chunk:
        group *= 2
    decode = np.zeros(256, dtype=np.uint8)
    for place, letter in enumerate(ALPHABET):
        decode[letter] = place
    frames = []
    for one in raw["frames"]:
        count = int(one["chunks"])
        use: Bytes = decode[_pages(one["use"], count, per_chunk, f"{name}: use")]
        live: Bytes = np.bitwise_and(use, 15).astype(np.uint8)
        resident: Bytes = np.right_shift(use, 4).astype(np.uint8)
        kinds = (
            _kinds(_pages(one["kind"], count, per_chunk, f"{name}: kind"), order, per_chunk, group)
            if "kind" in one
            else None
        )
        frames.append(
            Frame(
                str(one["phase"]),
                int(one["operations"]),
                float(one["ms"]),
                int(one["live_bytes"]),
                int(one["live_blocks"]),
                int(one["outside_bytes"]),
                int(one["resident_bytes"]),
                int(((live == 0) & (resident == 1)).sum()) * page,
                int(((live > 0) & (live < SPARSE) & (resident == 1)).sum()) * page,
                _states(one),
                _shares(live, order, per_chunk, group),
                _shares((resident * 15).astype(np.uint8), order, per_chunk, group),
                kinds,
            )
        )
    if not frames:
        raise BadMap(f"{name}: the map has no frame")
    numbers = chunks[order]
    cells = per_chunk // group
    gaps = np.flatnonzero(np.diff(numbers) > 1) + 1
    return HeapMap(
        name,
        version,
        tuple(frames),
        page * group,
        len(chunks) * cells,
        tuple(int(gap) * cells for gap in gaps),
    )


def mib(value: float) -> str:
    return f"{words.number(value / MIB)} MiB"


def moment(frame: Frame) -> str:
    """Where in the run a frame is: "after 12,000 operations", or the phase."""
    return frame.phase or f"after {frame.operations:,} operations"


def sentences(heap: HeapMap) -> list[str]:
    """Where the memory is that no live block needs, at the worst moment and after everything was freed."""
    frame = heap.frames[heap.worst()]
    part = max(frame.resident, 1)
    said = [
        f"{heap.name} wastes most {moment(frame)}: {mib(frame.resident)} resident for {mib(frame.live)} in "
        f"{frame.blocks:,} live blocks. {mib(frame.empty)} ({frame.empty / part:.0%}) are pages with nothing "
        f"live; {mib(frame.sparse)} ({frame.sparse / part:.0%}) are pages that a few blocks hold, under a "
        "quarter full."
    ]
    if frame.states:
        room, live = frame.states["room"], frame.live
        said.append(
            f"Its spans have room for {mib(room)}, {live / max(room, 1):.0%} of it live; "
            f"{mib(frame.states['free'])} of pages are free and kept (Ready), "
            f"{mib(frame.states['released'])} free and released (Prepared), "
            f"{mib(frame.states['reserved'])} of its arenas only reserved."
        )
    last = heap.frames[-1]
    if last.phase:
        said.append(f"{last.phase[0].upper()}{last.phase[1:]}: {mib(last.resident)} still resident.")
    if frame.outside:
        said.append(f"{mib(frame.outside)} of live blocks lie beyond the map's limit and are not drawn.")
    return said


HEADINGS = ("moment", "ms", "live, MiB", "blocks", "resident, MiB", "nothing live, MiB", "few blocks, MiB")
STATE_HEADINGS = ("in spans, MiB", "Ready, MiB", "Prepared, MiB", "Reserved, MiB")


def table(heap: HeapMap) -> tuple[list[str], list[list[str]]]:
    """The frames as a table: headings and lines."""

    def shown(value: int) -> str:
        return words.number(value / MIB)

    lines = []
    for frame in heap.frames:
        line = [
            moment(frame),
            f"{frame.ms:,.0f}",
            shown(frame.live),
            f"{frame.blocks:,}",
            shown(frame.resident),
            shown(frame.empty),
            shown(frame.sparse),
        ]
        if heap.walked:
            states = frame.states or {}
            line += [
                shown(states[key]) if key in states else "-"
                for key in ("blocks", "free", "released", "reserved")
            ]
        lines.append(line)
    return [*HEADINGS, *(STATE_HEADINGS if heap.walked else ())], lines


def chosen_frames(heap: HeapMap, wanted: Sequence[str]) -> list[int]:
    """Indexes of frames by number (from 1) or name: peak, worst, last; raises BadMap for others."""
    named = {"peak": heap.peak(), "worst": heap.worst(), "last": len(heap.frames) - 1}
    found = []
    for word in wanted:
        if word in named:
            found.append(named[word])
        elif word.isdecimal() and 1 <= int(word) <= len(heap.frames):
            found.append(int(word) - 1)
        else:
            raise BadMap(
                f"frame '{word}': give peak, worst, last, or a number from 1 to {len(heap.frames)}, "
                f"the frames of {heap.name}"
            )
    return found
