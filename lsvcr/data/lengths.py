"""Order users so that neighbours have similar lengths of both histories."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEP = 8


def by_lengths(
    own: NDArray[np.integer], other: NDArray[np.integer], tie: NDArray[np.floating] | None = None
) -> NDArray[np.intp]:
    """Sort by two lengths at once, so that batches of neighbours need little padding.

    Own lengths in steps of eight; the other length rises in one step and falls in the next.
    Sorting by one length alone leaves the other history mostly padding.

    Args:
        own: int[n], lengths of the history that is pooled.
        other: int[n], lengths of the other one.
        tie: float[n], order among equals; None keeps theirs.

    Returns:
        int[n], a permutation.
    """
    step = own // _STEP
    snake = np.where(step % 2 == 0, other, -other)
    return np.lexsort((snake, step) if tie is None else (tie, snake, step))
