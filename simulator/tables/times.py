"""Read times: numbers since 1970 in a known unit, or texts and Parquet times with their zones."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from simulator.errors import DataError
from simulator.tables.cells import as_text, why_bad
from simulator.tables.kinds import TypedCells, Whole

Unit = Literal["s", "ms", "us", "ns", "text"]
UNITS: tuple[Unit, ...] = ("s", "ms", "us", "ns", "text")
EARLIEST_MS, LATEST_MS = 631_152_000_000, 4_102_444_800_000
"""1990 and 2100: what lies outside is in another unit."""
_PER_MS = {"us": 1_000, "ns": 1_000_000}
_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
)
_EXAMPLE = dt.datetime(2022, 4, 8, 12, 30)
_OFFSET = r"\s*(Z|z|UTC|GMT|[+-]\d{2}:?\d{2})$"


@dataclass(frozen=True)
class Time:
    """A time, read as int64 Unix milliseconds (UTC).

    Attributes:
        unit: Of numbers: "s", "ms", "us" or "ns" since 1970; "text" for dates and times such as
            ``2022-04-08 12:30:00.5`` or ``2022-04-08T12:30+08:00``.
        zone: Of texts, and of Parquet times, that name none.
        form: How texts are written, as ``%d.%m.%Y %H:%M:%S``; None for year, month, day.
        unknown: Texts that mean "unknown".
        plausible: Whether a time before 1990 or after 2100 is bad.
    """

    required: bool = False
    unit: Unit = "ms"
    zone: str = "UTC"
    form: str | None = None
    unknown: tuple[str, ...] = ()
    plausible: bool = True
    dtype: pl.DataType = field(default_factory=pl.Int64)

    @property
    def parses(self) -> Literal["whole", "text"]:
        """See `simulator.tables.kinds.Kind.parses`."""
        return "text" if self.unit == "text" else "whole"

    @property
    def expected(self) -> str:
        """What a cell should hold, for messages."""
        if self.form is not None:
            return f"a time written as {self.form}"
        if self.unit == "text":
            return "a date or a time, as 2022-04-08 12:30:00"
        names = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
        return f"{names[self.unit]} since 1970"

    def read(self, column: pl.Series) -> TypedCells:
        """See `simulator.tables.kinds.Kind.read`."""
        if column.dtype.is_temporal():
            found = TypedCells(_of_temporal(column, self.zone))
        elif self.unit == "text":
            found = self._of_text(column)
        else:
            found = self._of_number(column)
        values, bad = found.values, found.bad
        wrong = pl.repeat(False, len(values), eager=True) if bad is None else bad
        if self.plausible and len(values):
            wrong = wrong | ~values.is_between(EARLIEST_MS, LATEST_MS).fill_null(True)
        if self.required:
            wrong = wrong | values.is_null()
        if not wrong.any():
            return TypedCells(values, None, found.repairs)
        return TypedCells(
            values.zip_with(~wrong, pl.Series([None], dtype=pl.Int64)), wrong, found.repairs
        )

    def _of_number(self, column: pl.Series) -> TypedCells:
        scale = 1_000 if self.unit == "s" else 1
        found = Whole(scale=scale, rounds=self.unit == "s", unknown=self.unknown).read(column)
        per = _PER_MS.get(self.unit)
        if per is None:
            return found
        return TypedCells((found.values + per // 2) // per, found.bad, found.repairs)

    def _of_text(self, column: pl.Series) -> TypedCells:
        text = as_text(column)
        repairs = {}
        unknown = text.is_in([*self.unknown, "NaT", "nan", "NaN"]).fill_null(False)
        if unknown.any():
            if text.filter(unknown).is_in(list(self.unknown)).any():
                repairs["sentinel to unknown"] = text.is_in(list(self.unknown)).fill_null(False)
            text = text.zip_with(~unknown, pl.Series([None], dtype=pl.String))
        values = _of_text(text, self.zone, _FORMATS if self.form is None else (self.form,))
        return TypedCells(values, text.is_not_null() & values.is_null(), repairs)

    def why(self, cell: object) -> str:
        """Which unit a number may be in."""
        if self.unit == "text":
            other = re.match(r"\d{1,2}[./-]\d{1,2}[./-]\d{4}\b", str(cell).strip())
            told = other is not None and self.form is None
            return 'the map can say how: form = "%d.%m.%Y %H:%M:%S"' if told else ""
        found = why_bad(cell)
        if found:
            return found
        try:
            value = int(str(cell).split(".")[0])
        except ValueError:
            return ""
        names = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
        in_ms = {"s": value * 1000, "ms": value, "us": value // 1000, "ns": value // 1_000_000}
        fit = [names[u] for u, ms in in_ms.items() if EARLIEST_MS <= ms <= LATEST_MS]
        year = 1970 + in_ms[self.unit] / 31_556_952_000
        here = f"in the year {int(year)}" if 1 <= year <= 9999 else "far from today"
        return f"{here}; is it in {fit[0]}?" if fit else here


def check_zone(zone: str) -> str:
    """The zone, if there is one of that name.

    Raises:
        DataError: there is none.
    """
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(f"there is no time zone '{zone}'.", "As Asia/Shanghai or UTC") from None
    return zone


def _of_temporal(column: pl.Series, zone: str) -> pl.Series:
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("ms"))
    if not isinstance(column.dtype, pl.Datetime):
        raise DataError(f"column '{column.name}' is {column.dtype}, expected times.")
    if column.dtype.time_zone is None and zone != "UTC":
        column = column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return column.dt.epoch("ms")


def check_form(form: str) -> str:
    """The form of times, if it can be read.

    Raises:
        DataError: it is none.
    """
    written = _EXAMPLE.strftime(form.replace("%.f", ""))
    try:
        read = pl.Series([written]).str.to_datetime(form, strict=False, time_unit="ms")[0]
    except pl.exceptions.PolarsError:
        read = None
    if read is None or read.date() != _EXAMPLE.date():
        raise DataError(
            f"'{form}' is no form of dates and times.",
            "As %d.%m.%Y %H:%M:%S; a zone behind it is found by itself",
        )
    return form


def _of_text(text: pl.Series, zone: str, forms: Sequence[str]) -> pl.Series:
    """Unix ms of dates and times; null where they cannot be read."""
    clean = pl.col("text")
    if forms is _FORMATS:
        clean = clean.str.replace(r"^(\d{4})/(\d{1,2})/", "$1-$2-")
        clean = clean.str.replace(r"^(\S+)T", "$1 ")
    offset = clean.str.extract(r"\d{1,2}:\d{2}\S*?" + _OFFSET, 1)
    plain = pl.when(offset.is_null()).then(clean).otherwise(clean.str.replace(_OFFSET, ""))
    naive = pl.coalesce(plain.str.to_datetime(form, strict=False, time_unit="ms") for form in forms)
    local = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    digits = offset.str.replace(":", "")
    minutes = (
        digits.str.slice(1, 2).cast(pl.Int64, strict=False) * 60
        + digits.str.slice(3, 2).cast(pl.Int64, strict=False)
    ).fill_null(0)
    minutes = pl.when(digits.str.starts_with("-")).then(-minutes).otherwise(minutes)
    shifted = naive.dt.epoch("ms") - minutes * 60_000
    value = pl.when(offset.is_null()).then(local.dt.epoch("ms")).otherwise(shifted)
    return pl.DataFrame({"text": text}).select(value.alias(text.name)).to_series()
