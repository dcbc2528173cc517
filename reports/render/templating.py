"""Load the templates: everything is escaped, an unknown name is an error."""

from __future__ import annotations

import functools
from pathlib import Path

import jinja2

from reports import formats

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
    return found
