"""Loading and writing result files: what is refused, and in which words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable

import pytest

from results import store
from results.conftest import KNOWN, Json, failed


def test_known_file_is_valid_and_survives_a_round_trip(known: Json, tmp_path: Path) -> None:
    assert store.load(KNOWN) == known
    store.save(tmp_path / "results.json", known)
    assert store.load(tmp_path) == known
    assert os.listdir(tmp_path) == ["results.json"]


def _drop(*path: Any) -> Callable[[Json], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def _put(value: Any, *path: Any) -> Callable[[Json], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change, words",
    [
        (_drop("context", "heaparena"), "context.heaparena is missing"),
        (_put(2, "context", "heaparena", "schema"), "version 2"),
        (_drop("benchmarks"), "benchmarks"),
        (_drop("benchmarks", 3, "allocator"), "benchmarks[3]"),
        (_put("fast", "benchmarks", 0, "real_time"), "benchmarks[0].real_time"),
        (_put(-1, "benchmarks", 0, "real_time"), "benchmarks[0].real_time"),
        (_put(True, "benchmarks", 0, "error_occurred"), "error_message"),
        (_drop("benchmarks", 1, "memory_bytes"), "memory_bytes"),
    ],
)
def test_bad_files_are_refused(
    known: Json, tmp_path: Path, change: Callable[[Json], None], words: str
) -> None:
    change(known)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(known), encoding="utf-8")
    with pytest.raises(store.BadResults) as caught:
        store.load(path)
    assert str(path) in str(caught.value) and words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "the file is empty"),
        (KNOWN.read_text(encoding="utf-8")[:5000], "cut off"),
        ('{"context": {"heaparena": NaN}}', "NaN"),
        ("[1, 2]", "not a result file"),
        ("[" * 100000, "results.json"),
    ],
)
def test_broken_texts_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(store.BadResults, match=words):
        store.load(path)


def test_missing_file_and_binary_file(tmp_path: Path) -> None:
    with pytest.raises(store.BadResults, match="no such file"):
        store.load(tmp_path / "nowhere")
    (tmp_path / "results.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(store.BadResults, match="cannot be read"):
        store.load(tmp_path)


def test_failed_entries_are_valid(known: Json) -> None:
    known["benchmarks"].append(failed("churn", "fast", 9, "killed by SIGSEGV"))
    store.validate(known, "test")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, known: Json) -> None:
    path = tmp_path / "results.json"
    path.write_text("old", encoding="utf-8")
    known["benchmarks"][0]["real_time"] = float("nan")
    with pytest.raises(ValueError):
        store.save(path, known)
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["results.json"]


def test_extra_is_added_to_a_written_file(tmp_path: Path, known: Json) -> None:
    store.save(tmp_path / store.FILE_NAME, known)
    store.add_extra(tmp_path, "misuse", {"cells": [1, 2]})
    assert store.load(tmp_path)["context"]["heaparena"]["extra"] == {"misuse": {"cells": [1, 2]}}
