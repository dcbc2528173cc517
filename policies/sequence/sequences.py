"""Cut event sequences per user into windows and batch them by length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


class Sequences(NamedTuple):
    """Users' item sequences, one after the other.

    Attributes:
        items: int64[n], item indices, oldest first within a user.
        starts: int64[U + 1]; user u has ``items[starts[u] : starts[u + 1]]``.
        users: int64[U], the user index of each sequence.
    """

    items: Int64
    starts: Int64
    users: Int64

    @classmethod
    def of(cls, user: NDArray[np.integer], item: NDArray[np.integer]) -> Sequences:
        """From events sorted by user, then time; unknown items (-1) are left out."""
        known = item >= 0
        owner = user[known].astype(np.int64)
        users, first = np.unique(owner, return_index=True)
        starts = np.append(first, len(owner)).astype(np.int64)
        return cls(item[known].astype(np.int64), starts, users)

    def lengths(self) -> Int64:
        """int64[U]."""
        return np.diff(self.starts)

    def without_last(self, count: NDArray[np.integer]) -> Sequences:
        """Without the last ``count[u]`` items of each user; users left empty are kept."""
        lengths = self.lengths()
        kept = np.maximum(lengths - count, 0)
        position = np.arange(len(self.items)) - np.repeat(self.starts[:-1], lengths)
        items = self.items[position < np.repeat(kept, lengths)]
        return Sequences(items, np.concatenate([[0], np.cumsum(kept)]), self.users)

    def last(self, length: int) -> Int64:
        """int64[U, length]: the last items of each user, left-aligned, padded with -1."""
        lengths = np.minimum(self.lengths(), length)
        column = np.arange(length)
        index = (self.starts[1:] - lengths)[:, None] + column
        real = column < lengths[:, None]
        if len(self.items) == 0:
            return np.full(index.shape, -1, dtype=np.int64)
        return np.where(real, self.items[np.minimum(index, len(self.items) - 1)], -1)


def window_batches(
    sequences: Sequences, length: int, tokens: int, random: np.random.Generator
) -> Iterator[Int64]:
    """Windows that together hold every item once, in random batches of similar length.

    Window borders fall at random, so that over epochs every item is seen with much and with
    little before it.

    Args:
        sequences: What to cut.
        length: Longest window.
        tokens: About how many items a batch holds.
        random: Decides borders and order.

    Yields:
        int64[B, L] with L <= length, left-aligned, padded with -1; the first column of a window
        that continues an earlier one repeats that one's last item, as its context.
    """
    lengths = sequences.lengths()
    offset = random.integers(0, length, len(lengths))
    # A sequence that fits is never cut.
    offset = np.where(lengths <= length, 0, offset)
    starts, sizes = [], []
    for cut in range(int((lengths.max(initial=0) + length) // length) + 1):
        low = np.where(offset > 0, (cut - 1) * length + offset, cut * length)
        low_clipped = np.maximum(low, 0)
        high = np.minimum(low + length, lengths)
        some = high > low_clipped
        # One item of context for windows that start inside a sequence.
        context = (low_clipped > 0).astype(np.int64)
        starts.append((sequences.starts[:-1] + low_clipped - context)[some])
        sizes.append((high - low_clipped + context)[some])
    start, size = np.concatenate(starts), np.concatenate(sizes)
    if len(start) == 0:
        return
    order = np.lexsort((random.random(len(size)), size))
    start, size = start[order], size[order]
    batches = []
    at = 0
    while at < len(size):
        # Sorted ascending: grow the batch until padding to its longest would exceed the budget.
        longest = np.maximum.accumulate(size[at : at + tokens])
        count = int(np.searchsorted(longest * np.arange(1, len(longest) + 1), tokens, "right"))
        batches.append((at, at + max(count, 1)))
        at += max(count, 1)
    for number in random.permutation(len(batches)):
        low_at, high_at = batches[number]
        width = int(size[high_at - 1])
        column = np.arange(width)
        index = start[low_at:high_at, None] + column
        real = column < size[low_at:high_at, None]
        yield np.where(real, sequences.items[np.minimum(index, len(sequences.items) - 1)], -1)
