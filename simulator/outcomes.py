"""Add up what each person did on each day: the table that an experiment is analysed from."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.behaviours import OUTCOMES

INDEX = {name: number for number, name in enumerate(OUTCOMES)}


class UserDayOutcomes:
    """Sums per user and calendar day (UTC+8) of one group.

    ``active`` is 1 on days with at least one page. ``returned`` is 1 on active days after which
    the next page is dispatched on the following day; it is known even for the last simulated day
    because the time of the next page is drawn when a page ends.

    Args:
        n_users: Rows of the group.
        first_day: First calendar day that can hold anything.
        days: Number of calendar days.
    """

    def __init__(self, n_users: int, first_day: int, days: int) -> None:
        self.first_day = first_day
        self.values: NDArray[np.float64] = np.zeros((n_users, days, len(OUTCOMES)))

    @property
    def days(self) -> int:
        """Number of calendar days held."""
        return int(self.values.shape[1])

    def extend(self, days: int) -> None:
        """Make room for at least this many calendar days."""
        if days > self.days:
            wider = np.zeros((len(self.values), days, len(OUTCOMES)))
            wider[:, : self.days] = self.values
            self.values = wider

    def add(
        self, rows: NDArray[np.int64], day: NDArray[np.int64], sums: dict[str, NDArray[np.generic]]
    ) -> None:
        """Add to the (row, calendar day) cells; rows must not repeat within a call.

        Raises:
            IndexError: a day outside those held.
        """
        place = day - self.first_day
        if len(place) and not 0 <= int(place.min()) <= int(place.max()) < self.days:
            raise IndexError(f"day outside {self.first_day}..{self.first_day + self.days - 1}")
        block = np.zeros((len(rows), len(OUTCOMES)))
        for name, values in sums.items():
            block[:, INDEX[name]] = values
        cell = rows * self.days + place
        flat = self.values.reshape(-1, len(OUTCOMES))
        flat[cell] = flat.take(cell, axis=0) + block

    def assign(
        self, rows: NDArray[np.int64], day: NDArray[np.int64], name: str, value: NDArray[np.generic]
    ) -> None:
        """Set one column of the (row, calendar day) cells."""
        self.values[rows, day - self.first_day, INDEX[name]] = value

    def put(
        self, rows: NDArray[np.int64], other: UserDayOutcomes, other_rows: NDArray[np.int64]
    ) -> None:
        """Replace these rows by rows of another table.

        Raises:
            ValueError: the tables hold different days.
        """
        if (self.first_day, self.days) != (other.first_day, other.days):
            raise ValueError(
                f"outcomes of {self.days} days from day {self.first_day} cannot take in "
                f"{other.days} days from day {other.first_day}"
            )
        self.values[rows] = other.values[other_rows]

    def to_frame(self, user_ids: NDArray[np.int64]) -> pl.DataFrame:
        """One row per (user_id, day), silent days included; ``day`` counts from the epoch."""
        users, days, _ = self.values.shape
        data: dict[str, NDArray[np.generic]] = {
            "user_id": np.repeat(np.asarray(user_ids, dtype=np.int64), days),
            "day": np.tile(np.arange(self.first_day, self.first_day + days, dtype=np.int32), users),
        }
        flat = self.values.reshape(users * days, len(OUTCOMES))
        data.update({name: flat[:, number] for number, name in enumerate(OUTCOMES)})
        return pl.DataFrame(data)

    def copy(self) -> UserDayOutcomes:
        """An independent copy."""
        other = UserDayOutcomes(0, self.first_day, 0)
        other.values = self.values.copy()
        return other
