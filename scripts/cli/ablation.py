"""`heaparena run --ablate`: gomalloc with one level of its caches left out, each as an allocator."""

from __future__ import annotations

import argparse
from typing import Sequence

from cli import build, entries
from cli.errors import UserError
from results.ablation import VARIANTS, WHOLE


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ablate",
        action="store_true",
        help="enter gomalloc with one level left out at a time, to show what each buys; the baseline is then "
        "gomalloc, and without --allocators nothing else is measured",
    )


def _word(name: str) -> str:
    """As --allocators takes it: the library of the build, or an allocator that is known by this name."""
    library = build.build_directory() / "lib" / "ablation" / f"lib{name}.so"
    if name == "gomalloc-linear":
        return name
    if not library.is_file():
        raise UserError(f"--ablate: {library} is not built; run `cmake --build --preset release`")
    return f"{name}={library}"


def apply(arguments: argparse.Namespace) -> None:
    """Makes --ablate what --allocators and --baseline would have said."""
    if arguments.ablate:
        arguments.allocators = words(entries.split_list(arguments.allocators))
        arguments.baseline = arguments.baseline or WHOLE


def words(wanted: Sequence[str]) -> list[str]:
    """What is measured: gomalloc, what --allocators names, and every variant that is not among those."""
    names = {word.partition("=")[0] for word in wanted}
    whole = [] if WHOLE in names else [WHOLE]
    return [*whole, *wanted, *(_word(name) for name in VARIANTS if name not in names)]
