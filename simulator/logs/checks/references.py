"""Find rows that are there twice, and identifiers that no table knows; in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.logs.dataset import Dataset
from simulator.logs.scanning import batches
from simulator.progress import Meter

ROW_KEY = ["user_id", "video_id", "time_ms"]


@dataclass
class FoundRows:
    """How many rows, and the first of them."""

    count: int = 0
    first: int = 0

    def note(self, bad: NDArray[np.bool_], start: int) -> None:
        """Bad rows of a batch that begins with row ``start``."""
        if bad.any():
            if not self.count:
                self.first = start + int(np.argmax(bad))
            self.count += int(bad.sum())


def repeated_identifiers(
    dataset: Dataset, table: str, key: str, meter: Meter | None = None
) -> FoundRows:
    """Rows whose identifier an earlier row has; 8 bytes of memory per row."""
    ids = [rows[key].to_numpy() for _, rows in batches(dataset, table, [key], meter)]
    found = FoundRows()
    if ids:
        values = np.concatenate(ids)
        order = np.argsort(values, kind="stable")
        again = np.zeros(len(values), dtype=np.bool_)
        again[order[1:]] = values[order[1:]] == values[order[:-1]]
        found.note(again, 0)
    return found


def repeated_impressions(dataset: Dataset, meter: Meter | None = None) -> FoundRows:
    """Impressions of the same person, video and time as an earlier one.

    In a log sorted by person and time, which imports and runs write, equal rows lie within one
    page, so a batch and the page before it are enough. Any other log is held in memory.
    """
    found = FoundRows()
    carried: pl.DataFrame | None = None
    last = (-(2**63), -(2**63))
    for first, rows in batches(dataset, "impressions", ROW_KEY, meter):
        user, time = rows["user_id"].to_numpy(), rows["time_ms"].to_numpy()
        pair = (int(user[0]), int(time[0]))
        before = (user[1:] < user[:-1]) | ((user[1:] == user[:-1]) & (time[1:] < time[:-1]))
        if pair < last or before.any():
            return _repeated_unsorted(dataset)
        last = (int(user[-1]), int(time[-1]))
        held = 0 if carried is None else carried.height
        both = rows if carried is None else pl.concat([carried, rows])
        found.note(~_first_of_its_kind(both)[held:], first)
        page = (both["user_id"] == last[0]) & (both["time_ms"] == last[1])
        carried = both.filter(page)
    return found


def _first_of_its_kind(rows: pl.DataFrame) -> NDArray[np.bool_]:
    return rows.select(pl.struct(ROW_KEY).is_first_distinct()).to_series().to_numpy()


def _repeated_unsorted(dataset: Dataset) -> FoundRows:
    found = FoundRows()
    rows = pl.concat([part for _, part in batches(dataset, "impressions", ROW_KEY)])
    found.note(~_first_of_its_kind(rows), 0)
    return found


def unknown_identifiers(
    dataset: Dataset, table: str, columns: dict[str, str], meter: Meter | None = None
) -> dict[str, FoundRows]:
    """Rows of a table whose identifiers the tables that they refer to do not have.

    Args:
        dataset: The log.
        table: Whose rows.
        columns: Column to the table that knows its identifiers.
        meter: Told the cells that have been dealt with.
    """
    known = {
        column: np.unique(dataset.scan(target).select(column).collect()[column].to_numpy())
        for column, target in columns.items()
    }
    found = {column: FoundRows() for column in columns}
    for first, rows in batches(dataset, table, list(columns), meter):
        for column, ids in known.items():
            values = rows[column].to_numpy()
            at = np.clip(np.searchsorted(ids, values), 0, max(len(ids) - 1, 0))
            bad = ids[at] != values if len(ids) else np.ones(len(values), dtype=np.bool_)
            found[column].note(bad, first)
    return found
