"""Read an import map: a TOML file that says which columns of any table are which of ours.

    name = "our log"
    zone = "Asia/Shanghai"

    [impressions]
    files = ["events*.csv"]
    user_id = "uid"
    video_id = { column = "item", names = true }
    time_ms = { column = "ts", unit = "s" }
    play_time_ms = { column = "watched", unit = "s" }
    is_click = "watched / length > .8"
    is_like = { placeholder = 0 }

A file without a header gets one: ``header = ["uid", "item", "ts"]``. See docs/import.md.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from simulator.errors import DataError
from simulator.logs.importers.expressions import parse
from simulator.logs.importers.fields import Column as Mapped
from simulator.logs.importers.fields import Computed, Constant, Field, FieldKind
from simulator.logs.importers.formats import Format, Role
from simulator.logs.schema import TABLES, Column
from simulator.tables import Kind, Number, Table, Text, Whole, check_form, check_zone
from simulator.tables.times import UNITS

MADE = {"impressions": ("session_id", "request_id", "position")}
"""Columns that an import makes of row order and times."""
MAPPED_TABLES = ("impressions", "comment_events", "users", "videos", "comments")
_TOP = ("name", "licence", "language", "zone", "unknown")
_KEYS = (
    "column",
    "unit",
    "zone",
    "form",
    "names",
    "unknown",
    "expression",
    "constant",
    "placeholder",
)
_SPANS = ("play_time_ms", "duration_ms", "profile_stay_time", "comment_stay_time", "dwell_ms")
"""Columns of milliseconds that may come in seconds."""


@dataclass(frozen=True)
class ImportMap:
    """A map, read and checked as far as it can be without the files.

    Attributes:
        path: Where it is.
        text: What it says.
        settings: ``name``, ``licence``, ``language``, ``zone``, ``unknown``.
        tables: Table to its entries, ``files`` among them.
    """

    path: Path
    text: str
    settings: dict[str, Any]
    tables: dict[str, dict[str, Any]]

    def fail(self, table: str, key: str, problem: str, hint: str = "") -> DataError:
        """An error at an entry: names the map, the line and the entry."""
        line, inside = 0, table == ""
        for number, one in enumerate(self.text.splitlines(), 1):
            header = re.match(r"\s*\[([^\]]+)\]", one)
            if header:
                inside = header[1].strip() == table
                line = number if inside and not line else line
            elif inside and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", one):
                line = number
                break
        where = f"{self.path} line {line}" if line else str(self.path)
        entry = f"{table}.{key}" if table and key else table or key
        return DataError(f"{where}: {entry}: {problem}", hint)


def read_map(path: Path) -> ImportMap:
    """Read a map.

    Raises:
        DataError: it cannot be read, is no TOML, or has unknown or missing entries.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is no map: it is no file.", "Make one: abtest data map FILE")
    try:
        text = path.read_text(encoding="utf-8-sig")
        raw = tomllib.loads(text)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}.", "Make one: abtest data map FILE"
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no map: {error}.", "Make one: abtest data map FILE") from None
    tables = {n: v for n, v in raw.items() if isinstance(v, dict)}
    settings = {n: v for n, v in raw.items() if n not in tables}
    found = ImportMap(path, text, settings, tables)
    for name, value in settings.items():
        if name not in _TOP:
            raise found.fail("", name, "is no setting.", f"Known: {', '.join(_TOP)}, [table]")
        good = _texts(value) if name == "unknown" else isinstance(value, str)
        if not good:
            raise found.fail("", name, "must be a text, or for unknown a list of texts.")
    if "zone" in settings:
        check_zone(settings["zone"])
    for table, entries in tables.items():
        _check_table(found, table, entries)
    if "impressions" not in tables:
        raise DataError(
            f"{path} maps no [impressions].", "Every log has impressions: who was shown what, when"
        )
    return found


