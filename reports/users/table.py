"""Hold per-user outcomes, what is known from before, and segments.

Everything is computed from ``Users``, which come in parts that fit into memory one after the other;
a ``UserTable`` is such a part, or the only one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reports.plan import Metric
from reports.statistics.errors import StatisticsError

Float = NDArray[np.float64]
Rows = NDArray[np.intp]

SEGMENT = "segment_"
AT_RISK = "days at risk"
"""Outcome column: 1 for every experiment day on which the user could have done something."""
_KEYS = ("arm", "user_id")


class Users(Protocol):
    """Users of an experiment, each in one part with all its rows.

    Attributes:
        arms: Arm names, control first.
        calendar: Experiment days that occur, counted from the start; [0] without days.
        has_pre: Whether anything is known from before the experiment.
    """

    arms: list[str]
    calendar: list[int]
    has_pre: bool

    @property
    def days(self) -> int:
        """Number of experiment days; 1 for a table without days."""

    @property
    def has_days(self) -> bool:
        """Whether outcomes are known day by day."""

    @property
    def known(self) -> list[str]:
        """Columns from before the experiment."""

    @property
    def segment_names(self) -> list[str]:
        """Segments, without ``segment_``."""

    def size(self, arm: str) -> int:
        """Users of one arm."""

    def parts(self) -> Iterator[UserTable]:
        """From the first part on, the same in every reading."""


class UserTable:
    """Per-user sums of an outcome table, before and during the experiment.

    Attributes:
        arms: Arm names, control first.
        calendar: Experiment days that occur, counted from the start; [0] without days.
        has_pre: Whether anything is known from before the experiment.
    """

    def __init__(self, frame: pl.DataFrame, arms: Sequence[str], *, complete: bool = True) -> None:
        """From one row per (user_id, arm, day); see ``reports.analysis.analyze.analyze``.

        A part of a larger table is not ``complete``: arms may be missing; it comes sorted.
        """
        # Sums of floats depend on their order: the same rows give the same bytes in any order.
        self._frame: pl.DataFrame | None = frame
        self.arms = list(arms)
        if complete:
            self._frame = frame.sort("arm", "user_id", "day")
            _check_arms(frame["arm"], arms)
        self.calendar = frame.filter(pl.col("day") >= 0)["day"].unique().sort().to_list() or [0]
        self.has_pre = bool((frame["day"] < 0).any())

    @classmethod
    def of_users(
        cls,
        users: pl.DataFrame,
        arms: Sequence[str],
        *,
        before: pl.DataFrame | None = None,
        complete: bool = True,
    ) -> UserTable:
        """From one row per user, sorted by (arm, user_id).

        Args:
            users: ``user_id``, ``arm``, outcomes, ``segment_*``.
            arms: Control first.
            before: The same users in the same order, with columns from before the experiment.
            complete: Whether all arms must be there.
        """
        table = cls.__new__(cls)
        table._frame = None
        table.arms = list(arms)
        if complete:
            _check_arms(users["arm"], arms)
        table.calendar = [0]
        table.has_pre = before is not None
        segments = [c for c in users.columns if c.startswith(SEGMENT)]
        table.__dict__["during"] = users.drop(segments)
        table.__dict__["segments"] = users.select(*_KEYS, *segments)
        table.__dict__["before"] = users.select(_KEYS) if before is None else before
        return table

    def per_user(self) -> dict[str, pl.DataFrame]:
        """What ``of_sums`` needs, in one order: outcomes, the time before and segments."""
        return {"during": self.during, "before": self.before, "segments": self.segments}

    @classmethod
    def of_sums(
        cls,
        frames: Mapping[str, pl.DataFrame],
        rows: pl.DataFrame | None,
        arms: Sequence[str],
        *,
        calendar: Sequence[int],
        has_pre: bool,
    ) -> UserTable:
        """A part of a larger table, as ``per_user`` gave it.

        Args:
            frames: Of ``per_user``.
            rows: One per (user_id, arm, day), sorted by (arm, user_id, day); None without days.
            arms: Control first; some may be missing.
            calendar: Of the whole experiment.
            has_pre: Whether anything is known from before it.
        """
        table = cls.__new__(cls)
        table._frame = rows
        table.arms = list(arms)
        table.calendar, table.has_pre = list(calendar), has_pre
        table.__dict__.update(frames)
        return table

    @property
    def days(self) -> int:
        """Number of experiment days; 1 for a table without days."""
        return len(self.calendar)

    @property
    def has_days(self) -> bool:
        """Whether outcomes are known day by day."""
        return self._frame is not None

    @property
    def known(self) -> list[str]:
        """Columns from before the experiment."""
        skip = {*_KEYS, AT_RISK}
        return [c for c in self.before.columns if c not in skip] if self.has_pre else []

    @property
    def segment_names(self) -> list[str]:
        """Segments, without ``segment_``."""
        return [c.removeprefix(SEGMENT) for c in self.segments.columns if c.startswith(SEGMENT)]

    def size(self, arm: str) -> int:
        """Users of one arm."""
        return len(self.rows(arm))

    def parts(self) -> Iterator[UserTable]:
        """Itself."""
        yield self

    @functools.cached_property
    def columns(self) -> list[str]:
        """Outcome columns."""
        if self._frame is None:
            return [c for c in self.during.columns if c not in _KEYS]
        skip = {*_KEYS, "day"}
        return [c for c in self._frame.columns if c not in skip and not c.startswith(SEGMENT)]

    @functools.cached_property
    def during(self) -> pl.DataFrame:
        """One row per (arm, user): sums over experiment days."""
        return self._sums(pl.col("day") >= 0)

    @functools.cached_property
    def before(self) -> pl.DataFrame:
        """The same users in the same order: what is known from before the experiment."""
        return self._sums(pl.col("day") < 0)

    def add_before(self, columns: pl.DataFrame) -> None:
        """More columns from before the experiment, by (arm, user_id)."""
        known = self.before if self.has_pre else self.during.select(_KEYS)
        self.__dict__["before"] = known.join(
            columns, on=list(_KEYS), how="left", maintain_order="left"
        )
        self.has_pre = True

    def until(self, day: int, only: bool) -> pl.DataFrame:
        """Sums of one experiment day, or of all up to and including it."""
        wanted = pl.col("day") == day if only else (pl.col("day") >= 0) & (pl.col("day") <= day)
        return self._sums(wanted)

    def _sums(self, wanted: pl.Expr) -> pl.DataFrame:
        assert self._frame is not None
        values = [
            pl.when(wanted).then(pl.col(c)).otherwise(0.0).sum().alias(c) for c in self.columns
        ]
        return self._frame.group_by(_KEYS).agg(values).sort(_KEYS)

    @functools.cached_property
    def segments(self) -> pl.DataFrame:
        """One row per (arm, user) in the same order: the segment columns."""
        assert self._frame is not None
        names = [c for c in self._frame.columns if c.startswith(SEGMENT)]
        picked = [pl.col(name).first() for name in names]
        return self._frame.group_by(_KEYS).agg(picked).sort(_KEYS)

    def first_days(self) -> pl.DataFrame:
        """``arm``, ``day`` and ``users``: how many came on each experiment day, by arm."""
        assert self._frame is not None
        there = pl.col("day") >= 0
        if AT_RISK in self._frame.columns:
            there &= pl.col(AT_RISK) > 0
        first = self._frame.filter(there).group_by(_KEYS).agg(pl.col("day").min())
        return first.group_by("arm", "day").len("users")

    def repeated_days(self) -> int:
        """Rows beyond the first of their user, arm and day."""
        if self._frame is None:
            return self.during.height - self.during.select(_KEYS).n_unique()
        days = self._frame.select(*_KEYS, "day")
        return days.height - days.n_unique()

    def rows(self, arm: str) -> Rows:
        """Positions of one arm's users."""
        if arm not in self._positions:
            self._positions[arm] = np.flatnonzero((self.during["arm"] == arm).to_numpy())
        return self._positions[arm]

    @functools.cached_property
    def _positions(self) -> dict[str, Rows]:
        return {}

    def strata(self, names: Sequence[str]) -> tuple[NDArray[np.intp], list[tuple[str, ...]]]:
        """Number of each user's stratum, and the strata: their values of these segments."""
        labels = self.segments.select([pl.col(SEGMENT + name) for name in names])
        numbers = labels.select(pl.struct(pl.all()).rank("dense")).to_series() - 1
        places = numbers.arg_unique()
        order = places.gather(numbers.gather(places).arg_sort())
        return numbers.to_numpy(), labels[order].rows()

    def levels(self, segment: str) -> pl.Series:
        """Of one segment, per user."""
        return self.segments[SEGMENT + segment].cast(pl.String).fill_null("unknown")


