"""Open a table of users for analysis: every command that takes one reads it through here."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from abtest.errors import UsageError
from reports.users.days import EXPECTED, Days, why_no_day
from reports.users.errors import TableError
from reports.users.files import UserFile
from reports.users.rows import LARGEST, Role
from simulator.tables import (
    EXACT_FLOAT,
    BadRows,
    Batch,
    Kind,
    Number,
    Table,
    Tally,
    Text,
    TypedCells,
    Whole,
    as_text,
    open_table,
)

_PACKED = (".gz", ".zst", ".bz2", ".xz")
_UNPACKED = 10
"""How many times its size a packed table has, roughly and rather more."""
_SHORTEST_ROW = 8
_CHUNK = 1 << 22
_LOOK = 10_000
"""Rows that tell which columns of a text file hold numbers."""


def open_users(
    paths: Sequence[Path | str],
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    bad_rows: str = "fail",
) -> UserFile:
    """A table of users in files, directories or both.

    Args:
        paths: Where it is. A name that is no file and has ``*`` or ``?`` in it is a pattern.
        encoding: Of text that is neither UTF-8 nor UTF-16.
        delimiter: Between cells; None finds out.
        decimal: The decimal mark of texts, a comma or a point; None finds out.
        bad_rows: "fail", or "skip" to leave them out and count them.

    Raises:
        DataError: nothing there, or not a table.
        UsageError: an unknown choice for bad rows.
    """
    if bad_rows not in get_args(BadRows):
        raise UsageError(f"--bad-rows is '{bad_rows}', expected fail or skip.")
    found = [path for one in paths for path in _expanded(str(one))]
    table = open_table(found, encoding=encoding, delimiter=delimiter, decimal=decimal)
    name = ", ".join(str(path) for path in paths)
    return UserFile(_Rows(table, name, "skip" if bad_rows == "skip" else "fail"))


def is_pattern(name: str) -> bool:
    """Whether a name stands for the files that match it: no file, with ``*`` or ``?`` in it.

    Brackets are literal: a misspelt ``t[1].csv`` shall not become ``t1.csv``.
    """
    return ("*" in name or "?" in name) and not Path(name).exists()


def _expanded(name: str) -> list[Path]:
    if not is_pattern(name):
        return [Path(name)]
    found = glob.glob(name.replace("[", "[[]"), recursive=True)  # noqa: PTH207 -- takes any text
    return sorted(map(Path, found)) or [Path(name)]


class _Rows:
    """`reports.users.rows.RowSource` of a table in files."""

    def __init__(self, table: Table, name: str, bad_rows: BadRows) -> None:
        self.name = name
        self.schema: Mapping[str, pl.DataType] = table.schema
        self.files = table.files
        self._table = table
        self._tally = Tally(bad_rows=bad_rows)

    def rows_at_most(self) -> int:
        """See `RowSource`; of packed files a guess."""
        return sum(_rows_of(path, text=self._table.is_text) for path in self._table.files)

    def batches(
        self, roles: Mapping[str, Role], days: Mapping[str, Days]
    ) -> Iterator[pl.DataFrame]:
        """See `RowSource`."""
        arms = _Arm()
        kinds: dict[str, Kind] = {}
        for name, role in roles.items():
            kinds[name] = arms if role == "arm" else _kind(role, days.get(name))
        for batch in self._table.read(kinds, self._tally):
            yield batch.frame
        arms.check(self.name)

    def places(self, user_column: str, user: Any, arm_column: str) -> list[tuple[str, str]]:
        """See `RowSource`."""
        kinds: dict[str, Kind] = {user_column: _Id(), arm_column: Text()}
        found = []
        for batch in self._table.read(kinds, Tally(bad_rows="skip")):
            rows = (batch.frame[user_column] == user).arg_true()
            arms = batch.frame[arm_column]
            found += [(str(arms[row]), self._place(batch, row)) for row in rows]
        return found

    def numbers(self) -> list[str]:
        """See `RowSource`."""
        if not self._table.is_text:
            return [n for n, t in self.schema.items() if t.is_numeric() or t == pl.Boolean]
        first = next(self._table.batches(tally=Tally(bad_rows="skip")), None)
        if first is None:
            return []
        frame = first.frame.head(_LOOK)
        # Each column alone: which of them are numbers is not known yet.
        kinds = {name: self._table.as_written({name: Number()})[name] for name in frame.columns}
        read = {name: kind.read(frame[name]) for name, kind in kinds.items()}
        return [n for n, r in read.items() if r.bad is None and r.values.null_count() < len(frame)]

    def _place(self, batch: Batch, row: int) -> str:
        place = batch.place(row)
        return place.removeprefix(f"{batch.path} ") if len(self._table.files) == 1 else place

    def notes(self) -> list[str]:
        """See `RowSource`."""
        said = []
        if self._tally.rejected:
            first = self._tally.examples[0] if self._tally.examples else ""
            said.append(f"{self._tally.rejected:,} bad rows of {self.name} were skipped; {first}")
        for reason, count in self._tally.repaired.items():
            said.append(f"{count:,} cells of {self.name} were changed: {reason}")
        return said


def _kind(role: Role, days: Days | None) -> Kind:
    if role == "user":
        return _Id()
    if role in ("day", "joined"):
        assert days is not None
        return _Day(days)
    if role == "segment":
        return Text()
    if role == "covariate":
        return Number(minimum=-LARGEST, maximum=LARGEST)
    return Number(required=True, minimum=-LARGEST, maximum=LARGEST, expected=OUTCOME)


_NOBODY = ("nan", "null", "none", "na", "n/a", "<na>", "#n/a", "\\n")
_WHOLE_FLOAT = r"^([+-]?\d+)\.0*$"
_THROUGH_FLOATS = r"^[+-]?\d+\.\d*$|^[+-]?\d+([.,]\d*)?[eE]\+\d+$|^[+-]?\d+[.,]\d*[eE]\d+$"


def _without_floats(texts: pl.Series) -> TypedCells:
    """Users whose number passed through floats: 7.0 is 7 again, lost digits are bad."""
    floats = texts.str.contains(_THROUGH_FLOATS).fill_null(False)
    if not floats.any():
        bad = texts.is_null()
        return TypedCells(texts, bad if bad.any() else None)
    whole = texts.str.extract(_WHOLE_FLOAT)
    exact = whole.cast(pl.Int64, strict=False).is_between(-EXACT_FLOAT, EXACT_FLOAT, closed="none")
    repaired = floats & exact.fill_null(False)
    values = texts.zip_with(~repaired, whole)
    values = values.set(floats & ~repaired, None)
    bad = values.is_null()
    repairs = {"written as a float, 7.0 for 7": repaired} if repaired.any() else {}
    return TypedCells(values, bad if bad.any() else None, repairs)


OUTCOME = "a number (empty is not 0)"


@dataclass(frozen=True)
class _Id:
    """A user's id: whole numbers stay numbers, texts stay texts."""

    required: bool = True
    expected: str = "the user of the row"
    dtype: pl.DataType = field(default_factory=pl.String)
    parses: Literal["text"] = "text"

    def read(self, column: pl.Series) -> TypedCells:
        """See `Kind.read`."""
        if column.dtype.is_integer():
            values = column
        elif column.dtype.is_float():
            return Whole(required=True).read(column)
        else:
            values = as_text(column)
            values = values.set(values.str.to_lowercase().is_in(_NOBODY), None)
            return _without_floats(values)
        bad = values.is_null()
        return TypedCells(values, bad if bad.any() else None)

    def why(self, cell: object) -> str:
        """See `Kind.why`."""
        text = str(cell).strip()
        if re.fullmatch(_WHOLE_FLOAT, text):
            return "a float of this size has lost digits"
        if isinstance(cell, float) or re.fullmatch(_THROUGH_FLOATS, text):
            return Whole().why(cell)
        return "no user"


