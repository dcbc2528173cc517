"""Read ``dataset.json``: every field's type and range is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from simulator.errors import DataError
from simulator.logs.schema import FORMAT_VERSION, TABLES

INFO_FILE = "dataset.json"
_AGAIN = "Import or make the dataset again"
_MOST_BYTES = 1 << 26
_MOST_ROWS = 2**40
_TIME_LIMIT = 2**53


@dataclass(frozen=True)
class DatasetInfo:
    """What ``dataset.json`` says.

    Attributes:
        format_version: Version of the layout and the schema.
        name: Short name for people.
        source: Where the data came from.
        licence: Under which terms.
        language: "zh", "en" or None where there are no texts.
        rows: Rows per table.
        time_span_ms: First and last impression, Unix ms; None for an empty log.
        content_hash: Hash of all values of all tables, in order.
        columns: Columns present, per table.
        world: Specification of the built-in world that generated the log; None for a real one.
        notes: Sentences about repairs made on import.
        randomisation: What was left to chance when the log was written, see docs/log-format.md;
            None where nobody has said so.
        placeholders: Columns, as ``impressions.play_time_ms``, that the source does not have: the
            value in them stands for "unknown", and commands that need them refuse.
        hashed_by: What made the content hash; another version may hash the same rows otherwise.
    """

    format_version: int
    name: str
    source: str
    licence: str
    language: str | None
    rows: dict[str, int]
    time_span_ms: tuple[int, int] | None
    content_hash: str
    columns: dict[str, list[str]]
    world: dict[str, Any] | None
    notes: list[str]
    randomisation: dict[str, Any] | None = None
    placeholders: list[str] = field(default_factory=list)
    hashed_by: str = ""


def read_info(file: Path) -> DatasetInfo:
    """What a ``dataset.json`` says.

    Raises:
        DataError: it is no such file, of another version, or a field cannot be what it is.
    """
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise DataError(f"{file} is damaged: it is larger than 64 MiB.", _AGAIN)
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, MemoryError):
        raise DataError(f"{file} is damaged: it is no JSON.", _AGAIN) from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from None
    if not isinstance(raw, dict) or "format_version" not in raw:
        raise DataError(f"{file} is damaged: it has no format_version.", _AGAIN)
    version = raw["format_version"]
    if not _whole(version) or version != FORMAT_VERSION:
        raise DataError(
            f"{file.parent} has format version {str(version)[:20]}, "
            f"this program reads {FORMAT_VERSION}.",
            _AGAIN,
        )
    known = {f.name: f for f in fields(DatasetInfo)}
    for name in raw:
        if name not in known:
            raise DataError(f"{file} is damaged: it has an unknown field '{name[:40]}'.", _AGAIN)
    for name, (good, expected) in _CHECKS.items():
        if name not in raw:
            if name in ("randomisation", "placeholders", "hashed_by"):
                continue
            raise DataError(f"{file} is damaged: it has no field '{name}'.", _AGAIN)
        if not good(raw[name]):
            raise DataError(f"{file} is damaged: '{name}' is not {expected}.", _AGAIN)
    if not set(raw["columns"]) <= set(raw["rows"]):
        raise DataError(f"{file} is damaged: 'rows' and 'columns' name other tables.", _AGAIN)
    span = raw["time_span_ms"]
    raw["time_span_ms"] = None if span is None else (span[0], span[1])
    return DatasetInfo(**raw)


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 100_000


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _rows(value: Any) -> bool:
    return isinstance(value, dict) and all(
        name in TABLES and _whole(n) and 0 <= n <= _MOST_ROWS for name, n in value.items()
    )


def _columns(value: Any) -> bool:
    return isinstance(value, dict) and all(
        name in TABLES and _texts(listed) and len(listed) == len(set(listed))
        for name, listed in value.items()
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _span(value: Any) -> bool:
    if value is None:
        return True
    whole = isinstance(value, list) and len(value) == 2 and all(map(_whole, value))
    return whole and -_TIME_LIMIT < value[0] <= value[1] < _TIME_LIMIT


def _hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{1,64}", value) is not None


def _object(value: Any) -> bool:
    return value is None or isinstance(value, dict)


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_text, "a text"),
    "source": (_text, "a text"),
    "licence": (_text, "a text"),
    "language": (lambda v: v is None or _text(v), "a text or null"),
    "rows": (_rows, "a number of rows for each table"),
    "time_span_ms": (_span, "two times in ms, the earlier first"),
    "content_hash": (_hash, "a hash"),
    "columns": (_columns, "a list of columns for each table"),
    "world": (_object, "an object or null"),
    "notes": (_texts, "a list of texts"),
    "randomisation": (_object, "an object or null"),
    "placeholders": (_texts, "a list of texts"),
    "hashed_by": (_text, "a text"),
}
