"""Read the outcomes of a real experiment from a Parquet or CSV file.

One row per user, or per user and day, or any number of rows per user: outcomes of a user's rows
are added up. Columns named ``pre_X`` are what X was before the experiment.

The file is read in batches and is never in memory as a whole. A small one becomes a ``UserTable``,
a larger one ``UserParts``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from reports.users.arms import ordered_arms
from reports.users.before import PRE, KnownBefore
from reports.users.days import Days
from reports.users.errors import Problems, TableError
from reports.users.parts import Partition, UserFrames, UserParts
from reports.users.rows import Columns, RowReader
from reports.users.table import Users

__all__ = ["Columns", "Observed", "TableError", "UserFile"]

MOST_ARMS = 20
PART_ROWS = 125_000
"""Rows of a part; a file that has no more is held in memory."""

_SUFFIXES = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv"}
_SHOWN_ROWS = 4
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Observed:
    """A real experiment, ready for ``analyze``.

    Attributes:
        table: Its users.
        rows: Of the file.
        covariates: Columns from before the experiment.
        notes: Sentences about what was done to the data.
    """

    table: Users
    rows: int
    covariates: tuple[str, ...]
    notes: tuple[str, ...]


class UserFile:
    """A file of users; opening it reads only the names of its columns.

    Raises:
        TableError: no such file, or neither Parquet nor CSV.
    """

    def __init__(self, path: Path) -> None:
        kind = _SUFFIXES.get(path.suffix.lower())
        if not path.is_file():
            beside = path.parent.iterdir() if path.parent.is_dir() else ()
            close = difflib.get_close_matches(path.name, [p.name for p in beside], n=1)
            near = f"Nearby: {path.with_name(close[0])}." if close else ""
            raise TableError(f"no file at {path}.", near)
        if kind is None:
            raise TableError(
                f"{path} is neither Parquet nor CSV.", "", f"Known: {', '.join(_SUFFIXES)}"
            )
        self.path = path
        self._text = kind != "parquet"
        try:
            if kind == "parquet":
                self._lazy = pl.scan_parquet(path)
            else:
                # Texts first: a value that is no number can then be shown with its line.
                separator = "\t" if kind == "tsv" else ","
                self._lazy = pl.scan_csv(path, infer_schema=False, separator=separator)
            self.schema = dict(self._lazy.collect_schema())
        except pl.exceptions.PolarsError as error:
            raise TableError(f"{path} cannot be read: {str(error).splitlines()[0]}.") from None

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return list(self.schema)

    def read(
        self,
        wanted: Columns,
        *,
        control: str | None,
        start: str | None = None,
        planned: Sequence[str] = (),
    ) -> Observed:
        """Read, check and add up.

        Args:
            wanted: The columns.
            control: Name of the control arm; None if it can be told from the names.
            start: First day of the experiment; earlier days are the time before.
            planned: Arms that somebody planned; empty if nobody said.

        Raises:
            TableError: naming column and row of the first thing wrong.
        """
        pre = [c for c in self.columns if c.startswith(PRE) and c not in wanted.outcomes]
        covariates = list(dict.fromkeys([*pre, *wanted.covariates]))
        needed = [*wanted.keys, *wanted.outcomes, *covariates, *wanted.segments]
        self._check_names(list(dict.fromkeys(needed)), wanted)
        if start is not None and wanted.day is None:
            raise TableError("--start needs days.", "", "Name their column: --day COLUMN")
        self._problems = Problems(self.path, text=self._text)
        days = None if wanted.day is None else Days(self._problems, start)
        reader = RowReader(wanted, covariates, self._problems, days)
        partition = self._partition(reader, list(dict.fromkeys(needed)), wanted)
        arms = ordered_arms(reader.arms, control, planned, self.path)
        frames = (UserFrames.of_rows(reader.finish(r), wanted) for r in partition.parts())
        checked = self._one_arm_each(frames, wanted)
        table: Users
        known = KnownBefore()
        if partition.number == 1:
            whole = next(checked)
            known.see(whole.before, whole.several)
            table = whole.table(arms, known)
            # Its check comes after the last part.
            next(checked, None)
        else:
            table = UserParts(checked, arms, known)
        return Observed(table, reader.rows, tuple(table.known), tuple(known.notes()))

    def _partition(self, reader: RowReader, names: list[str], wanted: Columns) -> Partition:
        """All rows, checked, by the part that their user belongs to."""
        partition = Partition(-(-max(self._most_rows(), 1) // PART_ROWS), 2 * PART_ROWS)
        try:
            for batch in self._lazy.select(names).collect_batches(maintain_order=True):
                rows = reader.read(batch)
                if len(reader.arms) > MOST_ARMS:
                    raise self._too_many_arms(wanted.arm)
                if not self._problems.any:
                    partition.add(rows)
        except pl.exceptions.PolarsError as error:
            raise TableError(f"{self.path} cannot be read: {str(error).splitlines()[0]}.") from None
        if reader.rows == 0:
            raise TableError(f"{self.path} has no rows.")
        reader.check()
        return partition

    def _most_rows(self) -> int:
        """Of the file; or more, if its texts have line breaks."""
        if not self._text:
            return int(self._lazy.select(pl.len()).collect().item())
        with self.path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK), b""))

    def _check_names(self, needed: Iterable[str], wanted: Columns) -> None:
        for name in needed:
            if name not in self.schema:
                close = difflib.get_close_matches(name, self.columns, n=1)
                guess = f"Did you mean '{close[0]}'?" if close else ""
                listed = f"Columns: {', '.join(self.columns[:30])}"
                raise TableError(f"{self.path} has no column '{name}'.", guess, listed)
        both = set(wanted.outcomes) & {*wanted.covariates, *wanted.segments}
        if both:
            raise TableError(
                f"'{min(both)}' is an outcome and something known before.",
                "What happened in the experiment cannot be a covariate, stratum or segment.",
            )
        keys = [name for name in (wanted.user, wanted.arm, wanted.day) if name is not None]
        numbers = {*wanted.outcomes, *wanted.covariates}
        double = [n for n in keys if n in numbers or keys.count(n) > 1]
        if double:
            raise TableError(
                f"column '{double[0]}' is given two meanings.", "", "Check the options"
            )

    def _too_many_arms(self, name: str) -> TableError:
        values = self._lazy.select(pl.col(name).cast(pl.String).n_unique())
        count = int(values.collect(engine="streaming").item())
        return TableError(
            f"column '{name}' has {count:,} different values.",
            f"An experiment has at most {MOST_ARMS} arms.",
            "Name the column of the arms: --arm COLUMN",
        )

    def _one_arm_each(self, parts: Iterable[UserFrames], wanted: Columns) -> Iterator[UserFrames]:
        """The same parts.

        Raises:
            TableError: after the last, if a user is in several arms; names the first of them.
        """
        count, first = 0, None
        for part in parts:
            users = part.crossing()["user_id"].unique().sort()
            if len(users):
                count += len(users)
                first = users[0] if first is None else min(first, users[0])
            yield part
        if count:
            raise self._in_two_arms(first, count, wanted)

    def _in_two_arms(self, user: Any, count: int, wanted: Columns) -> TableError:
        """Where the user is, from a second look at the file."""
        arm, owner = pl.col(wanted.arm).cast(pl.String), pl.col(wanted.user)
        if self.schema[wanted.user] in (pl.Categorical, pl.Enum):
            owner = owner.cast(pl.String)
        rows = self._lazy.select(owner.alias("user"), arm.alias("arm")).with_row_index("row")
        found = rows.filter(pl.col("user") == user).collect(engine="streaming").sort("row")
        arms = found["arm"].unique().sort().to_list()
        places = [self._problems.place(row) for row in found["row"].head(_SHOWN_ROWS)]
        more = ", ..." if found.height > _SHOWN_ROWS else ""
        return TableError(
            f"{wanted.user} {user} is in arms {' and '.join(map(repr, arms))}: "
            f"{', '.join(places)}{more}.",
            f"{count:,} users are in more than one arm of {self.path}.",
            "Find out why (the split may be broken), then drop them from all arms",
        )