@dataclass
class _Arm:
    """An arm's name without blanks around it; remembers names that differ by blanks only."""

    required: bool = True
    expected: str = "the arm of the row"
    dtype: pl.DataType = field(default_factory=pl.String)
    parses: Literal["text"] = "text"
    _written: dict[str, set[str]] = field(default_factory=dict)

    def read(self, column: pl.Series) -> TypedCells:
        """See `Kind.read`."""
        values = as_text(column)
        if column.dtype in (pl.String, pl.Categorical, pl.Enum):
            for one in column.cast(pl.String).drop_nulls().unique().to_list():
                self._written.setdefault(one.strip(), set()).add(one)
        bad = values.is_null()
        return TypedCells(values, bad if bad.any() else None)

    def why(self, cell: object) -> str:
        """See `Kind.why`."""
        return ""

    def check(self, name: str) -> None:
        """After the last batch.

        Raises:
            TableError: two names differ by blanks only.
        """
        for written in self._written.values():
            if len(written) > 1:
                one, other = sorted(written)[:2]
                raise TableError(
                    f"is {other!r} of {name} the same arm as {one!r} (in the table)?",
                    "The names differ by blanks or case only.",
                    "Make them alike",
                )


@dataclass(frozen=True)
class _Day:
    """A day, as `reports.users.days` understands it."""

    days: Days
    required: bool = True
    expected: str = EXPECTED
    dtype: pl.DataType = field(default_factory=pl.Int64)
    parses: Literal["text"] = "text"

    def read(self, column: pl.Series) -> TypedCells:
        """See `Kind.read`."""
        values, bad = self.days.read(column)
        bad = bad | values.is_null()
        return TypedCells(values, bad if bad.any() else None)

    def why(self, cell: object) -> str:
        """See `Kind.why`."""
        return why_no_day(cell)


def _rows_of(path: Path, *, text: bool) -> int:
    if path.suffix.lower() in _PACKED:
        return path.stat().st_size * _UNPACKED // _SHORTEST_ROW
    if not text:
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    with path.open("rb") as file:
        return 1 + sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK), b""))
