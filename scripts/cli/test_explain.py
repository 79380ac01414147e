"""heaparena explain: what it accepts, and how it tells what heaparena-explain saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import cmd_explain
from cli.errors import UserError

LIMITS = {
    "tiny_below": 16, "small_most": 32768, "page": 8192, "size_classes": 68, "thread_large_pages": 32,
    "thread_large_total_pages": 96, "page_cache_run_pages": 64,
}  # fmt: skip
SMALL = {
    "request": 100, "align": 0, "kind": "small", "object_size": 112, "waste_bytes": 12, "span_pages": 2,
    "span_bytes": 16384, "size_class": 9, "span_class": 9, "noscan": True, "objects": 146, "groups": 3,
    "tail_bytes": 32, "slot": {"index": 9, "bytes": 64, "stack_holds": 31, "claims": 64}, "probes": 1000,
    "served_growing": {"alloc_cache": 980, "page-alloc": 20}, "served_pairs": {"stack": 1000},
}  # fmt: skip
LARGE = {
    "request": 40000, "align": 0, "kind": "large", "object_size": 40960, "waste_bytes": 960, "span_pages": 5,
    "kept_by_thread": True, "kept_by_page_cache": True, "probes": 10,
    "served_growing": {"page-alloc": 10}, "served_pairs": {"large-cache": 10},
}  # fmt: skip


def test_sizes() -> None:
    assert cmd_explain.parse_size("100") == 100
    assert cmd_explain.parse_size("4KiB") == 4096
    assert cmd_explain.parse_size("1TiB") == 2**40
    for bad in ("", "-1", "1.5", "4kb", "KiB", "9" * 30, "1 KiB"):
        with pytest.raises(UserError, match="not a number of bytes"):
            cmd_explain.parse_size(bad)
    assert cmd_explain.parse_align("64") == 64
    for bad in ("0", "3", "48KiB"):
        with pytest.raises(UserError, match="not a power of two"):
            cmd_explain.parse_align(bad)


def test_facts_of_a_small_request() -> None:
    lines = dict(cmd_explain.facts(SMALL, LIMITS))
    assert lines["block"] == "112 B; waste 12 B, 10.7 % of it"
    assert lines["class"] == "9 of 67; span class 9, noscan"
    assert lines["span"] == "2 pages of 8 KiB (16 KiB): 146 objects in 3 groups of 64, 32 B left over"
    shares = {level: (growing, pairs) for level, _, growing, pairs in cmd_explain.path(SMALL)}
    assert shares["stack"] == ("-", "100.0 %") and shares["alloc_cache"] == ("98.0 %", "-")
    assert "large-cache" not in shares and list(shares)[-1] == "new-arena"


def test_facts_of_a_large_request() -> None:
    lines = dict(cmd_explain.facts(LARGE, LIMITS))
    assert lines["pages"] == "5 pages of 8 KiB, a span of its own"
    assert "the thread keeps it (up to 32 pages a block, 96 in all)" in lines["at free"]
    thrown = dict(cmd_explain.facts({**LARGE, "kept_by_thread": False, "kept_by_page_cache": False}, LIMITS))
    assert thrown["at free"].startswith("its pages go back to the page allocator")
    assert cmd_explain.path(LARGE)[0][3] == "100.0 %"


def test_cost_is_the_counted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = tmp_path / "instructions.golden"
    golden.write_text("# words\npair-64 61\npair-2048 72\npair-100000 177\nbatch-64 94\n")
    monkeypatch.setattr(cmd_explain, "GOLDEN", golden)
    assert " 61 instructions, malloc(64)" in cmd_explain.cost(SMALL)
    assert " 177 instructions, malloc(100000)" in cmd_explain.cost(LARGE)
    assert cmd_explain.cost({**LARGE, "kept_by_thread": False}) == ""
