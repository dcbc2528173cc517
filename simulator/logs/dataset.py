"""Read and write a dataset on disk: Parquet tables and ``dataset.json``.

Layout::

    DIR/dataset.json
    DIR/impressions/part-00000.parquet ...
    DIR/users/..., DIR/videos/..., DIR/comments/..., DIR/comment_events/...
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import glob
import json
import os
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.logs.catalogue import COMMENT_COLUMNS, VIDEO_COLUMNS, Catalogue
from simulator.logs.content import HASHED_BY, content_hash, hash_of_rows
from simulator.logs.info import INFO_FILE, DatasetInfo, read_info
from simulator.logs.schema import FORMAT_VERSION, TABLES, TableFormat

__all__ = ["INFO_FILE", "Dataset", "DatasetInfo", "DatasetWriter", "check_columns"]


class Dataset:
    """A log and what it is about. Open it with `Dataset.open`."""

    def __init__(self, path: Path, info: DatasetInfo) -> None:
        self.path = path
        self.info = info

    @classmethod
    def open(cls, path: Path | str) -> Dataset:
        """Open a dataset directory.

        Raises:
            DataError: missing, not a dataset, of another format version, or with missing or
                mistyped columns.
        """
        path = Path(path)
        file = path / INFO_FILE
        if not path.is_dir():
            raise DataError(f"no dataset at {path}.{_nearby(path)}", "Without data: abtest demo")
        if not file.is_file():
            raise DataError(
                f"{path} is not a dataset: it has no {INFO_FILE}.",
                f"Make one: abtest data import {path} DATASET",
            )
        info = read_info(file)
        dataset = cls(path, info)
        dataset._check_schema()
        return dataset

    def for_policies(self) -> Dataset:
        """The same log without what only the platform knows: which world wrote it."""
        # Computed before, so that the copy and this one share them.
        self.catalogue()
        self.user_ids()
        view = copy.copy(self)
        view.info = dataclasses.replace(self.info, world=None, name="log", source="")
        return view

    def has(self, table: str) -> bool:
        """Whether the table exists and has rows."""
        return self.info.rows.get(table, 0) > 0

    def has_column(self, table: str, column: str) -> bool:
        """Whether the table has that column."""
        return column in self.info.columns.get(table, [])

    def scan(self, table: str) -> pl.LazyFrame:
        """All rows of a table, lazily.

        Raises:
            DataError: the format has no such table, or its files are gone.
        """
        if table not in TABLES:
            raise DataError(f"unknown table '{table}'.", f"Known: {', '.join(TABLES)}")
        if table not in self.info.columns:
            return pl.LazyFrame(schema=TABLES[table].dtypes())
        files = sorted((self.path / table).glob("part-*.parquet"))
        if not files:
            raise DataError(
                f"{self.path / table} has no part files, although {INFO_FILE} names it.",
                "Import or make the dataset again",
            )
        return pl.scan_parquet(files, glob=False)

    def catalogue(self) -> Catalogue:
        """Videos and comments in dense index order."""
        return self._catalogue

    def with_catalogue(self, catalogue: Catalogue) -> Dataset:
        """The same log, with its catalogue as another process has read it."""
        same = Dataset(self.path, self.info)
        same._catalogue = catalogue
        return same

    def user_ids(self) -> NDArray[np.int64]:
        """int64[N]: identifiers of all users, ascending; a user's dense index is the position."""
        return self._user_ids

    def captions(self) -> list[str]:
        """Caption of every video in catalogue order, "" where there is none."""
        return self._texts("videos", "video_id", "caption", self._catalogue.video_ids)

    def comment_texts(self) -> list[str]:
        """Text of every comment in catalogue order, "" where there is none."""
        return self._texts("comments", "comment_id", "text", self._catalogue.comment_ids)

    def has_text(self) -> bool:
        """Whether any video has a caption or any comment a text column."""
        return self.has_column("videos", "caption") or self.has_column("comments", "text")

    @cached_property
    def _catalogue(self) -> Catalogue:
        return Catalogue.from_frames(
            self._columns("videos", VIDEO_COLUMNS), self._columns("comments", COMMENT_COLUMNS)
        )

    def _columns(self, table: str, wanted: Sequence[str]) -> pl.DataFrame:
        rows = self.scan(table)
        present = set(rows.collect_schema().names())
        return rows.select(name for name in wanted if name in present).collect()

    @cached_property
    def _user_ids(self) -> NDArray[np.int64]:
        frame = self.scan("users").select("user_id").unique().sort("user_id").collect()
        return frame["user_id"].to_numpy().astype(np.int64)

    def _texts(self, table: str, key: str, column: str, ids: NDArray[np.int64]) -> list[str]:
        if not self.has_column(table, column):
            return [""] * len(ids)
        frame = self.scan(table).select(key, pl.col(column).fill_null("")).collect()
        wanted = pl.DataFrame({key: ids})
        joined = wanted.join(frame.unique(key), on=key, how="left", maintain_order="left")
        return joined[column].fill_null("").to_list()

    def _check_schema(self) -> None:
        for table in TABLES.values():
            if table.required and table.name not in self.info.columns:
                raise DataError(f"{self.path} has no table '{table.name}'.")
            if table.name not in self.info.columns:
                continue
            try:
                schema = self.scan(table.name).collect_schema()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise DataError(
                    f"{self.path / table.name} is damaged: {str(error).splitlines()[0]}.",
                    "Import it again: abtest data import FILES DATASET",
                ) from None
            check_columns(schema, table, str(self.path))
            self._check_described(table.name, schema)

    def _check_described(self, table: str, schema: Any) -> None:
        """The files have the columns and the number of rows that ``dataset.json`` says."""
        missing = [name for name in self.info.columns[table] if name not in schema]
        if missing:
            raise DataError(
                f"{self.path}: table '{table}' has no column '{missing[0]}', although {INFO_FILE} "
                "names it.",
                "Import or make the dataset again",
            )
        found = self.scan(table).select(pl.len()).collect().item()
        if found != self.info.rows[table]:
            raise DataError(
                f"{self.path}: table '{table}' has {found:,} rows, {INFO_FILE} says "
                f"{self.info.rows[table]:,}.",
                "A part file is missing or was added: import or make the dataset again",
            )