def _check_arms(column: pl.Series, arms: Sequence[str]) -> None:
    present = set(column.unique().to_list())
    for arm in arms:
        if arm not in present:
            raise StatisticsError(f"arm '{arm}' has no users.", f"Arms: {sorted(present)}.")


def matrix(sums: pl.DataFrame, chosen: Metric, days: int) -> Float:
    """float64[users, 2]: numerator and denominator of one metric per user.

    A mean is per user-day: of all days, or, where users are at risk on days of their own, of those.
    """
    numerator = _total(sums, chosen.numerator) * chosen.scale
    if chosen.denominator:
        return np.stack([numerator, _total(sums, chosen.denominator)], axis=1)
    if AT_RISK in sums.columns:
        return np.stack([numerator, _total(sums, (AT_RISK,))], axis=1)
    return np.stack([numerator / days, np.ones(len(numerator))], axis=1)


def covariates(
    before: pl.DataFrame, chosen: Metric, others: Sequence[str], ratio: float | None = None
) -> Float:
    """float64[users, k]: the metric's own columns, and others, from before the start.

    A sum is taken only if all its columns are there. With the ``ratio`` of all users before the
    start, a ratio metric's own column is one: its numerator less the ratio times its denominator.
    """
    columns = [
        _total(before, own) * scale
        for own, scale in ((chosen.numerator, chosen.scale), (chosen.denominator, 1.0))
        if own and set(own) <= set(before.columns)
    ]
    if ratio is not None and chosen.denominator and len(columns) == 2:
        columns = [columns[0] - ratio * columns[1]]
    columns += [before[name].to_numpy().astype(np.float64) for name in others if name in before]
    return np.stack(columns, axis=1) if columns else np.zeros((before.height, 0))


def _total(sums: pl.DataFrame, columns: Sequence[str]) -> Float:
    total = sums.select(pl.sum_horizontal(columns)).to_series().to_numpy()
    return np.asarray(total.astype(np.float64))
