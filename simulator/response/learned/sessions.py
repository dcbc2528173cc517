"""Model returns: a renewal process in time rescaled by person and hour of day.

Between sessions, a person's clock runs at ``rate_u * profile(hour)``. By the time-rescaling
theorem (Brown et al., Neural Computation 14, 2002) the rescaled gaps of a Poisson visitor would be
Exp(1); their real distribution, pooled over people, is kept as a product-limit (Kaplan & Meier,
JASA 1958) quantile function, because the last gap of every log is cut off by its end. Rates are
shrunken towards the common rate with a gamma prior.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.calendar import DAY_MS, HOUR_MS, china_ms, unix_ms
from simulator.requests import Int32, Int64

Float64 = NDArray[np.float64]

SESSION_GAP_MS = HOUR_MS // 2
_QUANTILES = 401
_PRIOR_GAPS = 2.0
_PRIOR_STARTS_PER_HOUR = 5.0
_DEFAULT_SESSIONS_PER_HOUR = 3.0 / 24.0


def hour_of_day(time_ms: Int64) -> Float64:
    """China local time of day in hours, float64 in [0, 24)."""
    return np.asarray(china_ms(time_ms) % DAY_MS / HOUR_MS)


@dataclass(frozen=True)
class ReturnModel:
    """Gaps between sessions.

    Attributes:
        rate: float64[N], sessions per profile hour of each user.
        profile: float64[24], relative activity per hour of day, mean 1.
        quantiles: float64[Q], quantile function of rescaled gaps at levels 0 .. 1.
        minimum_gap_ms: shortest possible gap (sessions cut by a gap rule cannot be closer).
    """

    rate: Float64
    profile: Float64
    quantiles: Float64
    minimum_gap_ms: int

    @classmethod
    def fit(
        cls,
        user: Int32,
        start_ms: Int64,
        end_ms: Int64,
        *,
        log_end_ms: int,
        n_users: int,
        minimum_gap_ms: int,
        others: Iterable[tuple[Int32, Int64, Int64]] = (),
    ) -> ReturnModel:
        """Fit from sessions sorted by (user, start).

        Args:
            user: int32[S].
            start_ms: int64[S].
            end_ms: int64[S].
            log_end_ms: End of observation; later sessions are unknown.
            n_users: Number of users.
            minimum_gap_ms: See the class.
            others: (user, start_ms, end_ms) of further people, some at a time: they get rates of
                their own, everything else is that of the first ones.
        """
        hours = hour_of_day(start_ms).astype(np.int64)
        profile = np.bincount(hours, minlength=24) + _PRIOR_STARTS_PER_HOUR
        profile = profile / profile.mean()
        gap, happened, who = _gaps(user, start_ms, end_ms, log_end_ms, profile, minimum_gap_ms)
        # Of nothing, numpy counts in whole numbers, weights or not.
        counts = np.bincount(who, weights=happened, minlength=n_users).astype(np.float64)
        exposure = np.bincount(who, weights=gap, minlength=n_users).astype(np.float64)
        common = counts.sum() / exposure.sum() if counts.sum() > 0 else _DEFAULT_SESSIONS_PER_HOUR
        quantiles_of = gap, happened, who
        for sessions in others:
            gap, happened, who = _gaps(*sessions, log_end_ms, profile, minimum_gap_ms)
            counts += np.bincount(who, weights=happened, minlength=n_users)
            exposure += np.bincount(who, weights=gap, minlength=n_users)
        gap, happened, who = quantiles_of
        rate = (counts + _PRIOR_GAPS) / (exposure + _PRIOR_GAPS / common)
        return cls(
            rate=rate,
            profile=profile,
            quantiles=_product_limit_quantiles(gap * rate[who], happened),
            minimum_gap_ms=minimum_gap_ms,
        )

    def next_start(self, users: Int32, now_ms: Int64, level: Float64) -> Int64:
        """int64[B]: start of each user's next session.

        Args:
            users: int32[B].
            now_ms: int64[B], when the last session ended.
            level: float64[B] in (0, 1), the uniform draws.
        """
        place = level * (_QUANTILES - 1)
        gap = np.interp(place, np.arange(_QUANTILES), self.quantiles) / self.rate[users]
        target = _profile_hours(now_ms + self.minimum_gap_ms, self.profile) + gap
        return np.maximum(_profile_inverse(target, self.profile), now_ms + 1)


def _gaps(
    user: Int32,
    start_ms: Int64,
    end_ms: Int64,
    log_end_ms: int,
    profile: Float64,
    minimum_gap_ms: int,
) -> tuple[Float64, NDArray[np.bool_], Int32]:
    """(profile hours until the next session, whether it came, user) of sessions."""
    same = np.append(user[1:] == user[:-1], False)
    following = np.where(same, np.roll(start_ms, -1), max(log_end_ms, 0))
    gap = _profile_hours(following, profile) - _profile_hours(end_ms + minimum_gap_ms, profile)
    usable = (gap > 0) | same
    return np.maximum(gap, 1e-6)[usable], same[usable], user[usable]


def _profile_hours(time_ms: Int64, profile: Float64) -> Float64:
    """Hours since the epoch (China time), each hour stretched by its activity."""
    local = china_ms(np.asarray(time_ms, dtype=np.int64)) / HOUR_MS
    day, rest = np.divmod(local, 24.0)
    cumulative = np.concatenate([[0.0], np.cumsum(profile)])
    return np.asarray(day * 24.0 + np.interp(rest, np.arange(25), cumulative))


def _profile_inverse(hours: Float64, profile: Float64) -> Int64:
    day, rest = np.divmod(hours, 24.0)
    cumulative = np.concatenate([[0.0], np.cumsum(profile)])
    local = day * 24.0 + np.interp(rest, cumulative, np.arange(25))
    return unix_ms(np.asarray(local * HOUR_MS, dtype=np.int64))


def _product_limit_quantiles(gap: Float64, happened: NDArray[np.bool_]) -> Float64:
    """Quantiles of right-censored gaps; beyond the last event the tail is exponential."""
    levels = np.linspace(0.0, 1.0, _QUANTILES)
    levels[-1] = 1.0 - 0.5 / _QUANTILES
    if happened.sum() < 20:
        return np.asarray(-np.log1p(-levels))
    order = np.argsort(gap, kind="stable")
    gap, happened = gap[order], happened[order]
    at_risk = np.arange(len(gap), 0, -1)
    survival = np.cumprod(1.0 - happened / at_risk)
    event, left = gap[happened], survival[happened]
    quantiles = np.interp(
        levels, np.concatenate([[0.0], 1.0 - left]), np.concatenate([[0.0], event])
    )
    beyond = levels > 1.0 - left[-1]
    if left[-1] > 0:
        tail = gap.sum() / happened.sum()
        quantiles[beyond] = event[-1] + tail * np.log(left[-1] / (1.0 - levels[beyond]))
    return np.asarray(quantiles)
