"""One further section of a report: said once, shown as HTML, as Markdown and in the terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Mapping, Sequence

import markupsafe
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from results import templating

HTML, MARKDOWN = "section.html.j2", "section.md.j2"
Points = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Table:
    """Figures as text. The first column names the line, the others stand to the right."""

    name: str  # what it shows, for those who hear the page; a heading above it where there are several
    headings: Sequence[str]  # as many as a line has columns
    lines: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line) != len(self.headings):
                raise ValueError(
                    f"table {self.name}: {len(line)} columns under {len(self.headings)} headings"
                )


@dataclass(frozen=True)
class Plot:
    """Lines, drawn by templates/sections.js: no figure may be in the plot alone."""

    label: str  # the text alternative: what it shows, and where the figures stand
    x: str  # titles of the axes, with units
    y: str
    curves: Mapping[str, Mapping[str, Points]]  # choice -> name -> [x, y] or [x, y, low, high]; None: a gap
    choice: str = "Workload"  # the label of the choice, where there are several
    log_x: bool = False
    log_y: bool = False
    steps: bool = False  # a value holds until the next point
    y_most: float | None = None  # where the axis ends; what lies beyond it is in the table


@dataclass(frozen=True)
class Section:
    """What a maker of sections.py returns. `html` and `markdown` name templates of its own, which see the
    section as `section` and `facts` by their names."""

    id: str  # the anchor in the page: lower case, unlike those of report.html.j2
    title: str
    tables: Sequence[Table]
    lead: str = ""  # a sentence or two before: what is to be seen
    note: str = ""  # after: how to read it, and what it does not say
    plot: Plot | None = None
    html: str = HTML
    markdown: str = MARKDOWN
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_html(self) -> markupsafe.Markup:
        template = templating.environment().get_template(self.html)
        return markupsafe.Markup(template.render(section=self, **self.facts))

    def as_markdown(self) -> str:
        return templating.environment().get_template(self.markdown).render(section=self, **self.facts)

    def page_data(self) -> dict[str, Any] | None:
        """What the page's script draws."""
        return asdict(self.plot) if self.plot else None

    def show(self, console: Console) -> None:
        console.print(Text(self.title, style="italic"))
        if self.lead:
            console.print(self.lead, highlight=False, markup=False)
        for table in self.tables:
            self._table(table, console)
        console.print()

    def _table(self, table: Table, console: Console) -> None:
        shown = RichTable(box=None, pad_edge=False, header_style="bold")
        for index, heading in enumerate(table.headings):
            shown.add_column(Text(heading), justify="right" if index else "left", overflow="fold")
        for line in table.lines:
            shown.add_row(*map(Text, line))
        if len(self.tables) > 1:
            console.print(Text(table.name, style="bold"))
        console.print(shown)
