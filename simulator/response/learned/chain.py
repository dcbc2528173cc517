"""Draw outcomes along a chain from calibrated network outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from simulator.response.learned.heads import (
    END,
    GAUSSIANS,
    LONG_VIEW,
    N_OUTCOMES,
    N_OUTPUTS,
    OUTCOMES,
)

Float64 = NDArray[np.float64]
Int8 = NDArray[np.int8]

NEVER = -40.0
_SLOPE_PRIOR_SD = 0.5
_SHIFT_PRIOR_SD = 1.0


def chain_mask() -> Float64:
    """float64[N_OUTPUTS, N_OUTCOMES]: which outcome may depend on which earlier outcome."""
    mask = np.zeros((N_OUTPUTS, N_OUTCOMES))
    mask[:N_OUTCOMES] = np.tril(np.ones((N_OUTCOMES, N_OUTCOMES)), k=-1)
    for index in range(len(GAUSSIANS)):
        mask[N_OUTCOMES + 2 * index, :END] = 1.0
    return mask


@dataclass(frozen=True)
class Calibration:
    """Corrections estimated on impressions the network was not trained on.

    Attributes:
        slope, shift: float64[N_OUTCOMES], Platt scaling ``slope * logit + shift``.
        fixed: float64[N_OUTCOMES], a constant logit where the log allows no estimate, else NaN.
        time_shift, time_scale: float64[len(GAUSSIANS)], correction of standardised residuals.
    """

    slope: Float64
    shift: Float64
    fixed: Float64
    time_shift: Float64
    time_scale: Float64

    @classmethod
    def none(cls, fixed: Float64) -> Calibration:
        """No correction."""
        return cls(
            slope=np.ones(N_OUTCOMES),
            shift=np.zeros(N_OUTCOMES),
            fixed=fixed,
            time_shift=np.zeros(len(GAUSSIANS)),
            time_scale=np.ones(len(GAUSSIANS)),
        )

    @classmethod
    def fit(
        cls,
        logits: Float64,
        outcomes: Int8,
        residuals: list[Float64],
        fixed: Float64,
    ) -> Calibration:
        """Fit on held-out rows.

        Args:
            logits: float64[N, N_OUTCOMES], chain terms included.
            outcomes: int8[N, N_OUTCOMES], -1 unknown.
            residuals: per time, the standardised residuals ``(score - mu) / sigma``.
            fixed: See the class.
        """
        result = cls.none(fixed)
        for head in range(N_OUTCOMES):
            known = outcomes[:, head] >= 0
            if np.isnan(fixed[head]) and known.any():
                result.slope[head], result.shift[head] = _platt(
                    logits[known, head], outcomes[known, head]
                )
        for index, residual in enumerate(residuals):
            weight = len(residual) / (len(residual) + 20.0)
            if len(residual) > 1:
                result.time_shift[index] = weight * residual.mean()
                result.time_scale[index] = np.exp(weight * np.log(max(residual.std(), 1e-3)))
        return result


def _platt(logit: Float64, label: Int8) -> tuple[float, float]:
    """Platt scaling (1999) with a Gaussian prior around the identity, for rare outcomes."""
    target = label.astype(np.float64)

    def loss(theta: Float64) -> tuple[float, Float64]:
        z = theta[0] * logit + theta[1]
        value = np.logaddexp(0.0, z) - target * z
        error = expit(z) - target
        deviation = (theta - [1.0, 0.0]) / [_SLOPE_PRIOR_SD, _SHIFT_PRIOR_SD]
        gradient = np.array([error @ logit, error.sum()])
        gradient += deviation / [_SLOPE_PRIOR_SD, _SHIFT_PRIOR_SD]
        return float(value.sum() + 0.5 * deviation @ deviation), gradient

    best = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    # A negative slope would turn the ranking round; then only the rate is trusted.
    return max(float(best[0]), 0.0), float(best[1])


@dataclass(frozen=True)
class Chain:
    """Draws outcomes in order, each given those already drawn.

    Attributes:
        weights: float64[N_OUTPUTS, N_OUTCOMES], effect of earlier outcomes (zero above the chain).
        calibration: Corrections applied to each logit.
    """

    weights: Float64
    calibration: Calibration

    def probability(self, outputs: Float64, drawn: Int8, head: int) -> Float64:
        """P(outcome ``head`` | earlier outcomes), float64[...].

        Args:
            outputs: float64[..., N_OUTPUTS].
            drawn: int8[..., N_OUTCOMES], earlier outcomes filled in.
            head: Index into `OUTCOMES`.
        """
        fixed = self.calibration.fixed[head]
        if not np.isnan(fixed):
            return np.full(outputs.shape[:-1], expit(fixed))
        logit = outputs[..., head] + self._effect(drawn, head)
        return np.asarray(
            expit(self.calibration.slope[head] * logit + self.calibration.shift[head])
        )

    def walk(
        self, outputs: Float64, uniform: Callable[[int], Float64]
    ) -> tuple[Int8, list[Float64]]:
        """Draw every outcome but the end of the session.

        Args:
            outputs: float64[..., N_OUTPUTS].
            uniform: Uniform draws of shape [...] for the outcome with this index.

        Returns:
            (int8[..., N_OUTCOMES] with the end left at 0, the probabilities used per outcome).
        """
        drawn = np.zeros((*outputs.shape[:-1], N_OUTCOMES), dtype=np.int8)
        used = []
        for head in range(END):
            probability = self.probability(outputs, drawn, head)
            drawn[..., head] = uniform(head) < probability
            used.append(probability)
        return drawn, used

    def location(self, outputs: Float64, drawn: Int8, which: int) -> tuple[Float64, Float64]:
        """(mean, standard deviation) of a time's normal score, each float64[...].

        Args:
            outputs: float64[..., N_OUTPUTS].
            drawn: int8[..., N_OUTCOMES].
            which: Index into `GAUSSIANS`.
        """
        index = N_OUTCOMES + 2 * which
        mean = outputs[..., index] + self._effect(drawn, index)
        scale = np.exp(np.clip(outputs[..., index + 1], -2.0, 1.0))
        return (
            mean + scale * self.calibration.time_shift[which],
            scale * self.calibration.time_scale[which],
        )

    def _effect(self, drawn: Int8, row: int) -> Float64:
        total = np.zeros(drawn.shape[:-1])
        for column in np.flatnonzero(self.weights[row]):
            total += self.weights[row, column] * (drawn[..., column] > 0)
        return total


def play_state(drawn: Int8) -> NDArray[np.int64]:
    """0 skip, 1 click without long view, 2 long view; int64[...]."""
    return np.where(drawn[..., LONG_VIEW] > 0, 2, drawn[..., OUTCOMES.index("click")] > 0).astype(
        np.int64
    )
