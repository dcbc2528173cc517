"""Read source files into typed chunks on disk, and give them back in blocks of a key.

Blocks hold all rows of some keys (people, videos), so that what belongs together can be sorted and
derived in bounded memory, whatever the order of the files.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.logs.importers.fields import Column, Computed, Constant, Field
from simulator.logs.importers.formats import Role
from simulator.logs.importers.report import TableReport
from simulator.tables import Batch, Kind, Number, Table, Text

ROWS_AT_ONCE = 1_000_000
_CHUNK_ROWS = 500_000
_MERGE_ROWS = 4_000_000
# A chunk may be read for this many blocks before the chunks are split by block.
_MOST_READS = 3


@dataclass
class Staged:
    """One table on disk, in the dataset's types.

    Attributes:
        key: Its blocks hold all rows of some values of this column.
        folder: Where its chunks are.
        chunks: Of the rows, in order of the files.
        columns: Column name to type.
        filled: Columns with a value in some row.
        rows: Number of them.
    """

    key: str
    folder: Path
    columns: dict[str, pl.DataType]
    chunks: list[_Chunk] = field(default_factory=list)
    filled: set[str] = field(default_factory=set)
    rows: int = 0
    _counts: list[pl.DataFrame] = field(default_factory=list)
    _pending: list[pl.DataFrame] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        """Rows that come next."""
        if frame.is_empty():
            return
        self._pending.append(frame)
        if sum(f.height for f in self._pending) >= _CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what has been added."""
        if not self._pending:
            return
        frame = pl.concat(self._pending)
        self._pending.clear()
        empty = frame.null_count().row(0, named=True)
        self.filled |= {name for name, nulls in empty.items() if nulls < frame.height}
        self._counts.append(frame.group_by(self.key).agg(pl.len().cast(pl.Int64).alias("rows")))
        if len(self._counts) > 64:
            self._counts = [self.counts()]
        self.chunks.append(_Chunk.write(frame, self.key, self.folder, len(self.chunks)))
        self.rows += frame.height

    def joined(self, other: Staged) -> Staged:
        """The rows of both, these first; columns that one lacks are null in its rows."""
        self.flush()
        other.flush()
        columns = {**self.columns, **other.columns}
        both = Staged(self.key, self.folder, columns)
        both.chunks = [*self.chunks, *other.chunks]
        both.filled, both.rows = self.filled | other.filled, self.rows + other.rows
        both._counts = [*self._counts, *other._counts]
        return both

    def counts(self) -> pl.DataFrame:
        """Rows of every key, ascending; memory in proportion to the keys."""
        if not self._counts:
            return pl.DataFrame(schema={self.key: self.columns[self.key], "rows": pl.Int64})
        return pl.concat(self._counts).group_by(self.key).agg(pl.col("rows").sum()).sort(self.key)

    def edges(self) -> list[tuple[int, int]]:
        """First and last key of blocks of about ``ROWS_AT_ONCE`` rows."""
        return edges_of(self.counts(), self.key)

    def blocks(self, edges: Sequence[tuple[int, int]]) -> Iterator[pl.DataFrame]:
        """The rows of every block, in order of the files."""
        self.flush()
        reads = sum(c.rows for low, high in edges for c in self.chunks if c.meets(low, high))
        chunks = self.chunks
        if len(edges) > _MOST_READS and reads > _MOST_READS * self.rows:
            chunks = self._split(edges)
        for low, high in edges:
            parts = [c.read(low, high) for c in chunks if c.meets(low, high)]
            rows = pl.concat(parts, how="diagonal") if parts else pl.DataFrame(schema=self.columns)
            yield rows.select(list(self.columns))

    def _split(self, edges: Sequence[tuple[int, int]]) -> list[_Chunk]:
        """The same rows in chunks that belong to one block each; the old chunks are gone."""
        last = np.array([high for _, high in edges], dtype=np.int64)
        split: list[_Chunk] = []
        for group in _groups(self.chunks):
            parts = [pl.read_parquet(c.path, glob=False) for c in group]
            frame = pl.concat(parts, how="diagonal")
            block = np.searchsorted(last, frame[self.key].to_numpy())
            order = np.argsort(block, kind="stable")
            frame, block = frame[order], block[order]
            bounds = np.flatnonzero(np.r_[True, block[1:] != block[:-1], True])
            for low, high in itertools.pairwise(bounds):
                number = len(self.chunks) + len(split)
                part = frame[int(low) : int(high)]
                split.append(_Chunk.write(part, self.key, self.folder, number))
            for chunk in group:
                chunk.path.unlink()
        self.chunks = split
        return split


