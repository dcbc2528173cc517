"""Resample sums over a stream of users with Poisson(1) weights.

A resample gives every user an independent Poisson(1) weight, which for many users is drawing them
with replacement, but needs neither their number nor their order (Chamandy, Muralidharan, Najmi &
Naidu, "Estimating uncertainty for massive data streams", 2012). A weight is read off 16 random
bits by a table whose mean and variance are exactly 1; its probabilities are within 1 / 65,536 of
Poisson's. Weights of a block stay in the processor's cache: no array is ever as long as the data
or as large as data times resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float, Moments, finite_table

# Of 65,536 equally likely values, so many give a weight of at least 1, 2, ..., 8.
AT_LEAST = (41427, 17317, 5262, 1245, 240, 39, 5, 1)

_BLOCK = 1024
_TILE = 128


class Replicates(NamedTuple):
    """One arm and its resamples.

    Attributes:
        observed: Moments of the data.
        users: float64[B], sum of weights per resample.
        mean: float64[B, k], weighted means.
        cross: float64[B, k, k], weighted sums of (x - mean)(x - mean)'.
    """

    observed: Moments
    users: Float
    mean: Float
    cross: Float

    def merge(self, other: Replicates) -> Replicates:
        """Of both sets of users together; they must come from different streams.

        Raises:
            StatisticsError: different numbers of resamples.
        """
        if len(self.users) != len(other.users):
            raise StatisticsError(
                "the shards have different numbers of resamples.",
                f"{len(self.users)} and {len(other.users)}.",
            )
        users = self.users + other.users
        share = np.divide(other.users, users, out=np.zeros_like(users), where=users > 0.0)
        delta = other.mean - self.mean
        extra = np.einsum("bi,bj,b->bij", delta, delta, self.users * share)
        return Replicates(
            self.observed.merge(other.observed),
            users,
            self.mean + delta * share[:, None],
            self.cross + other.cross + extra,
        )


def resample(
    chunks: Iterable[ArrayLike], *, seed: int, stream: int = 0, resamples: int = 1_000
) -> Replicates:
    """Poisson resamples of one arm.

    The result depends on the users, their order, the seed and the stream; not on the chunks.

    Args:
        chunks: float[n] or float[n, k] each, one row per user (see ``by_user``).
        seed: Of the experiment.
        stream: Different for every arm and shard.
        resamples: B.

    Raises:
        StatisticsError: no users at all, or missing values.
    """
    weights = _Weights(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(stream,))))
    sums: _Sums | None = None
    for block in _blocks(chunks):
        if sums is None:
            sums = _Sums(block, resamples)
        sums.add(block, weights)
    if sums is None:
        raise StatisticsError("there is nobody to resample.", "The arm has no users.")
    return sums.replicates()


def by_user(chunks: Iterable[tuple[ArrayLike, ArrayLike]]) -> Iterator[Float]:
    """Sums of the rows of each user, for data with several rows per user.

    Args:
        chunks: User ids int[n] that never fall, and columns float[n, k]; a user may go on in the
            next chunk.

    Yields:
        float64[users, k].

    Raises:
        StatisticsError: ids that fall.
    """
    last_id: int | None = None
    open_row: Float | None = None
    for ids, columns in chunks:
        user, x = np.asarray(ids), finite_table(columns)
        if len(user) == 0:
            continue
        if (np.diff(user) < 0).any() or (last_id is not None and user[0] < last_id):
            raise StatisticsError(
                "the rows are not sorted by user.", "A user id falls.", "Sort the table by user_id."
            )
        starts = np.flatnonzero(np.diff(user, prepend=user[0] - 1))
        sums = np.add.reduceat(x, starts, axis=0)
        if open_row is not None:
            if user[0] == last_id:
                sums[0] += open_row
            else:
                sums = np.concatenate([open_row[None], sums])
        yield sums[:-1]
        last_id, open_row = int(user[-1]), sums[-1]
    if open_row is not None:
        yield open_row[None]


class _Sums:
    """Weighted sums of ones, deviations and their products, per resample."""

    def __init__(self, first: Float, resamples: int) -> None:
        """The first block sets the origin and scale, so that float32 products lose nothing."""
        k = first.shape[1]
        self._centre = first.mean(axis=0)
        deviation = first.std(axis=0)
        self._scale = np.where(deviation > 0.0, deviation, 1.0)
        self._pairs = np.triu_indices(k)
        self._total = np.zeros((1 + k + len(self._pairs[0]), resamples))
        self._observed = np.zeros(len(self._total))
        self._users = 0

    def add(self, block: Float, weights: _Weights) -> None:
        """Weight and add at most ``_BLOCK`` users."""
        scaled = ((block - self._centre) / self._scale).T
        products = scaled[self._pairs[0]] * scaled[self._pairs[1]]
        features = np.concatenate([np.ones((1, len(block))), scaled, products])
        self._observed += features.sum(axis=1)
        self._users += len(block)
        narrow = features.astype(np.float32)
        resamples = self._total.shape[1]
        for start in range(0, resamples, _TILE):
            width = min(_TILE, resamples - start)
            drawn = weights.draw(len(block), width)
            self._total[:, start : start + width] += narrow @ drawn

    def replicates(self) -> Replicates:
        """Sums about the origin as means and cross-products about the means."""
        observed = self._centred(self._observed[:, None])
        users, mean, cross = self._centred(self._total)
        return Replicates(Moments(self._users, observed[1][0], observed[2][0]), users, mean, cross)

    def _centred(self, total: Float) -> tuple[Float, Float, Float]:
        k = len(self._centre)
        users = total[0]
        safe = np.where(users > 0.0, users, 1.0)
        mean = total[1 : 1 + k].T / safe[:, None]
        second = np.empty((len(users), k, k))
        second[:, self._pairs[0], self._pairs[1]] = total[1 + k :].T
        second[:, self._pairs[1], self._pairs[0]] = total[1 + k :].T
        cross = second - np.einsum("bi,bj,b->bij", mean, mean, users)
        scale = self._scale
        return users, self._centre + mean * scale, cross * np.outer(scale, scale)


class _Weights:
    """Draws weights into the same memory again and again; fresh memory would cost as much."""

    def __init__(self, bits: np.random.BitGenerator) -> None:
        size = _BLOCK * _TILE
        self._bits = bits
        self._count = np.empty(size, dtype=np.uint8)
        self._passed = np.empty(size, dtype=bool)
        self._weights = np.empty(size, dtype=np.float32)

    def draw(self, users: int, resamples: int) -> NDArray[np.float32]:
        """float32[users, resamples] of Poisson(1) weights, valid until the next draw."""
        size = users * resamples
        # 64 random bits are four weights.
        bits = np.asarray(self._bits.random_raw((size + 3) // 4)).view(np.uint16)[:size]
        count, passed, weights = self._count[:size], self._passed[:size], self._weights[:size]
        np.less(bits, np.uint16(AT_LEAST[0]), out=count.view(bool))
        for threshold in AT_LEAST[1:]:
            np.less(bits, np.uint16(threshold), out=passed)
            np.add(count, passed.view(np.uint8), out=count)
        np.copyto(weights, count)
        return weights.reshape(users, resamples)


def _blocks(chunks: Iterable[ArrayLike]) -> Iterator[Float]:
    """Blocks of ``_BLOCK`` users, whatever the chunks; only the last is shorter."""
    rest: Float | None = None
    for chunk in chunks:
        x = finite_table(chunk)
        if rest is not None and len(rest):
            need = _BLOCK - len(rest)
            rest, x = np.concatenate([rest, x[:need]]), x[need:]
            if len(rest) < _BLOCK:
                continue
            yield rest
        whole = len(x) - len(x) % _BLOCK
        for start in range(0, whole, _BLOCK):
            yield x[start : start + _BLOCK]
        rest = x[whole:].copy()
    if rest is not None and len(rest):
        yield rest
