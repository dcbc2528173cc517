"""Read the outcomes of a real experiment from a table of users.

One row per user, or per user and day, or any number of rows per user: outcomes of a user's rows
are added up. Columns named ``pre_X`` are what X was before the experiment.

The table is read in batches and is never in memory as a whole. A small one becomes a ``UserTable``,
a larger one ``UserParts``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reports.users.arms import ordered_arms
from reports.users.before import PRE, KnownBefore
from reports.users.days import Days
from reports.users.errors import TableError
from reports.users.parts import Partition, UserFrames, UserParts
from reports.users.risk import Risk
from reports.users.rows import Columns, Role, RowReader, RowSource
from reports.users.table import Users

__all__ = ["Columns", "Observed", "TableError", "UserFile"]

MOST_ARMS = 20
PART_ROWS = 125_000
"""Rows of a part; a table that has no more is held in memory."""

_SHOWN_ROWS = 4


@dataclass(frozen=True)
class Observed:
    """A real experiment, ready for ``analyze``.

    Attributes:
        table: Its users.
        rows: Of the table.
        covariates: Columns from before the experiment.
        notes: Sentences about what was done to the data.
    """

    table: Users
    rows: int
    covariates: tuple[str, ...]
    notes: tuple[str, ...]


class UserFile:
    """A table of users; nothing but the names of its columns is known before it is read."""

    def __init__(self, source: RowSource) -> None:
        self.source = source
        self.schema = dict(source.schema)

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return list(self.schema)

    def numbers(self, without: Sequence[str | None] = ()) -> list[str]:
        """Columns that may be outcomes: numbers, not from before, not among those named."""
        left_out = set(without)
        return [
            name
            for name in self.source.numbers()
            if name not in left_out and not name.startswith(PRE)
        ]

    def read(
        self,
        wanted: Columns,
        *,
        control: str | None,
        start: str | None = None,
        planned: Sequence[str] = (),
        alone: bool = False,
    ) -> Observed:
        """Read, check and add up.

        Args:
            wanted: The columns.
            control: Name of the control arm; None if it can be told from the names.
            start: First day of the experiment; earlier days are the time before.
            planned: Arms that somebody planned; empty if nobody said.
            alone: Whether a table with one arm will do.

        Raises:
            TableError: naming the column or the user of the first thing wrong.
        """
        pre = [c for c in self.columns if c.startswith(PRE) and c not in wanted.outcomes]
        covariates = list(dict.fromkeys([*pre, *wanted.covariates]))
        roles = wanted.roles(covariates)
        self._check_names(roles)
        if wanted.day is None and (start is not None or wanted.joined is not None):
            flag = "--start" if start is not None else "--joined"
            raise TableError(f"{flag} needs days.", "", "Name their column: --day COLUMN")
        days = {} if wanted.day is None else {wanted.day: Days(start)}
        if wanted.day is not None and wanted.joined is not None:
            days[wanted.joined] = Days(like=days[wanted.day])
        calendar = None if wanted.day is None else days[wanted.day]
        reader = RowReader(wanted, covariates, calendar, self.source.name)
        partition = self._partition(reader, roles, days, wanted)
        arms = (
            sorted(reader.arms)
            if wanted.arm is None or (alone and control is None and len(reader.arms) == 1)
            else ordered_arms(reader.arms, control, planned, self.source.name, plannable=not alone)
        )
        risk = Risk(wanted.absent, wanted.joined is not None, wanted.retention)
        occurring = [] if calendar is None else calendar.calendar
        frames = (
            UserFrames.of_rows(reader.finish(rows), wanted, risk, occurring)
            for rows in partition.parts()
        )
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
        if calendar is not None:
            risk.check(calendar, wanted.user)
        notes = (*self.source.notes(), *known.notes())
        return Observed(table, reader.rows, tuple(table.known), notes)

    def _partition(
        self,
        reader: RowReader,
        roles: dict[str, Role],
        days: dict[str, Days],
        wanted: Columns,
    ) -> Partition:
        """All rows by the part that their user belongs to."""
        most = max(self.source.rows_at_most(), 1)
        partition = Partition(-(-most // PART_ROWS), 2 * PART_ROWS)
        for batch in self.source.batches(roles, days):
            partition.add(reader.read(batch))
            if len(reader.arms) > MOST_ARMS:
                raise TableError(
                    f"column '{wanted.arm}' of {self.source.name} has more than {MOST_ARMS} "
                    "different values.",
                    f"An experiment has at most {MOST_ARMS} arms.",
                    "Name the column of the arms: --arm COLUMN",
                )
        reader.check()
        return partition

    def _check_names(self, needed: Iterable[str]) -> None:
        for name in needed:
            if name not in self.schema:
                close = difflib.get_close_matches(name, self.columns, n=1)
                guess = f"Did you mean '{close[0]}'?" if close else ""
                listed = f"Columns: {', '.join(self.columns[:30])}"
                raise TableError(f"{self.source.name} has no column '{name}'.", guess, listed)

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
        """Where the user is, from a second look at the table."""
        assert wanted.arm is not None
        found = self.source.places(wanted.user, user, wanted.arm)
        arms = sorted({arm for arm, _ in found})
        more = ", ..." if len(found) > _SHOWN_ROWS else ""
        places = ", ".join(place for _, place in found[:_SHOWN_ROWS])
        return TableError(
            f"{wanted.user} {user} is in arms {' and '.join(map(repr, arms))}: {places}{more}.",
            f"{count:,} {'user is' if count == 1 else 'users are'} in more than one arm of "
            f"{self.source.name}.",
            "Find out why (the split may be broken), then drop them from all arms",
        )
