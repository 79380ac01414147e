"""The real programs of `heaparena run --profile programs`: what each needs, and how its input is made on the
spot. Programs of our own are compiled here from scripts/programs/.

Every input is fixed, and what a program prints is compared between allocators. A program whose executable is
not installed is left out of the profile, with the package that has it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

from cli import build, elf
from cli.errors import UserError, unknown
from cli.program_work import ProgramWorkload

SOURCES = build.ROOT / "scripts" / "programs"
PREFIX = "program:"
PROFILE = "programs"
PURPOSE = "ten real programs such as sqlite3 and redis, a few minutes"


@dataclass(frozen=True)
class Made:
    """What was made for one program: its command lines, in its own folder."""

    command: tuple[str, ...]
    input: Path | None = None
    load: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    name: str
    summary: str
    needs: tuple[str, ...]  # executables, one of each word's alternatives: "redis-server|redis-check-rdb"
    packages: str  # Debian's, that have them
    sources: tuple[str, ...]  # files of scripts/programs that decide what it does
    make: Callable[[Path], Made]
    environment: tuple[tuple[str, str], ...] = ()

    def missing(self) -> list[str]:
        """The needed executables that are not here."""
        return [need for need in self.needs if not any(shutil.which(one) for one in need.split("|"))]


def _do(command: Sequence[str], folder: Path, given: bytes | None = None) -> bytes:
    """Runs a command that makes an input; what goes wrong is the user's to see."""
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False)
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise UserError(f"program set: `{shlex.join(command)}` failed: {words[-1]}")
    return done.stdout


def _source(name: str) -> str:
    return str(SOURCES / name)


def _sqlite3(_: Path) -> Made:
    return Made(("sqlite3", "-batch", ":memory:"), SOURCES / "queries.sql")


def _python(_: Path) -> Made:
    return Made(("/usr/bin/python3", "-I", _source("objects.py"), "25"))


def _clang(_: Path) -> Made:
    return Made(("clang++", "-std=c++17", "-O1", "-S", "-o", "-", _source("containers.cc")))


def _redis(folder: Path) -> Made:
    """A server on a free port of the loopback, without persistence; the load ends with a known answer."""
    server = folder / "redis-server"  # one binary under several names: redis-tools has it too
    server.symlink_to(shutil.which("redis-server") or shutil.which("redis-check-rdb") or "redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    benchmark = f"redis-benchmark -p {port} -n 20000 -c 20 -P 8 -d 64 -q"
    load = (
        f"{benchmark} -t set,get,incr,lpush,lpop,sadd,hset,zadd -r 5000 >/dev/null"
        f" && {benchmark} -t rpush >/dev/null && redis-cli -p {port} llen mylist"
    )
    options = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no")
    return Made(
        (str(server), "--port", port, *options),
        load=("sh", "-c", load),
        ready=("redis-cli", "-p", port, "-e", "ping"),
    )


def _lua(_: Path) -> Made:
    return Made(("lua5.4", _source("tables.lua")))


def _perl(_: Path) -> Made:
    return Made(("perl", _source("words.pl")))


def _git(folder: Path) -> Made:
    history = _do(("/usr/bin/python3", _source("history.py"), "500"), folder)
    _do(("git", "init", "-q", "-b", "main", "repository"), folder)
    _do(("git", "-C", "repository", "fast-import", "--quiet"), folder, history)
    return Made(
        ("git", "--no-pager", "-C", "repository", "log", "-p", "--stat", "--no-color", "--no-ext-diff")
    )


def _zstd(folder: Path) -> Made:
    text = _do(("/usr/bin/python3", _source("history.py"), "300"), folder)
    (folder / "text").write_bytes(text)
    return Made(("zstd", "-q", "-9", "-T1", "-c", "text"))


def _catalog(folder: Path) -> Made:
    _do(("g++", "-std=c++17", "-O2", "-o", "catalog", _source("catalog.cc")), folder)
    return Made((str(folder / "catalog"),))


def _pipeline(folder: Path) -> Made:
    _do(("gcc", "-std=gnu17", "-O2", "-pthread", "-o", "pipeline", _source("pipeline.c")), folder)
    return Made((str(folder / "pipeline"),))


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "sqlite3",
            "queries over an in-memory database",
            ("sqlite3",),
            "sqlite3",
            ("queries.sql",),
            _sqlite3,
        ),
        Program(
            "python",
            "CPython: JSON, dictionaries, strings",
            ("/usr/bin/python3",),
            "python3",
            ("objects.py",),
            _python,
            (("PYTHONMALLOC", "malloc"), ("PYTHONHASHSEED", "0")),
        ),
        Program("clang", "clang compiles C++ templates", ("clang++",), "clang", ("containers.cc",), _clang),
        Program(
            "redis",
            "redis-server under redis-benchmark",
            ("redis-server|redis-check-rdb", "redis-benchmark", "redis-cli"),
            "redis-tools",
            (),
            _redis,
        ),
        Program("lua", "Lua: tables, strings, closures", ("lua5.4",), "lua5.4", ("tables.lua",), _lua),
        Program("perl", "Perl: hashes and regular expressions", ("perl",), "perl", ("words.pl",), _perl),
        Program(
            "git",
            "git log with patches over 500 commits",
            ("git", "/usr/bin/python3"),
            "git python3",
            ("history.py",),
            _git,
            (("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")),
        ),
        Program(
            "zstd",
            "zstd compresses text",
            ("zstd", "/usr/bin/python3"),
            "zstd python3",
            ("history.py",),
            _zstd,
        ),
        Program("cpp", "a C++ catalogue of shared objects", ("g++",), "g++", ("catalog.cc",), _catalog),
        Program(
            "threads",
            "six threads that hand messages on",
            ("gcc",),
            "gcc libc6-dev",
            ("pipeline.c",),
            _pipeline,
        ),
    )
}


