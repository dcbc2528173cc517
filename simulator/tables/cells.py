"""Look at single cells: as text, and what is remarkable about one that is no number."""

from __future__ import annotations

import re

import polars as pl

from simulator.errors import DataError

EXACT_FLOAT = 2**53
"""Whole numbers up to here are exact in float64."""
INT64 = (-(2**63), 2**63 - 1)


def as_text(column: pl.Series) -> pl.Series:
    """Any column as texts without blanks around them; empty is null.

    Raises:
        DataError: its type has no text: lists, structures.
    """
    if column.dtype == pl.Binary:
        # Old Parquet files hold texts as bytes.
        column = column.cast(pl.String, strict=False)
    if column.dtype.is_nested() or column.dtype == pl.Object:
        raise DataError(f"column '{column.name}' is {column.dtype}, expected single values.")
    if column.dtype != pl.String:
        column = column.cast(pl.String)
    text = column.str.strip_chars()
    empty = text == ""
    return text.zip_with(~empty.fill_null(False), pl.Series([None], dtype=pl.String))


def why_bad(cell: object) -> str:
    """What is remarkable about a cell that is no whole number; empty if nothing."""
    text = str(cell).strip()
    if isinstance(cell, float) and abs(cell) >= EXACT_FLOAT:
        return "a float of this size has lost digits"
    if re.fullmatch(r"[+-]?\d+(\.\d+)?[eE][+-]?\d+", text):
        return "exponent form: digits may be lost"
    if re.fullmatch(r"[+-]?\d*\.\d+", text):
        return "has a fraction"
    if (
        re.fullmatch(r"[+-]?\d+(\.0*)?", text)
        and not INT64[0] <= int(text.split(".")[0]) <= INT64[1]
    ):
        return "too large"
    return comma_in(text)


def comma_in(text: str) -> str:
    """What is said of a number with a comma; empty of anything else."""
    if re.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?", text):
        return "has a comma; if it is the decimal mark: --decimal ,"
    return "has a comma" if re.fullmatch(r"[+-]?[\d.]*,[\d.,]+", text) else ""
