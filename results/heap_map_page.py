"""Heap pictures as one HTML page that plays them, opens without a network, and says the same in a table."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, Sequence

from results import heap_map, heap_map_colours, words
from results.heap_map import MIB, Frame, HeapMap
from results.templating import TEMPLATES, environment

Json = dict[str, Any]

STYLES = ("report.css", "heap_map.css")


def _digits(cells: heap_map.Bytes) -> str:
    """Levels as digits, kinds as letters from "0" on: one ASCII letter a cell."""
    return bytes(cells + ord("0")).decode("ascii")


def _frame(frame: Frame) -> Json:
    data: Json = {
        "moment": heap_map.moment(frame),
        "operations": frame.operations,
        "phase": frame.phase,
        "said": f"{heap_map.mib(frame.live)} live in {frame.blocks:,} blocks, {heap_map.mib(frame.resident)} "
        f"resident, {heap_map.mib(frame.empty)} of it with nothing live",
        "curve": [round(value / MIB, 4) for value in (frame.live, frame.resident)],
        "live": _digits(frame.live_cells),
        "resident": _digits(frame.resident_cells),
    }
    if frame.kinds is not None:
        data["kinds"] = _digits(frame.kinds)
    return data


def page_data(heaps: Sequence[HeapMap]) -> Json:
    return {
        "maps": [
            {"name": heap.name, "breaks": heap.breaks, "frames": [_frame(frame) for frame in heap.frames]}
            for heap in heaps
        ],
        "use": heap_map_colours.of_use(),
        "kinds": heap_map_colours.of_kinds(),
    }


def _css(colour: heap_map_colours.Colour) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _legends(heaps: Sequence[HeapMap]) -> Json:
    seen = {
        int(kind)
        for heap in heaps
        for frame in heap.frames
        if frame.kinds is not None
        for kind in set(frame.kinds)
    }
    colours = heap_map_colours
    return {
        "use": [
            (_css(colours.FULL), "resident and live"),
            (_css(colours.HALF), "resident, half of it live"),
            (_css(colours.WASTE), "resident, nothing live"),
            (_css(colours.UNTOUCHED), "live, but never touched"),
            (_css(colours.PAPER), "neither"),
        ],
        "kinds": [
            (_css(colours.KINDS[letter]), text)
            for index, (letter, text) in enumerate(heap_map.KINDS)
            if index in seen
        ],
    }


def html(heaps: Sequence[HeapMap], title: str, command: str, png: bytes) -> str:
    packed = gzip.compress(
        json.dumps(page_data(heaps), allow_nan=False, separators=(",", ":")).encode(), 6, mtime=0
    )
    panels = []
    for heap in heaps:
        headings, lines = heap_map.table(heap)
        panels.append(
            {
                "heap": heap,
                "sentences": heap_map.sentences(heap),
                "table": {"name": f"Frames of {heap.name}", "headings": headings, "lines": lines},
                "worst": heap_map.moment(heap.frames[heap.worst()]),
                "cell": f"{heap.cell_bytes // 1024} KiB",
            }
        )
    return (
        environment()
        .get_template("heap_map.html.j2")
        .render(
            title=title,
            panels=panels,
            command=command,
            words=words,
            legends=_legends(heaps),
            walked=any(heap.walked for heap in heaps),
            frames=max(len(heap.frames) for heap in heaps),
            start=heaps[0].worst(),
            png=base64.b64encode(png).decode(),
            data=base64.b64encode(packed).decode(),
            style="".join((TEMPLATES / name).read_text(encoding="utf-8") for name in STYLES),
            script=(TEMPLATES / "heap_map.js").read_text(encoding="utf-8"),
        )
    )
