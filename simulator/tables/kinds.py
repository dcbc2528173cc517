"""Turn cells into typed values: exactly, or with a reason why not.

A kind takes one column of a batch, as text or in the type that Parquet gives it, and returns its
values, which of its cells are bad, and which were changed. Whole numbers never pass through floats.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal, Protocol

import polars as pl

from simulator.tables.cells import EXACT_FLOAT, INT64, as_text, comma_in, why_bad

_MISSING = ("nan", "null", "none", "na", "n/a", "<na>")
_TRUE, _FALSE = ("true",), ("false",)


@dataclass(frozen=True)
class TypedCells:
    """One column of a batch, read.

    Attributes:
        values: Typed; null where a cell is empty, unknown or bad.
        bad: bool[n], or None if all cells are good.
        repairs: Reason to which cells were changed, bool[n].
    """

    values: pl.Series
    bad: pl.Series | None = None
    repairs: dict[str, pl.Series] = field(default_factory=dict)


class Kind(Protocol):
    """How the cells of a column are read."""

    @property
    def required(self) -> bool:
        """Whether an empty cell is bad."""

    @property
    def expected(self) -> str:
        """What a cell should hold, for messages."""

    @property
    def parses(self) -> Literal["whole", "decimal", "text"]:
        """As what the cells of a text file may be parsed before ``read`` gets them."""

    @property
    def dtype(self) -> pl.DataType:
        """The type of the values."""

    def read(self, column: pl.Series) -> TypedCells:
        """The values of a column.

        Raises:
            DataError: the column's type can never hold such values.
        """

    def why(self, cell: object) -> str:
        """What is wrong with a bad cell beyond not being as expected; may be empty."""


@dataclass(frozen=True)
class Replace:
    """Values that are changed and counted.

    Attributes:
        low, high: From, to; both included.
        value: What they become; None is unknown.
        reason: For the report: "0 to unknown".
    """

    low: int
    high: int
    value: int | None
    reason: str


@dataclass(frozen=True)
class Text:
    """A text without blanks around it; empty is null.

    Attributes:
        unknown: Texts that mean "unknown".
    """

    required: bool = False
    unknown: tuple[str, ...] = ()
    expected: str = "a text"
    dtype: pl.DataType = field(default_factory=pl.String)
    parses: Literal["text"] = "text"

    def read(self, column: pl.Series) -> TypedCells:
        """See `Kind.read`."""
        text = as_text(column)
        repairs = {}
        if self.unknown:
            sentinel = text.is_in(list(self.unknown)).fill_null(False)
            if sentinel.any():
                repairs["sentinel to unknown"] = sentinel
                text = text.zip_with(~sentinel, pl.Series([None], dtype=pl.String))
        bad = text.is_null() if self.required and text.null_count() else None
        return TypedCells(text, bad, repairs)

    def why(self, cell: object) -> str:
        """See `Kind.why`."""
        return ""


@dataclass(frozen=True)
class Whole:
    """A whole number within bounds.

    ``7``, ``7.0`` and ``True`` are whole. An exponent (``1.6E+18``) has lost digits and is bad.
    A fraction is bad, or is rounded and counted.

    Attributes:
        minimum, maximum: Smallest and largest good value; within int64.
        type: What values are stored as; a bound of it is a bound of the values.
        scale: Multiplies what is in the file (1000 for seconds to milliseconds), exactly.
        rounds: Whether fractions (after scaling) are rounded half up and counted, instead of bad.
        unknown: Texts that mean "unknown"; of numbers, in any spelling.
        replace: Values that are changed and counted.
        expected: For messages.
    """

    required: bool = False
    minimum: int = INT64[0]
    maximum: int = INT64[1]
    type: pl.DataType = field(default_factory=pl.Int64)
    scale: int = 1
    rounds: bool = False
    unknown: tuple[str, ...] = ()
    replace: tuple[Replace, ...] = ()
    expected: str = "a whole number"
    parses: Literal["whole"] = "whole"

    @property
    def dtype(self) -> pl.DataType:
        """The type of the values."""
        return self.type

    def read(self, column: pl.Series) -> TypedCells:
        """See `Kind.read`."""
        bad: pl.Series | None = None
        repairs: dict[str, pl.Series] = {}
        if column.dtype == pl.Boolean:
            column = column.cast(pl.Int64)
        if column.dtype.is_integer():
            number = column.cast(pl.Int64, strict=False)
            bad = _either(bad, number.is_null() & column.is_not_null())
            if self.scale != 1:
                number = _times(number, self.scale)
                bad = _either(bad, number.is_null() & column.is_not_null())
        elif column.dtype.is_float():
            number, bad, repairs = self._from_float(column.cast(pl.Float64))
        else:
            number, bad, repairs = self._from_text(column)
        return self._bounded(number, bad, repairs)

    def _from_float(self, column: pl.Series) -> tuple[pl.Series, pl.Series, dict[str, pl.Series]]:
        column = column.fill_nan(None)
        scaled = column * self.scale
        near = scaled.round(0)
        number = near.cast(pl.Int64, strict=False)
        # A float of seconds is no exact number of milliseconds; a hundredth of one is a fraction.
        slack = 0.0 if self.scale == 1 else 0.01
        part = ((scaled - near).abs() > slack).fill_null(False)
        bad = (scaled.abs() >= EXACT_FLOAT).fill_null(False)
        if not part.any():
            return number, bad, {}
        if self.rounds:
            return number, bad, {"fraction rounded": part & ~bad}
        return number, bad | part, {}

    def _from_text(self, column: pl.Series) -> tuple[pl.Series, pl.Series, dict[str, pl.Series]]:
        repairs: dict[str, pl.Series] = {}
        text = as_text(column)
        names = [u for u in self.unknown if not _is_number(u)]
        sentinel = text.is_in(names).fill_null(False) if names else None
        if sentinel is not None and sentinel.any():
            repairs["sentinel to unknown"] = sentinel
            text = text.zip_with(~sentinel, pl.Series([None], dtype=pl.String))
        lower = text.str.to_lowercase()
        absent = lower.is_in(list(_MISSING)).fill_null(False)
        text = text.zip_with(~absent, pl.Series([None], dtype=pl.String))
        digits = len(str(self.scale)) - 1
        frame = pl.DataFrame({"text": text}).lazy()
        parts = pl.col("text").str.extract_groups(r"^([+-]?)(\d+)(?:\.(\d*))?$")
        sign, whole, fraction = (parts.struct.field(str(k)) for k in (1, 2, 3))
        fraction = fraction.fill_null("")
        kept = (
            whole + fraction.str.pad_end(digits, "0").str.slice(0, digits)
        ).str.strip_chars_start("0")
        kept = pl.when(kept == "").then(pl.lit("0")).otherwise(kept)
        rest = fraction.str.slice(digits)
        up = rest.str.contains("^[5-9]")
        minus = sign == "-"
        signed = pl.when(minus).then(pl.concat_str(pl.lit("-"), kept)).otherwise(kept)
        number = signed.cast(pl.Int64, strict=False)
        if self.rounds:
            number += pl.when(minus).then(-up.cast(pl.Int64)).otherwise(up.cast(pl.Int64))
        flag = pl.col("text").str.to_lowercase()
        number = (
            pl.when(flag.is_in(list(_TRUE))).then(1)
            .when(flag.is_in(list(_FALSE))).then(0)
            .otherwise(number)
        )  # fmt: skip
        found = frame.select(
            number.alias("number"), rest.str.contains("[1-9]").fill_null(False).alias("fraction")
        ).collect()
        value, part = found["number"], found["fraction"]
        bad = text.is_not_null() & value.is_null()
        if part.any():
            if self.rounds:
                repairs["fraction rounded"] = part & ~bad
            else:
                bad |= part
        return value, bad, repairs

    def _bounded(
        self, number: pl.Series, bad: pl.Series | None, repairs: dict[str, pl.Series]
    ) -> TypedCells:
        """Replacements, then bounds; columns that need neither are seen by their extremes."""
        null = pl.Series([None], dtype=pl.Int64)
        bounds = _bounds(self.type)
        minimum, maximum = max(self.minimum, bounds[0]), min(self.maximum, bounds[1])
        numeric = [int(float(u)) for u in self.unknown if _is_number(u)]
        changes = [Replace(n, n, None, "sentinel to unknown") for n in dict.fromkeys(numeric)]
        for change in (*changes, *self.replace):
            if number.is_empty() or not _meets(number, change.low, change.high):
                continue
            inside = number.is_between(change.low, change.high).fill_null(False)
            if inside.any():
                known = repairs.get(change.reason)
                repairs[change.reason] = inside if known is None else known | inside
                value = null if change.value is None else pl.Series([change.value])
                number = number.zip_with(~inside, value)
        if not number.is_empty() and not _within(number, minimum, maximum):
            bad = _either(bad, ~number.is_between(minimum, maximum).fill_null(True))
        if self.required and number.null_count():
            bad = _either(bad, number.is_null())
        if bad is not None and bad.any():
            number = number.zip_with(~bad, null)
        return TypedCells(number.cast(self.type), bad, repairs)

    def why(self, cell: object) -> str:
        """See `Kind.why`."""
        found = why_bad(cell)
        if found or self.scale != 1:
            return found
        try:
            value = int(str(cell).strip().split(".")[0])
        except ValueError:
            return ""
        high = _bounds(self.type)[1]
        if value > min(self.maximum, high) and self.expected != "0 or 1":
            return f"larger than {min(self.maximum, high)}"
        return ""


def label(*, required: bool = False, unknown: tuple[str, ...] = ()) -> Whole:
    """A 0/1 label; True and False are 1 and 0."""
    return Whole(
        required=required, minimum=0, maximum=1, type=pl.Int8(), unknown=unknown, expected="0 or 1"
    )


@dataclass(frozen=True)
class Number:
    """A finite number; NaN is null, True and False are 1 and 0.

    Attributes:
        minimum, maximum: Smallest and largest good value.
        dtype: float64, or float32.
    """

    required: bool = False
    minimum: float = -math.inf
    maximum: float = math.inf
    expected: str = "a number"
    dtype: pl.DataType = field(default_factory=pl.Float64)
    parses: Literal["decimal"] = "decimal"

    def read(self, column: pl.Series) -> TypedCells:
        """See `Kind.read`."""
        null = pl.Series([None], dtype=pl.Float64)
        if column.dtype.is_numeric() or column.dtype == pl.Boolean:
            number = column.cast(pl.Float64)
            bad = pl.repeat(False, len(column), eager=True)
        else:
            text = as_text(column)
            lower = text.str.to_lowercase()
            number = text.cast(pl.Float64, strict=False)
            flags = pl.select(
                pl.when(lower.is_in(list(_TRUE)))
                .then(1.0)
                .when(lower.is_in(list(_FALSE)))
                .then(0.0)
            ).to_series()
            number = number.zip_with(flags.is_null(), flags)
            bad = text.is_not_null() & number.is_null()
            bad &= ~lower.is_in(list(_MISSING)).fill_null(False)
        number = number.fill_nan(None)
        bad |= number.is_infinite().fill_null(False)
        if self.minimum > -math.inf or self.maximum < math.inf:
            bad |= ~number.is_between(self.minimum, self.maximum).fill_null(True)
        if self.required:
            bad |= number.is_null()
        if not bad.any():
            return TypedCells(number.cast(self.dtype))
        return TypedCells(number.zip_with(~bad, null).cast(self.dtype), bad)

    def why(self, cell: object) -> str:
        """See `Kind.why`."""
        text = str(cell).strip()
        if said := comma_in(text):
            return said
        value = pl.Series([text]).cast(pl.Float64, strict=False)[0]
        if value is not None and value > self.maximum:
            return f"above {self.maximum:g}"
        if value is None or value >= self.minimum:
            return ""
        # The number next to 0 stands for "above 0", which is said as what is expected.
        return "" if self.minimum == math.ulp(0.0) else f"below {self.minimum:g}"


def _either(one: pl.Series | None, other: pl.Series) -> pl.Series | None:
    if not other.any():
        return one
    return other if one is None else one | other


def _bounds(dtype: pl.DataType) -> tuple[int, int]:
    """Smallest and largest value of an integer type."""
    narrow: dict[type[pl.DataType], int] = {pl.Int8: 8, pl.Int16: 16, pl.Int32: 32}
    bits = narrow.get(type(dtype), 64)
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _extremes(number: pl.Series) -> tuple[int, int] | None:
    low, high = number.min(), number.max()
    return (low, high) if isinstance(low, int) and isinstance(high, int) else None


def _meets(number: pl.Series, low: int, high: int) -> bool:
    """Whether some value may be in a range."""
    ends = _extremes(number)
    return ends is not None and ends[0] <= high and ends[1] >= low


def _within(number: pl.Series, low: int, high: int) -> bool:
    """Whether all values are in a range."""
    ends = _extremes(number)
    return ends is None or (ends[0] >= low and ends[1] <= high)


def _times(number: pl.Series, scale: int) -> pl.Series:
    """The product; null where it overflows."""
    limit = INT64[1] // scale
    fits = number.is_between(-limit, limit).fill_null(False)
    return number.zip_with(fits, pl.Series([None], dtype=pl.Int64)) * scale


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.0*)?", text) is not None
