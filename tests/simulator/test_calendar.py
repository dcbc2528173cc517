"""China's calendar against the standard library's, for numbers, arrays and Polars expressions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from simulator.calendar import (
    DAY_MS,
    HOUR_MS,
    china_day,
    china_hour,
    china_midnight_ms,
    china_ms,
    unix_ms,
    weekday,
)

CHINA = ZoneInfo("Asia/Shanghai")
MOMENTS = st.datetimes(datetime(1992, 1, 1), datetime(2100, 1, 1), timezones=st.just(CHINA))


@given(MOMENTS)
def test_days_hours_and_weekdays_are_those_of_the_clock_in_china(moment: datetime) -> None:
    time_ms = int(moment.timestamp() * 1000)
    day = china_day(time_ms)
    assert day == (moment.date() - datetime(1970, 1, 1).date()).days
    assert china_hour(time_ms) == moment.hour
    assert weekday(day) == moment.weekday()
    clock = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=china_ms(time_ms))
    assert (clock.day, clock.hour, clock.minute) == (moment.day, moment.hour, moment.minute)


@given(st.integers(-10_000, 40_000), st.integers(0, DAY_MS - 1))
def test_a_day_begins_at_its_midnight_and_lasts_until_the_next(day: int, into: int) -> None:
    assert china_day(china_midnight_ms(day) + into) == day
    assert unix_ms(china_ms(into)) == into


def test_arrays_and_expressions_agree_with_numbers() -> None:
    times = [1_696_176_000_000 + hours * HOUR_MS for hours in (-1, 0, 7, 8, 23, 24)]
    frame = pl.DataFrame({"time_ms": times})
    for function in (china_day, china_hour, china_ms, unix_ms, weekday):
        singly = [function(time) for time in times]
        assert function(np.array(times)).tolist() == singly
        assert frame.select(function(pl.col("time_ms"))).to_series().to_list() == singly
