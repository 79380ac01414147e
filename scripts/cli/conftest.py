"""Shared by the tests of the command: a build folder with the fake worker in it, and a way to call
heaparena."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[0:0] = [str(ROOT), str(ROOT / "scripts")]

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# In the background of a script SIGINT is ignored, and all that is started here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def fake_build(tmp_path: Path) -> Path:
    """A build folder whose programs are the fakes of testdata/."""
    build = tmp_path / "build"
    (build / "bin").mkdir(parents=True)
    (build / "lib").mkdir()
    (build / "bin" / "heaparena-worker").symlink_to(HERE / "testdata" / "fake_worker.py")
    (build / "bin" / "heaparena-trace").symlink_to(HERE / "testdata" / "fake_trace.py")
    (build / "lib" / "libheaparena-record.so").symlink_to("/lib/x86_64-linux-gnu/libc.so.6")
    return build


@pytest.fixture
def environment(fake_build: Path) -> dict[str, str]:
    return {**os.environ, "HEAPARENA_BUILD": str(fake_build), "COLUMNS": "160"}


@pytest.fixture
def heaparena(environment: dict[str, str], tmp_path: Path) -> Run:
    """Calls scripts/heaparena with the fake build, in a folder of its own."""

    def call(*words: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [ROOT / "scripts" / "heaparena", *map(str, words)],
            env={**environment, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return call
