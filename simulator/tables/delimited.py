"""Read one delimited text file into frames, with the line that every row begins on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.tables.decimals import MarkCounts, seen
from simulator.tables.records import UNIT, Records, records, separating
from simulator.tables.streams import Encoding, blocks, checked, detect, guess
from simulator.tables.tally import Tally

LINE = "_line"
_LOOK = 1 << 16
_MOST_HEADER = 1 << 22
_DELIMITERS = (",", "\t", ";", "|")
_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}


@dataclass(frozen=True)
class Piece:
    """Rows of a file.

    Attributes:
        frame: Their columns, and ``LINE``: the line (text) or row (Parquet) from 1.
        last_lines: int64[n], the line that each ends on; None where no row has a line break.
    """

    frame: pl.DataFrame
    last_lines: NDArray[np.int64] | None = None


class DelimitedFile:
    """A text file with a header. Opening it reads the beginning.

    Args:
        path: The file; gzip, zstd, bzip2 and xz are unpacked.
        encoding: Its encoding if it is neither UTF-8 nor UTF-16; None finds out.
        delimiter: What is between cells; None finds out.
        names: Names of the columns of a file without a header.

    Raises:
        DataError: it cannot be read, is empty, or its header is damaged.
    """

    def __init__(
        self,
        path: Path,
        *,
        encoding: str | None = None,
        delimiter: str | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.path = path
        self.encoding: Encoding = detect(path, encoding)
        self._headless = names is not None
        first = self._first_record()
        self.delimiter = delimiter or delimiter_of(first)
        self.columns = list(names) if names is not None else self._names(first)

    @property
    def dialect(self) -> str:
        """What was found out, for people: "semicolon-separated, UTF-16"."""
        name = _NAMES.get(self.delimiter, f"'{self.delimiter}'")
        return f"{name}-separated, {self.encoding.name}"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column name to type: text, all of them."""
        return {name: pl.String() for name in self.columns}

    @cached_property
    def seen(self) -> dict[str, MarkCounts]:
        """What its numbers look like, by column, from its beginning."""
        sample = b""
        for more, _ in blocks(self.path, self.encoding):
            sample += more
            if len(sample) > 2 * _LOOK:
                break
        if not self._headless:
            sample = sample[_first_record(sample)[1] :]
        text = sample[:_LOOK].decode("utf-8", "replace")
        if len(self.delimiter) > 1:
            text = text.replace(self.delimiter, UNIT.decode())
        mark = separating(self.delimiter.encode()).decode()
        return seen(text, self.columns, mark, cut=len(sample) > _LOOK)

    def _first_record(self) -> str:
        """The header, or the first row; blank lines before it are left out."""
        block = b""
        values: list[int] = []
        at = end = 0
        for more, broken_here in blocks(self.path, self.encoding):
            block, values = block + more, values + broken_here
            if b"\x00" in block[:_LOOK]:
                raise DataError(f"{self.path} is not a text file.", "Unpack archives first")
            at, end = _first_record(block)
            if end < len(block) or len(block) > _MOST_HEADER:
                break
        text, broken = checked(block[at:end])
        if not text.strip():
            raise DataError(f"{self.path} is empty.", "A header line with column names is needed")
        if broken or (values and b"\xef\xbf\xbd" in text):
            line = 1 + block.count(b"\n", 0, at)
            byte = broken[0].byte if broken else values[0]
            raise DataError(f"{self._not_text(line, byte)}.", self._advice())
        header = text.decode().strip("\r\n").removeprefix("\ufeff").strip("\r\n")
        if not header.strip():
            raise DataError(
                f"{self.path} line 1 is empty.", "A header line with column names is needed"
            )
        return header

    def _names(self, header: str) -> list[str]:
        if len(self.delimiter) > 1:
            header = header.replace(self.delimiter, UNIT.decode())
        mark = separating(self.delimiter.encode()).decode()
        lines = csv.reader(io.StringIO(header), delimiter=mark, skipinitialspace=True)
        try:
            cells = next(lines)
        except csv.Error as error:
            raise DataError(f"{self.path} line 1: the header cannot be read: {error}.") from None
        names = [cell.strip() or f"column_{i + 1}" for i, cell in enumerate(cells)]
        if len(names) != len(set(names)):
            twice = next(n for n in names if names.count(n) > 1)
            raise DataError(f"{self.path} line 1: column '{twice}' appears twice.")
        return names

    def pieces(
        self, columns: Sequence[str], whole: Set[str], decimal: Set[str], tally: Tally
    ) -> Iterator[Piece]:
        """The rows of the file in order.

        Cells are text. Columns of ``whole`` and ``decimal`` are int64 and float64 in pieces where
        every cell can be read as such.

        Args:
            columns: Those wanted, all known.
            whole: Names of columns that may hold whole numbers.
            decimal: Names of columns that may hold other numbers.
            tally: Receives rows read, and rows that have too few or too many cells, or bytes that
                are not text.

        Raises:
            DataError: the file cannot be read.
        """
        numbers: dict[str, pl.DataType] = dict.fromkeys(whole, pl.Int64())
        numbers |= dict.fromkeys(decimal, pl.Float64())
        source = records(self.path, self.encoding, self.delimiter.encode(), tally.told)
        first = next(source, None)
        if first is None:
            return
        if not self._headless:
            first = first.only(np.arange(len(first)) > 0)
        for chunk in chain([first], source):
            tally.read += len(chunk)
            good = self._good(chunk, tally)
            if len(good):
                frame = self._parse(good, columns, numbers)
                marked = frame.with_columns(pl.Series(LINE, good.lines, dtype=pl.Int64))
                yield Piece(marked, good.last_lines if good.quoted else None)

    def _good(self, chunk: Records, tally: Tally) -> Records:
        """The records with the right number of cells and nothing but text; others are counted."""
        bad = chunk.cells != len(self.columns)
        for number, _, _ in chunk.broken:
            bad[number] = True
        if not bad.any():
            return chunk
        examples = []
        where = {number: (line, byte) for number, line, byte in reversed(chunk.broken)}
        for i in np.flatnonzero(bad)[:3]:
            if i in where:
                line, byte = where[i]
                examples.append(f"{self._not_text(line, byte)}. {self._advice()}")
                continue
            cells, expected = int(chunk.cells[i]), len(self.columns)
            examples.append(
                f"{self.path} {lines_of(chunk.lines[i], chunk.last_lines[i])}: "
                f"{cells} cell{'s' if cells > 1 else ''}, expected {expected}"
                f" ({self.dialect})"
            )
        tally.reject(int(bad.sum()), examples)
        return chunk.only(~bad)

    def _not_text(self, line: int, byte: int) -> str:
        shown = f"byte 0x{byte:02X} is" if byte else "a byte is"
        return f"{self.path} line {line:,}: {shown} not {self.encoding.name}"

    def _advice(self) -> str:
        """Which encoding to name, if the file seems to be in another one."""
        if self.encoding.codec != "utf-8":
            return "Name the encoding: --encoding"
        with self.path.open("rb") as file:
            sample = file.read(1 << 16)
        packed = sample[:2] in (b"\x1f\x8b", b"BZ", b"\x28\xb5", b"\xfd7")
        other = None if packed else guess(sample)
        if other is None:
            return "Name the encoding (--encoding), or mend the byte"
        name = {"gbk": "GBK", "latin-1": "Latin-1"}.get(other, other)
        return f"The file looks like {name}: add --encoding {other}"

    def _parse(
        self, good: Records, columns: Sequence[str], numbers: dict[str, pl.DataType]
    ) -> pl.DataFrame:
        """The wanted columns; numbers where all cells of a column are.

        ``numbers`` loses the columns that have turned out not to be plain: they are not tried
        again.
        """
        try:
            return self._frame(good, columns, numbers)
        except pl.exceptions.PolarsError:
            if not numbers:
                raise
        frame = self._frame(good, columns, {})
        for name in [n for n in columns if n in numbers]:
            try:
                frame = frame.with_columns(pl.col(name).cast(numbers[name], strict=True))
            except pl.exceptions.PolarsError:
                del numbers[name]
        return frame

    def _frame(
        self, good: Records, columns: Sequence[str], numbers: dict[str, pl.DataType]
    ) -> pl.DataFrame:
        text = pl.String()
        wanted = [self.columns.index(name) for name in columns]
        frame = pl.read_csv(
            good.data,
            has_header=False,
            schema={name: numbers.get(name, text) for name in self.columns},
            columns=wanted,
            separator=separating(self.delimiter.encode()).decode(),
            quote_char='"' if good.quoted else None,
        )
        if frame.height != len(good):
            raise DataError(
                f"{self.path} lines {good.lines[0]:,} to {good.lines[-1]:,} cannot be read: "
                f"{frame.height:,} rows where {len(good):,} are expected.",
            )
        return frame.select(columns)


def _first_record(text: bytes) -> tuple[int, int]:
    """Where the first record that is not blank begins and ends."""
    at = end = 0
    while end < len(text) and (not text[at:end].strip() or text.count(b'"', at, end) % 2):
        at = end if not text[at:end].strip() else at
        end = text.find(b"\n", end) + 1 or len(text)
    return at, end


def delimiter_of(line: str) -> str:
    """The delimiter that stands most often in a header, outside of quotes; a comma by default."""
    outside = "".join(line.split('"')[0::2])
    return max(_DELIMITERS, key=outside.count)


def lines_of(first: int, last: int) -> str:
    """A row's place: "line 7", or "line 7 to 9" for a row with line breaks."""
    return f"line {first:,}" if first == last else f"line {first:,} to {last:,}"
