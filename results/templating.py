"""The templates' environment: one for the report and for its further sections."""

from __future__ import annotations

import functools
from pathlib import Path

import jinja2
import markupsafe

TEMPLATES = Path(__file__).with_name("templates")


def _breakable(text: str) -> markupsafe.Markup:
    """A row's name, which a narrow page may break after / and trace:."""
    return markupsafe.Markup(
        str(markupsafe.escape(text)).replace("/", "/<wbr>").replace("trace:", "trace:<wbr>")
    )


@functools.lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(["html.j2"]),
    )
    made.filters["breakable"] = _breakable
    return made