@dataclass(frozen=True)
class _Chunk:
    """Rows on disk; its smallest and largest key."""

    path: Path
    key: str
    low: int
    high: int
    rows: int

    @classmethod
    def write(cls, frame: pl.DataFrame, key: str, folder: Path, number: int) -> _Chunk:
        path = folder / f"{number:06d}.parquet"
        frame.write_parquet(path, compression="lz4", statistics=False)
        low, high = frame[key].min(), frame[key].max()
        assert isinstance(low, int)
        assert isinstance(high, int)
        return cls(path, key, low, high, frame.height)

    def meets(self, low: int, high: int) -> bool:
        return self.low <= high and low <= self.high

    def read(self, low: int, high: int) -> pl.DataFrame:
        frame = pl.read_parquet(self.path, glob=False)
        if low <= self.low and self.high <= high:
            return frame
        return frame.filter(pl.col(self.key).is_between(low, high))


def _groups(chunks: Sequence[_Chunk]) -> Iterator[list[_Chunk]]:
    group: list[_Chunk] = []
    for chunk in chunks:
        group.append(chunk)
        if sum(c.rows for c in group) >= _MERGE_ROWS:
            yield group
            group = []
    if group:
        yield group


def edges_of(counts: pl.DataFrame, key: str) -> list[tuple[int, int]]:
    """First and last key of blocks of about ``ROWS_AT_ONCE`` rows.

    Args:
        counts: ``key`` ascending, and ``rows`` of each.
        key: Name of the column.
    """
    if counts.is_empty():
        return []
    block = (counts["rows"].cum_sum() - 1) // ROWS_AT_ONCE
    edges = counts.select(pl.col(key), block.alias("block")).group_by("block", maintain_order=True)
    found = edges.agg(pl.col(key).first().alias("low"), pl.col(key).last().alias("high"))
    return list(found.select("low", "high").iter_rows())


def stage(
    tables: Sequence[Table], role: Role, key: str, folder: Path, report: TableReport
) -> Staged:
    """Read tables of one role into typed chunks.

    Args:
        tables: One per file, or several files with the same columns.
        role: What is wanted of them.
        key: Column of the blocks.
        folder: Existing directory for the chunks.
        report: Receives counts, names of files and unused columns.

    Raises:
        DataError: a required column is missing, or bad rows; names file, line and column.
    """
    schema = {c.target: _dtype(c) for c in role.columns} | dict(role.made)
    staged = Staged(key, folder, schema)
    for table in tables:
        report.files += [path.name for path in table.files]
        for batch in typed(table, role.columns, report):
            frame = role.adjust(batch)
            missing = [
                pl.lit(None, t).alias(n) for n, t in schema.items() if n not in frame.columns
            ]
            staged.add(frame.with_columns(missing).select(list(schema)))
    if role.remark and role.remark not in report.remarks:
        report.remarks.append(role.remark)
    staged.flush()
    return staged


