"""Heap pictures from a worker's letters, written by hand: cells, figures, words, the page, the PNG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from results import heap_map, heap_map_colours, heap_map_page
from results.heap_map import BadMap, HeapMap
from results.test_page import browser  # noqa: F401  (a fixture)

pillow = pytest.importorskip("PIL.Image", reason="python3-pil is not installed; scripts/setup installs it")

from results import heap_map_png  # noqa: E402

Json = dict[str, Any]
KIB = 1024


def frame(phase: str, operations: int, use: str, kind: str | None = None, **more: Any) -> Json:
    made: Json = {
        "phase": phase,
        "operations": operations,
        "ms": 1.5,
        "live_bytes": 8 * KIB,
        "live_blocks": 3,
        "outside_bytes": 0,
        "resident_bytes": 24 * KIB,
        "chunks": len(use) // 16,
        "use": use,
    }
    if kind is not None:
        states = {"reserved": 4, "released": 3, "free": 2, "blocks": 1, "room": 1}
        made["kind"] = kind
        made.update((f"{key}_bytes", value * 2**20) for key, value in states.items())
    return {**made, **more}


def known(walked: bool = True) -> Json:
    """Two chunks, the second found lies below the first, with a gap between them."""
    first, both = "v" * 2 + "g" * 2 + "0" * 12, "v" * 2 + "g" * 2 + "0" * 12 + "f" * 1 + "0" * 14 + "h"
    kinds = ("aaFF" + "." * 12, "aaFF" + "." * 12 + "P" * 15 + "z") if walked else (None, None)
    return {
        "page": 4096,
        "chunk_pages": 16,
        "every": 1,
        "chunks": [9, 4],
        "frames": [
            frame("before the work", 0, "", "" if walked else None, live_bytes=0, resident_bytes=0),
            frame("", 10, first, kinds[0]),
            frame("", 20, both, kinds[1], live_bytes=9 * KIB),
            frame(heap_map.AFTERWARDS[0], 30, both, kinds[1], live_bytes=0, resident_bytes=99 * KIB),
        ],
    }


def read(walked: bool = True) -> HeapMap:
    return heap_map.read("mine", "1.0", known(walked))


def test_cells_are_in_the_order_of_addresses() -> None:
    heap = read()
    assert (heap.cells, heap.cell_bytes, heap.breaks) == (32, 4096, (16,))
    last = heap.frames[2]
    assert list(last.live_cells) == [7] + [0] * 14 + [1] + [7, 7] + [0] * 14
    assert list(last.resident_cells) == [0] * 15 + [7] + [7] * 4 + [0] * 12
    # The chunk that was not known yet is empty.
    assert not heap.frames[1].live_cells[:16].any() and heap.frames[1].live_cells[16] == 7
    assert heap.frames[1].kinds is not None
    letters = "".join(heap_map.KIND_LETTERS[kind] for kind in heap.frames[1].kinds)
    assert letters == "." * 16 + "aaFF" + "." * 12


def test_pages_with_nothing_and_with_little_live_are_counted() -> None:
    last = read().frames[2]
    assert last.empty == 2 * 4096 and last.sparse == 1 * 4096


def test_large_heaps_get_several_pages_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap_map, "MOST_CELLS", 8)
    heap = read()
    assert (heap.cells, heap.cell_bytes, heap.breaks) == (8, 4 * 4096, (4,))
    # 15 + 15 + 0 + 0 of 4 * 15 are half; nothing is 0, and a little is not.
    assert list(heap.frames[2].live_cells) == [2, 0, 0, 1, 4, 0, 0, 0]


def test_frames_by_name_and_number() -> None:
    heap = read()
    assert heap_map.chosen_frames(heap, ["peak", "worst", "last", "1"]) == [2, 1, 3, 0]
    with pytest.raises(BadMap, match="from 1 to 4"):
        heap_map.chosen_frames(heap, ["5"])


def test_what_is_said() -> None:
    said = " ".join(heap_map.sentences(read()))
    assert "mine wastes most after 10 operations" in said and "(33%) are pages with nothing live" in said
    assert "4.00 MiB of its arenas only reserved" in said
    assert "Reserved" not in " ".join(heap_map.sentences(read(False)))


@pytest.mark.parametrize("key", ["chunks", "frames", "page"])
def test_a_damaged_map_is_refused(key: str) -> None:
    broken = known()
    del broken[key]
    with pytest.raises(BadMap, match="damaged"):
        heap_map.read("mine", "1", broken)
    short = known()
    short["frames"][1]["use"] = "v"
    with pytest.raises(BadMap, match="1 letters for 1 chunks"):
        heap_map.read("mine", "1", short)


def test_colours_tell_waste_from_use() -> None:
    palette = heap_map_colours.of_use()
    assert palette[0][7] == heap_map_colours.WASTE and palette[7][7] == heap_map_colours.FULL
    assert palette[0][0] == heap_map_colours.PAPER and palette[3][0] == heap_map_colours.UNTOUCHED
    assert len(heap_map_colours.of_kinds()) == len(heap_map.KINDS)


def test_png(tmp_path: Path) -> None:
    heap_map_png.write([read(), read(False)], "title", ["worst", "last"], tmp_path / "map.png")
    image = pillow.open(tmp_path / "map.png").convert("RGB")
    assert image.width == heap_map_png.MARGIN + 2 * (128 * 4 + heap_map_png.MARGIN)
    colours = {colour for _, colour in image.getcolors(1 << 16)}
    assert {heap_map_colours.WASTE, heap_map_colours.FULL} <= colours


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    heaps = [read(), heap_map.read("<b>other", "2", known(False))]
    stream = io.BytesIO()
    heap_map_png.picture(heaps, "title", ["worst"]).save(stream, "PNG")
    path = tmp_path_factory.mktemp("map") / "map.html"
    path.write_text(
        heap_map_page.html(heaps, "a <title>", "heaparena map", stream.getvalue()), encoding="utf-8"
    )
    return path


def wait_for(browser: Any, condition: str) -> None:  # noqa: F811
    script = (
        f"const done = arguments[0]; const look = () => {condition} ? done(1) : setTimeout(look, 20); look()"
    )
    assert browser.execute_async_script(script) == 1


def open_map(browser: Any, page: Path, width: int, dark: bool = False) -> None:  # noqa: F811
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page.as_uri())
    browser.set_script_timeout(20)
    wait_for(browser, "document.documentElement.dataset.map === 'ready'")


def colour_at(browser: Any, index: int, cell: int) -> tuple[int, ...]:  # noqa: F811
    script = (
        "const canvas = document.querySelectorAll('canvas.cells')[arguments[0]];"
        "const size = canvas.width / 128; const context = canvas.getContext('2d');"
        "return [...context.getImageData((arguments[1] + .5) * size, size / 2, 1, 1).data].slice(0, 3)"
    )
    return tuple(browser.execute_script(script, index, cell))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_draws_the_frames(browser: Any, page: Path, width: int, dark: bool) -> None:  # noqa: F811
    open_map(browser, page, width, dark)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []
    assert colour_at(browser, 0, 16) == heap_map_colours.FULL
    assert colour_at(browser, 0, 18) == heap_map_colours.WASTE
    browser.get_log("browser")  # Chromium's advice on reading pixels as often as colour_at does


def test_slider_and_colour_and_play(browser: Any, page: Path) -> None:  # noqa: F811
    open_map(browser, page, 1280)
    move = (
        "const slider = document.querySelector('#frame');"
        "slider.value = arguments[0]; slider.dispatchEvent(new Event('input'))"
    )
    browser.execute_script(move, 0)
    label = "return document.querySelectorAll('canvas.cells')[arguments[0]].getAttribute('aria-label')"
    assert "Before the work" in browser.execute_script(label, 0)
    assert colour_at(browser, 0, 16) != heap_map_colours.FULL
    browser.execute_script(move, 2)
    for index in (0, 1):
        assert "After 20 operations" in browser.execute_script(label, index)
    choose = (
        "const c = document.querySelector('#colour'); c.value = 'kinds'; c.dispatchEvent(new Event('change'))"
    )
    browser.execute_script(choose)
    assert colour_at(browser, 0, 16) == heap_map_colours.KINDS["a"]
    assert colour_at(browser, 1, 16) == heap_map_colours.FULL  # it has no kinds
    play = browser.find_element("id", "play")
    browser.execute_script(move, 0)
    play.click()
    assert play.text == "Pause"
    wait_for(browser, "document.querySelector('#play').textContent === 'Play'")
    assert browser.execute_script("return document.querySelector('#frame').value") == "3"
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_readable_without_scripts_and_escaped(browser: Any, page: Path) -> None:  # noqa: F811
    text = page.read_text(encoding="utf-8")
    assert "<b>other" not in text and "&lt;b&gt;other" in text and "http" not in text.partition("<script")[0]
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        shown = browser.find_element("tag name", "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "wastes most" in shown and "All frames" in shown
