"""Tell decimal commas from decimal points, and read numbers that have commas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from simulator.errors import DataError
from simulator.tables.cells import as_text
from simulator.tables.kinds import Kind, TypedCells

Mark = Literal[",", "."]
_MARKS: Mapping[str, Mark] = {",": ",", "comma": ",", ".": ".", "point": "."}

_COMMA = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"
_POINT = r"^[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?$"
_COMMA_FOUND = re.compile(_COMMA, re.ASCII)
_OR_THOUSANDS = re.compile(r"^[+-]?[1-9]\d{0,2},\d{3}$", re.ASCII)
_POINT_FOUND = re.compile(r"^[+-]?(\d*\.\d+([eE][+-]?\d+)?|\d{1,3}(,\d{3})+\.\d*)$", re.ASCII)


@dataclass
class MarkCounts:
    """Cells of one column, counted.

    Attributes:
        commas: Such as ``1,5``: nothing but a decimal comma.
        either: Such as ``1,500``: a decimal comma or one of thousands.
        points: Such as ``1.5``.
    """

    commas: int = 0
    either: int = 0
    points: int = 0

    def add(self, cell: str) -> None:
        """Count a cell."""
        if _POINT_FOUND.match(cell):
            self.points += 1
        elif _OR_THOUSANDS.match(cell):
            self.either += 1
        elif _COMMA_FOUND.match(cell):
            self.commas += 1


def seen(text: str, columns: list[str], delimiter: str, *, cut: bool) -> dict[str, MarkCounts]:
    """What numbers look like at the beginning of a file.

    Args:
        text: Rows without the header.
        columns: Names, in order.
        delimiter: One character.
        cut: Whether the last row may be cut off; it is left out then.
    """
    found = {name: MarkCounts() for name in columns}
    if "," not in text or (delimiter == "," and '"' not in text):
        return found
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    before: list[str] = []
    try:
        for row in rows:
            for name, cell in zip(columns, before, strict=False):
                found[name].add(cell.strip())
            before = row
    except csv.Error:
        # The reader of rows names what is wrong, with its line.
        return found
    if not cut:
        for name, cell in zip(columns, before, strict=False):
            found[name].add(cell.strip())
    return found


def mark_of(columns: Iterable[MarkCounts]) -> Mark:
    """The decimal mark of columns of numbers.

    A comma, if some cell can mean nothing else and none has a point.
    """
    counts = list(columns)
    commas = sum(c.commas for c in counts)
    return "," if commas and not any(c.points for c in counts) else "."


def parse_mark(text: str) -> Mark:
    """The decimal mark that a user names.

    Raises:
        DataError: it is neither a comma nor a point.
    """
    if text not in _MARKS:
        raise DataError(f"the decimal mark is '{text}', expected , or .", "As --decimal ,")
    return _MARKS[text]


@dataclass(frozen=True)
class WithComma:
    """A kind of number whose cells have a decimal comma; cells with a point are bad.

    Attributes:
        kind: How the cells are read once the comma is a point.
    """

    kind: Kind

    @property
    def required(self) -> bool:
        """See `simulator.tables.kinds.Kind.required`."""
        return self.kind.required

    @property
    def expected(self) -> str:
        """See `simulator.tables.kinds.Kind.expected`."""
        return self.kind.expected

    @property
    def parses(self) -> Literal["whole", "decimal", "text"]:
        """Fractions only as text: a parser would take a point for the mark."""
        return "whole" if self.kind.parses == "whole" else "text"

    @property
    def dtype(self) -> pl.DataType:
        """See `simulator.tables.kinds.Kind.dtype`."""
        return self.kind.dtype

    def read(self, column: pl.Series) -> TypedCells:
        """See `simulator.tables.kinds.Kind.read`."""
        if column.dtype != pl.String:
            return self.kind.read(column)
        text = as_text(column)
        commas = text.str.contains(_COMMA).fill_null(False)
        points = text.str.contains(_POINT).fill_null(False)
        numbers = text.zip_with(~commas, text.str.replace(",", ".", literal=True))
        read = self.kind.read(numbers)
        repairs = dict(read.repairs)
        if commas.any():
            good = commas if read.bad is None else commas & ~read.bad
            repairs["decimal comma, 1,5 read as 1.5"] = good
        if not points.any():
            return TypedCells(read.values, read.bad, repairs)
        bad = points if read.bad is None else read.bad | points
        null = pl.Series([None], dtype=read.values.dtype)
        return TypedCells(read.values.zip_with(~points, null), bad, repairs)

    def why(self, cell: object) -> str:
        """See `simulator.tables.kinds.Kind.why`."""
        text = str(cell).strip()
        if re.match(_POINT, text):
            return "has a point among decimal commas; if it is the decimal mark: --decimal ."
        return self.kind.why(text.replace(",", ".") if _COMMA_FOUND.match(text) else text)
