"""Hold users of a file of any size, with one part in memory at a time.

All rows of a user go into one part, chosen by a hash of the user's id. So what must be known of all
rows of a user (their sum, whether they name two arms) is known within a part, exactly, and memory
holds a part whatever the number of users (more only if a single user has more rows than a part).
The parts lie in a temporary file without a name.
"""

from __future__ import annotations

import functools
import io
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

import polars as pl

from reports.users.before import KnownBefore, one_number
from reports.users.errors import TableError
from reports.users.risk import JOINED, Risk
from reports.users.rows import BEFORE, Columns
from reports.users.table import SEGMENT, UserTable

_KEYS = ("arm", "user_id")
_HASH_SEED = 1


class _Place(NamedTuple):
    """Of a frame in the file."""

    start: int
    size: int


class Store:
    """Frames in a temporary file; it goes away with its last user."""

    def __init__(self) -> None:
        self._end = 0

    @functools.cached_property
    def _file(self) -> IO[bytes]:
        file = tempfile.TemporaryFile(prefix="abtest-")  # noqa: SIM115 -- it lives as long as this
        weakref.finalize(self, file.close)
        return file

    def add(self, frame: pl.DataFrame) -> _Place:
        """Write a frame.

        Raises:
            TableError: the disk is full.
        """
        buffer = io.BytesIO()
        frame.write_ipc(buffer)
        try:
            self._file.seek(self._end)
            self._file.write(buffer.getbuffer())
        except OSError as error:
            raise TableError(
                f"no room for the users in {tempfile.gettempdir()}: {error.strerror}.",
                "A large table is sorted into parts there.",
                "Free some, or name a larger disk: TMPDIR=/path",
            ) from None
        place = _Place(self._end, buffer.tell())
        self._end += place.size
        return place

    def get(self, place: _Place) -> pl.DataFrame:
        """Read a frame."""
        self._file.seek(place.start)
        return pl.read_ipc(io.BytesIO(self._file.read(place.size)))


class Partition:
    """Rows by the part that their user belongs to.

    Args:
        parts: How many; a single one stays in memory.
        at_once: Rows that are collected before they are written.

    Attributes:
        number: Of the parts.
    """

    def __init__(self, parts: int, at_once: int) -> None:
        self._store = Store()
        self._at_once = at_once
        self._waiting: list[pl.DataFrame] = []
        self._places: list[list[_Place]] = [[] for _ in range(parts)]
        self.number = parts

    def add(self, rows: pl.DataFrame) -> None:
        """Rows with a ``user_id``."""
        self._waiting.append(rows)
        if self.number > 1 and sum(own.height for own in self._waiting) >= self._at_once:
            self._write()

    def _write(self) -> None:
        if not self._waiting:
            return
        rows = pl.concat(self._waiting)
        self._waiting = []
        number = rows["user_id"].hash(_HASH_SEED) % len(self._places)
        pieces = rows.with_columns(number.alias("\0part")).partition_by(
            "\0part", as_dict=True, include_key=False, maintain_order=True
        )
        for (part,), piece in pieces.items():
            self._places[part].append(self._store.add(piece))

    def parts(self) -> Iterator[pl.DataFrame]:
        """The rows of each part that has any, in the order of the file."""
        if self.number == 1:
            yield pl.concat(self._waiting)
            return
        self._write()
        for places in self._places:
            if places:
                yield pl.concat([self._store.get(place) for place in places])


