"""The colours of heap pictures, shared by page and PNG: told apart by every kind of colour sight, and by
their lightness alone."""

from __future__ import annotations

from results.heap_map import KIND_LETTERS, LEVELS

Colour = tuple[int, int, int]

WASTE: Colour = (230, 126, 20)  # resident, nothing live
HALF: Colour = (247, 226, 190)
FULL: Colour = (0, 92, 158)  # resident and live
UNTOUCHED: Colour = (176, 206, 232)  # live, not resident
PAPER: Colour = (240, 241, 244)  # neither

# Viridis from small blocks to large ones; the states of free pages stand apart from it.
KINDS: dict[str, Colour] = {
    ".": PAPER,
    "R": (225, 227, 232),
    "P": (200, 204, 212),
    "F": WASTE,
    "a": (68, 1, 84),
    "b": (72, 36, 117),
    "c": (65, 68, 135),
    "d": (53, 95, 141),
    "e": (42, 120, 142),
    "f": (33, 145, 140),
    "g": (34, 168, 132),
    "h": (68, 191, 112),
    "i": (122, 209, 81),
    "j": (189, 223, 38),
    "k": (253, 231, 37),
    "z": (120, 120, 120),
}


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """`one` at share 0, `other` at 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other))
    return red, green, blue


def use(live: int, resident: int) -> Colour:
    """Of a cell with these levels of live and resident share."""
    if resident == 0:
        return UNTOUCHED if live else PAPER
    share = min(1.0, live / resident)
    full = mixed(WASTE, HALF, 2 * share) if share < 0.5 else mixed(HALF, FULL, 2 * share - 1)
    return mixed(PAPER, full, 0.25 + 0.75 * resident / (LEVELS - 1))


def of_use() -> list[list[Colour]]:
    """[live][resident]."""
    return [[use(live, resident) for resident in range(LEVELS)] for live in range(LEVELS)]


def of_kinds() -> list[Colour]:
    return [KINDS[letter] for letter in KIND_LETTERS]