def typed(table: Table, columns: Sequence[Column], report: TableReport) -> Iterator[Batch]:
    """Batches of a table with the columns of the dataset that it has.

    Raises:
        DataError: a required column is missing, or bad rows.
    """
    kinds: dict[str, Kind] = {}
    sources: dict[str, str] = {}
    for column in columns:
        if isinstance(column, Field):
            name = column.find(table.columns)
            if name is not None:
                kinds[column.target], sources[column.target] = column.reader(), name
            elif column.required:
                raise missing_column(table, column.sources[0], column.target)
        elif isinstance(column, Computed):
            for wanted, kind in (
                (column.expression.numbers, Number()),
                (column.expression.texts, Text()),
            ):
                for name in wanted:
                    if name not in table.schema:
                        raise missing_column(table, name, column.target)
                    kinds[_input(name, kind)], sources[_input(name, kind)] = kind, name
        elif column.stands_for_unknown:
            report.placeholders[column.target] = column.value
    used = set(sources.values())
    report.unused += [n for n in table.columns if n not in used and n not in report.unused]
    computed = [c for c in columns if isinstance(c, Computed)]
    for batch in table.read(kinds, report, sources=sources):
        frame = batch.frame.with_columns(
            pl.lit(c.value, c.dtype).alias(c.target) for c in columns if isinstance(c, Constant)
        )
        if computed:
            frame, good = _compute(batch, frame, computed, report)
            yield _filtered(batch, frame, good)
        else:
            yield Batch(frame, batch.path, batch.lines, batch.last_lines, batch.text)
    report.raise_if_bad()


def _input(name: str, kind: Kind) -> str:
    return f"\x00{kind.parses}\x00{name}"


def _compute(
    batch: Batch, frame: pl.DataFrame, computed: Sequence[Computed], report: TableReport
) -> tuple[pl.DataFrame, NDArray[np.bool_]]:
    """Computed columns, and which rows are good."""
    good = np.ones(frame.height, dtype=np.bool_)
    for column in computed:
        inputs = [
            frame[_input(name, kind)].alias(name)
            for names, kind in (
                (column.expression.numbers, Number()),
                (column.expression.texts, Text()),
            )
            for name in names
        ]
        table = pl.DataFrame(inputs) if inputs else frame.select(pl.lit(None).alias("_"))
        try:
            values = table.select(column.expression.value.alias("value"))["value"]
            if len(values) != frame.height:
                values = pl.concat([values] * frame.height) if frame.height else values.clear()
            if values.dtype.is_float():
                finite = values.is_finite().fill_null(False)
                values = values.zip_with(finite, pl.Series([None], dtype=values.dtype))
            found = column.kind.read(values)
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"expression '{column.expression.text}' cannot be computed: "
                f"{str(error).splitlines()[0]}."
            ) from None
        if found.bad is not None and found.bad.any():
            bad = found.bad.to_numpy() & good
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                shown = "no value" if values[row] is None else values[row]
                report.reject(
                    int(bad.sum()),
                    [
                        f"{batch.place(row)}: {column.target} = {column.expression.text} gives "
                        f"{shown}, expected {column.kind.expected}"
                    ],
                )
                good &= ~bad
        for reason, cells in found.repairs.items():
            report.repair(f"{column.target}: {reason}", int((cells.to_numpy() & good).sum()))
        frame = frame.with_columns(found.values.alias(column.target))
    return frame.select([n for n in frame.columns if not n.startswith("\x00")]), good


def _filtered(batch: Batch, frame: pl.DataFrame, good: NDArray[np.bool_]) -> Batch:
    if good.all():
        return Batch(frame, batch.path, batch.lines, batch.last_lines, batch.text)
    last = None if batch.last_lines is None else batch.last_lines[good]
    return Batch(frame.filter(pl.Series(good)), batch.path, batch.lines[good], last, batch.text)


def missing_column(table: Table, name: str, target: str) -> DataError:
    """The error for a column that a file must have."""
    close = difflib.get_close_matches(target, table.columns, n=1) or difflib.get_close_matches(
        name, table.columns, n=1
    )
    guess = f" It has '{close[0]}'." if close else ""
    return DataError(
        f"{table.files[0]} has no column '{name}'.{guess}",
        f"Columns ({table.dialect}): {', '.join(table.columns[:30])}. Any other table: "
        f"abtest data map {table.files[0]}",
    )


def _dtype(column: Column) -> pl.DataType:
    if isinstance(column, Computed):
        return column.kind.dtype
    return column.dtype
