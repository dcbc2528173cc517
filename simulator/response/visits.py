"""Draw when people come: a Poisson process whose clock runs with the published hour profile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.calendar import CHINA_OFFSET_MS, DAY_MS, HOUR_MS
from simulator.requests import Int64
from simulator.world.config import WorldConfig

Float32 = NDArray[np.float32]

WEEK_HOURS = 168
BREAK_MS = 31 * 60_000
"""Sessions are told apart by a gap of 30 minutes, so nobody returns sooner."""
_MOST_RESPONSIVE = 4.0
_MOST_ABSENT = 0.5
_LONGEST_PAUSE_MINUTES = 25.0
_LAGS = ((0.7, 0.5), (0.3, 2.17))
"""Shares of impressions, and how long after the start of their visit they come, over the mean."""

# Share of impressions per hour of day, China time, and per weekday from Monday: KuaiRand-27K
# standard logs ("hour_profile.standard" and "dow_profile.standard", before 30 April).
HOURS = (
    0.03297, 0.02005, 0.01282, 0.00903, 0.00812, 0.01146, 0.02133, 0.03093,
    0.03582, 0.04017, 0.04477, 0.04791, 0.05284, 0.05316, 0.04795, 0.04893,
    0.05149, 0.05438, 0.05847, 0.06166, 0.06614, 0.06863, 0.06783, 0.05313,
)  # fmt: skip
WEEKDAYS = (0.13614, 0.13493, 0.13606, 0.13733, 0.14496, 0.15942, 0.15116)


_ENGAGED = 0.2
"""Share of an average day that is of a visit or of the half hour after it: 5 visits of an hour."""


def arrivals(
    impressions: NDArray[np.float64], lag_hours: float, engaged: float = _ENGAGED
) -> NDArray[np.float64]:
    """float64[W]: visits per hour of the week that lead to these impressions per hour.

    Impressions follow the start of their visit by a time with two exponential parts (`_LAGS`):
    most sessions are short, and most late impressions are of a few long ones. The visits solve
    ``K v = i``, where K is the circular convolution with those times. No hour has less than a fifth
    of its impressions. As nobody comes who is there already, and nobody for half an hour after a
    visit, the rate at which the others come is ``v / (1 - engaged v / mean)``; the week's sum is
    kept.

    Args:
        impressions: float64[W], per hour of the week.
        lag_hours: Mean time from the start of a visit to its impressions.
        engaged: Share of an average day that is of a visit or of the half hour after it.
    """
    brings = np.zeros(len(impressions))
    for share, times in _LAGS:
        mean = max(lag_hours * times, 1e-3)
        # Starts are evenly spread over their hour: what falls into it and into each later one.
        ended = -np.expm1(-1.0 / mean)
        later = np.arange(len(impressions)) - 1.0
        chance = mean * ended**2 * np.exp(-np.maximum(later, 0.0) / mean)
        chance[0] = 1.0 - mean * ended
        brings += share * chance
    solved = np.fft.ifft(np.fft.fft(impressions) / np.fft.fft(brings)).real
    visits = np.maximum(solved, 0.2 * impressions)
    visits = visits / (1.0 - engaged * visits / visits.mean())
    return np.asarray(visits * (impressions.sum() / visits.sum()))


class VisitClock:
    """Maps calendar time to activity time, in which visits are evenly spread.

    One day of activity time is one average day. ``start_ms`` of the world is taken as the
    weekday it really was.
    """

    def __init__(self, config: WorldConfig) -> None:
        hours = np.asarray(HOURS) / np.sum(HOURS)
        weekdays = np.asarray(WEEKDAYS) / np.sum(WEEKDAYS) * 7.0
        per_hour = np.outer(weekdays, hours).ravel()
        per_hour = arrivals(per_hour, config.visits_lead_minutes / 60.0)
        self._edges = np.concatenate([[0.0], np.cumsum(per_hour)])
        # Weeks are counted from Monday in China, 1 January 1970 was a Thursday.
        self._offset_ms = CHINA_OFFSET_MS + 3 * DAY_MS
        self._busy = per_hour / per_hour.max()

    def next_visit(
        self, now_ms: Int64, rate: NDArray[np.float64], draw: NDArray[np.floating[Any]]
    ) -> Int64:
        """int64[B]: the first visit at least half an hour after ``now_ms``.

        Args:
            now_ms: int64[B], Unix ms.
            rate: float64[B], visits per day of activity time.
            draw: float[B] in (0, 1).
        """
        start = self._activity(now_ms + BREAK_MS)
        arrival = start - np.log(draw.astype(np.float64)) / rate
        return self._calendar(arrival)

    def last_visit(
        self, now_ms: Int64, rate: NDArray[np.float64], draw: NDArray[np.floating[Any]]
    ) -> Int64:
        """int64[B]: the last visit before ``now_ms``; arguments as of `next_visit`."""
        return self._calendar(self._activity(now_ms) + np.log(draw.astype(np.float64)) / rate)

    def busy(self, time_ms: Int64) -> NDArray[np.float64]:
        """float64[B]: activity of the hour, as a share of the busiest hour of the week."""
        hour = (time_ms + self._offset_ms) // HOUR_MS % WEEK_HOURS
        return np.asarray(self._busy[hour])

    def _activity(self, time_ms: Int64) -> NDArray[np.float64]:
        hours = (time_ms + self._offset_ms) / HOUR_MS
        week = np.floor(hours / WEEK_HOURS)
        grid = np.arange(WEEK_HOURS + 1)
        inside = np.interp(hours - week * WEEK_HOURS, grid, self._edges)
        return np.asarray(week * self._edges[-1] + inside)

    def _calendar(self, activity: NDArray[np.float64]) -> Int64:
        week = np.floor(activity / self._edges[-1])
        grid = np.arange(WEEK_HOURS + 1)
        hours = np.interp(activity - week * self._edges[-1], self._edges, grid)
        time_ms: Int64 = ((week * WEEK_HOURS + hours) * HOUR_MS).astype(np.int64)
        return time_ms - self._offset_ms


def next_start(
    config: WorldConfig,
    clock: VisitClock,
    activity: Float32,
    satisfaction: Float32,
    now_ms: Int64,
    u: Float32,
) -> Int64:
    """int64[B]: when the next session starts: soon, or by the clock, or after some days away.

    The satisfied come sooner and stay away less often, above all those of low activity.

    Args:
        config: The world's parameters.
        clock: When people come.
        activity: float32[B], visits per day as a multiple of the world's average.
        satisfaction: float32[B], running mean of the person's satisfaction.
        now_ms: int64[B], end of the last session, Unix ms.
        u: float32[3, B], uniform draws.
    """
    pleased = np.float32(config.visits_satisfaction) * np.tanh(satisfaction)
    open_to = np.minimum(activity**-config.visits_low_activity, _MOST_RESPONSIVE)
    rate = config.visits_per_day * activity * np.exp(open_to * pleased)
    absent = config.visits_absence * open_to * np.exp(-config.visits_absence_response * pleased)
    absent = np.minimum(absent, _MOST_ABSENT)
    away = u[2] < absent
    days = np.where(away, u[2] / np.maximum(absent, 1e-30), 1.0).astype(np.float64)
    away_ms = (-DAY_MS * config.visits_absence_days * np.log(days)).astype(np.int64)
    later = clock.next_visit(now_ms + away_ms, rate.astype(np.float64), u[0])
    minutes = -config.visits_soon_minutes * np.log(u[0].astype(np.float64))
    soon = now_ms + BREAK_MS + (60_000.0 * minutes).astype(np.int64)
    return np.where(~away & (u[1] < config.visits_soon * clock.busy(soon)), soon, later)


def in_session(
    config: WorldConfig, clock: VisitClock, activity: Float32, now_ms: Int64, u: Float32
) -> NDArray[np.bool_]:
    """bool[B]: whether people are in the middle of a session, had they lived before.

    The density of the time since the start of a visit (`arrivals`) falls as visits end, so that
    relative to its value at 0 it is the chance that a visit of that age still goes on.

    Args:
        config: The world's parameters.
        clock: When people come.
        activity: float32[B], visits per day as a multiple of the world's average.
        now_ms: int64[B], Unix ms.
        u: float32[2 or more, B], uniform draws.
    """
    rate = (config.visits_per_day * activity).astype(np.float64)
    hours = (now_ms - clock.last_visit(now_ms, rate, u[0])) / HOUR_MS
    lag = config.visits_lead_minutes / 60.0
    goes_on = np.zeros(len(hours))
    for share, times in _LAGS:
        goes_on += share / times * np.exp(-hours / (lag * times))
    return np.asarray(u[1] < goes_on / sum(share / times for share, times in _LAGS))


def pause_ms(config: WorldConfig, whether: Float32, length: Float32) -> Int64:
    """int64[B]: how long the phone is put down after a page, ms; shorter than a new session's gap.

    Args:
        config: The world's parameters.
        whether: float32[B], uniform draws.
        length: float32[B], uniform draws.
    """
    # A log-logistic wait: the odds of a uniform, to a power.
    minutes = config.pause_minutes * np.sqrt(length / (1.0 - length))
    minutes = np.minimum(minutes, _LONGEST_PAUSE_MINUTES) * (whether < config.pause_share)
    return np.asarray(minutes * 60_000.0, dtype=np.int64)
