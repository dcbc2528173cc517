"""Mix likelihood ratios into evidence that may be read at any time.

Let z be the difference over its standard error and V an intrinsic time (see the mixtures below).
Mixing the likelihood ratio over effects drawn from a normal prior gives the evidence

    two-sided: M = (1 + V)^(-1/2) exp(z^2 V / (2 (1 + V)))
    one-sided: M = 2 (1 + V)^(-1/2) exp(z^2 V / (2 (1 + V))) Phi(z sqrt(V / (1 + V)))

(mixture sequential probability ratio test: Robbins, Annals of Mathematical Statistics 41, 1970;
Johari, Koomen, Pekelis & Walsh, KDD 2017; one-sided, half-normal prior: Howard, Ramdas, McAuliffe
& Sekhon, Annals of Statistics 49, 2021). With no effect the evidence ever reaches 1 / alpha with
probability at most alpha (Ville), so p = min(1, 1 / M) and the interval of all effects with
M < 1 / alpha hold at all looks together, whenever one stops. Both are the same inequality solved
for different unknowns, so they always agree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from reports.statistics.errors import StatisticsError
from reports.statistics.lift import Alternative
from reports.statistics.moments import Float


class EffectMixture(NamedTuple):
    """Normal prior of the effect itself; V = (tau / standard error)^2, the information.

    Right when users join over time and also when the same users are seen for ever more days: an
    efficient estimate has independent increments on the scale of information, not of users
    (Scharfstein, Tsiatis & Robins, JASA 92, 1997). The standard error should be steady: from the
    variance of all arms together where one arm is small.

    Attributes:
        tau: Standard deviation of the prior, in units of the difference.
    """

    tau: float

    @classmethod
    def tuned(cls, planned_error: float, *, alpha: float = 0.05) -> EffectMixture:
        """Narrowest interval when the standard error of the difference is ``planned_error``."""
        return cls(planned_error * float(np.sqrt(optimal_time(alpha))))

    def time(self, users: ArrayLike, error: ArrayLike) -> Float:
        """Intrinsic time of a look."""
        del users
        return (self.tau / np.asarray(error, dtype=np.float64)) ** 2


class SampleMixture(NamedTuple):
    """Prior of the effect in standard deviations; V = rho^2 users (Waudby-Smith et al. 2024).

    Right only when each user is complete as they are counted and the split stays as it is.

    Attributes:
        rho: Standard deviation of the prior of effect / sqrt(users x squared standard error).
    """

    rho: float

    @classmethod
    def tuned(cls, planned_users: float, *, alpha: float = 0.05) -> SampleMixture:
        """Narrowest interval at this number of users, all arms together."""
        return cls(float(np.sqrt(optimal_time(alpha) / planned_users)))

    def time(self, users: ArrayLike, error: ArrayLike) -> Float:
        """Intrinsic time of a look."""
        del error
        return self.rho**2 * np.asarray(users, dtype=np.float64)


Mixture = EffectMixture | SampleMixture


def optimal_time(alpha: float) -> float:
    """The V at which the two-sided interval is narrowest for its information.

    Minimises ``(1 + 1 / V) log((1 + V) / alpha^2)``: V = -W(-alpha^2 / e) - 1 with the lower branch
    of Lambert's W (Howard et al. 2021).
    """
    _check_alpha(alpha)
    return float(-special.lambertw(-(alpha**2) / np.e, k=-1).real - 1.0)


def log_evidence(z: ArrayLike, time: ArrayLike, alternative: Alternative = "two-sided") -> Float:
    """Logarithm of M, elementwise."""
    z, time = np.asarray(z, dtype=np.float64), np.asarray(time, dtype=np.float64)
    if alternative == "less":
        z = -z
    shrunk = time / (1.0 + time)
    common = 0.5 * z**2 * shrunk - 0.5 * np.log1p(time)
    if alternative == "two-sided":
        return np.asarray(common)
    return np.asarray(common + np.log(2.0) + special.log_ndtr(z * np.sqrt(shrunk)))


def always_valid_p_value(
    z: ArrayLike, time: ArrayLike, alternative: Alternative = "two-sided"
) -> Float:
    """P value of each look, ``min(1, 1 / M)``, elementwise."""
    return np.asarray(np.exp(np.minimum(-log_evidence(z, time, alternative), 0.0)))


def critical_value(
    time: ArrayLike, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> Float:
    """The |z| (z, if one-sided) at which M = 1 / alpha, elementwise."""
    _check_alpha(alpha)
    time = np.asarray(time, dtype=np.float64)
    shrunk = time / (1.0 + time)
    half = 0.5 * np.log1p(time)
    if alternative == "two-sided":
        return np.asarray(np.sqrt(2.0 / shrunk * (half - np.log(alpha))))
    # A closed upper bound, then Newton: the log evidence is convex and rising in z, so the steps
    # come down to the root and never pass it.
    z = np.sqrt(2.0 / shrunk * np.logaddexp(0.0, half - np.log(2.0 * alpha)))
    root = np.sqrt(shrunk)
    for _ in range(50):
        u = z * root
        mills = np.exp(-0.5 * u**2 - special.log_ndtr(u)) / np.sqrt(2.0 * np.pi)
        step = (log_evidence(z, time, "greater") + np.log(alpha)) / (root * (u + mills))
        z = z - step
        if np.all(np.abs(step) <= 1e-13 * np.maximum(np.abs(z), 1.0)):
            break
    return np.asarray(z)


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise StatisticsError("the error rate is not possible.", f"It is {alpha}, not in (0, 1).")
