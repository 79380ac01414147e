"""What the end-to-end tests share: the command as users start it, libraries compiled on the spot."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HEAPARENA_BUILD") or ROOT / "build" / "release")
GOMALLOC = BUILD / "lib" / "libgomalloc.so"
TRACES = ROOT / "workloads" / "traces"

Command = Callable[..., "subprocess.CompletedProcess[str]"]

# In the background of a script SIGINT is ignored, and all that is started here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = ("test_tutorial.py", "test_pages.py", "test_install.py", "test_slurm.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each file's tests are run by one process; with the long ones first, all end at about the same time."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture
def heaparena() -> Command:
    """Runs scripts/heaparena with arguments; the result has returncode, stdout and stderr."""

    def run(*arguments: object, timeout: float = 300, **options: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(ROOT / "scripts" / "heaparena"), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **options,
        )

    return run


@pytest.fixture
def library(tmp_path: Path) -> Callable[[str, str], Path]:
    """Compiles C text into a shared library."""

    def compile_library(name: str, text: str) -> Path:
        source = tmp_path / f"{name}.c"
        source.write_text(text)
        path = tmp_path / f"lib{name}.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-w", "-fno-builtin", "-o", str(path), str(source)], check=True
        )
        return path

    return compile_library


def load(folder: Path) -> Any:
    """The results of a run's output folder."""
    return json.loads((folder / "results.json").read_text())


def refused(done: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    """The command refused its input: status 2, one line on stderr that holds each part, no traceback."""
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in lines[0], done.stderr
