"""The registry of a report's further sections: what other rooms measured, shown in every format.

A section is a function from the analysis to a Section (section.py), or to None where the results hold nothing
for it. It stands in a file of its own and has one line in MAKERS. README.md says how to add one.
"""

from __future__ import annotations

from typing import Callable

from results import ablation, class_waste, collectors, fragmentation, growth, misuse
from results.analysis import Analysis
from results.section import Section

Maker = Callable[[Analysis], "Section | None"]

# In the order of the report.
MAKERS: tuple[Maker, ...] = (
    class_waste.section,
    fragmentation.section,
    growth.section,
    ablation.section,
    collectors.section,
    misuse.section,
)


def of(analysis: Analysis) -> list[Section]:
    """The sections that these results fill."""
    return [made for maker in MAKERS if (made := maker(analysis)) is not None]
