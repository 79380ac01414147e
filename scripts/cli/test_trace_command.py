"""Tests of heaparena trace and heaparena record --window against a tool that repeats its arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable

import pytest

from cli import cmd_record, cmd_trace

ECHO = """#!/usr/bin/python3
import json, sys
from pathlib import Path
words = sys.argv[1:]
if "bad.hat" in words:
    print("heaparena-trace: bad.hat: byte 64: cut off; record again", file=sys.stderr)
    sys.exit(2)
if words[0] == "collect" or words[0] == "cut":
    Path(words[words.index("-o") + 1]).write_text("a trace")
if words[0] == "collect":
    print(json.dumps({"operations": 100, "meta": []}))
elif words[0] == "info" or (words[0] == "cut" and "--json" in words):
    print(json.dumps({"operations": 40, "remarks": ["cut"], "complete": True}))
else:
    print(json.dumps(words))
sys.exit(1 if "missed.hat" in words else 0)
"""


@pytest.fixture
def echo(fake_build: Path) -> Path:
    tool = fake_build / "bin" / "heaparena-trace"
    tool.unlink()
    tool.write_text(ECHO, encoding="utf-8")
    tool.chmod(0o755)
    return tool


PASSED = [
    (["stat", "a.hat", "--json"], ["stat", "--json", "--", "a.hat"]),
    (
        ["cut", "a.hat", "-o", "b.hat", "--operations", "5:"],
        ["cut", "-o", "b.hat", "--operations", "5:", "--", "a.hat"],
    ),
    (
        ["cut", "a.hat", "-o", "b.hat", "--seconds", "1:2"],
        ["cut", "-o", "b.hat", "--seconds", "1:2", "--", "a.hat"],
    ),
    (["merge", "a", "b", "-o", "c", "--by-clock"], ["merge", "-o", "c", "--by-clock", "--", "a", "b"]),
    (
        ["anonymize", "a", "-o", "b", "--round-sizes", "pow2"],
        ["anonymize", "-o", "b", "--round-sizes", "pow2", "--", "a"],
    ),
    (
        ["fit", "a", "-o", "m.json", "--check", "--seed", "3"],
        ["fit", "-o", "m.json", "--check", "--seed", "3", "--", "a"],
    ),
    (
        ["import", "--from", "mtrace", "log", "-o", "b"],
        ["import", "-o", "b", "--from", "mtrace", "--", "log"],
    ),
]


@pytest.mark.parametrize("words, passed", PASSED, ids=[" ".join(words) for words, _ in PASSED])
def test_actions_are_passed_on(
    heaparena: Callable[..., object], echo: Path, words: list[str], passed: list[str]
) -> None:
    done = heaparena("trace", *words)
    assert getattr(done, "returncode") == 0, getattr(done, "stderr")
    assert json.loads(getattr(done, "stdout")) == passed


REFUSED = [
    (["trace", "stat", "bad.hat"], "bad.hat: byte 64"),
    (["trace", "cut", "a.hat", "-o", "b.hat"], "--operations --seconds is required"),
    (["trace", "cut", "a.hat", "--operations", "1:2"], "-o/--out"),
    (["trace", "import", "a", "-o", "b"], "--from"),
    (["trace", "import", "--from", "strace", "a", "-o", "b"], "invalid choice: 'strace'"),
    (["record", "-o", "t.hat", "--window", "5", "--", "true"], "'5' is not START,LENGTH"),
    (["record", "-o", "t.hat", "--window", "5,0", "--", "true"], "'5,0' is not START,LENGTH"),
    (["record", "-o", "t.hat", "--window", "nan,1", "--", "true"], "is not START,LENGTH"),
]


@pytest.mark.parametrize("words, said", REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_bad_words_get_one_line(
    heaparena: Callable[..., object], echo: Path, words: list[str], said: str
) -> None:
    done = heaparena(*words)
    errors = getattr(done, "stderr")
    assert getattr(done, "returncode") == 2 and said in errors and errors.count("\n") == 1


def test_an_unfaithful_model_is_status_1(heaparena: Callable[..., object], echo: Path) -> None:
    assert getattr(heaparena("trace", "fit", "missed.hat", "-o", "m"), "returncode") == 1


def test_every_option_has_its_place() -> None:
    assert {action.name for action in cmd_trace.ACTIONS} >= {
        "stat",
        "cut",
        "merge",
        "anonymize",
        "fit",
        "import",
    }
    assert cmd_record.window("1.5,2") == (1.5, 3.5)


def test_a_window_is_cut_out(heaparena: Callable[..., object], echo: Path, tmp_path: Path) -> None:
    done = heaparena("record", "-o", "t.hat", "--window", "1,2.5", "--json", "--", "true")
    assert getattr(done, "returncode") == 0, getattr(done, "stderr")
    assert json.loads(getattr(done, "stdout"))["operations"] == 40
    assert (tmp_path / "t.hat").read_text(encoding="utf-8") == "a trace"
