"""The warm-up of a real program: a run under each allocator that is not measured, to see that the program
works, that the allocators really are in it, and that there is something to compare."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Sequence

from cli import build, elf, real_program, witness, worker
from cli.entries import Allocator
from cli.errors import UserError
from cli.program_work import ProgramWorkload, Taken, take

Json = dict[str, Any]

LITTLE_RSS = 24 << 20  # programs below it are too small to judge by their memory
LEAST_SHARE = 0.25  # of the peak resident size that must have been asked of malloc
INTERPRETER = 128  # bytes of a script's first line that are looked at


@dataclass
class Checked:
    """What the warm-up found."""

    works: list[ProgramWorkload] = field(default_factory=list)  # with what is known of them now
    references: dict[str, Taken] = field(default_factory=dict)
    warnings: list[Json] = field(default_factory=list)
    absent: dict[tuple[str, str], str] = field(
        default_factory=dict
    )  # (program, allocator): why it is not in it


def program_file(
    command: Sequence[str], directory: Path | None, who: str, needs_preload: bool = True
) -> Path:
    """The executable behind a command; UserError if there is none, or if nothing can be preloaded into it."""
    name = command[0]
    place = Path(directory or Path.cwd()) / name if os.sep in name else Path(shutil.which(name) or name)
    if not place.is_file():
        raise UserError(f"{who}: {name}: no such program; check the name, or give its path")
    if not os.access(place, os.X_OK):
        raise UserError(f"{who}: {place}: not executable; chmod +x it, or name its interpreter")
    image = elf_image(place)
    if needs_preload and elf.is_static(image):
        raise UserError(
            f"{who}: {image} is statically linked{_because(image)}: LD_PRELOAD cannot put another allocator "
            "into it; link it dynamically, or build it with each allocator"
        )
    return place


def elf_image(path: Path) -> Path:
    """The program itself, or the interpreter of a script."""
    with path.open("rb") as file:
        first = file.read(INTERPRETER).split(b"\n", 1)[0]
    words = first[2:].split() if first.startswith(b"#!") else []
    return Path(os.fsdecode(words[0])) if words else path.resolve()


def _because(image: Path) -> str:
    found = elf.own_allocator(image)
    return f" ({found})" if found else ""


def warm_up(
    works: Sequence[ProgramWorkload],
    allocators: Sequence[Allocator],
    baseline: Allocator,
    timeout: float,
    cpus: Sequence[int],
    say: Callable[[str], None],
) -> Checked:
    """Runs every program once under the baseline, and once under each allocator with the witness. UserError
    where no comparison makes sense; what only one allocator does wrong is left to the run, which shows it."""
    checked = Checked()
    for work in works:
        say(f"warm-up: {work.name}")
        reference = _reference(work, baseline, timeout, cpus)
        checked.references[work.name] = reference
        seen = _witnessed(work, baseline, timeout, cpus)
        _refuse_deaf(work, seen)
        for entry in allocators:
            testimonies = _witnessed(work, entry, timeout, cpus) if entry is not baseline else seen
            why = _why_absent(entry, testimonies)
            if why:
                checked.absent[work.name, entry.name] = why
        checked.warnings += _own_allocator(work, reference, seen)
        calls, requested = witness.total(seen)
        explain = (
            f"{work.explain} Under {baseline.name} it called malloc {calls:,} times "
            f"for {requested / 2**20:,.1f} MiB in all, printed {reference.size:,} bytes, and ended with "
            f"{worker.status_words(reference.outcome.status)}."
        )
        checked.works.append(replace(work, explain=explain.strip()))
    return checked


def _reference(work: ProgramWorkload, baseline: Allocator, timeout: float, cpus: Sequence[int]) -> Taken:
    """The program under the baseline; must work, and print the same twice where output is compared."""
    preload = real_program.preload_of(baseline)
    first = take(work, preload, baseline.environment, timeout, cpus)
    if first.fault:
        words = first.outcome.words.splitlines()
        raise UserError(
            f"{work.name}: fails under the baseline {baseline.name}: {first.fault.splitlines()[0]}"
            + (f" ({words[-1]})" if words else "")
            + "; mend the command"
            + (f", or give --exit-status {first.outcome.status}" if first.outcome.status > 0 else "")
        )
    if work.expects_output:
        second = take(work, preload, baseline.environment, timeout, cpus)
        if second.sha256 != first.sha256:
            raise UserError(
                f"{work.name}: prints something else each time, under one allocator already; "
                "leave out --expect-output, or make its output repeatable"
            )
    return first


def _witnessed(
    work: ProgramWorkload, entry: Allocator, timeout: float, cpus: Sequence[int]
) -> list[witness.Testimony]:
    library = str(build.library("libheaparena-witness.so"))
    with tempfile.TemporaryDirectory(prefix="heaparena-") as folder:
        settings = {**entry.environment, witness.FOLDER: folder}
        take(work, (library, *real_program.preload_of(entry)), settings, timeout, cpus)
        return witness.read(Path(folder))


def _refuse_deaf(work: ProgramWorkload, testimonies: Sequence[witness.Testimony]) -> None:
    """Refuses a program that no library can be preloaded into, or that has a malloc before every other."""
    image = elf_image(program_file(work.command, work.directory, work.name))
    if not testimonies:
        raise UserError(
            f"{work.name}: {image} ignores LD_PRELOAD{_why_deaf(image)}; "
            "every allocator would measure the same"
        )
    program = Path(testimonies[0].program)
    if testimonies[0].has_own_malloc(build.library("libheaparena-witness.so")):
        raise UserError(
            f"{work.name}: {program} has a malloc of its own{_because(program)}, which stands"
            " before every preloaded one; build it without"
        )


def _why_deaf(image: Path) -> str:
    mode = image.stat().st_mode
    if mode & (stat.S_ISUID | stat.S_ISGID):
        return ", for it is set-user-ID or set-group-ID; run a copy without those bits"
    ours = elf.machine(build.program("heaparena-worker"))
    if elf.machine(image) not in (None, ours):
        return ", for it is built for another architecture than the allocators"
    if elf.has_capabilities(image):
        return ", for it has file capabilities; run a copy without them"
    return _because(image)


def _why_absent(entry: Allocator, testimonies: Sequence[witness.Testimony]) -> str | None:
    """Why a program does not allocate from the allocator that it was given; None if it does, or crashed too
    early to tell."""
    preload = real_program.preload_of(entry)
    if not preload or not testimonies or testimonies[0].uses(preload[0]):
        return None
    return (
        f"{entry.name} was preloaded, but malloc is that of {testimonies[0].next or 'nobody'}: "
        f"does {preload[0]} replace malloc, and is it built for this architecture?"
    )


def _own_allocator(
    work: ProgramWorkload, reference: Taken, testimonies: Sequence[witness.Testimony]
) -> list[Json]:
    """A warning where hardly any of the program's memory comes from malloc."""
    if not testimonies:
        return []
    name = Path(testimonies[0].program).name
    if name.startswith("python") and "PYTHONMALLOC" not in {**os.environ, **work.environment}:
        return [
            {
                "what": f"{work.name}: CPython takes objects up to 512 bytes from an allocator of its own",
                "todo": "PYTHONMALLOC=malloc in the environment sends them to malloc",
            }
        ]
    rss = reference.outcome.peak_rss_bytes
    _, requested = witness.total(testimonies)
    found = elf.own_allocator(Path(testimonies[0].program))
    if rss < LITTLE_RSS or requested >= LEAST_SHARE * rss:
        return []
    by = f" ({found})" if found else ""
    return [
        {
            "what": f"{work.name} asked malloc for {requested / 2**20:.1f} MiB only, "
            f"of {rss / 2**20:.0f} MiB resident: most of its memory does not come from malloc{by}",
            "todo": "differences between allocators say little here; "
            "see whether the program has an allocator of its own that can be switched off",
        }
    ]
