"""Read a table, whatever files it is in, as typed batches of bounded size.

Example::

    table = open_table("log.csv.gz")
    tally = Tally(bad_rows="skip")
    for batch in table.read({"user_id": Whole(required=True), "x": Number()}, tally):
        batch.frame      # columns user_id (int64), x (float64)
        batch.place(0)   # "log.csv.gz line 2"
    print(tally.read, tally.rejected, tally.examples)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.tables.cells import as_text
from simulator.tables.decimals import Mark, WithComma, mark_of, parse_mark
from simulator.tables.delimited import LINE, DelimitedFile, Piece, lines_of
from simulator.tables.json_lines import JsonLinesFile, is_json_lines
from simulator.tables.kinds import Kind, TypedCells
from simulator.tables.parquet import ParquetFile
from simulator.tables.sources import Source, find_sources
from simulator.tables.tally import Tally

File = DelimitedFile | JsonLinesFile | ParquetFile
_EXAMPLES = 3
_SHOWN = 40


@dataclass(frozen=True)
class Batch:
    """Rows of one file, in order.

    Attributes:
        frame: The wanted columns.
        path: The file.
        lines: int64[n], the line of a text file, or the row of a Parquet file, from 1, that each
            row begins on.
        last_lines: int64[n], where each ends; None where no row has a line break.
        text: Whether the file is text.
    """

    frame: pl.DataFrame
    path: Path
    lines: NDArray[np.int64]
    last_lines: NDArray[np.int64] | None
    text: bool

    def place(self, row: int) -> str:
        """Where a row of the batch is: "FILE line 7", "FILE line 7 to 9", "FILE row 7"."""
        first = int(self.lines[row])
        if not self.text:
            return f"{self.path} row {first:,}"
        last = first if self.last_lines is None else int(self.last_lines[row])
        return f"{self.path} {lines_of(first, last)}"


class Table:
    """A table in one or several files with the same columns. Open it with `open_table`.

    Attributes:
        columns: Names, without blanks around them; columns named by folders come last.
        schema: Column name to type; texts are text in every cell.
        files: Its files.
        is_text: Whether its first file is text: its rows have lines.
        decimal: The decimal mark of texts; None finds out, from the columns that are read.
    """

    def __init__(
        self,
        files: Sequence[tuple[Source, File]],
        decimal: Mark | None = None,
    ) -> None:
        self._files = list(files)
        self.decimal = decimal
        source, first = self._files[0]
        self.schema = {**first.schema, **{name: pl.String() for name, _ in source.partition}}
        self.files = [s.path for s, _ in self._files]
        self.is_text = not isinstance(first, ParquetFile)
        for _, file in self._files[1:]:
            if isinstance(file, JsonLinesFile):
                # An object leaves out what it has no value for, and so may all those of a day.
                self.schema |= {n: t for n, t in file.schema.items() if n not in self.schema}
        self.columns = list(self.schema)
        for other, file in self._files[1:]:
            if isinstance(file, JsonLinesFile):
                continue
            names = [*file.columns, *(name for name, _ in other.partition)]
            different = sorted(set(names) ^ set(self.columns))
            if different:
                has = "has" if different[0] in names else "lacks"
                raise DataError(
                    f"{other.path} {has} a column '{different[0]}', unlike {source.path}.",
                    "Files of one table have the same columns; read them one by one",
                )

    @property
    def dialect(self) -> str:
        """How the first file is written: "semicolon-separated, UTF-8"."""
        return self._files[0][1].dialect

    def column(self, name: str) -> str:
        """The name, if there is such a column.

        Raises:
            DataError: there is none; names a similar one.
        """
        if name not in self.schema:
            close = difflib.get_close_matches(name, self.columns, n=1)
            guess = f" It has '{close[0]}'." if close else ""
            raise DataError(
                f"{self.files[0]} has no column '{name}'.{guess}",
                f"Columns ({self.dialect}): {', '.join(self.columns[:30])}",
            )
        return name

    def as_written(
        self, kinds: Mapping[str, Kind], sources: Mapping[str, str] | None = None
    ) -> dict[str, Kind]:
        """The kinds, for the decimal mark that the numbers among their columns have.

        Args:
            kinds: As of `read`.
            sources: As of `read`.
        """
        numbers = {name for name, kind in kinds.items() if kind.parses != "text"}
        mark = self.decimal
        if mark is None:
            origin = {(sources or {}).get(name, name) for name in numbers}
            texts = [file for _, file in self._files if isinstance(file, DelimitedFile)]
            mark = mark_of(s for file in texts for name, s in file.seen.items() if name in origin)
        if mark == ".":
            return dict(kinds)
        return {n: WithComma(kind) if n in numbers else kind for n, kind in kinds.items()}

    def batches(
        self, columns: Sequence[str] | None = None, tally: Tally | None = None
    ) -> Iterator[Batch]:
        """The rows as they are: texts without blanks around them, empty ones null.

        Args:
            columns: Those wanted; None for all.
            tally: Receives counts; None refuses bad rows.

        Raises:
            DataError: no such column, a damaged file, or rows with too few or too many cells.
        """
        wanted = list(self.columns if columns is None else columns)
        for name in wanted:
            self.column(name)
        tally = Tally() if tally is None else tally
        for source, file in self._files:
            for piece in self._pieces(source, file, wanted, _Numeric(), tally):
                if not tally.rejected or tally.bad_rows == "skip":
                    clean = [
                        as_text(piece.frame[n])
                        if piece.frame[n].dtype == pl.String
                        else piece.frame[n]
                        for n in wanted
                    ]
                    yield self._batch(source, pl.DataFrame(clean), piece)
            tally.raise_if_bad()

    def read(
        self,
        kinds: Mapping[str, Kind],
        tally: Tally | None = None,
        *,
        sources: Mapping[str, str] | None = None,
    ) -> Iterator[Batch]:
        """Typed rows; bad rows are refused, or left out and counted.

        A file with bad rows is read to its end, so that they are counted, before it is refused.

        Args:
            kinds: Name of a column of the batches to how it is read.
            tally: Receives counts; None refuses bad rows.
            sources: That name to the column of the file, where they differ.

        Raises:
            DataError: no such column, a damaged file, or a bad row: names file, line and column.
        """
        origin = {name: self.column((sources or {}).get(name, name)) for name in kinds}
        columns = list(dict.fromkeys(origin.values()))
        kinds = self.as_written(kinds, sources)
        tally = Tally() if tally is None else tally
        for source, file in self._files:
            for piece in self._pieces(source, file, columns, _numeric(kinds, origin), tally):
                batch = self._typed(source, piece, kinds, origin, tally)
                if batch is not None and (not tally.rejected or tally.bad_rows == "skip"):
                    yield batch
            tally.raise_if_bad()

    def _pieces(
        self,
        source: Source,
        file: File,
        columns: list[str],
        numeric: _Numeric,
        tally: Tally,
    ) -> Iterator[Piece]:
        named = dict(source.partition)
        own = [name for name in columns if name not in named or name in file.schema]
        if isinstance(file, DelimitedFile):
            pieces = file.pieces(own, numeric.whole, numeric.decimal, tally)
        else:
            pieces = file.pieces(own, tally)
        for piece in pieces:
            constant = [pl.lit(named[n], pl.String).alias(n) for n in columns if n not in own]
            yield Piece(piece.frame.with_columns(constant), piece.last_lines)

    def _typed(
        self,
        source: Source,
        piece: Piece,
        kinds: Mapping[str, Kind],
        origin: Mapping[str, str],
        tally: Tally,
    ) -> Batch | None:
        found: dict[str, TypedCells] = {}
        for name, kind in kinds.items():
            try:
                found[name] = kind.read(piece.frame[origin[name]])
            except DataError as error:
                raise DataError(f"{source.path}: {error.problem}", error.hint) from None
        bad: pl.Series | None = None
        for read in found.values():
            if read.bad is not None:
                bad = read.bad if bad is None else bad | read.bad
        batch = self._batch(source, pl.DataFrame([found[n].values.alias(n) for n in kinds]), piece)
        good = None
        if bad is not None and bad.any():
            tally.reject(int(bad.sum()), _examples(batch, piece, kinds, origin, found, bad, tally))
            good = ~bad
        # A value that two columns of the batch are made of is repaired once.
        repaired: dict[str, pl.Series] = {}
        for name, read in found.items():
            for reason, cells in read.repairs.items():
                key = f"{origin[name]}: {reason}"
                repaired[key] = repaired[key] | cells if key in repaired else cells
        for key, cells in repaired.items():
            tally.repair(key, int((cells if good is None else cells & good).sum()))
        if good is None:
            return batch
        keep = good.to_numpy()
        return Batch(
            batch.frame.filter(good),
            batch.path,
            batch.lines[keep],
            None if batch.last_lines is None else batch.last_lines[keep],
            batch.text,
        )

    def _batch(self, source: Source, frame: pl.DataFrame, piece: Piece) -> Batch:
        lines = piece.frame[LINE].to_numpy()
        return Batch(frame, source.path, lines, piece.last_lines, not source.parquet)


def open_table(
    paths: Path | str | Sequence[Path | str],
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    names: Sequence[str] | None = None,
    decimal: str | None = None,
) -> Table:
    """Open a table: delimited text or JSON lines (packed or not), or Parquet.

    Only its beginning is read.

    Args:
        paths: A file, a directory (``name=value`` folders become columns), or several. Names are
            literal, never patterns.
        encoding: Of text that is neither UTF-8 nor UTF-16.
        delimiter: Between cells; None finds out.
        names: Column names of text files without a header.
        decimal: The decimal mark of texts, a comma or a point; None finds out.

    Raises:
        DataError: nothing there, unreadable, files whose columns differ, or no such mark.
    """
    mark = None if decimal is None else parse_mark(decimal)
    files: list[tuple[Source, File]] = []
    for source in find_sources(paths):
        if source.parquet:
            files.append((source, ParquetFile(source.path)))
        elif delimiter is None and names is None and is_json_lines(source.path, encoding):
            files.append((source, JsonLinesFile(source.path, encoding=encoding)))
        else:
            text = DelimitedFile(source.path, encoding=encoding, delimiter=delimiter, names=names)
            files.append((source, text))
    return Table(files, mark)


@dataclass(frozen=True)
class _Numeric:
    """Columns of text files that may be parsed as numbers right away."""

    whole: frozenset[str] = frozenset()
    decimal: frozenset[str] = frozenset()


def _numeric(kinds: Mapping[str, Kind], origin: Mapping[str, str]) -> _Numeric:
    """Columns all of whose kinds take numbers."""
    whole, decimal, other = set(), set(), set()
    for name, kind in kinds.items():
        if kind.parses == "whole":
            whole.add(origin[name])
        elif kind.parses == "decimal":
            decimal.add(origin[name])
        else:
            other.add(origin[name])
    # A whole number must not pass through a float.
    return _Numeric(frozenset(whole - other - decimal), frozenset(decimal - other - whole))


def _examples(
    batch: Batch,
    piece: Piece,
    kinds: Mapping[str, Kind],
    origin: Mapping[str, str],
    found: Mapping[str, TypedCells],
    bad: pl.Series,
    tally: Tally,
) -> list[str]:
    """The first bad rows: where, which column, what is there, what is expected."""
    examples: list[str] = []
    if tally.full:
        return examples
    for row in bad.arg_true().head(_EXAMPLES):
        name = next(n for n, r in found.items() if r.bad is not None and r.bad[row])
        cell = piece.frame[origin[name]][row]
        text = "" if cell is None else str(cell).strip()
        why = kinds[name].why(cell) if text else ""
        shown = f"'{text[:_SHOWN]}'" if text else "empty"
        remark = f" ({why})" if why else ""
        examples.append(
            f"{batch.place(row)}: {origin[name]} is {shown}{remark}, "
            f"expected {kinds[name].expected}"
        )
    return examples