def check_columns(schema: Any, table: TableFormat, where: str) -> None:
    """Refuse a table with missing or mistyped columns.

    Raises:
        DataError: names table, column, found and expected type.
    """
    for column in table.columns:
        if column.name not in schema:
            if column.required:
                raise DataError(
                    f"{where}: table '{table.name}' has no column '{column.name}'.",
                    "See docs/log-format.md",
                )
            continue
        found = schema[column.name]
        if found != column.dtype and found != pl.Null():
            raise DataError(
                f"{where}: column '{column.name}' of table '{table.name}' is {found}, "
                f"expected {column.dtype}.",
                "See docs/log-format.md",
            )


def _nearby(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return ""
    names = [p.name for p in parent.iterdir() if (p / INFO_FILE).is_file() or p.suffix == ".csv"]
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.3)
    return f" Nearby: {', '.join(str(parent / n) for n in close)}." if close else ""


class DatasetWriter:
    """Writes a dataset under a temporary name and renames it when everything is there.

    Use as a context manager; on an exception nothing is left behind.

    Args:
        path: Directory to create.
        name, source, licence, language, world, notes, randomisation: See `DatasetInfo`.
        overwrite: Replace an existing dataset.

    Raises:
        DataError: the directory exists (and ``overwrite`` is False), or is not a dataset.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str,
        source: str,
        licence: str,
        language: str | None = None,
        world: dict[str, Any] | None = None,
        notes: Sequence[str] = (),
        randomisation: dict[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        self._path = Path(path)
        self._overwrite = overwrite
        if self._path.exists():
            if not overwrite:
                raise DataError(
                    f"{self._path} exists and is left untouched.", "Replace it: --force"
                )
            empty = self._path.is_dir() and not any(self._path.iterdir())
            if not empty and not (self._path / INFO_FILE).is_file():
                raise DataError(f"{self._path} exists and is not a dataset; it is left untouched.")
        # Of this process: two may be making the same dataset, a cached world for example.
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        self._about = {"name": name, "source": source, "licence": licence, "language": language}
        self._world = world
        self._randomisation = randomisation
        self.notes = list(notes)
        self.placeholders: list[str] = []
        self._parts: dict[str, int] = {}
        self._rows: dict[str, int] = {}
        self._schemas: dict[str, dict[str, pl.DataType]] = {}
        self._hashes: dict[str, int] = {}
        self._span: tuple[int, int] | None = None

    def __enter__(self) -> DatasetWriter:
        self._remove_leftovers()
        self._temporary.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            return
        try:
            self._finish()
        except BaseException:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise

    def append(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows to a table; parts of one table must have the same columns.

        Raises:
            DataError: unknown table, missing or mistyped columns.
        """
        if table not in TABLES:
            raise DataError(f"unknown table '{table}'.", f"Known: {', '.join(TABLES)}")
        check_columns(frame.schema, TABLES[table], str(self._path))
        schema = dict(frame.schema)
        if self._schemas.setdefault(table, schema) != schema:
            raise DataError(f"parts of table '{table}' differ in their columns.")
        part = self._parts.get(table, 0)
        folder = self._temporary / table
        folder.mkdir(exist_ok=True)
        frame.write_parquet(folder / f"part-{part:05d}.parquet", compression="zstd")
        self._parts[table] = part + 1
        self._hashes[table] = self._hashes.get(table, 0) + hash_of_rows(
            frame, self._rows.get(table, 0)
        )
        self._rows[table] = self._rows.get(table, 0) + frame.height
        if table == "impressions" and frame.height:
            low, high = int(frame["time_ms"].min()), int(frame["time_ms"].max())  # type: ignore[arg-type]
            if self._span is not None:
                low, high = min(low, self._span[0]), max(high, self._span[1])
            self._span = (low, high)

    def _remove_leftovers(self) -> None:
        """What processes that are no more have left unfinished, and an attempt of this one."""
        for left in self._path.parent.glob(f".{glob.escape(self._path.name)}.*.tmp"):
            process = left.name.split(".")[-2]
            if process.isdigit() and (left == self._temporary or not _runs(int(process))):
                shutil.rmtree(left, ignore_errors=True)

    def _finish(self) -> None:
        for table in TABLES.values():
            if table.name not in self._schemas and table.required:
                empty = pl.DataFrame(schema={c.name: c.dtype for c in table.columns if c.required})
                self.append(table.name, empty)
        rows = {name: self._rows.get(name, 0) for name in TABLES if name in self._schemas}
        columns = {name: list(schema) for name, schema in self._schemas.items()}
        info = DatasetInfo(
            format_version=FORMAT_VERSION,
            rows=rows,
            time_span_ms=self._span,
            content_hash=content_hash(columns, rows, self._hashes),
            columns=columns,
            world=self._world,
            notes=self.notes,
            randomisation=self._randomisation,
            placeholders=self.placeholders,
            hashed_by=HASHED_BY,
            **self._about,  # type: ignore[arg-type]
        )
        text = json.dumps(dataclasses.asdict(info), ensure_ascii=False, indent=1, sort_keys=True)
        (self._temporary / INFO_FILE).write_text(text + "\n", encoding="utf-8")
        replaced = self._temporary.with_suffix(".old")
        if self._path.exists():
            if not self._overwrite:
                raise DataError(
                    f"{self._path} has been written by another process meanwhile; it is left "
                    "untouched.",
                    "Replace it: --force",
                )
            self._path.rename(replaced)
        self._temporary.rename(self._path)
        shutil.rmtree(replaced, ignore_errors=True)


def _runs(process: int) -> bool:
    """Whether there is a process of that number; if in doubt, yes."""
    if os.name == "nt":  # No harmless way to ask: signal 0 is Ctrl-C there.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
