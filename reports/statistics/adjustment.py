"""Reduce variance with covariates and strata, with common slopes or slopes by arm.

Every user i has the columns ``v = (x, y, c)``: numerator, denominator (1 for a mean) and covariates
from before the experiment. With stratum means weighted by the strata's pooled shares w_s
(post-stratification: Miratrix, Sekhon & Yu, JRSS B 75, 2013), the metric of arm g is

    x_g / y_g - theta_g' (c_g - c),    c the mean of all arms,

with theta the regression of the linearised metric ``z = (x - R y) / mean(y)`` on the covariates
within strata: one theta for all arms ("common": CUPED; Deng, Xu, Kohavi & Walker, WSDM 2013), or
one per arm ("by arm": Lin, Annals of Applied Statistics 7, 2013, the regression with all
treatment-by-covariate interactions). By arm is never worse in large samples, and better if the
arms are of unequal size and react differently; common needs fewer users.

The covariance of the arms sums the squares and products of all users' influences (delta method).
For user i of arm h and stratum s the influence on arm g is, with ``u_g = (gradient, -theta_g)``,

    [g = h] w_s / n_gs u_g' (v_i - mean_gs) + (u_g' (mean_gs - mean_g) + theta_g' (c_i - c)) / N.

The second part is shared by the arms: that the people who came are a sample. It cancels in a
difference of like arms, but not in a ratio of arms that differ (nor does Lin's variance have it,
which is about these very people; Negi & Wooldridge, Econometric Reviews 40, 2021).

Assumptions: users are independent, covariates are not affected by the treatment, cells are large
enough for theta and w to be taken as known (by arm, the residual variance is scaled by its degrees
of freedom).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import (
    ArmEstimate,
    estimate_arms,
    ratio_gradient,
    regression_weights,
)
from reports.statistics.moments import Float, Moments

Slopes = Literal["common", "by arm"]
Cells = Mapping[Hashable, Moments]
"""Moments of one arm in every stratum."""


class Adjusted(NamedTuple):
    """One metric in all arms, for ``compare`` with the covariance of two of them.

    Attributes:
        arms: Estimates.
        covariance: float64[G, G], of the adjusted metrics.
        theta: float64[G, k], weights of the covariates.
    """

    arms: list[ArmEstimate]
    covariance: Float
    theta: Float

    def removed(self, control: int = 0, treatment: int = 1) -> float:
        """Share of the difference's variance that the adjustment removed; may be negative."""
        a, b = self.arms[control], self.arms[treatment]
        left = a.variance + b.variance - 2.0 * float(self.covariance[control, treatment])
        raw = a.raw_variance + b.raw_variance
        return 1.0 - left / raw if raw > 0.0 else 0.0


def adjusted_estimates(arms: Sequence[Moments | Cells], *, slopes: Slopes = "common") -> Adjusted:
    """Estimates of all arms of one metric, adjusted for covariates and strata.

    Args:
        arms: Per arm, or per arm and stratum, moments of the columns (numerator, denominator,
            covariate, ...), as for ``estimate_arms``.
        slopes: One theta for all arms or one for each.

    Raises:
        StatisticsError: a cell of fewer than two users, a denominator that sums to zero, or fewer
            users in an arm than it takes to know its slopes.
    """
    cells: list[Cells] = [{None: a} if isinstance(a, Moments) else a for a in arms]
    strata = list(dict.fromkeys(stratum for arm in cells for stratum in arm))
    _check(cells, strata)
    whole = [_merged(list(arm.values())) for arm in cells]
    plain = estimate_arms([moments.select([0, 1]) for moments in whole])
    sizes = np.array([[arm[s].users for s in strata] for arm in cells], dtype=np.float64)
    total = sizes.sum()
    shares = sizes.sum(axis=0) / total
    means = np.array([[arm[s].mean for s in strata] for arm in cells])
    mean = np.einsum("s,gsk->gk", shares, means)
    gradient = np.array([ratio_gradient(m) for m in mean])
    theta = _slopes(cells, gradient, slopes)
    within = np.einsum("gs,gsk->sk", sizes, means)[:, 2:] / sizes.sum(axis=0)[:, None]
    centre = shares @ within
    direction = np.concatenate([gradient, -theta], axis=1)
    shared = np.concatenate([np.zeros_like(gradient), theta], axis=1) / total
    covariance = np.zeros((len(cells), len(cells)))
    for j, stratum in enumerate(strata):
        between = np.einsum("gk,gk->g", direction, means[:, j] - mean)
        constant = (between + theta @ (within[j] - centre)) / total
        for h, arm in enumerate(cells):
            weights = shared.copy()
            weights[h] += direction[h] * shares[j] / sizes[h, j]
            scatter = sizes[h, j] * arm[stratum].covariance()
            covariance += weights @ scatter @ weights.T
            covariance += sizes[h, j] * np.outer(constant, constant)
            if slopes == "by arm":
                residual = float(direction[h] @ scatter @ direction[h])
                scale = (shares[j] / sizes[h, j]) ** 2
                covariance[h, h] += residual * scale * _lost_freedom(whole[h], len(strata))
    adjusted = mean[:, 0] / mean[:, 1] - np.einsum("gk,gk->g", theta, mean[:, 2:] - centre)
    estimates = [
        arm._replace(adjusted=float(adjusted[g]), variance=float(covariance[g, g]))
        for g, arm in enumerate(plain)
    ]
    return Adjusted(estimates, covariance, theta)


