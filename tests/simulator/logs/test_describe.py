"""Statistics against counting by hand."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.logs.describe import compare, describe, gini, measure
from simulator.logs.published import KUAISHOU
from tests.simulator.logs.conftest import impressions

Make = Callable[..., Dataset]
MINUTE = 60_000


def test_rates_by_exposure(make_dataset: Make) -> None:
    found = measure(
        make_dataset(
            impressions(
                is_click=[1, 0, 1, 1, 0, 0],
                is_rand=[0, 0, 0, 1, 1, None],
                is_like=[1, 0, 0, 0, 0, 0],
                play_time_ms=[9_000, 1_000, 8_000, 7_500, 500, 2_000],
                comment_stay_time=[4_000, 0, 2_000, 0, 0, 0],
            )
        )
    )
    assert found["click_rate.standard"] == pytest.approx(2 / 4)
    assert found["click_rate.random"] == pytest.approx(1 / 2)
    assert found["play_time.standard"] == pytest.approx((9 + 1 + 8 + 2) / 4)
    assert found["comment_open_rate"] == pytest.approx(2 / 6)
    assert found["comment_open_rate.liked"] == 1.0
    assert found["comment_stay.mean"] == pytest.approx(3.0)
    assert found["liked_given_click"] == pytest.approx(1 / 2)
    assert found["comment_share_of_play"] == pytest.approx(4 / 9)


def test_sessions_gaps_and_bursts(make_dataset: Make) -> None:
    start = 1_650_000_000_000
    times = [0, 0, 5_000, 5_000 + 31 * MINUTE, 5_000 + 31 * MINUTE + 20_000]
    found = measure(make_dataset(impressions(time_ms=[start + t for t in times])))
    assert found["session_length"] == pytest.approx(5 / 2)
    assert found["burst_size"] == pytest.approx(5 / 4)
    assert found["sessions_per_day"] == pytest.approx(2.0)
    assert found["gap.1-10s"] == pytest.approx(1 / 3)
    assert found["gap.10-60s"] == pytest.approx(1 / 3)
    assert found["gap.30-120min"] == pytest.approx(1 / 3)
    hours = [found[f"hours.{h}-{h + 6}h"] or 0.0 for h in (0, 6, 12, 18)]
    assert sum(hours) == pytest.approx(1.0)


def test_comment_touches_per_open(make_dataset: Make) -> None:
    events = pl.DataFrame(
        {
            "user_id": [1, 1],
            "video_id": [0, 0],
            "comment_id": [3, 4],
            "time_ms": [1_650_000_000_000] * 2,
            "is_like": pl.Series([1, 0], dtype=pl.Int8),
            "is_reply": pl.Series([0, 1], dtype=pl.Int8),
        }
    )
    dataset = make_dataset(
        impressions(comment_stay_time=[900, 0, 50, 70]),
        comment_events=events,
        comments=pl.DataFrame({"comment_id": [3, 4], "video_id": [0, 0]}),
    )
    assert measure(dataset)["comment_touches"] == pytest.approx(2 / 3)


def test_missing_columns_are_not_measured(make_dataset: Make) -> None:
    comparisons = {c.name: c for c in compare(make_dataset(impressions(is_click=[1, 0])))}
    for name in ("like_rate.standard", "comment_open_rate", "follows.p50", "click_rate.random"):
        assert comparisons[name].simulated is None, name
        assert comparisons[name].verdict == "not measured"
    assert comparisons["click_rate.standard"].simulated == 0.5


def test_empty_log_gives_no_numbers(make_dataset: Make) -> None:
    statistics = describe(make_dataset(impressions(is_click=[0]).clear()))
    assert all(s.value is None or s.name.startswith("rows.") for s in statistics)


def test_verdict_is_about_fifteen_per_cent(make_dataset: Make) -> None:
    clicks = [1] * 40 + [0] * 60
    by_name = {c.name: c for c in compare(make_dataset(impressions(is_click=clicks)))}
    close = by_name["click_rate.standard"]
    assert close.ratio == pytest.approx(0.40 / 0.378718)
    assert close.verdict == "close"


def test_published_figures_have_definitions_and_sources() -> None:
    assert len(KUAISHOU) >= 60
    assert len({p.name for p in KUAISHOU}) == len(KUAISHOU)
    assert all(p.definition and p.source and p.label and p.unit for p in KUAISHOU)


def test_unknown_reference(make_dataset: Make) -> None:
    with pytest.raises(DataError, match="kuaishou"):
        compare(make_dataset(impressions(is_click=[1])), "netflix")


@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=60))
def test_gini_is_the_mean_difference(values: list[int]) -> None:
    x = np.sort(np.array(values, dtype=np.float64))
    expected = np.abs(x[:, None] - x[None, :]).mean() / (2 * x.mean())
    assert gini(x) == pytest.approx(expected, abs=1e-12)
