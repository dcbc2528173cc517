"""Integrate Brownian motion between boundaries at a few looks.

At information fraction t the score is B(t) = z sqrt(t), normal with mean drift x t and variance
t, with independent increments. The density of the paths that have not yet crossed is carried from
look to look by integrating it against the normal kernel of the next increment (Armitage,
McPherson & Rowe, JRSS A 132, 1969; Jennison & Turnbull, Group Sequential Methods, 2000, chapter
19), here with Gauss-Legendre panels as narrow as the narrowest kernel: errors are below 1e-9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float

# Paths further out than this many standard deviations have probability 1e-19.
_REACH = 9.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_PANEL = 1.5
_MOST_PANELS = 400


class Crossing(NamedTuple):
    """Probabilities at each look, of paths that have not crossed before.

    Attributes:
        upper: float64[K], of crossing the upper boundary.
        lower: float64[K], of crossing the lower boundary.
    """

    upper: Float
    lower: Float


class Walk:
    """The sub-density of paths that have not crossed so far."""

    def __init__(
        self, fractions: Sequence[float], drift: float = 0.0, start: tuple[float, float] = (0, 0)
    ) -> None:
        """Begin before the first look.

        Args:
            fractions: Information fractions of the looks, rising.
            drift: Mean of z at fraction 1.
            start: Fraction and score B from which the paths begin.

        Raises:
            StatisticsError: looks that do not rise, or too close to tell apart.
        """
        self._times = np.concatenate([[start[0]], np.asarray(fractions, dtype=np.float64)])
        self._drift = drift
        self._origin = start[1]
        self._look = 0
        self._at = np.array([start[1]])
        self._mass = np.array([1.0])
        steps = np.diff(self._times)
        if len(steps) == 0 or not (steps > 0.0).all():
            raise StatisticsError(
                "the looks are not in order.",
                f"Information fractions: {list(map(float, fractions))}.",
                "Each look needs more information than the one before.",
            )
        spread = np.sqrt(self._times[1:] - self._times[0])
        narrow = np.sqrt(np.minimum(steps, np.append(steps[1:], np.inf)))
        self._panels = np.ceil(2.0 * _REACH * spread / (_PANEL * narrow)).astype(int)
        if self._panels.max() > _MOST_PANELS:
            raise StatisticsError(
                "two looks are too close to tell apart.",
                f"Information fractions: {list(map(float, fractions))}.",
                "Drop looks that bring less than a thousandth of new information.",
            )

    @property
    def time(self) -> float:
        """Information fraction of the coming look."""
        return float(self._times[self._look + 1])

    def above(self, z: float) -> float:
        """Probability of reaching the coming look and being above z there."""
        mean, deviation = self._step()
        return float(self._mass @ special.ndtr((mean - z * np.sqrt(self.time)) / deviation))

    def below(self, z: float) -> float:
        """Probability of reaching the coming look and being below z there."""
        mean, deviation = self._step()
        return float(self._mass @ special.ndtr((z * np.sqrt(self.time) - mean) / deviation))

    def advance(self, lower: float, upper: float) -> None:
        """Take the coming look: keep what is between the two z values."""
        mean, deviation = self._step()
        elapsed = self.time - self._times[0]
        centre = self._origin + self._drift * elapsed
        reach = _REACH * np.sqrt(elapsed)
        low = max(lower * np.sqrt(self.time), centre - reach)
        high = min(upper * np.sqrt(self.time), centre + reach)
        if low >= high:
            self._at, self._mass = np.zeros(1), np.zeros(1)
        else:
            panels = max(1, int(np.ceil(self._panels[self._look] * (high - low) / (2.0 * reach))))
            edges = np.linspace(low, high, panels + 1)
            half = 0.5 * (edges[1] - edges[0])
            at = (edges[:-1, None] + half * (1.0 + _NODES)).ravel()
            kernel = (at[:, None] - mean) / deviation
            np.square(kernel, out=kernel)
            kernel *= -0.5
            np.exp(kernel, out=kernel)
            weights = np.tile(_WEIGHTS * (half / (deviation * np.sqrt(2.0 * np.pi))), panels)
            self._at, self._mass = at, weights * (kernel @ self._mass)
        self._look += 1

    def _step(self) -> tuple[Float, float]:
        step = self.time - float(self._times[self._look])
        return self._at + self._drift * step, float(np.sqrt(step))


def crossing_probabilities(
    fractions: Sequence[float],
    lower: Sequence[float],
    upper: Sequence[float],
    *,
    drift: float = 0.0,
    start: tuple[float, float] = (0.0, 0.0),
) -> Crossing:
    """Probabilities of first crossing each boundary at each look.

    Args:
        fractions: Information fractions of the looks, rising.
        lower: z values; -inf where there is no lower boundary.
        upper: z values; inf where there is no upper boundary.
        drift: Mean of z at fraction 1.
        start: Fraction and score B from which the paths begin.

    Raises:
        StatisticsError: looks that do not rise, or too close to tell apart.
    """
    walk = Walk(fractions, drift, start)
    ups, downs = [], []
    for index, (low, high) in enumerate(zip(lower, upper, strict=True)):
        ups.append(walk.above(high))
        downs.append(walk.below(low))
        if index + 1 < len(fractions):
            walk.advance(low, high)
    return Crossing(np.array(ups), np.array(downs))
