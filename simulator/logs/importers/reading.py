"""Reading one delimited file: separator, header, bad cells, typed columns; lazily."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

import polars as pl

from simulator.errors import DataError
from simulator.logs.importers.columns import Field
from simulator.logs.importers.report import TableReport

BadRows = Literal["fail", "skip"]
LINE = "_line"
_SHOWN = 3
_SEPARATORS = (",", "\t", ";", "|")


def header_of(path: Path) -> tuple[list[str], str]:
    """Column names and separator of a file.

    Raises:
        DataError: no such file, empty, or not text.
    """
    if not path.is_file():
        raise DataError(f"no file at {path}.{nearby(path)}", "Without data: abtest demo")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a text file in UTF-8.", "Unpack archives first") from None
    if not first:
        raise DataError(f"{path} is empty.", "A header line with column names is needed")
    separator = max(_SEPARATORS, key=first.count)
    names = [name.strip().strip('"') for name in first.split(separator)]
    if len(names) != len(set(names)):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(f"{path} line 1: column '{twice}' appears twice.")
    return names, separator


def nearby(path: Path) -> str:
    """`` Nearby: ...`` with similar names in the same folder, or nothing."""
    if not path.parent.is_dir():
        return ""
    names = [p.name for p in path.parent.iterdir() if p.is_dir() or p.suffix in (".csv", ".tsv")]
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.4)
    return f" Nearby: {', '.join(str(path.parent / name) for name in close)}." if close else ""


def read_typed(
    path: Path, fields: tuple[Field, ...], report: TableReport, bad_rows: BadRows
) -> pl.LazyFrame:
    """The file's columns in the dataset's types, bad rows left out and counted.

    Args:
        path: A delimited text file with a header.
        fields: What is wanted from it.
        report: Receives counts.
        bad_rows: "fail" raises at the first bad row, "skip" leaves them out.

    Raises:
        DataError: a required column is missing, or a bad cell; names file, line and column.
    """
    header, separator = header_of(path)
    found = {f: f.find(header) for f in fields}
    for wanted, name in found.items():
        if name is None and wanted.required:
            close = difflib.get_close_matches(wanted.target, header, n=1)
            guess = f" It has '{close[0]}'." if close else ""
            raise DataError(
                f"{path} has no column '{wanted.sources[0]}'.{guess}", "See docs/log-format.md"
            )
    present = {f: name for f, name in found.items() if name is not None}
    report.files.append(path.name)
    report.unused += [n for n in header if n not in present.values() and n not in report.unused]
    raw = pl.scan_csv(
        path, separator=separator, infer_schema=False, row_index_name=LINE, encoding="utf8"
    ).rename({name: name.strip() for name in header})
    _count(raw, path, present, report, bad_rows)
    bad = pl.any_horizontal([f.bad(name) for f, name in present.items()])
    values = [f.value(name).alias(f.target) for f, name in present.items()]
    return raw.filter(~bad).select(values)


def _count(
    raw: pl.LazyFrame,
    path: Path,
    present: dict[Field, str],
    report: TableReport,
    bad_rows: BadRows,
) -> None:
    """One pass over the file: rows, repairs, bad cells."""
    bad = pl.any_horizontal([f.bad(name) for f, name in present.items()])
    repairs = [r for f, name in present.items() for r in f.repairs(name)]
    counts = [pl.len().alias("rows"), bad.sum().alias("bad")]
    counts += [(e & ~bad).sum().alias(f"repair {i}") for i, (_, e) in enumerate(repairs)]
    try:
        found = raw.select(counts).collect(engine="streaming").row(0, named=True)
    except pl.exceptions.PolarsError as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read: {first}.", "Is it complete?") from None
    report.read += found["rows"]
    report.rejected += found["bad"]
    for number, (reason, _) in enumerate(repairs):
        report.repair(reason, found[f"repair {number}"])
    if not found["bad"]:
        return
    examples = _examples(raw, path, present, bad)
    if bad_rows == "fail":
        n = found["bad"]
        raise DataError(
            f"{examples[0]}. {n:,} bad row{'s' if n > 1 else ''}.",
            "Fix them, or: --bad-rows skip",
        )
    report.rejections += examples


def _examples(raw: pl.LazyFrame, path: Path, present: dict[Field, str], bad: pl.Expr) -> list[str]:
    columns = [f.bad(name).alias(f"bad {name}") for f, name in present.items()]
    rows = raw.filter(bad).head(_SHOWN).with_columns(columns).collect()
    examples = []
    for row in rows.iter_rows(named=True):
        wrong, name = next((f, n) for f, n in present.items() if row[f"bad {n}"])
        cell = row[name]
        shown = "empty" if cell is None or not cell.strip() else f"'{cell[:40]}'"
        # Line 1 is the header, and rows are counted from 0.
        examples.append(
            f"{path} line {row[LINE] + 2}: {name} is {shown}, expected {wrong.expected}"
        )
    return examples