def select_covariates(
    pooled: Moments, *, gain: float = 0.005, most: int | None = None
) -> list[int]:
    """Choose covariates by what they explain, blind to who was in which arm.

    Forward selection: the covariate that removes most of the variance left joins, until none
    removes a share ``gain`` of the whole. Choosing from data without arms cannot favour an arm:
    the estimate stays as unbiased as with covariates fixed beforehand.

    Args:
        pooled: Moments of (numerator, denominator, candidate, ...) of all users together.
        gain: Smallest share of the metric's variance that a covariate must remove.
        most: Largest number of covariates; at most one per 50 users in any case.

    Returns:
        Positions among the candidates, best first.
    """
    gradient = ratio_gradient(pooled.mean)
    k = len(pooled.mean) - 2
    # Of the candidates and, last, of the linearised metric.
    weights = np.zeros((k + 1, k + 2))
    weights[:k, 2:] = np.eye(k)
    weights[k, :2] = gradient
    cross = weights @ pooled.cross @ weights.T
    variance = float(cross[k, k])
    first = np.diag(cross).copy()
    limit = min(k if most is None else most, pooled.users // 50)
    chosen: list[int] = []
    while len(chosen) < limit and variance > 0.0:
        left = np.diag(cross)[:k]
        # What others explain up to rounding is collinear with them.
        usable = left > 1e-9 * np.maximum(first[:k], 1e-300)
        explained = np.divide(cross[:k, k] ** 2, left, out=np.zeros(k), where=usable)
        best = int(np.argmax(explained))
        if not explained[best] > 0.0 or explained[best] < gain * variance:
            break
        chosen.append(best)
        cross = cross - np.outer(cross[:, best], cross[best]) / cross[best, best]
    return chosen


def _check(cells: Sequence[Cells], strata: Sequence[Hashable]) -> None:
    for stratum in strata:
        smallest = min(arm[stratum].users if stratum in arm else 0 for arm in cells)
        if smallest < 2:
            where = "an arm" if stratum is None else f"stratum {_name(stratum)} of an arm"
            raise StatisticsError(
                "a variance needs at least two users.",
                f"There {'is' if smallest == 1 else 'are'} {smallest} in {where}.",
                "" if stratum is None else "Join small strata, or leave the strata out.",
            )


def _name(stratum: Hashable) -> str:
    parts = stratum if isinstance(stratum, tuple) else (stratum,)
    return ", ".join(f"'{part}'" for part in parts)


def _merged(parts: Sequence[Moments]) -> Moments:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    return whole


def _slopes(cells: Sequence[Cells], gradient: Float, slopes: Slopes) -> Float:
    """float64[G, k]: within strata, so that the strata's own differences stay out of theta."""
    cc, cz = [], []
    for arm, own in zip(cells, gradient, strict=True):
        cross = np.sum([moments.cross for moments in arm.values()], axis=0)
        cc.append(cross[2:, 2:])
        cz.append(cross[2:, :2] @ own)
    if slopes == "common":
        theta = regression_weights(np.sum(cc, axis=0), np.sum(cz, axis=0))
        return np.tile(theta, (len(cells), 1))
    return np.array([regression_weights(c, z) for c, z in zip(cc, cz, strict=True)])


def _lost_freedom(arm: Moments, strata: int) -> float:
    """What the residual variance lacks because the slopes were fitted to the same users."""
    k = len(arm.mean) - 2
    freedom = arm.users - strata
    if k >= freedom:
        raise StatisticsError(
            "an arm is too small for slopes of its own.",
            f"It has {arm.users:,} users, {k} covariates and {strata} strata.",
            "Use common slopes or fewer covariates.",
        )
    return k / (freedom - k)
