"""A sequence that `heaparena misuse --search` found, as a plain C program, compiled with cc and run under the
allocator. The program exits 1 and says what happened if the finding shows again."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Mapping, Sequence

from cli.errors import UserError

Json = Mapping[str, Any]

RUNS = 3
TIMEOUT = 20.0
WATCHED = 512  # bytes of a block that the search compares
TARGET, AIM = 1024, 64

HEAD = """// heaparena misuse --search: {misuse} under {name} {version} leads to: {finding}.
// cc -O0 -fno-builtin -w -o found found.c && {preload}./found   (exit status 1: it showed)
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The program's own memory: no allocator may hand it out or write to it.
static _Alignas(16) unsigned char target[{target}], before[{target}];

int main(void) {{
  memset(target, 'T', sizeof target);
"""


def _value(operation: Json, place: str) -> str:
    kind = operation["value"]
    if kind == "size":
        return hex(((operation["size"] + 23) & ~15) | 1)
    if kind == "target":
        return f"(uintptr_t)(target + {AIM})"
    if kind == "mangled":
        return f"(uintptr_t)(target + {AIM}) ^ ((uintptr_t)({place}) >> 12)"
    return "0"


def _misuse(misuse: str, operation: Json, sizes: Mapping[int, int]) -> list[str]:
    name = f"p{operation['slot']}"
    if misuse in ("double-free", "double-free-reused"):
        return [f"free({name}); // again"]
    if misuse == "interior-free":
        return [f"free({name} + {operation['offset']}); // inside a live block"]
    if misuse == "arbitrary-free":
        place = f"target + {AIM - 8}"
        return [
            f"*(size_t *)({place}) = {_value(operation, place)};",
            f"free(target + {AIM}); // never from malloc",
        ]
    if misuse == "overflow":
        place = f"{name} + {sizes[operation['slot']] + operation['offset']}"
        return [f"*(size_t *)({place}) = {_value(operation, place)}; // behind the block"]
    if misuse == "off-by-one":
        place = f"{name}[{sizes[operation['slot']]}]"
        return [f"{place} = (unsigned char)({_value(operation, name)}); // one byte behind the block"]
    place = f"{name} + {operation['offset']}"
    return [f"*(size_t *)({place}) = {_value(operation, place)}; // freed before"]


def _check(found: Json, sizes: Mapping[int, int]) -> list[str]:
    """What shows the finding, after the last operation."""
    slot, other = f"p{found['slot']}", f"p{found['other']}"
    if found["finding"] == "overlap":
        test = f"{slot} < {other} + {sizes[found['other']]} && {other} < {slot} + {sizes[found['slot']]}"
        return [f"if ({test}) {{", f'  printf("two live blocks overlap: %p and %p\\n", {slot}, {other});']
    if found["finding"] == "chosen address":
        test = f"{slot} < target + sizeof target && target < {slot} + {sizes[found['slot']]}"
        return [
            f"if ({test}) {{",
            f'  printf("malloc returned %p, in the program\'s own buffer\\n", {slot});',
        ]
    where, size = _watched(found, sizes)
    return [
        f"if (memcmp(before, {where}, {size}) != 0) {{",
        f'  printf("memory at %p, not the allocator\'s, was written to\\n", {where});',
    ]


def _watched(found: Json, sizes: Mapping[int, int]) -> tuple[str, int]:
    if found["other"] < 0:
        return "target", TARGET
    return f"p{found['other']}", min(sizes[found["other"]], WATCHED)


def source(found: Json, name: str, version: str, library: str | None) -> str:
    preload = f"LD_PRELOAD={Path(library).name} " if library and "libc.so" not in library else ""
    lines = []
    sizes: dict[int, int] = {}
    operations: Sequence[Json] = found["operations"]
    for number, operation in enumerate(operations):
        slot = operation["slot"]
        last = number == len(operations) - 1
        elsewhere = last and found["finding"] == "write elsewhere"
        keep: list[str] = []
        if elsewhere:
            where, size = _watched(found, sizes)
            keep = [f"memcpy(before, {where}, {size});"]
        if operation["op"] == "allocate":
            sizes[slot] = operation["size"]
            lines += [*keep, f"unsigned char *p{slot} = malloc({operation['size']});"]
            if not last:
                lines.append(f"memset(p{slot}, '{chr(ord('a') + slot)}', {operation['size']});")
        elif operation["op"] == "free":
            lines += [*keep, f"free(p{slot});"]
        else:
            words = _misuse(found["misuse"], operation, sizes)
            lines += [*words[:-1], *keep, words[-1]]
    head = HEAD.format(
        misuse=found["misuse"],
        name=name,
        version=version,
        finding=found["finding"],
        preload=preload,
        target=TARGET,
    )
    body = [*lines, *_check(found, sizes), "  return 1;", "}", "return 0;"]
    return head + "".join(f"  {line}\n" for line in body) + "}\n"


def confirm(text: str, library: str | None, environment: Mapping[str, str]) -> int:
    """Compiles the program and runs it RUNS times in fresh processes: in how many the finding showed."""
    compiler = shutil.which("cc")
    if not compiler:
        raise UserError("misuse --search: no C compiler: apt-get install gcc")
    with tempfile.TemporaryDirectory(prefix="heaparena-") as folder:
        program = Path(folder) / "found"
        program.with_suffix(".c").write_text(text, encoding="utf-8")
        built = subprocess.run(
            [compiler, "-O0", "-fno-builtin", "-w", "-o", str(program), f"{program}.c"],
            capture_output=True,
            text=True,
        )
        if built.returncode:
            raise RuntimeError(f"the program does not compile: {built.stderr[:300]}")
        setting = (
            {**environment, "LD_PRELOAD": library} if library and "libc.so" not in library else environment
        )
        shown = 0
        for _ in range(RUNS):
            try:
                ended = subprocess.run(
                    [str(program)], env=dict(setting), capture_output=True, timeout=TIMEOUT
                )
            except subprocess.TimeoutExpired:
                continue
            shown += ended.returncode == 1
        return shown
