"""Encode a group's histories; of a history that has grown, only what is new."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from lsvcr.model.layers import HistoryEncoder
from lsvcr.serving.deployed import Float32
from lsvcr.task import MAX_LENGTH
from policies.sequence.cache import RowCache
from policies.sequence.lengths import length_blocks
from simulator.devices import as_array, on_device
from simulator.requests import Int32, Int64

_MOST_NEW = 6
_ROWS = 256

Tokens = Callable[[NDArray[np.intp], int], Float32]
"""Tokens float32[n, length, dim] of some positions of a batch."""


class EncodedHistories:
    """States of one history of every row of a group.

    State i has seen the first i events, and nothing that comes later changes it: as long as no
    event has dropped out at the front, the states of a longer history begin with those of the
    shorter one. The outputs of the layers before the last are kept for that.

    Args:
        encoder: Encodes.
        dim: Its width.
        n_rows: Rows of the group; more are added when they come.
    """

    def __init__(self, encoder: HistoryEncoder, dim: int, n_rows: int) -> None:
        self._encoder = encoder
        self._device = encoder.start.device
        self._by_layer = [RowCache(MAX_LENGTH + 1, dim) for _ in encoder.layers]
        for cache in self._by_layer:
            cache.reset(n_rows)

    def update(self, rows: Int32, versions: Int64, tokens: Tokens) -> None:
        """Encode what has changed.

        Args:
            rows: int32[B], distinct rows of the group.
            versions: int64[B], events ever appended to each history.
            tokens: Of positions of this batch.
        """
        stale = self._by_layer[-1].stale(rows, versions)
        if len(stale) == 0:
            return
        for cache in self._by_layer[:-1]:
            cache.make_room(rows)
        before, now = self._by_layer[-1].version_of(rows[stale]), versions[stale]
        new = now - before
        grown = (before >= 0) & (now <= MAX_LENGTH) & (new > 0) & (new <= _MOST_NEW)
        with torch.inference_mode():
            whole = stale[~grown]
            lengths = np.minimum(versions[whole], MAX_LENGTH)
            for block in length_blocks(lengths):
                part = whole[block]
                self._encode(rows[part], versions[part], tokens(part, int(lengths[block].max())))
            for part in _alike(stale[grown], versions):
                count = int((versions[part] - self._by_layer[-1].version_of(rows[part])).max())
                longest = int(versions[part].max())
                self._extend(rows[part], versions[part], tokens(part, longest), count)

    def states(self, rows: Int32, longest: int) -> Float32:
        """float32[B, longest + 1, dim] of rows that are up to date; past the end, anything."""
        return self._by_layer[-1].get(rows, longest + 1)

    def _encode(self, rows: Int32, versions: Int64, tokens: Float32) -> None:
        outputs = self._encoder.by_layer(on_device(tokens, self._device))
        for cache, output in zip(self._by_layer, outputs, strict=True):
            cache.put(rows, versions, as_array(output))

    def _extend(self, rows: Int32, versions: Int64, tokens: Float32, count: int) -> None:
        # Where fewer are new, states that are known are computed again: a block costs more.
        places = np.maximum(versions[:, None] + np.arange(1 - count, 1), 0)
        kept = [cache.get(rows, tokens.shape[1] + 1) for cache in self._by_layer[:-1]]
        outputs = self._encoder.grown(
            on_device(tokens, self._device),
            [on_device(k, self._device) for k in kept],
            on_device(places, self._device),
        )
        for cache, output in zip(self._by_layer, outputs, strict=True):
            cache.put_at(rows, versions, places, as_array(output))


def _alike(positions: NDArray[np.intp], lengths: Int64) -> Iterator[NDArray[np.intp]]:
    """Positions in parts of similar lengths."""
    order = positions[np.argsort(lengths[positions], kind="stable")]
    for start in range(0, len(order), _ROWS):
        yield order[start : start + _ROWS]