def chosen(words: Sequence[str]) -> list[Program]:
    """The programs of the words "program:NAME"; UserError for one that cannot run here."""
    found = []
    for word in words:
        name = word.removeprefix(PREFIX)
        if name not in PROGRAMS:
            raise unknown("program", name, PROGRAMS)
        program = PROGRAMS[name]
        missing = program.missing()
        if missing:
            raise UserError(f"{word}: {missing[0]} is not installed; apt-get install {program.packages}")
        found.append(program)
    return list(dict.fromkeys(found))


def available() -> tuple[list[Program], list[dict[str, str]]]:
    """The programs that can run here, and a warning for each that cannot."""
    found, warnings = [], []
    for program in PROGRAMS.values():
        missing = program.missing()
        if missing:
            what = f"program {program.name} is left out: {', '.join(missing)} not installed"
            warnings.append(
                {
                    "what": what,
                    "todo": f"apt-get install {program.packages}, or scripts/setup programs; then --resume",
                }
            )
        else:
            found.append(program)
    if not found:
        raise UserError("none of the programs is installed here; scripts/setup programs installs them")
    return found, warnings


def make(program: Program, folder: Path) -> ProgramWorkload:
    """Makes a program's input in a folder of its own."""
    place = folder / program.name
    place.mkdir()
    made = program.make(place)
    executable = Path(shutil.which(made.command[0]) or made.command[0]).resolve()
    digest = hashlib.sha256(b"".join((SOURCES / name).read_bytes() for name in program.sources))
    return ProgramWorkload(
        PREFIX + program.name,
        PREFIX + program.name,
        program.summary,
        f"Runs `{_shown(made, folder)}`.",
        {"build_id": _identity(program, executable), "sources_sha256": digest.hexdigest()},
        False,
        command=made.command,
        load=made.load,
        ready=made.ready,
        environment={"LC_ALL": "C", **dict(program.environment)},
        input=made.input,
        directory=place,
        expects_output=True,
    )


def _identity(program: Program, executable: Path) -> str:
    """What tells this machine's version of the program from others. Our own is
    compiled each time, into a folder of another name: its source says it."""
    return "compiled" if program.name in ("cpp", "threads") else str(elf.build_id(executable))


def _shown(made: Made, folder: Path) -> str:
    """Its command line without the places of this run."""
    words = [word.replace(f"{folder}{os.sep}", "").replace(f"{SOURCES}{os.sep}", "") for word in made.command]
    redirected = f" < {made.input.name}" if made.input else ""
    loaded = " under redis-benchmark" if made.load else ""
    return shlex.join(words) + redirected + loaded
