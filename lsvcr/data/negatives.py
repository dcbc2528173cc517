"""Choose the negatives of an engaged comment: other comments of its section."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsvcr.data.examples import Batch
from lsvcr.data.inventory import Inventory

SECTION_SIZE = 64
"""Most liked comments of a video that a person is assumed to have seen."""

Int64 = NDArray[np.int64]


def without(candidates: Int64, known: Int64) -> Int64:
    """Candidates int64[n, m], -1 for those among the same row of ``known``, int64[n, k]."""
    found = (candidates[:, :, None] == known[:, None, :]).any(axis=2)
    return np.where(found, -1, candidates)


def section_negatives(inventory: Inventory, batch: Batch, *, seen: bool) -> Int64:
    """Comments int64[n, m] of each real moment's section that the person left alone, -1 padded.

    Args:
        inventory: Of the log.
        batch: Of the comment task.
        seen: Those that were seen and skipped, instead of the most liked that were written.
    """
    real = batch.real
    if seen:
        assert batch.target_skipped is not None, "histories(..., skipped=True)"
        others = batch.target_skipped[real]
    else:
        others = inventory.section(batch.target[real], batch.target_ms[real], SECTION_SIZE)
    return without(others, batch.target_engaged[real])
