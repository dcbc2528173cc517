"""Cache encodings of users that have not changed since they were last encoded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.requests import Int32, Int64


class RowCache:
    """One encoding per row of a group, valid for one version of the user's history.

    Args:
        shape: Shape of one encoding.
    """

    def __init__(self, *shape: int) -> None:
        self._shape = shape
        self.reset(0)

    def reset(self, n_rows: int) -> None:
        """Forget everything; make room for rows ``0 .. n_rows - 1``."""
        self._values: NDArray[np.float32] = np.zeros((n_rows, *self._shape), dtype=np.float32)
        self._versions: Int64 = np.full(n_rows, -1, dtype=np.int64)

    def stale(self, rows: Int32, versions: Int64) -> NDArray[np.intp]:
        """Batch positions to encode anew: one per distinct row whose version changed.

        Args:
            rows: int32[B], rows of the group; may repeat, then with the same version.
            versions: int64[B], of the history that the encoding depends on.
        """
        self.make_room(rows)
        changed = np.flatnonzero(self._versions[rows] != versions)
        if len(changed) == 0:
            return changed
        _, first = np.unique(rows[changed], return_index=True)
        return np.asarray(changed[np.sort(first)])

    def put(self, rows: Int32, versions: Int64, values: NDArray[np.float32]) -> None:
        """Store encodings float32[n, *shape] of distinct rows.

        Of encodings with several parts, float32[n, k, ...] with k below the full number stores
        the first k; the others are never to be asked for.
        """
        self._values[rows, : values.shape[1]] = values
        self._versions[rows] = versions

    def put_at(
        self,
        rows: Int32,
        versions: Int64,
        places: NDArray[np.integer],
        values: NDArray[np.float32],
    ) -> None:
        """Store parts float32[n, k, ...] at places int[n, k] of distinct rows; others stay."""
        self._values[rows[:, None], places] = values
        self._versions[rows] = versions

    def version_of(self, rows: Int32) -> Int64:
        """int64[B]: the versions that are stored, -1 for none."""
        return self._versions[rows]

    def get(self, rows: Int32, parts: int | None = None) -> NDArray[np.float32]:
        """float32[B, *shape]: the stored encodings, or the first ``parts`` parts of each."""
        return self._values[rows] if parts is None else self._values[rows, :parts]

    def make_room(self, rows: Int32) -> None:
        """For all these rows."""
        extra = int(rows.max(initial=-1)) + 1 - len(self._versions)
        if extra <= 0:
            return
        padding = np.zeros((extra, *self._shape), dtype=np.float32)
        self._values = np.concatenate([self._values, padding])
        self._versions = np.concatenate([self._versions, np.full(extra, -1, dtype=np.int64)])
