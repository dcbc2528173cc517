"""Write one typed column of the dataset as one text column of a file.

The inverse of `simulator.logs.importers.columns.Field.value`.
"""

from __future__ import annotations

import polars as pl

from simulator.calendar import china_hour, china_ms
from simulator.logs.exporters.layout import FileLayout
from simulator.logs.importers.columns import Field


def file_columns(layout: FileLayout, present: set[str]) -> list[pl.Expr]:
    """The text columns of a file, in order.

    Args:
        layout: The file.
        present: Columns that the table of the dataset has.
    """
    return [_column(layout, name, present).alias(name) for name in layout.header]


def _column(layout: FileLayout, name: str, present: set[str]) -> pl.Expr:
    if name in layout.constant:
        return pl.lit(layout.constant[name])
    field = layout.field_of(name)
    unknown = layout.unknown.get(name)
    if field is None:
        return pl.lit(None, pl.String)
    if field.target in ("date", "hourmin"):
        # Both formats require the hour; a log without it has it from the time.
        derived = _date() if field.target == "date" else _hourmin()
        known = pl.col(field.target) if field.target in present else pl.lit(None, field.dtype)
        return pl.coalesce(known.cast(pl.String), derived.cast(pl.String))
    text = _tags(name, present) if field.kind == "tags" else None
    if text is None:
        if field.target not in present:
            return pl.lit(unknown, pl.String)
        text = _text(field, name in layout.decimal)
    return text if unknown is None else text.fill_null(unknown)


def _text(field: Field, decimal: bool) -> pl.Expr:
    value = pl.col(field.target)
    if field.kind == "text":
        return value
    if field.kind == "day":
        return pl.from_epoch(china_ms(value), time_unit="ms").dt.strftime("%Y-%m-%d")
    whole = value.cast(pl.Int64) // field.scale
    return pl.concat_str(whole.cast(pl.String), pl.lit(".0")) if decimal else whole.cast(pl.String)


def _tags(name: str, present: set[str]) -> pl.Expr:
    """All tags in KuaiRand's column ``tag``; in KuaiComt's ``category`` the category, if known."""
    nothing = pl.lit(None, pl.String)
    tags = pl.col("tags").list.join(",") if "tags" in present else nothing
    category = pl.col("category") if "category" in present else nothing
    return tags if name == "tag" else pl.coalesce(category, tags)


def _hourmin() -> pl.Expr:
    return china_hour(pl.col("time_ms")) * 100


def _date() -> pl.Expr:
    return pl.from_epoch(china_ms(pl.col("time_ms")), time_unit="ms").dt.strftime("%Y%m%d")
