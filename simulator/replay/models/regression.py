"""Fit ridge, logistic and two-part regressions in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


class Regressor(Protocol):
    """A model of a mean."""

    def fit(self, x: Float64, y: Float64, weight: Float64) -> None:
        """Fit to float64[N, F], float64[N] and sample weights float64[N]."""

    def predict(self, x: Float64) -> Float64:
        """float64[N] for float64[N, F]."""


@dataclass
class Ridge:
    """Weighted least squares with a penalty on standardised slopes, none on the intercept.

    Attributes:
        penalty: In units of rows.
    """

    penalty: float = 1.0

    def fit(self, x: Float64, y: Float64, weight: Float64) -> None:
        """Closed form."""
        self._centre, self._spread = _standard(x, weight)
        z = (x - self._centre) / self._spread
        share = weight / weight.mean()
        self._level = float((share * y).mean())
        gram = z.T @ (share[:, None] * z) + self.penalty * np.eye(x.shape[1])
        self._slope = np.linalg.solve(gram, z.T @ (share * (y - self._level)))

    def predict(self, x: Float64) -> Float64:
        """The linear predictor."""
        return np.asarray(self._level + ((x - self._centre) / self._spread) @ self._slope)


@dataclass
class Logistic:
    """Weighted logistic regression by iteratively reweighted least squares.

    Attributes:
        penalty: On standardised slopes, in units of rows.
        steps: Newton steps at most.
    """

    penalty: float = 1.0
    steps: int = 25

    def fit(self, x: Float64, y: Float64, weight: Float64) -> None:
        """Newton's method from the base rate."""
        self._centre, self._spread = _standard(x, weight)
        z = np.column_stack([np.ones(len(x)), (x - self._centre) / self._spread])
        share = weight / weight.mean()
        rate = float(np.clip((share * y).mean(), 1e-6, 1 - 1e-6))
        beta = np.zeros(z.shape[1])
        beta[0] = np.log(rate / (1 - rate))
        ridge = np.full(z.shape[1], self.penalty)
        ridge[0] = 1e-9
        for _ in range(self.steps):
            p = _expit(z @ beta)
            curvature = share * np.maximum(p * (1 - p), 1e-9)
            gradient = z.T @ (share * (y - p)) - ridge * beta
            gradient[0] += ridge[0] * beta[0]
            step = np.linalg.solve(z.T @ (curvature[:, None] * z) + np.diag(ridge), gradient)
            beta = beta + np.clip(step, -4.0, 4.0)
            if np.abs(step).max() < 1e-8:
                break
        self._beta = beta

    def predict(self, x: Float64) -> Float64:
        """Probabilities."""
        return _expit(self._beta[0] + ((x - self._centre) / self._spread) @ self._beta[1:])


class TwoPart:
    """Mean of an outcome with many zeros: chance of any times mean of what there is, winsorised.

    The amount above ``cap`` is not modelled: as a reward model that costs variance only, because
    the doubly robust correction is made with the uncapped outcome.

    Args:
        any_: Model of the chance.
        amount: Model of the amount, given any.
        cap_quantile: Quantile of the positive amounts that caps them.
    """

    def __init__(
        self, any_: Regressor | None = None, amount: Regressor | None = None,
        cap_quantile: float = 0.99,
    ) -> None:  # fmt: skip
        self._any, self._amount = any_ or Logistic(), amount or Ridge()
        self._quantile = cap_quantile

    def fit(self, x: Float64, y: Float64, weight: Float64) -> None:
        """Fit both parts."""
        some = y > 0
        self._nothing = not some.any()
        if self._nothing:
            return
        self._any.fit(x, some.astype(np.float64), weight)
        self._cap = float(np.quantile(y[some], self._quantile))
        self._amount.fit(x[some], np.minimum(y[some], self._cap), weight[some])

    def predict(self, x: Float64) -> Float64:
        """The product of the parts."""
        if self._nothing:
            return np.zeros(len(x))
        amount = np.clip(self._amount.predict(x), 0.0, self._cap)
        return np.asarray(self._any.predict(x) * amount)


def for_outcome(y: Float64) -> Regressor:
    """The built-in model for an outcome: logistic for 0/1, two-part for amounts with many zeros."""
    if np.isin(y, (0.0, 1.0)).all():
        return Logistic()
    if (y >= 0).all() and (y == 0).mean() > 0.2:
        return TwoPart()
    return Ridge()


def _expit(x: Float64) -> Float64:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -35.0, 35.0))))


def _standard(x: Float64, weight: Float64) -> tuple[Float64, Float64]:
    centre = np.average(x, axis=0, weights=weight)
    spread = np.sqrt(np.average((x - centre) ** 2, axis=0, weights=weight))
    return centre, np.where(spread > 1e-12, spread, 1.0)
