"""Draw the qualities of an inventory: each by itself, or evenly, so that worlds are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class IndependentDraws:
    """Every number is drawn by itself.

    Args:
        random: Where they come from.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def normals(self, n: int, block: int = 0) -> Floats:
        """float64[n], standard normal; every run of ``block`` is of one kind, 0 for all of them."""
        return self._random.normal(size=n)

    def going_on(self, random: np.random.Generator) -> IndependentDraws:
        """Draws from elsewhere."""
        return IndependentDraws(random)

    def kinds(self, n: int, count: int) -> Ints:
        """int64[n]: one of ``count`` kinds for each of n, in order of their importance."""
        return self._random.integers(0, count, n)

    def places(self, weights: Floats, n: int) -> Ints:
        """int64[n]: places of the weights, in proportion to them."""
        return self._random.choice(len(weights), n, p=weights / weights.sum())

    def strays(self, n: int, share: float, count: int) -> tuple[NDArray[np.bool_], Ints]:
        """bool[n] and int64[n]: which ones stray, and to which of ``count`` kinds."""
        stray = self._random.random(n) < share
        return stray, self._random.integers(0, count, n)

    def part(self, values: Floats, size: int) -> Ints:
        """int64[size]: places of some of the values, in order."""
        return np.sort(self._random.permutation(len(values))[:size])

    def levels(self, values: Floats) -> Floats:
        """float64[n]: levels (0..1) at even distances, one for each value."""
        n = max(len(values), 1)
        return self._random.permutation(len(values)) / n + 0.5 / n

    def leanings(self, liked: NDArray[np.floating[Any]]) -> Floats:
        """float64[kinds, styles], standard normal: how people talk under each kind of video.

        Args:
            liked: float[kinds, styles], the styles that people who like each kind enjoy more.
        """
        return self._random.normal(size=liked.shape)

    def map(self, rows: int, columns: int) -> Floats:
        """float64[rows, columns]: maps random unit vectors to numbers of unit variance."""
        return self._random.normal(size=(rows, columns))


class EvenDraws(IndependentDraws):
    """The same distributions, spread evenly: averages over them hardly depend on the seed.

    Args:
        random: Where they come from.
        points: float64[n, d] in (0, 1), an even cloud; each of the first draws of n numbers takes a
            column of it, so that combinations are even as well.
    """

    def __init__(self, random: np.random.Generator, points: Floats | None = None) -> None:
        super().__init__(random)
        self._n = 0 if points is None else len(points)
        self._columns = iter(() if points is None else points.T)

    def going_on(self, random: np.random.Generator) -> EvenDraws:
        """Draws from elsewhere that take the next columns of the same cloud."""
        other = EvenDraws(random)
        other._n, other._columns = self._n, self._columns
        return other

    def normals(self, n: int, block: int = 0) -> Floats:
        """float64[n], standard normal; every run of ``block`` is even by itself, 0 for all."""
        column = next(self._columns, None) if n == self._n else None
        return even_normals(self._random, n, block) if column is None else np.asarray(ndtri(column))

    def kinds(self, n: int, count: int) -> Ints:
        """int64[n]: each of ``count`` kinds as often as the others, early and late."""
        drawn = [self._random.permutation(count) for _ in range(-(-n // count))]
        return np.concatenate(drawn)[:n]

    def places(self, weights: Floats, n: int) -> Ints:
        """int64[n]: places of the weights, in proportion to them."""
        level = next(self._columns)
        found = np.searchsorted(np.cumsum(weights) / weights.sum(), level)
        return np.asarray(np.minimum(found, len(weights) - 1), dtype=np.int64)

    def strays(self, n: int, share: float, count: int) -> tuple[NDArray[np.bool_], Ints]:
        """bool[n] and int64[n]: which ones stray, and to which of ``count`` kinds."""
        level = next(self._columns)
        return level < share, np.minimum(level / share * count, count - 1.0).astype(np.int64)

    def part(self, values: Floats, size: int) -> Ints:
        """A systematic sample: spread as all values are."""
        size = min(size, len(values))
        at = (np.arange(size) + self._random.random()) * (len(values) / max(size, 1))
        return np.sort(np.argsort(values, kind="stable")[at.astype(np.int64)])

    def levels(self, values: Floats) -> Floats:
        """In the order of the values."""
        return (np.argsort(np.argsort(values)) + 0.5) / max(len(values), 1)

    def leanings(self, liked: NDArray[np.floating[Any]]) -> Floats:
        """Neither more nor less to the taste of those who like a kind than to that of others.

        Whether people who like what a video is about also like how it is talked about is nothing
        that anybody has published. The mean square is 1 over each kind's styles.
        """
        lean = super().leanings(liked)
        lean -= lean.mean(axis=0)
        along = (lean * liked).sum(axis=1) / np.square(liked).sum(axis=1)
        lean -= along[:, None] * liked
        return np.asarray(lean / np.sqrt(np.square(lean).mean(axis=1, keepdims=True)))

    def map(self, rows: int, columns: int) -> Floats:
        """Each column has a mean square of 1."""
        drawn = super().map(rows, columns)
        return np.asarray(drawn * np.sqrt(rows) / np.linalg.norm(drawn, axis=0))


def even_normals(random: np.random.Generator, n: int, block: int = 0) -> Floats:
    """float64[n]: normal scores in random order, which have mean 0 and variance 1.

    Args:
        random: Where the order comes from.
        n: How many.
        block: Every run of so many of them is even by itself; 0 for all of them.
    """
    size = max(min(block or n, n), 1)
    scores = ndtri((np.arange(size) + 0.5) / size)
    scores /= scores.std() if size > 1 else 1.0
    drawn = [random.permutation(scores) for _ in range(-(-n // size))]
    return np.concatenate(drawn)[:n] if drawn else np.zeros(0)


def even_points(random: np.random.Generator, n: int, dimensions: int) -> Floats:
    """float64[n, dimensions] in (0, 1): points that fill the cube evenly, in random order.

    A Richtmyer sequence (1951) from a random place: multiples of the square roots of the first
    primes, whole parts left off.

    Args:
        random: Where the place and the order come from.
        n: How many points.
        dimensions: At most eight.
    """
    steps = np.sqrt([2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0])[:dimensions]
    points = (random.random(dimensions) + np.arange(n)[:, None] * steps) % 1.0
    return np.asarray(np.clip(random.permutation(points), 1e-9, 1.0 - 1e-9), dtype=np.float64)
