"""Define a section that somebody else adds to a report: a title, sentences, a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Section:
    """Text and numbers; the report sets them in its own look and escapes them.

    Attributes:
        title: Heading.
        paragraphs: Sentences under it.
        header: Column titles of a table; empty for none.
        rows: Cells of the table, as many per row as the header has.
        source: Who says it, as the package's name; shown beside the title.
    """

    title: str
    paragraphs: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=tuple)
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be set.

        Raises:
            ValueError: a row with more or fewer cells than the header.
        """
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.header):
                raise ValueError(
                    f"section '{self.title}', row {number}: {len(row)} cells, "
                    f"expected {len(self.header)}"
                )
