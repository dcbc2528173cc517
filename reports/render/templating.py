"""Load the templates: everything is escaped, an unknown name is an error."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from reports import formats

_NUMBER = r"(?:[<>+\-−±]?\d[\d,.]*|any)(?:[ \u00a0](?:%|s))?"
_FIGURE = re.compile(f"{_NUMBER}(?: to {_NUMBER})?")
_OPTION = re.compile(r"(?<!\S)--\w[\w-]*")
_UNIT = re.compile(r"(?<=\d) (?=(?:%|s)[\s,.;:)<])")

_TEMPLATES = Path(__file__).with_name("templates")


@functools.cache
def environment() -> jinja2.Environment:
    """The environment of all pages, with the filters for names and signs."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["typographic"] = formats.typographic
    found.filters["plain"] = formats.plain
    found.filters["short"] = formats.shortened
    found.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    found.filters["options"] = options
    found.filters["figures"] = figures
    found.globals["missing"] = formats.MISSING
    return found


def options(text: str) -> Markup:
    """The text, escaped, whose options of the command line stay on one line."""
    return Markup(_OPTION.sub(r'<span class="option">\g<0></span>', str(escape(text))))


def unbroken(page: str) -> str:
    """The page with no line that ends between a number and its unit."""
    return _UNIT.sub("\u00a0", page)


def figures(rows: Sequence[Sequence[str]]) -> set[int]:
    """The columns that hold numbers and nothing else but gaps: they are set to the right.

    Args:
        rows: Cells; the first column names the rows and is none of them.
    """
    found = set()
    for column in range(1, max(map(len, rows), default=0)):
        cells = [str(row[column]) for row in rows if len(row) > column]
        known = [cell for cell in cells if cell not in ("", "–", "...", formats.MISSING)]
        if known and all(map(_FIGURE.fullmatch, known)):
            found.add(column)
    return found