def _check_table(found: ImportMap, table: str, entries: dict[str, Any]) -> None:
    if table not in MAPPED_TABLES:
        raise found.fail(table, "", "is no table.", f"Known: {', '.join(MAPPED_TABLES)}")
    known = [c.name for c in TABLES[table].columns if c.name not in MADE.get(table, ())]
    for name, entry in entries.items():
        if name in ("files", "header"):
            if not _texts(entry):
                raise found.fail(table, name, "must be a list of texts.")
            continue
        if name not in known:
            if name in MADE.get(table, ()):
                raise found.fail(table, name, "is made from row order and times; leave it out.")
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}"
            raise found.fail(table, name, "is no column of the log format.", guess)
        if isinstance(entry, dict):
            wrong = [k for k in entry if k not in _KEYS]
            if wrong:
                raise found.fail(table, name, f"'{wrong[0]}' is unknown.", f"Known: {_KEYS}")
            given = [k for k in ("column", "expression", "constant", "placeholder") if k in entry]
            if len(given) != 1:
                raise found.fail(
                    table, name, "needs one of column, expression, constant, placeholder."
                )
        elif not isinstance(entry, str | int | float | bool):
            raise found.fail(table, name, "must be a column, an expression or a number.")
    for column in TABLES[table].columns:
        if column.required and column.name in known and column.name not in entries:
            raise found.fail(
                table,
                "",
                f"has no '{column.name}' ({column.doc}).",
                f'Add: {column.name} = "COLUMN", an expression, or {{ placeholder = 0 }}',
            )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def header_of(found: ImportMap, path: Path) -> list[str] | None:
    """The column names that the map gives a file without a header; None for one that has it.

    A file that several tables are made of has one header.
    """
    for entries in found.tables.values():
        names = [path.name, *(p.name for p in path.parents)]
        if "header" in entries and _named(names, entries, len(found.tables)):
            header: list[str] = entries["header"]
            return header
    return None


def work_of(found: ImportMap, tables: Sequence[Table]) -> tuple[Format, dict[Role, list[Table]]]:
    """The format that a map describes, and which tables play which role in it.

    Raises:
        DataError: a file plays no role, an entry has no column, or cannot be what it is mapped to.
    """
    files: dict[Role, list[Table]] = {}
    used: set[int] = set()
    for name, entries in found.tables.items():
        chosen = [t for t in tables if _plays(t, entries, len(found.tables))]
        if not chosen:
            patterns = ", ".join(entries.get("files", ["every file"]))
            raise found.fail(name, "files", f"no file given is {patterns}.")
        used |= {id(t) for t in chosen}
        for table in chosen:
            columns = [
                _mapped(found, name, column, entries[column.name], table)
                for column in TABLES[name].columns
                if column.name in entries
            ]
            files[Role(name, "", [c for part in columns for c in part])] = [table]
    idle = [t for t in tables if id(t) not in used]
    if idle:
        raise DataError(
            f"{found.path}: no table is made of {idle[0].files[0]}.", "Name it in files = [...]"
        )
    layout = Format(
        "map",
        found.path.name,
        found.settings.get("licence", "not stated"),
        tuple(files),
        language=found.settings.get("language"),
    )
    return layout, files


def _plays(table: Table, entries: Mapping[str, Any], sections: int) -> bool:
    given = [part for path in table.files for part in (path.name, *(p.name for p in path.parents))]
    return _named(given, entries, sections)


def _named(given: Sequence[str], entries: Mapping[str, Any], sections: int) -> bool:
    """Whether a section is about files of those names or in folders of those names."""
    patterns = entries.get("files")
    if patterns is None:
        return sections == 1
    return any(fnmatch.fnmatchcase(name, p) or name == p for p in patterns for name in given)


def _mapped(
    found: ImportMap, table: str, column: Column, entry: Any, source: Table
) -> list[Mapped]:
    """What an entry makes of a file's columns."""
    spec = _spec(entry, source)
    if "expression" in spec:
        try:
            expression = parse(str(spec["expression"]))
        except DataError as error:
            raise found.fail(table, column.name, error.problem, error.hint) from None
        for name in expression.columns:
            _require(found, table, column.name, name, source)
        return [Computed(column.name, expression, _kind(column))]
    for key in ("constant", "placeholder"):
        if key in spec:
            value = spec[key]
            _check_constant(found, table, column, value)
            return [Constant(column.name, value, column.dtype, key == "placeholder")]
    name = str(spec["column"])
    _require(found, table, column.name, name, source)
    return _field(found, table, column, name, spec)


def _spec(entry: Any, source: Table) -> dict[str, Any]:
    if isinstance(entry, dict):
        return entry
    if not isinstance(entry, str):
        return {"constant": int(entry) if isinstance(entry, bool) else entry}
    plain = entry in source.schema or re.fullmatch(r"\w+", entry)
    return {"column" if plain else "expression": entry}


