"""An installed heaparena: what `cmake --install` and cpack make runs without the checkout, serves allocators
kept elsewhere, and can be removed again."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest

from conftest import BUILD, ROOT, load

Environment = dict[str, str]
PACKAGE_SECONDS = 240


def call(*words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=PACKAGE_SECONDS, **options
    )


def good(*words: object, **options: Any) -> str:
    done = call(*words, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where heaparena was installed."""
    folder = tmp_path_factory.mktemp("installed") / "prefix"
    good("cmake", "--install", BUILD, "--prefix", folder)
    yield folder


@pytest.fixture
def environment(prefix: Path, tmp_path: Path) -> Environment:
    """A user's: the installed command first in PATH, a home of their own, nothing of the checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HEAPARENA", "XDG"))}
    return {**kept, "PATH": f"{prefix}/bin:{os.environ['PATH']}", "HOME": str(tmp_path), "COLUMNS": "160"}


@pytest.fixture
def example(prefix: Path, tmp_path: Path) -> Path:
    """The example allocator, built from a copy outside the tree against the installed package."""
    source = tmp_path / "pocket"
    shutil.copytree(prefix / "share" / "doc" / "heaparena" / "adapters" / "example", source)
    good("cmake", "-S", source, "-B", source / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    good("cmake", "--build", source / "build")
    return source / "build" / "libpocket.so"


def test_runs_without_the_checkout(prefix: Path, environment: Environment, tmp_path: Path) -> None:
    said = good("heaparena", "--version", env=environment, cwd=tmp_path)
    assert "built by" in said and said == good(ROOT / "scripts" / "heaparena", "--version")
    listed = json.loads(good("heaparena", "list", "--json", env=environment, cwd=tmp_path))
    found = {entry["name"]: entry for entry in listed["allocators"]}
    assert Path(found["gomalloc"]["library"]).is_relative_to(prefix)
    words = ("--allocators", "system,gomalloc", "--workloads", "churn", "--reps", 2, "--scale", "0.01")
    good("heaparena", "run", *words, env=environment, cwd=tmp_path)
    (out,) = (tmp_path / ".local" / "share" / "heaparena" / "runs").iterdir()
    assert (out / "report.html").exists()
    assert (load(out)["context"]["heaparena"]["commit"] or "unknown commit") in said
    assert out.name in good("heaparena", "results", "list", env=environment, cwd=tmp_path)
    good("heaparena", "record", "-o", "a.hat", "--", "/bin/echo", "word", env=environment, cwd=tmp_path)
    good("heaparena", "replay", "a.hat", "--allocators", "system", env=environment, cwd=tmp_path)
    traces = sorted(path.name for path in (ROOT / "workloads" / "traces").glob("*.hat"))
    assert sorted(path.name for path in (prefix / "share/heaparena/workloads/traces").glob("*")) == traces
    documents = prefix / "share" / "doc" / "heaparena"
    for page in (
        "README.md",
        "CHANGELOG.md",
        "core/gc/README.md",
        "fuzz/misuse.md",
        "scripts/docs/tutorial.md",
    ):
        assert (documents / page).read_bytes() == (ROOT / page).read_bytes()
    installed = {path.name for path in (prefix / "share" / "heaparena").rglob("*.py")}
    assert not [name for name in installed if name.startswith("test_") or name == "conftest.py"]


def test_manual_and_completion_say_what_the_command_does(prefix: Path, environment: Environment) -> None:
    text = (prefix / "share" / "man" / "man1" / "heaparena.1").read_text(encoding="utf-8")
    manual = text.replace("\\-", "-")
    if shutil.which("groff"):
        page = call("groff", "-man", "-Tutf8", "-ww", prefix / "share/man/man1/heaparena.1")
        assert page.stderr == "" and "in one line; 130 stopped" in page.stdout
    script = prefix / "share" / "bash-completion" / "completions" / "heaparena"
    told = json.loads(good("/usr/bin/python3", "-c", HELP, prefix / "share" / "heaparena", env=environment))
    assert {"list", "run", "record", "compare", "trace"} <= told.keys()
    offered = complete_all(script, [["heaparena", command, "--"] for command in told])
    below = complete_all(script, [["heaparena", command, ""] for command in told])
    for (command, text), options, commands in zip(told.items(), offered, below):
        assert f".SS heaparena {command}" in manual
        in_help = set(re.findall(r"^  (?:-\w[^,]*, )?(--[a-z][a-z-]+)", text, re.MULTILINE))
        assert in_help <= set(re.findall(r"--[a-z][a-z-]+", manual))
        if not commands:  # not a group of further commands
            assert options and all(re.search(rf"^  .*{option}\b", text, re.MULTILINE) for option in options)
    assert complete(script, "heaparena", "tra") == ["trace"]
    assert "merge" in complete(script, "heaparena", "trace", "")
    assert complete(script, "heaparena", "run", "--launcher", "") == ["local", "slurm"]
    assert complete(script, "heaparena", "record", "--", "program", "--") == []


# {command: its --help}, in one process of the installed Python part.
HELP = """
import json, sys
sys.path[0:0] = [sys.argv[1] + "/scripts", sys.argv[1]]
from cli.main import parser
commands = parser()._subparsers._group_actions[0].choices
print(json.dumps({name: one.format_help() for name, one in commands.items()}))
"""


def complete_all(script: Path, lines: list[list[str]]) -> list[list[str]]:
    """What bash offers for the last word of each line."""
    asked = "".join(
        f'COMP_WORDS=({shlex.join(line)}); COMP_CWORD={len(line) - 1}; _heaparena; echo "${{COMPREPLY[*]}}"\n'
        for line in lines
    )
    said = good("bash", "-c", f"source {shlex.quote(str(script))}\n{asked}")
    return [line.split() for line in said.splitlines()]


def complete(script: Path, *words: str) -> list[str]:
    return complete_all(script, [list(words)])[0]


def test_an_allocator_of_another_repository(example: Path, environment: Environment, tmp_path: Path) -> None:
    environment = {**environment, "HEAPARENA_ALLOCATORS": f"pocket={example}"}
    listed = json.loads(good("heaparena", "list", "--json", env=environment))
    (entry,) = [one for one in listed["allocators"] if one["name"] == "pocket"]
    assert entry["available"] and entry["version"] == "1.0"
    assert entry["operations"]["stats"] and entry["operations"]["check_heap"]
    words = ("--allocators", "system,pocket", "--workloads", "churn", "--reps", 2, "--scale", "0.01")
    good("heaparena", "run", *words, "--out", tmp_path / "D", env=environment)
    assert "pocket" in good("heaparena", "report", tmp_path / "D", "--format", "terminal", env=environment)
    assert load(tmp_path / "D")["context"]["heaparena"]["allocators"]["pocket"]["version"] == "1.0"
    good(BUILD / "bin" / "adapters_conformance_test", "--allocator", f"pocket={example}")
    if (BUILD / "bin" / "heaparena-fuzz").is_file():
        words = ("--allocator", "pocket", "--seconds", 2, "--out", tmp_path / "F")
        assert "nothing found" in good("heaparena", "fuzz", *words, env=environment)


def gate(
    example: Path, environment: Environment, out: Path, options: str, rounds: int, reps: int
) -> "subprocess.CompletedProcess[str]":
    source = example.parents[1]
    prefix = Path(str(shutil.which("heaparena", path=environment["PATH"]))).parents[1]
    settings = {
        "CMAKE_PREFIX_PATH": str(prefix),
        "NEW_OPTIONS": options,
        "WORKLOADS": "strings",
        "SCALE": "0.01",
        "ROUNDS": str(rounds),
        "REPS": str(reps),
        "TIME": "1000%",  # a test machine is busy: the gate is tried on what repeats
    }
    return call(source / "gate.sh", source, source, out, env={**environment, **settings})


def test_the_gate_lets_equals_pass_and_stops_what_is_worse(
    example: Path, environment: Environment, tmp_path: Path
) -> None:
    same = gate(example, environment, tmp_path / "same", "", 2, 3)
    assert same.returncode == 0, same.stdout + same.stderr
    assert same.stdout.count("No regression") == 3
    worse = "-DPOCKET_ZERO_ON_FREE=ON -DPOCKET_SMALLEST_SHIFT=10"
    stopped = gate(example, environment, tmp_path / "worse", worse, 1, 5)
    assert stopped.returncode == 1, stopped.stdout + stopped.stderr
    instructions, memory, time = stopped.stdout.split("\n== ")[1:]
    assert "are regressions" in instructions and "are regressions" in memory and "No regression" in time
    broken = gate(example, environment, tmp_path / "broken", "-DPOCKET_SMALLEST_SHIFT=99", 1, 5)
    assert broken.returncode == 2 and "new cannot be built" in broken.stderr


def test_uninstall_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "prefix"
    good("cmake", "--install", BUILD, "--prefix", folder)
    (folder / "bin" / "other").write_text("not ours\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HEAPARENA", "PYTHON"))}
    good(folder / "bin" / "heaparena", "list", env=kept)  # Python leaves byte code
    assert list(folder.rglob("__pycache__"))
    script = ROOT / "scripts" / "cmake" / "uninstall.cmake"
    good("cmake", "-D", f"manifest={BUILD}/install_manifest.txt", "-P", script)
    assert [path for path in folder.rglob("*") if not path.is_dir()] == [folder / "bin" / "other"]
    assert not [path for path in folder.rglob("*") if "heaparena" in path.name]
    again = call("cmake", "-D", f"manifest={BUILD}/install_manifest.txt", "-P", script)
    assert again.returncode != 0 and "nothing was installed" in " ".join(again.stderr.split())


def test_the_debian_package(tmp_path: Path) -> None:
    if not shutil.which("dpkg-shlibdeps"):
        pytest.skip("dpkg-dev is not installed")
    good("cpack", "-G", "DEB", "-B", tmp_path / "packed", cwd=BUILD)
    (package,) = (tmp_path / "packed").glob("heaparena_*.deb")
    version = re.search(r"VERSION (\d+\.\d+\.\d+)", (ROOT / "CMakeLists.txt").read_text())
    assert version and good("dpkg-deb", "-f", package, "Version").strip() == version[1]
    needs = good("dpkg-deb", "-f", package, "Depends")
    for name in ("libc6", "libjansson4", "libzstd1", "python3-rich", "python3-scipy", "python3-jsonschema"):
        assert re.search(rf"\b{name}\b", needs), needs
    root = tmp_path / "root"
    good("dpkg-deb", "-x", package, root)
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("HEAPARENA_BUILD", None)
    words = ("--allocators", "system,gomalloc", "--workloads", "churn", "--reps", 1, "--scale", "0.01")
    good(root / "usr/bin/heaparena", "run", *words, "--out", tmp_path / "D", env=environment)
    library = load(tmp_path / "D")["context"]["heaparena"]["allocators"]["gomalloc"]["library"]
    assert Path(library).is_relative_to(root)
    assert (root / "usr/share/doc/heaparena/copyright").is_file()
