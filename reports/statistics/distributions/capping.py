"""Cap (winsorise) a metric at one quantile of the users of all arms.

``y = min(x, c)`` with c the quantile q of the pooled users. A cap per arm would cut a treatment
that lengthens the tail more than the control, and so hide or reverse its effect. The metric is then
a mean like any other: ``Capped.columns`` go into ``Moments`` and ``estimate_arms`` as they are.

That treats the cap as given. But it is estimated, from the same users; moving it by dc moves the
mean of arm g by ``s_g dc``, s_g being its share of users beyond the cap. To first order

    c - c0 = 1 / N sum_i ([x_i > c0] - (1 - q)) / f,

with the density f of the pooled values at the cap, so each user of any arm h has in the mean of
arm g the part ``[h = g] y_i / n_g + s_g [x_i > c] / (N f)``; ``capped_estimates`` sums the squares
and products of these (delta method). In a difference the cap's noise is ``(s_b - s_a) dc``: nothing
to first order where the arms are alike beyond the cap. In the means themselves it is not. Shares
differ by chance too, and a square does not know by which sign: the s_g are drawn together first
(``_shares_beyond``); without this 500:500 watch times covered 96.1 %, with it 95.7.

Approximations: first order in 1 / sqrt(N); f follows from the width of the cap's own interval
(``quantiles``) and is, like s_g and the covariates' weights, taken as known; a cap on a tie (f
infinite) is taken as exact. Capping changes the question: the effect is one on capped values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from reports.statistics.distributions.quantiles import QuantileEstimate, quantile_estimate
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate, adjustment, estimate_arms
from reports.statistics.moments import Float, Moments


class Cap(NamedTuple):
    """A cap, estimated from all users.

    Attributes:
        value: c, in the metric's unit.
        error: Its standard error; 0 on a tie.
        quantile: q.
    """

    value: float
    error: float
    quantile: float


class Capped(NamedTuple):
    """A capped metric of several arms.

    Attributes:
        cap: c, in the metric's unit.
        cap_error: Standard error of the cap; 0 on a tie.
        quantile: q.
        columns: float64[n, 2] per arm: capped value and 1, as for ``estimate_arms``.
        beyond: float64[n] per arm: 1 for users beyond the cap.
        lost: Share of the pooled sum that capping took away.
    """

    cap: float
    cap_error: float
    quantile: float
    columns: list[Float]
    beyond: list[Float]
    lost: float


class CappedEstimates(NamedTuple):
    """Means of capped values, as for ``compare``.

    Attributes:
        arms: One per arm.
        covariance: float64[G, G], of the adjusted means; arms share the noise of the cap.
    """

    arms: list[ArmEstimate]
    covariance: Float


def cap_pooled(arms: Sequence[ArrayLike], *, quantile: float = 0.99) -> Capped:
    """Cap the values of all arms at one quantile of all their users.

    Args:
        arms: float[n] each, one value per user; none negative.
        quantile: q.

    Raises:
        StatisticsError: missing or negative values, too few users for the quantile, or nothing
            left below the cap.
    """
    values = [np.asarray(arm, dtype=np.float64) for arm in arms]
    pooled = np.concatenate(values)
    found = quantile_estimate(pooled, quantile)
    cap = checked_cap(found, float(pooled.min()), lambda c: float(np.mean(pooled <= c)))
    columns = [np.column_stack([np.minimum(x, cap.value), np.ones(len(x))]) for x in values]
    beyond = [(x > cap.value).astype(np.float64) for x in values]
    kept = sum(float(c[:, 0].sum()) for c in columns)
    return Capped(cap.value, cap.error, quantile, columns, beyond, 1.0 - kept / float(pooled.sum()))


def checked_cap(found: QuantileEstimate, smallest: float, share: Callable[[float], float]) -> Cap:
    """The cap, if it can be one.

    Args:
        found: Quantile of the pooled values.
        smallest: Of these values.
        share: Of the values at or below one; asked for a message only.

    Raises:
        StatisticsError: negative values, too few users for the quantile, or nothing left below it.
    """
    cap = found.interval.value
    if smallest < 0.0:
        raise StatisticsError(
            "values below zero cannot be capped.",
            f"The smallest is {smallest:g}; the cap is for the upper tail.",
            "Cap the parts above and below zero by themselves.",
        )
    if found.standard_error is None:
        raise StatisticsError(
            f"the quantile {found.quantile:g} is too far out for a cap.",
            f"{found.values:,} users have too few values beyond it to know its error.",
            "Choose a lower quantile.",
        )
    if cap <= smallest:
        raise StatisticsError(
            "capping leaves nothing.",
            f"A share {share(cap):.4g} of users have the smallest value, {cap:g}.",
            "Choose a higher quantile, or compare the shares of users with a larger value.",
        )
    return Cap(cap, found.standard_error, found.quantile)


def capped_estimates(capped: Capped, covariates: Sequence[Float] | None = None) -> CappedEstimates:
    """Means of all arms, with the noise of the cap.

    Give them to ``compare`` with the covariance of the two arms.

    Args:
        capped: From ``cap_pooled``.
        covariates: float64[n, k] per arm, from before the experiment.

    Raises:
        StatisticsError: fewer than two users in an arm, or covariates for other users.
    """
    parts = []
    for g, (columns, beyond) in enumerate(zip(capped.columns, capped.beyond, strict=True)):
        own = np.zeros((len(beyond), 0)) if covariates is None else covariates[g]
        if len(own) != len(beyond):
            raise StatisticsError(
                "the covariates are not those of the users.",
                f"Arm {g} has {len(beyond):,} users and {len(own):,} rows of covariates.",
            )
        parts.append(Moments.of(np.column_stack([columns, own, beyond])))
    return estimates_at_cap(Cap(capped.cap, capped.cap_error, capped.quantile), parts)


def estimates_at_cap(cap: Cap, parts: Sequence[Moments]) -> CappedEstimates:
    """As ``capped_estimates``, from moments.

    Args:
        cap: From ``checked_cap``.
        parts: Per arm, of the columns (capped value, 1, covariates, 1 if beyond the cap).

    Raises:
        StatisticsError: fewer than two users in an arm.
    """
    k = len(parts[0].mean) - 3
    known = [part.select(list(range(k + 2))) for part in parts]
    plain = estimate_arms(known)
    pull = _pull(cap, parts)
    adjusted = _covariance(parts, adjustment(known), pull)
    raw = _covariance(parts, np.zeros(k), pull)
    arms = [
        arm._replace(variance=float(adjusted[g, g]), raw_variance=float(raw[g, g]))
        for g, arm in enumerate(plain)
    ]
    return CappedEstimates(arms, adjusted)


def _pull(cap: Cap, parts: Sequence[Moments]) -> Float:
    """float64[G]: ``s_g / (N f)``, what one more user beyond the cap does to each mean."""
    users = sum(part.users for part in parts)
    # error = sqrt(q (1 - q) / N) / f
    sparsity = cap.error / np.sqrt(cap.quantile * (1.0 - cap.quantile) / users)
    return np.asarray(_shares_beyond(parts) * sparsity / users)


def _shares_beyond(parts: Sequence[Moments]) -> Float:
    """float64[G], s_g, drawn together by what their chance differences explain.

    The variance of a difference takes ``(s_b - s_a)^2``, which is not zero between arms that are
    alike. By the positive-part rule of James & Stein it is, unless chi-square says otherwise.
    """
    users = np.array([part.users for part in parts], dtype=np.float64)
    shares = np.array([float(part.mean[-1]) for part in parts])
    centre = float(shares @ users / users.sum())
    chi_square = float((shares - centre) ** 2 @ users)
    chance = (len(parts) - 1) * centre * (1.0 - centre)
    kept = max(0.0, 1.0 - chance / chi_square) if chi_square > 0.0 else 0.0
    return np.asarray(centre + kept * (shares - centre))


def _covariance(parts: Sequence[Moments], theta: Float, pull: Float) -> Float:
    """float64[G, G]: of the means less theta times the covariates."""
    arms = len(parts)
    result = np.zeros((arms, arms))
    for h, part in enumerate(parts):
        weights = np.zeros((arms, len(part.mean)))
        weights[:, -1] = pull
        weights[h, :-1] += np.concatenate([[1.0, 0.0], -theta]) / part.users
        result += part.users * weights @ part.covariance() @ weights.T
    return result
