"""User-day sums against a plain dictionary, days against the calendar."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from simulator.behaviours import OUTCOMES
from simulator.calendar import DAY_MS, china_day
from simulator.outcomes import INDEX, UserDayOutcomes

USERS, DAYS, FIRST = 4, 3, 19_600
CHINA = ZoneInfo("Asia/Shanghai")
additions = st.tuples(
    st.dictionaries(st.integers(0, USERS - 1), st.integers(0, DAYS - 1), min_size=1),
    st.sets(st.sampled_from(OUTCOMES), min_size=1, max_size=3),
    st.integers(-5, 1_000_000),
)


# China had summer time until 1991.
@given(st.datetimes(datetime(1992, 1, 1), datetime(2100, 1, 1), timezones=st.just(CHINA)))
def test_days_are_those_of_the_chinese_calendar(moment: datetime) -> None:
    expected = (moment.date() - date(1970, 1, 1)).days
    assert int(china_day(int(moment.timestamp() * 1000))) == expected


def test_day_changes_at_midnight_in_china() -> None:
    midnight = int(datetime(2023, 10, 1, tzinfo=CHINA).timestamp() * 1000)
    before, at, last, after = china_day(
        np.array([midnight - 1, midnight, midnight + DAY_MS - 1, midnight + DAY_MS])
    ).tolist()
    assert (before, at, last, after) == (at - 1, at, at, at + 1)


@settings(deadline=None)
@given(st.lists(additions, max_size=12))
def test_sums_are_those_of_a_dictionary(script: list) -> None:
    outcomes = UserDayOutcomes(USERS, FIRST, DAYS)
    expected: dict[tuple[int, int, str], float] = defaultdict(float)
    for cells, metrics, amount in script:
        rows, days = np.array(list(cells)), np.array(list(cells.values()))
        values = {name: amount + number + rows for number, name in enumerate(sorted(metrics))}
        outcomes.add(rows, FIRST + days, values)
        for number, name in enumerate(sorted(metrics)):
            for row, day in cells.items():
                expected[row, day, name] += amount + number + row
    for row in range(USERS):
        for day in range(DAYS):
            for name in OUTCOMES:
                assert outcomes.values[row, day, INDEX[name]] == expected[row, day, name]


def test_assigning_replaces_one_metric_of_one_cell() -> None:
    outcomes = UserDayOutcomes(USERS, FIRST, DAYS)
    rows, day = np.array([2, 0]), np.array([FIRST + 1, FIRST])
    for values in ([1.0, 1.0], [0.0, 1.0]):
        outcomes.assign(rows, day, "returned", np.array(values))
    expected = np.zeros((USERS, DAYS, len(OUTCOMES)))
    expected[0, 0, INDEX["returned"]] = 1.0
    assert np.array_equal(outcomes.values, expected)


def test_days_that_were_not_announced_are_refused() -> None:
    outcomes = UserDayOutcomes(USERS, FIRST, DAYS)
    with pytest.raises(IndexError):
        outcomes.add(np.array([0]), np.array([FIRST + DAYS]), {"clicks": np.ones(1)})


def test_extending_keeps_what_there_is_and_never_shrinks() -> None:
    outcomes = UserDayOutcomes(USERS, FIRST, DAYS)
    outcomes.add(np.array([1]), np.array([FIRST + 2]), {"clicks": np.array([5])})
    for days, expected in ((DAYS + 4, DAYS + 4), (1, DAYS + 4)):
        outcomes.extend(days)
        assert outcomes.days == expected
        assert outcomes.values[1, 2, INDEX["clicks"]] == 5.0
        assert outcomes.values.sum() == 5.0
    outcomes.add(np.array([1]), np.array([FIRST + DAYS + 3]), {"clicks": np.array([2])})
    assert outcomes.values.sum() == 7.0


def test_frame_has_one_row_per_person_and_day() -> None:
    outcomes = UserDayOutcomes(2, FIRST, 2)
    outcomes.add(np.array([1]), np.array([FIRST + 1]), {"likes": np.array([3]), "clicks": [4]})
    frame = outcomes.to_frame(np.array([900, 100]))
    assert frame.columns == ["user_id", "day", *OUTCOMES]
    assert frame.select("user_id", "day").rows() == [
        (900, FIRST),
        (900, FIRST + 1),
        (100, FIRST),
        (100, FIRST + 1),
    ]
    assert frame["likes"].to_list() == [0, 0, 0, 3]
    assert frame["clicks"].to_list() == [0, 0, 0, 4]
    assert frame.select(OUTCOMES).schema == dict.fromkeys(OUTCOMES, pl.Float64())


def test_a_copy_is_independent() -> None:
    outcomes = UserDayOutcomes(USERS, FIRST, DAYS)
    copy = outcomes.copy()
    copy.add(np.array([0]), np.array([FIRST]), {"clicks": np.ones(1)})
    copy.extend(DAYS + 1)
    assert outcomes.values.sum() == 0.0
    assert (outcomes.days, copy.days, copy.first_day) == (DAYS, DAYS + 1, FIRST)
