"""Heap pictures as one PNG: allocators down, chosen moments across."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from results import heap_map, heap_map_colours
from results.heap_map import HeapMap

COLUMNS = 128  # cells
CELL = 4  # pixels
MARGIN = 24
CAPTION = 44
LEGEND = (
    (heap_map_colours.FULL, "resident, live"),
    (heap_map_colours.HALF, "half live"),
    (heap_map_colours.WASTE, "resident, nothing live"),
    (heap_map_colours.UNTOUCHED, "live, never touched"),
    (heap_map_colours.PAPER, "neither"),
)
INK, SOFT = (26, 29, 33), (91, 99, 109)


def _font(size: int) -> Any:
    """DejaVu where it is installed, else the small one that Pillow brings."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default()


def cells_as_image(heap: HeapMap, index: int) -> Any:
    """One frame: a pixel a cell, in rows of COLUMNS."""
    frame = heap.frames[index]
    palette = np.array(heap_map_colours.of_use(), dtype=np.uint8)
    rows = max(1, -(-heap.cells // COLUMNS))
    pixels = np.full((rows * COLUMNS, 3), 255, dtype=np.uint8)
    pixels[: heap.cells] = palette[frame.live_cells, frame.resident_cells]
    return Image.fromarray(pixels.reshape(rows, COLUMNS, 3), "RGB")


def picture(heaps: Sequence[HeapMap], title: str, wanted: Sequence[str]) -> Any:
    """The whole image; raises heap_map.BadMap for frames that there are not."""
    chosen = [heap_map.chosen_frames(heap, wanted) for heap in heaps]
    images = [[cells_as_image(heap, i) for i in indexes] for heap, indexes in zip(heaps, chosen)]
    heights = [max(image.height for image in row) * CELL for row in images]
    width = MARGIN + len(wanted) * (COLUMNS * CELL + MARGIN)
    height = MARGIN + CAPTION + sum(row + CAPTION + MARGIN for row in heights) + 2 * MARGIN
    canvas = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN // 2), title, INK, _font(20))
    top = MARGIN + CAPTION
    for heap, indexes, row, tall in zip(heaps, chosen, images, heights):
        for column, (index, image) in enumerate(zip(indexes, row)):
            left = MARGIN + column * (COLUMNS * CELL + MARGIN)
            _caption(draw, heap, index, left, top)
            large = image.resize((image.width * CELL, image.height * CELL), Image.NEAREST)
            canvas.paste(large, (left, top + CAPTION))
        top += CAPTION + tall + MARGIN
    _legend(draw, top)
    return canvas


def _caption(draw: Any, heap: HeapMap, index: int, left: int, top: int) -> None:
    frame = heap.frames[index]
    draw.text((left, top), f"{heap.name}, {heap_map.moment(frame)}", INK, _font(15))
    figures = f"{heap_map.mib(frame.live)} live, {heap_map.mib(frame.resident)} resident"
    draw.text((left, top + 20), figures, SOFT, _font(13))


def _legend(draw: Any, top: int) -> None:
    left = MARGIN
    for colour, text in LEGEND:
        draw.rectangle((left, top, left + 14, top + 14), colour, SOFT)
        draw.text((left + 20, top - 1), text, SOFT, _font(13))
        left += 40 + int(draw.textlength(text, _font(13)))


def write(heaps: Sequence[HeapMap], title: str, wanted: Sequence[str], path: Path) -> None:
    picture(heaps, title, wanted).save(path, "PNG", optimize=True)
