"""Wrap text and lay out tables to a width, also with wide characters."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

MIN_WIDTH = 40
MAX_WIDTH = 110
_LABEL_MIN = 14


def text_width(width: int | None) -> int:
    """The usable width: as asked, else the terminal's, else 80 columns."""
    if width is None:
        width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80
    return min(max(width, MIN_WIDTH), MAX_WIDTH)


def wrap(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """Lines of at most ``width`` cells; "+3.2 %" and "p = 0.01" stay together.

    Args:
        text: What to wrap.
        width: In terminal cells.
        first: Goes before the first line.
        rest: Goes before the other lines; as wide a blank as ``first`` if None.
    """
    rest = " " * cell_len(first) if rest is None else rest
    lines: list[str] = []
    line, empty = first, True
    glued = re.sub(r"\bp ([=<>]) ", "p\u00a0\\1\u00a0", text.replace(" %", "\u00a0%"))
    for word in glued.split(" "):
        for piece in chop_cells(word, max(width - cell_len(rest), 8)) or [""]:
            if not empty and cell_len(line) + 1 + cell_len(piece) > width:
                lines.append(line)
                line, empty = rest, True
            line += piece if empty else f" {piece}"
            empty = False
    lines.append(line)
    return [line.replace("\u00a0", " ").rstrip() for line in lines]


def shorten(text: str, width: int) -> str:
    """The text, or its beginning and three dots."""
    if cell_len(text) <= width:
        return text
    return chop_cells(text, max(width - 3, 1))[0] + "..."


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    left: frozenset[int] = frozenset(),
) -> list[str] | None:
    """A table whose first column wraps when the lines would be too long; None if it cannot fit.

    Args:
        header: Column heads; empty for none.
        rows: Cells; at least one row.
        width: In terminal cells.
        left: Columns aligned left beside the first; the others are aligned right.
    """
    cells = [list(row) for row in (header, *rows) if row]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(cells[0]))]
    others = sum(widths[1:]) + 2 * (len(widths) - 1)
    gap = 2
    if widths[0] + others > width:
        gap, others = 1, sum(widths[1:]) + len(widths) - 1
        room = width - others
        if room < min(widths[0], _LABEL_MIN):
            return None
        widths[0] = min(widths[0], room)
    lines: list[str] = []
    for row in cells:
        name = row[0].lstrip()
        indent = row[0][: len(row[0]) - len(name)]
        labels = wrap(name, widths[0], indent, indent + "  " if indent else None)
        parts = [_pad(labels[0], widths[0], left=True)]
        parts += [_pad(row[i], widths[i], left=i in left) for i in range(1, len(row))]
        lines.append((" " * gap).join(parts).rstrip())
        lines += labels[1:]
    return lines


def _pad(text: str, width: int, *, left: bool) -> str:
    space = " " * max(width - cell_len(text), 0)
    return text + space if left else space + text
