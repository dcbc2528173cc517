"""Read tables and sentences from what a benchmark prints, for a page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reports.render.page import PageSection, PageTable

_RULE = re.compile(r"-+( +-+)*\s*")
_NUMBER = re.compile(r"[-+<>~]?[\d.,]+( ?%| ?s| ?MB| ?GB)?")


def sections_of(text: str) -> list[PageSection]:
    """One section per block of lines; blocks are apart by an empty line.

    A block that holds a rule of dashes, as `abtest.tables.table` prints it, is a table: the line
    above the rule names its columns, and lines before that are its sentences.
    """
    found: list[PageSection] = []
    for number, block in enumerate(re.split(r"\n\s*\n", text.strip("\n")), start=1):
        lines = block.splitlines()
        rule = next((at for at, line in enumerate(lines) if at and _RULE.fullmatch(line)), None)
        if rule is None:
            found.append(PageSection(f"Result {number}", paragraphs=lines))
            continue
        spans = [match.span() for match in re.finditer("-+", lines[rule])]
        head, *rows = (_cells(line, spans) for line in (lines[rule - 1], *lines[rule + 1 :]))
        right = [
            at for at in range(1, len(head)) if rows and all(_is_number(row[at]) for row in rows)
        ]
        table = PageTable(f"{len(rows)} rows, as printed", head, rows, right=right)
        found.append(PageSection(f"Result {number}", paragraphs=lines[: rule - 1], tables=[table]))
    return found


def _cells(line: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """Texts below each run of the rule; the last one reaches to the end of the line."""
    ends = [*(start for start, _ in spans[1:]), None]
    return [line[start:end].strip() for (start, _), end in zip(spans, ends, strict=True)]


def _is_number(cell: str) -> bool:
    return not cell or _NUMBER.fullmatch(cell) is not None
