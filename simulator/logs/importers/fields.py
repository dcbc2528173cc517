"""Describe how columns of files become columns of the dataset."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from simulator.logs.importers.expressions import Expression
from simulator.tables import Kind, Replace, Text, Time, TypedCells, Unit, Whole, as_text

FieldKind = Literal[
    "id", "name", "number", "label", "time", "duration", "play", "text", "tags", "list", "genres",
    "day",
]  # fmt: skip
SENTINELS = ["-124", "-124.0", "UNKNOWN", "空", "empty", "1970-1-1", "1970-01-01", "nan", "NaN"]
CHINA = "Asia/Shanghai"
# Play times down to -8 ms exist in KuaiRand; anything below a second under 0 is damage.
_SLIGHTLY_NEGATIVE = Replace(-1_000, -1, 0, "slightly negative to 0")
_ZERO_UNKNOWN = Replace(0, 0, None, "0 to unknown")
_EXPECTED = "a number of 0 or more"


@dataclass(frozen=True)
class Field:
    """A column of the dataset that is read from one column of a file.

    Attributes:
        target: Name in the dataset.
        sources: Accepted names in files, first match wins.
        kind: How cells are read: ``id`` a whole number, ``name`` any text that names something
            (hashed to a number), ``play`` and ``duration`` as KuaiRand has them, ``tags`` texts
            between commas, ``genres`` between bars, ``list`` a list in brackets, ``day`` a date.
        dtype: Type in the dataset.
        required: Files without it are refused, rows without it rejected.
        scale: Multiplies numbers (1000 for seconds to milliseconds).
        maximum: Of numbers.
        unit, zone, form: Of times.
        sentinels: Texts that mean "unknown".
    """

    target: str
    sources: tuple[str, ...]
    kind: FieldKind
    dtype: pl.DataType
    required: bool = False
    scale: int = 1
    maximum: int = 2**63 - 1
    unit: Unit = "ms"
    zone: str = "UTC"
    form: str | None = None
    sentinels: tuple[str, ...] = tuple(SENTINELS)

    def find(self, header: list[str]) -> str | None:
        """The file's name of this column, if it has one."""
        return next((name for name in self.sources if name in header), None)

    def reader(self) -> Kind:
        """How its cells are read."""
        unknown, required = self.sentinels, self.required
        match self.kind:
            case "text":
                return Text(required=required, unknown=unknown)
            case "tags" | "list" | "genres":
                between = "|" if self.kind == "genres" else ","
                return Tags(unknown=unknown, brackets=self.kind == "list", between=between)
            case "name":
                return Name(required=required)
            case "day":
                return Time(
                    required=required, unit="text", zone=CHINA, unknown=unknown, plausible=False
                )
            case "time":
                unit: Unit = "s" if self.scale == 1000 else self.unit
                return Time(
                    required=required, unit=unit, zone=self.zone, form=self.form, unknown=unknown
                )
            case "label":
                return Whole(
                    required=required, minimum=0, maximum=1, type=self.dtype, unknown=unknown,
                    expected="0 or 1",
                )  # fmt: skip
            case _:
                replace = {"play": (_SLIGHTLY_NEGATIVE,), "duration": (_ZERO_UNKNOWN,)}
                return Whole(
                    required=required, minimum=0, maximum=self.maximum, type=self.dtype,
                    scale=self.scale,
                    rounds=self.kind in ("play", "duration") or self.scale != 1,
                    unknown=unknown, replace=replace.get(self.kind, ()), expected=_EXPECTED,
                )  # fmt: skip


@dataclass(frozen=True)
class Constant:
    """A column of the dataset that is the same in every row.

    Attributes:
        target: Name in the dataset.
        value: In every row.
        dtype: Type in the dataset.
        stands_for_unknown: Whether the source does not say it; commands that need it refuse.
    """

    target: str
    value: int | float | str | None
    dtype: pl.DataType
    stands_for_unknown: bool = False


@dataclass(frozen=True)
class Computed:
    """A column of the dataset that is computed from columns of a file.

    Attributes:
        target: Name in the dataset.
        expression: How; its columns are read as numbers, or as texts where compared with one.
        kind: What its values may be.
    """

    target: str
    expression: Expression
    kind: Kind


Column = Field | Constant | Computed


@dataclass(frozen=True)
class Tags:
    """Texts between commas, or a list in brackets as ``[27, 9]`` or ``["a", "b"]``."""

    unknown: tuple[str, ...] = ()
    brackets: bool = False
    between: str = ","
    required: bool = False
    expected: str = "texts between commas"
    parses: Literal["text"] = "text"
    dtype: pl.DataType = field(default_factory=lambda: pl.List(pl.String()))

    def read(self, column: pl.Series) -> TypedCells:
        """See `simulator.tables.kinds.Kind.read`."""
        if column.dtype == pl.List:
            return TypedCells(column.cast(pl.List(pl.String)))
        found = Text(unknown=self.unknown).read(column)
        text = found.values
        if self.brackets:
            text = text.str.strip_chars("[] ").str.replace_all("['\"]", "")
            nothing = pl.Series([None], dtype=pl.String)
            text = text.zip_with((text != "").fill_null(True), nothing)
        parts = pl.DataFrame({"t": text}).select(
            pl.col("t").str.split(self.between).list.eval(pl.element().str.strip_chars())
        )
        return TypedCells(parts.to_series(), None, found.repairs)

    def why(self, cell: object) -> str:
        """See `simulator.tables.kinds.Kind.why`."""
        return ""


@dataclass(frozen=True)
class Name:
    """Any text that names something, as a number: 62 bits of its BLAKE2b hash.

    The same name is the same number in every file. Two of ten million names are the same number
    with a probability of 1e-5.
    """

    required: bool = True
    expected: str = "a name"
    parses: Literal["text"] = "text"
    dtype: pl.DataType = field(default_factory=pl.Int64)

    def read(self, column: pl.Series) -> TypedCells:
        """See `simulator.tables.kinds.Kind.read`."""
        text = as_text(column)
        names = text.drop_nulls().unique()
        numbers = [hashed(name) for name in names]
        known = pl.DataFrame({"name": names, "number": pl.Series(numbers, dtype=pl.Int64)})
        found = pl.DataFrame({"name": text}).join(
            known, on="name", how="left", maintain_order="left"
        )
        values = found["number"]
        bad = values.is_null() if self.required and values.null_count() else None
        return TypedCells(values, bad)

    def why(self, cell: object) -> str:
        """See `simulator.tables.kinds.Kind.why`."""
        return ""


def hashed(name: str) -> int:
    """The number of a name, from 0 to 2^62 - 1."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 2
