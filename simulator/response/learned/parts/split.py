"""Split a log by time into training, calibration and test rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.requests import Int64
from simulator.response.learned.features import Bool

TRAIN, CALIBRATE, TEST = 0, 1, 2
_TRAIN_SHARE, _CALIBRATE_SHARE = 0.85, 0.925
_EVALUATION_ROWS = 20_000


def split_by_time(user: NDArray[np.int32]) -> NDArray[np.int8]:
    """int8[N]: each user's last 7.5 % for the test, the 7.5 % before that for calibration.

    ``user`` is sorted; inside a user rows are in time order.
    """
    first = np.searchsorted(user, user, side="left")
    count = np.searchsorted(user, user, side="right") - first
    share = (np.arange(len(user)) - first + 0.5) / count
    return np.where(share < _TRAIN_SHARE, TRAIN, np.where(share < _CALIBRATE_SHARE, 1, 2)).astype(
        np.int8
    )


def some_rows(mask: Bool) -> Int64:
    """int64: at most 20,000 rows of a mask, evenly spread over people."""
    rows = np.flatnonzero(mask)
    return rows[:: -(-len(rows) // _EVALUATION_ROWS) or 1].astype(np.int64)
