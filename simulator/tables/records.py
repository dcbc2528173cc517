"""Cut delimited text into records: where each begins, on which line, with how many cells.

Text is handled in chunks of whole records. A chunk is looked at as bytes, all at once. Only a chunk
whose quotes do not follow RFC 4180 (a quote inside an unquoted cell) goes through the ``csv``
module.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.tables.streams import Broken, Encoding, blocks, checked

Int64 = NDArray[np.int64]

MOST_BYTES = 1 << 26
"""Of one record; a longer one is an unclosed quote or no table."""
_NEWLINE, _RETURN, _QUOTE = 10, 13, 34

UNIT = b"\x1f"
"""Stands for a delimiter of several bytes."""


def separating(delimiter: bytes) -> bytes:
    """The one byte between the cells of records."""
    return delimiter if len(delimiter) == 1 else UNIT


@dataclass(frozen=True)
class Records:
    """Whole records of a file.

    Attributes:
        data: Their text in UTF-8, quoted as RFC 4180 has it.
        starts, ends: int64[n], where each begins and ends (without its line break) in ``data``.
        cells: int64[n], cells of each.
        lines, last_lines: int64[n], lines of the file that each begins and ends on, from 1.
        broken: Bytes that are not text: (number of the record, line, byte).
        quoted: Whether there are quotes.
    """

    data: bytes
    starts: Int64
    ends: Int64
    cells: Int64
    lines: Int64
    last_lines: Int64
    broken: list[tuple[int, int, int]]
    quoted: bool

    def __len__(self) -> int:
        return len(self.starts)

    def only(self, keep: NDArray[np.bool_]) -> Records:
        """Some of the records."""
        if keep.all():
            return self
        picked = np.flatnonzero(keep)
        if len(picked) and picked[-1] - picked[0] + 1 == len(picked):
            return self._range(int(picked[0]), int(picked[-1]) + 1)
        view = memoryview(self.data)
        parts = [bytes(view[self.starts[i] : self.ends[i]]) for i in picked]
        lengths = self.ends[picked] - self.starts[picked]
        starts = np.cumsum(lengths + 1) - lengths - 1
        number = {int(old): new for new, old in enumerate(picked)}
        return Records(
            b"\n".join(parts) + b"\n" if parts else b"",
            starts,
            starts + lengths,
            self.cells[picked],
            self.lines[picked],
            self.last_lines[picked],
            [(number[r], line, byte) for r, line, byte in self.broken if r in number],
            self.quoted,
        )

    def _range(self, low: int, high: int) -> Records:
        """Records from ``low`` until before ``high``."""
        begin, end = int(self.starts[low]), int(self.ends[high - 1])
        part = slice(low, high)
        return Records(
            self.data[begin : end + 1],
            self.starts[part] - begin,
            self.ends[part] - begin,
            self.cells[part],
            self.lines[part],
            self.last_lines[part],
            [(r - low, line, byte) for r, line, byte in self.broken if low <= r < high],
            self.quoted,
        )


@dataclass
class _Cut:
    """Records of a chunk, and how much of it they are."""

    records: Records
    used: int


def records(
    path: Path,
    encoding: Encoding,
    delimiter: bytes,
    told: Callable[[float], None] | None = None,
) -> Iterator[Records]:
    """All records of a file, its header included, chunk by chunk; blank lines left out.

    Args:
        path: A text file.
        encoding: Of its bytes.
        delimiter: What is between cells.
        told: As of `simulator.tables.streams.opened`.

    Raises:
        DataError: the file cannot be read, or a quoted cell does not end.
    """
    rest, line = b"", 1
    source = blocks(path, encoding, told)
    block, values = next(source, (b"", []))
    while block or rest:
        following, later = next(source, (b"", []))
        chunk, final = rest + block, not following
        if len(delimiter) > 1:
            chunk = chunk.replace(delimiter, UNIT)
        # A file may come in empty blocks while a decoder waits for more.
        if final or b"\n" in block:
            cut = _cut(path, chunk, line, separating(delimiter), values, final=final)
            if cut is not None:
                if len(cut.records):
                    yield cut.records
                line += chunk.count(b"\n", 0, cut.used)
                values = values[chunk.count(b"\xef\xbf\xbd", 0, cut.used) :]
                chunk = chunk[cut.used :]
        if len(chunk) > MOST_BYTES:
            raise DataError(
                f"{path} line {line}: a record that begins here does not end within "
                f"{MOST_BYTES >> 20} MiB.",
                "Is a quote not closed, or is this not a table?",
            )
        rest, block, values = chunk, following, values + later
        if final:
            return


def _cut(
    path: Path, chunk: bytes, line: int, delimiter: bytes, values: list[int], *, final: bool
) -> _Cut | None:
    """The whole records of a chunk; None if there are none yet."""
    end = len(chunk) if final else chunk.rfind(b"\n") + 1
    if b'"' not in chunk:
        data, broken = checked(chunk[:end] if end < len(chunk) else chunk)
        found = _plain(data, line, delimiter, _marked(data, broken, values))
        return _Cut(_without_blank_lines(found, final=final), end)
    marks = np.frombuffer(chunk, dtype=np.uint8)
    quotes = np.flatnonzero(marks == _QUOTE)
    breaks = np.flatnonzero(marks == _NEWLINE)
    outside = breaks[np.searchsorted(quotes, breaks) % 2 == 0]
    if final and len(quotes) % 2 == 0:
        end = len(chunk)
    else:
        end = int(outside[-1]) + 1 if len(outside) else 0
    regular = _regular(marks, quotes, delimiter[0], whole=end or len(chunk))
    if regular and not (final and len(quotes) % 2):
        if end == 0:
            return None
        data, broken = checked(chunk[:end])
        found = _plain(data, line, delimiter, _marked(data, broken, values))
        return _Cut(_without_blank_lines(found, final=final), end)
    return _irregular(path, chunk, line, delimiter, values, final=final)


def _marked(data: bytes, broken: list[Broken], values: list[int]) -> list[Broken]:
    """What could not be read; of text that was decoded before, U+FFFD stands for it."""
    if not values:
        return broken
    found: list[Broken] = []
    at = data.find(b"\xef\xbf\xbd")
    while at >= 0:
        value = values[len(found)] if len(found) < len(values) else values[-1]
        found.append(Broken(at, value))
        at = data.find(b"\xef\xbf\xbd", at + 3)
    return found


def _regular(marks: NDArray[np.uint8], quotes: Int64, delimiter: int, *, whole: int) -> bool:
    """Whether quotes stand where RFC 4180 has them: around cells, and doubled inside."""
    quotes = quotes[quotes < whole]
    opening, closing = quotes[0::2], quotes[1::2]
    before = marks[np.maximum(opening - 1, 0)]
    begins = (opening == 0) | (before == delimiter) | (before == _NEWLINE)
    # The second of a doubled quote opens again, right behind the one that closed.
    begins[1:] |= opening[1:] == closing[: len(opening) - 1] + 1
    after = marks[np.minimum(closing + 1, len(marks) - 1)]
    ends = (closing + 1 >= len(marks)) | (after == delimiter) | (after == _NEWLINE)
    ends |= (after == _RETURN) | (after == _QUOTE)
    return bool(begins.all() and ends.all())


def _plain(data: bytes, line: int, delimiter: bytes, broken: list[Broken]) -> Records:
    """Records of a chunk whose quotes are regular, or that has none."""
    marks = np.frombuffer(data, dtype=np.uint8)
    breaks = np.flatnonzero(marks == _NEWLINE)
    quoted = b'"' in data
    between = marks == delimiter[0]
    ends = breaks
    if quoted:
        quotes = np.flatnonzero(marks == _QUOTE)
        ends = breaks[np.searchsorted(quotes, breaks) % 2 == 0]
        at = np.flatnonzero(between)
        between[at[np.searchsorted(quotes, at) % 2 == 1]] = False
    if len(data) and (len(ends) == 0 or ends[-1] != len(data) - 1):
        ends = np.append(ends, len(data))
    starts = np.r_[0, ends[:-1] + 1] if len(ends) else ends
    cells = np.ones(len(ends), dtype=np.int64)
    if len(ends):
        cells += np.add.reduceat(between.view(np.uint8), starts, dtype=np.int64)
    lines = line + (np.searchsorted(breaks, starts) if quoted else np.arange(len(starts)))
    last = line + np.searchsorted(breaks, ends) if quoted else lines
    number = [int(np.searchsorted(starts, b.offset, side="right")) - 1 for b in broken]
    where = [line + int(np.searchsorted(breaks, b.offset)) for b in broken]
    found = [(n, w, b.byte) for n, w, b in zip(number, where, broken, strict=True)]
    return Records(data, starts, ends, cells, lines, last, found, quoted)


def _without_blank_lines(found: Records, *, final: bool) -> Records:
    """A line of nothing but blanks is no record, unless one cell is all that a record has."""
    single = np.flatnonzero((found.cells == 1) & (found.ends - found.starts < 256))
    blank = np.zeros(len(found), dtype=np.bool_)
    for i in single[: len(single) if len(single) < len(found) else 0]:
        blank[i] = not found.data[found.starts[i] : found.ends[i]].strip()
    if final and len(single) == len(found):
        # A table of one column: only blank lines at the end are none.
        for i in range(len(found) - 1, -1, -1):
            if found.data[found.starts[i] : found.ends[i]].strip():
                break
            blank[i] = True
    return found.only(~blank)


def _irregular(
    path: Path, chunk: bytes, line: int, delimiter: bytes, values: list[int], *, final: bool
) -> _Cut | None:
    """The slow way: through the ``csv`` module, and written again as RFC 4180 has it."""
    data, broken = checked(chunk if final else chunk[: chunk.rfind(b"\n") + 1])
    broken = _marked(data, broken, values)
    csv.field_size_limit(2 * MOST_BYTES)
    texts = io.StringIO(data.decode("utf-8"), newline="\n").readlines()
    reader = csv.reader(texts, delimiter=delimiter.decode(), skipinitialspace=True)
    rows: list[list[str]] = []
    begins = [0]
    try:
        for row in reader:
            rows.append(row)
            begins.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path} line {line + max(reader.line_num - 1, 0)}: {error}.") from None
    if final:
        _check_closed(path, texts[begins[-2] :] if rows else [], line + begins[-2], delimiter)
    elif rows:
        # The last one may go on in the next chunk.
        rows.pop()
        begins.pop()
    if not rows:
        return None
    several = any(len(row) > 1 for row in rows)
    kept = [i for i, row in enumerate(rows) if len(row) > 1 or _filled(row) or not several]
    while final and not several and kept and not _filled(rows[kept[-1]]):
        kept.pop()
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter.decode(), lineterminator="\n")
    writer.writerows(rows[i] or [""] for i in kept)
    plain = _plain(out.getvalue().encode("utf-8"), line, delimiter, [])
    first = np.array([line + begins[i] for i in kept], dtype=np.int64)
    last = np.array([line + begins[i + 1] - 1 for i in kept], dtype=np.int64)
    at = [line + data.count(b"\n", 0, b.offset) for b in broken]
    found = [
        (int(np.searchsorted(first, w, side="right")) - 1, w, b.byte)
        for w, b in zip(at, broken, strict=True)
        if w < line + begins[-1]
    ]
    fixed = Records(plain.data, plain.starts, plain.ends, plain.cells, first, last, found, True)
    return _Cut(fixed, _end_of_line(chunk, begins[-1]))


def _filled(row: list[str]) -> bool:
    return any(cell.strip() for cell in row)


def _end_of_line(chunk: bytes, lines: int) -> int:
    """Where the first so many lines end."""
    at = 0
    for _ in range(lines):
        at = chunk.find(b"\n", at) + 1
        if at == 0:
            return len(chunk)
    return at


def _check_closed(path: Path, texts: list[str], line: int, delimiter: bytes) -> None:
    """The last record of a file ends where it should.

    Raises:
        DataError: its quoted cell is not closed.
    """
    tail = csv.reader(texts, delimiter=delimiter.decode(), skipinitialspace=True, strict=True)
    try:
        for _ in tail:
            pass
    except csv.Error as error:
        if "end of data" in str(error):
            raise DataError(
                f"{path} line {line}: a quoted cell that begins here is not closed before the "
                "file ends.",
                "Is the file complete? Close or remove the quote",
            ) from None
