"""Read one file of JSON lines into frames: an object a line, its keys are the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simulator.errors import DataError
from simulator.tables.delimited import LINE, Piece
from simulator.tables.streams import Encoding, blocks, detect
from simulator.tables.tally import Tally

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_PACKED = (".gz", ".zst", ".bz2", ".xz")
_LONGEST = 1 << 24
"""Bytes of a line; a longer one is no row."""
_REPLACED = "\ufffd".encode()
"""What bytes that cannot be read have become, in other encodings than UTF-8."""


def is_json_lines(path: Path, encoding: str | None) -> bool:
    """Whether a file holds JSON lines; told by its first line that is not blank.

    Args:
        path: The file.
        encoding: As of `simulator.tables.streams.detect`.

    Raises:
        DataError: it is one JSON document over several lines, or cannot be read.
    """
    start = b""
    for block, _ in blocks(path, detect(path, encoding)):
        start += block
        if b"\n" in start.lstrip() or len(start) > _LONGEST:
            break
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    line = text.split(b"\n", 1)[0].strip()
    if line.startswith(b"{") and isinstance(_parsed(line), dict):
        return True
    named = path.name.lower()
    for packed in _PACKED:
        named = named.removesuffix(packed)
    document = line in (b"[", b"{") or (line[:1] == b"[" and line[1:].lstrip()[:1] == b"{")
    if text and (document or (named.endswith(JSON_SUFFIXES) and line[:1] in (b"[", b"{"))):
        raise DataError(
            f"{path} is JSON, but not one object on each line: its first is '{_start(line)}'.",
            f"Make JSON lines of an array: jq -c '.[]' {path} > lines.jsonl",
        )
    return False


class JsonLinesFile:
    """JSON lines. Opening it reads the first block: its keys are the columns.

    Numbers keep their digits: cells are texts, as in a delimited file. A key of an object inside
    is named with a point (``page.id``); the values of a list are joined by commas.

    Args:
        path: The file; gzip, zstd, bzip2 and xz are unpacked.
        encoding: As of `simulator.tables.delimited.DelimitedFile`.

    Raises:
        DataError: it cannot be read.
    """

    def __init__(self, path: Path, *, encoding: str | None = None) -> None:
        self.path = path
        self.encoding: Encoding = detect(path, encoding)
        names: dict[str, None] = {}
        for lines in self._lines(Tally()):
            for _, line in lines:
                names.update(dict.fromkeys(self._row(line) or ()))
            if names:
                break
        self.columns = list(names)

    @property
    def dialect(self) -> str:
        """For people."""
        return f"JSON lines, {self.encoding.name}"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column name to type: text, all of them."""
        return {name: pl.String() for name in self.columns}

    def pieces(self, columns: Sequence[str], tally: Tally) -> Iterator[Piece]:
        """The rows of the file in order; a key that a row lacks is null there.

        Args:
            columns: Those wanted, all known.
            tally: Receives rows read, and lines that are no JSON object.

        Raises:
            DataError: the file cannot be read.
        """
        for lines in self._lines(tally):
            numbers: list[int] = []
            cells: dict[str, list[str | None]] = {name: [] for name in columns}
            for number, line in lines:
                row = self._row(line)
                tally.read += 1
                if row is None:
                    tally.reject(
                        1, [f"{self.path} line {number:,}: no JSON object in '{_start(line)}'"]
                    )
                    continue
                numbers.append(number)
                for name, column in cells.items():
                    column.append(row.get(name))
            if numbers:
                frame = pl.DataFrame(cells, schema=dict.fromkeys(columns, pl.String()))
                yield Piece(frame.with_columns(pl.Series(LINE, numbers, dtype=pl.Int64)))

    def _row(self, line: bytes) -> dict[str, str | None] | None:
        """Names and texts of an object; None if the line is none, or holds what is no text."""
        found = _parsed(line)
        if not isinstance(found, dict):
            return None
        if self.encoding.codec != "utf-8" and _REPLACED in line:
            return None
        row = dict(_cells(found, ""))
        if b"\\u" in line:
            try:
                "".join(part for pair in row.items() for part in pair if part).encode()
            except UnicodeEncodeError:
                # Half of a surrogate pair.
                return None
        return row

    def _lines(self, tally: Tally) -> Iterator[list[tuple[int, bytes]]]:
        """Lines that are not blank, with their numbers from 1, a block of them at a time.

        Raises:
            DataError: a line is longer than a row can be.
        """
        rest, first = b"", 1
        for block, _ in blocks(self.path, self.encoding, tally.told):
            *whole, rest = (rest + block).split(b"\n")
            if len(rest) > _LONGEST:
                raise DataError(
                    f"{self.path} line {first + len(whole):,} is no row: it never ends."
                )
            yield [(n, line) for n, line in enumerate(whole, first) if line.strip()]
            first += len(whole)
        if rest.strip():
            yield [(first, rest)]


def _parsed(line: bytes) -> Any:
    """What a line holds, numbers as they are written; None if it is no JSON."""
    try:
        return json.loads(line.decode("utf-8"), parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def _cells(found: dict[str, Any], inside: str) -> Iterator[tuple[str, str | None]]:
    for key, value in found.items():
        name = f"{inside}{key}".strip()
        if isinstance(value, dict):
            yield from _cells(value, f"{name}.")
        elif isinstance(value, list):
            yield name, ",".join(_text(one) or "" for one in value)
        else:
            yield name, _text(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)


def _start(line: bytes) -> str:
    """What a line that is no row begins with, for people."""
    return line.strip()[:40].decode("utf-8", "replace")