class UserFrames(NamedTuple):
    """Users of a part.

    Attributes:
        outcomes: A row per user, sorted by (arm, user_id), or per user and day; with segments.
        before: The same users with what is known from before the experiment, None if nothing is;
            a value that no row of the user has is missing.
        by_day: Which of the two.
        several: By covariate, users whose rows give different values of which the first was taken.
    """

    outcomes: pl.DataFrame
    before: pl.DataFrame | None
    by_day: bool
    several: dict[str, int]

    @classmethod
    def of_rows(
        cls,
        rows: pl.DataFrame,
        wanted: Columns,
        risk: Risk,
        calendar: Sequence[int],
    ) -> UserFrames:
        """Outcomes of a user's rows are added up; a covariate becomes one number per user.

        Args:
            rows: Of ``RowReader.finish``.
            wanted: The columns.
            risk: What a day without a row means.
            calendar: Days of the experiment, from the whole table.
        """
        before = [c for c in rows.columns if c.startswith(BEFORE)]
        segments = [SEGMENT + name for name in wanted.segments]
        several: dict[str, int] = {}
        if rows["user_id"].n_unique() == rows.height:
            users = rows.sort(_KEYS)
        else:
            how = {name: wanted.aggregations.get(name.removeprefix(BEFORE)) for name in before}
            doubtful = [name for name in before if how[name] is None]
            users = rows.group_by(_KEYS).agg(
                pl.col(wanted.outcomes).sum(),
                *[one_number(pl.col(name), how[name] or "first") for name in before],
                *[pl.col(name).drop_nulls().n_unique().alias("\1" + name) for name in doubtful],
                pl.col(segments).first(),
            )
            users = users.sort(_KEYS)
            for name in doubtful:
                several[name.removeprefix(BEFORE)] = int((users["\1" + name] > 1).sum())
        by_day = wanted.day is not None
        known = users.select(*_KEYS, *before) if before else None
        if not by_day:
            outcomes = users.select(*reversed(_KEYS), *wanted.outcomes, *segments)
            return cls(outcomes, known, by_day, several)
        joined = [JOINED] if wanted.joined is not None else []
        days = rows.group_by(*_KEYS, "day").agg(
            pl.col(wanted.outcomes).sum(), pl.col([*segments, *joined]).first()
        )
        days = risk.applied(days.sort(*_KEYS, "day"), calendar)
        return cls(days.drop(joined), known, by_day, several)

    def table(self, arms: Sequence[str], known: KnownBefore) -> UserTable:
        """All users, in memory."""
        before = None if self.before is None else known.filled(self.before, self.by_day)
        if not self.by_day:
            return UserTable.of_users(self.outcomes, arms, before=before)
        table = UserTable(self.outcomes, arms)
        if before is not None:
            table.add_before(before)
        return table

    def crossing(self) -> pl.DataFrame:
        """Users in more than one arm: ``user_id`` and ``arm``, sorted."""
        pairs = self.outcomes.select(_KEYS).unique()
        return pairs.filter(pl.col("user_id").is_duplicated()).sort("user_id", "arm")


class UserParts:
    """Users in parts; see ``Users``.

    Args:
        frames: Of each part.
        arms: Control first.
        means: Of what is known from before.

    Attributes:
        arms: Arm names, control first.
        calendar: Experiment days that occur, counted from the start; [0] without days.
        has_pre: Whether anything is known from before the experiment.
        has_days: Whether outcomes are known day by day.
        known: Columns from before the experiment.
        segment_names: Segments, without ``segment_``.
    """

    def __init__(
        self, frames: Iterator[UserFrames], arms: Sequence[str], means: KnownBefore
    ) -> None:
        self._store = Store()
        self.arms = list(arms)
        self.calendar, self.has_pre, self.has_days = [0], False, False
        self._parts: list[dict[str, _Place]] = []
        kept = []
        seen: set[int] = set()
        for own in frames:
            means.see(own.before, own.several)
            self.has_days = own.by_day
            before = None if own.before is None else self._store.add(own.before)
            kept.append((self._store.add(own.outcomes), before))
            if own.by_day:
                seen |= set(own.outcomes["day"].unique().to_list())
        if self.has_days:
            self.calendar = sorted(day for day in seen if day >= 0) or [0]
        self.has_pre = kept[0][1] is not None or any(day < 0 for day in seen)
        self._sizes = dict.fromkeys(arms, 0)
        for outcomes, before in kept:
            table = self._built(outcomes, before, means, past=any(day < 0 for day in seen))
            places = {name: self._store.add(frame) for name, frame in table.per_user().items()}
            self._parts.append(places | ({"rows": outcomes} if self.has_days else {}))
            for arm in arms:
                self._sizes[arm] += table.size(arm)
        first = next(self.parts())
        self.known = first.known
        self.segment_names = first.segment_names

    def _built(
        self, outcomes: _Place, before: _Place | None, means: KnownBefore, *, past: bool
    ) -> UserTable:
        """A part as it is read for the first time: sums of its users are made here, once."""
        known = None if before is None else means.filled(self._store.get(before), self.has_days)
        frame = self._store.get(outcomes)
        if not self.has_days:
            return UserTable.of_users(frame, self.arms, before=known, complete=False)
        table = UserTable(frame, self.arms, complete=False)
        # Of the whole experiment: a part may lack days.
        table.calendar, table.has_pre = self.calendar, past
        if known is not None:
            table.add_before(known)
        return table

    @property
    def days(self) -> int:
        """Number of experiment days; 1 for a table without days."""
        return len(self.calendar)

    def size(self, arm: str) -> int:
        """Users of one arm."""
        return self._sizes[arm]

    def parts(self) -> Iterator[UserTable]:
        """From the first part on, the same in every reading."""
        for places in self._parts:
            frames = {name: self._store.get(place) for name, place in places.items()}
            rows = frames.pop("rows", None)
            yield UserTable.of_sums(
                frames, rows, self.arms, calendar=self.calendar, has_pre=self.has_pre
            )
