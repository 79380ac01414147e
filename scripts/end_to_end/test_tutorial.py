"""Every command of scripts/docs/tutorial.md is run, in its order, in a folder that looks like the checkout.

Made shorter only: two allocators where the page takes all, one repetition where it takes several, less work.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import BUILD, ROOT

PAGE = ROOT / "scripts" / "docs" / "tutorial.md"
MEASURE = re.compile(r"heaparena (exec|run) (?!.*--allocators)")


def commands() -> list[str]:
    """The shell commands of the page: blocks marked sh, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r" +", " ", line) for line in lines if line.strip()]


def shortened(command: str) -> str:
    command = re.sub(r"--reps \d+", "--reps 1", command)
    command = re.sub(r"--reps-max \d+", "--reps-max 2", command)
    command = command.replace("run --profile quick", "run --profile quick --scale 0.02")
    return MEASURE.sub(r"heaparena \1 --allocators system,jemalloc ", command)


def test_every_command_of_the_tutorial_works(tmp_path: Path) -> None:
    for name in ("scripts", "workloads", "adapters", "core", "build"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "results").mkdir()
    found = commands()
    assert len(found) > 10
    script = "set -e\n" + "".join(
        f"echo '+++ {number}' >&2\n{shortened(one)}\n" for number, one in enumerate(found)
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "HEAPARENA_BUILD": str(BUILD)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    last = int(re.findall(r"^\+\+\+ (\d+)$", done.stderr, re.MULTILINE)[-1])
    assert done.returncode == 0, f"{found[last]}\n{done.stdout[-800:]}\n{done.stderr[-800:]}"
    assert last == len(found) - 1 and "served by jemalloc" in done.stdout
    for run in ("first", "server", "trace", "programs", "before", "after", "variants"):
        assert (tmp_path / "results" / "runs" / run / "report.html").is_file()


def test_the_pages_link_to_what_is_there() -> None:
    pages = sorted((ROOT / "scripts" / "docs").glob("*.md"))
    assert {"tutorial.md", "reference.md", "allocators.md", "faq.md"} <= {page.name for page in pages}
    for page in pages:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


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