def _require(found: ImportMap, table: str, key: str, name: str, source: Table) -> None:
    if name not in source.schema:
        close = difflib.get_close_matches(name, source.columns, n=1)
        guess = f" It has '{close[0]}'." if close else ""
        raise found.fail(
            table,
            key,
            f"{source.files[0]} has no column '{name}'.{guess}",
            f"Columns ({source.dialect}): {', '.join(source.columns[:30])}",
        )


def _field(
    found: ImportMap, table: str, column: Column, name: str, spec: Mapping[str, Any]
) -> list[Mapped]:
    unit = spec.get("unit", "ms")
    sentinels = tuple(spec.get("unknown", found.settings.get("unknown", ())))
    if not all(isinstance(s, str) for s in sentinels):
        raise found.fail(table, column.name, "unknown must be a list of texts.")
    if spec.get("names"):
        if not column.name.endswith("_id"):
            raise found.fail(table, column.name, "only identifiers are made of names.")
        own = column.name.removesuffix("_id") + "_name"
        target = own if table in ("impressions", "comment_events") else "source_id"
        kept = Field(target, (name,), "text", pl.String(), sentinels=())
        number = Field(column.name, (name,), "name", pl.Int64(), required=column.required)
        described = target if target == own or column.name == _own_key(table) else None
        return [number, kept] if described else [number]
    if column.name in ("time_ms", "upload_time_ms"):
        zone = check_zone(str(spec.get("zone", found.settings.get("zone", "UTC"))))
        if unit not in UNITS:
            raise found.fail(table, column.name, f"unit '{unit}' is none of {', '.join(UNITS)}.")
        form = spec.get("form")
        try:
            form = None if form is None else check_form(str(form))
        except (DataError, ValueError) as error:
            raise found.fail(table, column.name, f"form: {error}") from None
        if form is not None and unit != "text":
            raise found.fail(table, column.name, 'form is of texts: add unit = "text".')
        return [
            Field(
                column.name, (name,), "time", pl.Int64(), required=column.required, unit=unit,
                zone=zone, form=form, sentinels=sentinels,
            )
        ]  # fmt: skip
    scale = 1
    if "unit" in spec:
        if column.name not in _SPANS or unit not in ("s", "ms"):
            raise found.fail(table, column.name, f"unit '{unit}' is not s or ms, or has no place.")
        scale = 1000 if unit == "s" else 1
    if column.dtype in (pl.Float32, pl.Float64):
        expression = parse(f"col({name!r})")
        return [Computed(column.name, expression, _kind(column))]
    return [
        Field(
            column.name, (name,), _field_kind(column), column.dtype, required=column.required,
            scale=scale, maximum=int(column.maximum) if column.maximum else 2**63 - 1,
            sentinels=sentinels,
        )
    ]  # fmt: skip


def _own_key(table: str) -> str:
    return {"users": "user_id", "videos": "video_id", "comments": "comment_id"}.get(table, "")


def _field_kind(column: Column) -> FieldKind:
    if column.unit == "0/1":
        return "label"
    if column.name == "play_time_ms":
        return "play"
    if column.name == "duration_ms":
        return "duration"
    if isinstance(column.dtype, pl.List):
        return "tags"
    if column.dtype == pl.String:
        return "text"
    return "id" if column.name.endswith("_id") else "number"


def _kind(column: Column) -> Kind:
    """What an expression may give for a column."""
    if column.dtype == pl.String:
        return Text(required=column.required)
    low = -(2**63) if column.minimum is None else int(column.minimum)
    high = 2**63 - 1 if column.maximum is None else int(column.maximum)
    if column.dtype in (pl.Float32, pl.Float64):
        return Number(required=column.required, minimum=low, maximum=high, dtype=column.dtype)
    expected = "0 or 1" if column.unit == "0/1" else "a whole number"
    return Whole(
        required=column.required, minimum=low, maximum=high, type=column.dtype, expected=expected,
        rounds=column.unit == "ms",
    )  # fmt: skip


def _check_constant(found: ImportMap, table: str, column: Column, value: Any) -> None:
    """A constant is a good value of its column."""
    kind = _kind(column)
    try:
        read = kind.read(pl.Series(column.name, [value]))
        bad = read.bad is not None and bool(read.bad.any())
    except (DataError, pl.exceptions.PolarsError, TypeError, OverflowError):
        bad = True
    if bad:
        raise found.fail(table, column.name, f"{value!r} is no value, expected {kind.expected}.")
