"""The pages, and the commands that they show as tests run them: all, in their order, made shorter only."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from conftest import BUILD, GOMALLOC, ROOT

SERVICE = "#!/bin/sh\nexec /usr/bin/python3 -S -c 'print(len([str(i) for i in range(9999)]))'\n"

# What a page leaves to its reader, and what takes long: two allocators where the page takes all, one block
# where it takes several, less work.
SHORTER = [
    (r"--reps \d+", "--reps 1"),
    (r"--reps-max \d+", "--reps-max 2"),
    (r"--seconds \d+", "--seconds 2"),
    (r"heaparena fuzz(?!.*--seconds)", "heaparena fuzz --seconds 2"),
    (r"run (?=.*--(profile quick|workloads))(?!.*(--scale|profile programs|program:))", "run --scale 0.02 "),
    (r"heaparena run (?!.*--reps \d)", "heaparena run --reps 1 "),
    (r"heaparena (exec|run|misuse) (?!.*--allocators)", r"heaparena \1 --allocators system,jemalloc "),
    (r"heaparena exec (?!.*--reps)(?!.*--precision)", "heaparena exec --reps 1 "),
    (r"heaparena misuse (?!.*--cases)(?!.*--search)(?!.*--expect)", "heaparena misuse --cases double-free "),
    (r"heaparena misuse ", "heaparena misuse --trials 1 "),
    (r"/(path|a|b)/lib(mine)?\.so", str(GOMALLOC)),
    (r"-o FILE -- COMMAND", "-o file.hat -- ./my-service"),
    (r"LD_PRELOAD=\.\.\.", "LD_PRELOAD=build/release/lib/libgomalloc.so"),
    (r"\bprogram$", "./my-service"),
]


def pages() -> list[Path]:
    said = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "*.md"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in said.stdout.splitlines() if (ROOT / line).is_file()]


def commands(page: Path) -> list[str]:
    """The shell commands of the page: its blocks that are marked sh or not at all and not part of a list;
    continued lines joined, comments dropped."""
    blocks = re.findall(r"^```(.*?)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = "".join(block for mark, block in blocks if mark in ("", "sh")).replace("\\\n", " ").splitlines()
    return [re.sub(r" +", " ", re.sub(r"(^| )# .*", "", line)).strip() for line in lines if line.strip()]


def shortened(command: str) -> str:
    for pattern, shorter in SHORTER:
        command = re.sub(pattern, shorter, command)
    return command


def run_all(found: list[str], folder: Path, seconds: int = 400) -> str:
    """Runs the commands in turn in a folder that looks like the checkout; returns what they said."""
    for name in ("scripts", "workloads", "adapters", "core"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "build").mkdir()
    (folder / "build" / "release").symlink_to(BUILD)
    (folder / "results").mkdir()
    (folder / "my-service").write_text(SERVICE)
    (folder / "my-service").chmod(0o755)
    script = "set -e\n" + "".join(f"echo '+++ {number}' >&2\n{one}\n" for number, one in enumerate(found))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "HEAPARENA_BUILD": str(BUILD), "PATH": f"{ROOT}/scripts:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    last = int(re.findall(r"^\+\+\+ (\d+)$", done.stderr, re.MULTILINE)[-1])
    assert done.returncode == 0, f"{found[last]}\n{done.stdout[-800:]}\n{done.stderr[-800:]}"
    assert last == len(found) - 1
    return done.stdout
