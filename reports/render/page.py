"""Write a page of sections and tables in the look of the lift report."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from reports.render.templating import environment, unbroken

Cell = str | Markup
"""Text is escaped; Markup, as a chart, is put in as it is."""


@dataclass(frozen=True)
class PageTable:
    """A table; the first column heads the rows.

    Attributes:
        caption: What it shows.
        columns: Heads.
        rows: Cells, as many as columns.
        right: Columns aligned right.
        charts: Columns that hold charts.
    """

    caption: str
    columns: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    right: Sequence[int] = ()
    charts: Sequence[int] = ()


@dataclass(frozen=True)
class PageSection:
    """A heading with what is below it.

    Attributes:
        title: Of the section.
        paragraphs: Before the tables.
        tables: After them.
        folded: Whether the reader opens it.
    """

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[PageTable] = ()
    folded: bool = False


def render_page(
    title: str,
    sections: Sequence[PageSection],
    *,
    kicker: str = "",
    facts: str = "",
    command: str = "",
    footer: str = "",
) -> str:
    """The page as text: one self-contained file without scripts.

    Args:
        title: Its name.
        sections: Top to bottom.
        kicker: A line above the title: what kind of page this is.
        facts: A line below the title.
        command: What makes it again.
        footer: Last line.
    """
    template = environment().get_template("page.html.j2")
    page = template.render(
        title=title, sections=sections, kicker=kicker, facts=facts, command=command, footer=footer
    )
    return unbroken(page)


def write_page(text: str, path: Path) -> None:
    """Write a page; an old file stays whole until the new one is.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.is_dir() or not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        # A pipe or a device, as /dev/stdout: there is nothing to keep whole.
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
