"""Every command of scripts/docs/tutorial.md is run, and the reference is the parser's."""

import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from pages import commands, run_all, shortened

PAGE = ROOT / "scripts" / "docs" / "tutorial.md"


def test_every_command_of_the_tutorial_works(tmp_path: Path) -> None:
    found = commands(PAGE)
    assert len(found) > 10
    assert "served by jemalloc" in run_all([shortened(one) for one in found], tmp_path)
    for run in ("first", "server", "trace", "programs", "before", "after", "variants"):
        assert (tmp_path / "results" / "runs" / run / "report.html").is_file()


def test_the_reference_is_what_the_parser_says() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "docs" / "reference.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [["--chek"], ["x"]])
def test_the_reference_s_writer_refuses_other_words(words: list[str]) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "docs" / "reference.py", *words], capture_output=True, check=False
    )
    assert done.returncode == 2
