"""Every command of every README is run: here, shortened (pages.py), or by the test that ELSEWHERE names. The
tutorial has a test of its own."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from pages import commands, pages, run_all, shortened

sys.path[0:0] = [str(ROOT), str(ROOT / "scripts")]

from cli.main import parser  # noqa: E402  (the path above must come first)

PAGES = [page for page in pages() if page.name not in ("tutorial.md", "reference.md")]

# Takes minutes, and measures the whole machine: run in a clean root before a release.
BY_HAND = ("scripts/bench",)

# Too long, or in need of more than a checkout: what the command begins with or holds, and who runs it.
ELSEWHERE = {
    "scripts/test": (".ci/run", "scripts/test"),
    "cmake --install": ("scripts/end_to_end/test_install.py", '"cmake", "--install"'),
    "cmake --build build/release --target uninstall": (
        "scripts/end_to_end/test_install.py",
        "uninstall.cmake",
    ),
    "scripts/packaging/package.sh": ("scripts/end_to_end/test_install.py", '"cpack"'),
    "cmake -S adapters/example": ("scripts/end_to_end/test_install.py", '"cmake", "-S", source'),
    "export HEAPARENA_ALLOCATORS=pocket": ("scripts/end_to_end/test_install.py", "HEAPARENA_ALLOCATORS"),
    "heaparena list allocators; heaparena run --allocators system,pocket": (
        "scripts/end_to_end/test_install.py",
        "system,pocket",
    ),
    "heaparena run --launcher slurm": ("scripts/end_to_end/test_slurm.py", '"slurm"'),
    "heaparena fuzz --launcher slurm": ("scripts/end_to_end/test_slurm.py", '"fuzz"'),
    "/usr/bin/python3 -m pytest": ("scripts/test", "-m pytest"),
    "flake8": ("scripts/test", "-m flake8"),
    "MYPYPATH=.:scripts mypy": ("scripts/test", "-m mypy"),
}


def run_elsewhere(command: str) -> str | None:
    return next((start for start in (*ELSEWHERE, *BY_HAND) if command.startswith(start)), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_works(page: Path, tmp_path: Path) -> None:
    here = [shortened(one) for one in commands(page) if not run_elsewhere(one)]
    if not here:
        pytest.skip("shows no command that is run here")
    run_all(here, tmp_path)


def test_what_is_run_elsewhere_is() -> None:
    shown = [one for page in PAGES for one in commands(page)]
    for start, (file, words) in ELSEWHERE.items():
        assert any(command.startswith(start) for command in shown), f"no page shows {start}"
        assert words in (ROOT / file).read_text(encoding="utf-8"), f"{file} does not run {start}"


def test_the_parser_takes_every_command_as_shown() -> None:
    found = [
        words
        for page in PAGES
        for line in commands(page)
        for words in re.findall(r"(?:^|[;&] ?)(?:scripts/)?heaparena (.*?)(?=;|&&|$)", line)
    ]
    assert len(found) > 15
    for words in found:
        assert parser().parse_args(shlex.split(words))
