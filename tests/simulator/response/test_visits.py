"""When people come: against the published hours and a Poisson process."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from simulator.calendar import CHINA_OFFSET_MS, DAY_MS, HOUR_MS
from simulator.randomness import purpose_key, uniform
from simulator.response.visits import BREAK_MS, HOURS, WEEKDAYS, VisitClock, arrivals, in_session
from simulator.world.config import WorldConfig

CLOCK = VisitClock(WorldConfig())
START_MS = WorldConfig().start_ms
ERROR_RATE = 1e-4
PEOPLE = 20_000
moments = st.integers(0, 4_102_444_800_000)  # to the year 2100


def streams(rate: float, steps: int, people: int = PEOPLE) -> np.ndarray:
    """Times of the first visits of many people, int64[steps, people]."""
    now = np.full(people, START_MS, dtype=np.int64)
    found = []
    for step in range(steps):
        draw = uniform(purpose_key(3, "visits"), np.arange(people), step)
        now = CLOCK.next_visit(now, np.full(people, rate), draw)
        found.append(now)
    return np.stack(found)


@settings(max_examples=200)
@given(now=moments, rate=st.floats(0.05, 50), draw=st.floats(2**-24, 1 - 2**-24))
def test_nobody_returns_within_half_an_hour(now: int, rate: float, draw: float) -> None:
    later = CLOCK.next_visit(np.array([now]), np.array([rate]), np.array([draw]))
    # Calendar times are whole milliseconds, cut off.
    assert later[0] >= now + BREAK_MS - 1
    assert later[0] > now + 30 * 60_000


@given(now=moments, rate=st.floats(0.05, 50), draws=st.tuples(*[st.floats(0.001, 0.999)] * 2))
def test_a_smaller_draw_is_a_longer_absence(
    now: int, rate: float, draws: tuple[float, float]
) -> None:
    low, high = sorted(draws)
    at = np.array([now, now])
    found = CLOCK.next_visit(at, np.full(2, rate), np.array([low, high]))
    assert found[0] >= found[1]


def test_a_week_of_activity_is_a_week() -> None:
    now = np.array([START_MS, START_MS + 5 * DAY_MS + 1234])
    # exp(-7 rate) is the draw whose waiting time is seven average days.
    found = CLOCK.next_visit(now, np.ones(2), np.full(2, np.exp(-7.0)))
    assert found - now - BREAK_MS == pytest.approx(np.full(2, 7 * DAY_MS), abs=2)


def test_waiting_times_are_exponential_in_average_days() -> None:
    """Of visits spread over many weeks, the hours of the day average out."""
    now = START_MS + np.arange(PEOPLE) * 7_919_000
    draw = uniform(purpose_key(4, "visits"), np.arange(PEOPLE))
    waited = CLOCK.next_visit(now, np.full(PEOPLE, 0.02), draw) - now - BREAK_MS
    # At a visit in 50 days, the time of day moves a waiting time by little.
    assert stats.kstest(waited / DAY_MS, stats.expon(scale=50.0).cdf).pvalue > ERROR_RATE


@pytest.mark.parametrize("unit", ["hour", "weekday"])
def test_impressions_of_visits_come_at_the_published_hours_and_days(unit: str) -> None:
    """People who come five times a day, and are busy for an hour each time, log half of it."""
    config = WorldConfig()
    people, steps = 4_000, 70
    now = np.full(people, START_MS, dtype=np.int64)
    impressions = []
    for step in range(steps):
        draw = uniform(purpose_key(3, "visits"), np.arange(people), step)
        now = CLOCK.next_visit(now, np.full(people, 5.0 / 0.8), draw)
        # Each visit has one impression in the log, after a time of either kind.
        kind, level = uniform(purpose_key(5, "lag"), np.arange(people), step, np.array([[0], [1]]))
        times = np.where(kind < 0.7, 0.5, 2.17) * config.visits_lead_minutes * 60_000
        impressions.append(now - (times * np.log(level)).astype(np.int64))
        now = now + 29 * 60_000
    seen = np.concatenate(impressions)
    # Seven full days, after which practically everybody has visits to come.
    first, last = START_MS + DAY_MS, START_MS + 8 * DAY_MS
    assert (now < last).mean() < 1e-3
    local = seen[(seen >= first) & (seen < last)] + CHINA_OFFSET_MS
    if unit == "hour":
        found = np.bincount(local % DAY_MS // HOUR_MS, minlength=24)
        published = np.asarray(HOURS)
    else:
        # 1 January 1970 was a Thursday, the fourth day from Monday.
        found = np.bincount((local // DAY_MS + 3) % 7, minlength=7)
        published = np.asarray(WEEKDAYS)
    expected = published / published.sum()
    # Five standard deviations, and a few per cent: how busy people are is taken to be the same all
    # week, and the lag is undone in whole hours.
    error = 5 * np.sqrt(expected / len(local)) + 0.07 * expected
    assert (np.abs(found / len(local) - expected) < error).all()


def test_visits_that_last_for_a_moment_come_at_the_hours_of_their_impressions() -> None:
    hours = np.asarray(HOURS) / np.sum(HOURS)
    week = np.tile(hours, 7)
    at_once = arrivals(week, 0.0, engaged=0.0)
    assert at_once == pytest.approx(week, rel=1e-3)
    # The slower impressions follow, the earlier the visits of the morning must be.
    share = [arrivals(week, lag, engaged=0.0)[5:8].sum() / week[5:8].sum() for lag in (0.3, 1.0)]
    assert 1.0 < share[0] < share[1]


def test_some_people_are_in_the_middle_of_a_session_at_the_start() -> None:
    """In the busiest hour more than at night; nobody where sessions end at once."""
    u = uniform(purpose_key(9, "first"), np.arange(PEOPLE), np.array([[0], [1]]))
    config = WorldConfig()
    activity = np.ones(PEOPLE, dtype=np.float32)

    def share(hour: int, **changes: float) -> float:
        changed = dataclasses.replace(config, **changes)
        at = np.full(PEOPLE, START_MS + hour * HOUR_MS)
        going = in_session(changed, VisitClock(changed), activity, at, u.astype(np.float32))
        return float(going.mean())

    assert share(22) > 2.0 * share(5) > 0.0
    assert share(22, visits_lead_minutes=0.001) < 0.01
    assert share(22, visits_per_day=12.0) > share(22, visits_per_day=3.0)


def test_people_with_twice_the_rate_come_about_twice_as_often() -> None:
    """Between visits lie an exponential wait and half an hour."""
    for rate in (0.5, 1.0):
        times = streams(rate, steps=40, people=2_000)
        span_days = (times[-1] - START_MS) / DAY_MS / 40
        # 40 waits of mean 1/rate for 2,000 people; the pause is counted in calendar time.
        expected = 1.0 / rate + BREAK_MS / DAY_MS
        tolerance = 5.0 / rate / np.sqrt(80_000) + 0.3 * BREAK_MS / DAY_MS
        assert abs(span_days.mean() - expected) < tolerance


def test_batches_do_not_matter() -> None:
    now = START_MS + np.arange(50) * 10_000_000
    rate, draw = np.linspace(0.1, 9.0, 50), uniform(purpose_key(1, "t"), np.arange(50))
    together = CLOCK.next_visit(now, rate, draw)
    alone = [CLOCK.next_visit(now[i : i + 1], rate[i : i + 1], draw[i : i + 1]) for i in range(50)]
    assert np.array_equal(together, np.concatenate(alone))
