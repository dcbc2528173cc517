"""Statistics against counting by hand; published figures as data."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from scipy import stats

from simulator.calibration.contrasts import CONTRASTS, published_contrasts
from simulator.calibration.experiments import published_elasticities
from simulator.calibration.knobs import KNOBS
from simulator.calibration.targets import targets
from simulator.errors import DataError
from simulator.logs import published
from simulator.logs.dataset import Dataset
from simulator.logs.describe import compare, compare_measures, describe, reasons, summary
from simulator.logs.measures import LogTables, Measures, measure
from simulator.logs.measures.tables import gini, spearman
from simulator.logs.published import kuaishou
from simulator.world.config import WorldConfig
from tests.simulator.logs.conftest import impressions

Make = Callable[..., Dataset]
MINUTE = 60_000
START = 1_650_000_000_000


def measured(dataset: Dataset) -> Measures:
    return measure(LogTables.of(dataset))


def test_rates_by_exposure_and_tab(make_dataset: Make) -> None:
    found = measured(
        make_dataset(
            impressions(
                is_click=[1, 0, 1, 1, 0, 0],
                is_rand=[0, 0, 0, 1, 1, None],
                is_like=[1, 0, 0, 0, 0, 0],
                tab=[0, 0, 1, 1, 1, 1],
                play_time_ms=[9_000, 1_000, 8_000, 7_500, 500, 2_000],
                comment_stay_time=[4_000, 0, 2_000, 0, 0, 0],
            )
        )
    )
    assert found["click_rate.standard"] == pytest.approx(2 / 4)
    assert found["click_rate.random"] == pytest.approx(1 / 2)
    assert found["random_share"] == pytest.approx(2 / 6)
    assert found["tab.share_of_0"] == pytest.approx(2 / 4)
    assert found["tab.click_rate_of_0"] == pytest.approx(1 / 2)
    assert found["tab.click_difference_in_1"] == pytest.approx(1 / 2 - 1 / 2)
    assert found["open_rate.all"] == pytest.approx(2 / 6)
    assert found["open_rate.liked"] == 1.0
    assert found["open_rate.liked_played_7-18"] == 1.0
    assert found["open_rate.liked_played_0-3"] is None
    assert found["joint.like_given_click"] == pytest.approx(1 / 2)
    assert found["stay.mean"] == pytest.approx(4.0)
    assert found["stay.mean_of_all"] == pytest.approx(3.0)
    assert found["comment_share.liked"] == pytest.approx(4 / 9)


def test_sessions_gaps_and_bursts(make_dataset: Make) -> None:
    times = [0, 0, 5_000, 5_000 + 31 * MINUTE, 5_000 + 31 * MINUTE + 20_000]
    found = measured(make_dataset(impressions(time_ms=[START + t for t in times])))
    assert found["session_length"] == pytest.approx(5 / 2)
    assert found["burst_size"] == pytest.approx(5 / 4)
    assert found["sessions_per_day"] == pytest.approx(2.0)
    assert found["gap.<1s"] == pytest.approx(1 / 4)
    assert found["gap.1-10s"] == pytest.approx(1 / 3)
    assert found["gap.10-60s"] == pytest.approx(1 / 3)
    assert found["gap.30-120min"] == pytest.approx(1 / 3)
    assert found["gap_seconds.mean"] == pytest.approx((0 + 5 + 31 * 60 + 20) / 4)
    hours = [found[f"hours.{h}-{h + 3}h"] or 0.0 for h in range(0, 24, 3)]
    assert sum(hours) == pytest.approx(1.0)
    assert "weekday.Mon" not in found


def test_weekdays_are_of_whole_weeks_in_china(make_dataset: Make) -> None:
    # 2 October 2023 was a Monday; 16:00 UTC of the day before is its first minute in China.
    monday = 1_696_176_000_000
    assert pl.Series([monday + 8 * 3_600_000]).cast(pl.Datetime("ms")).dt.weekday()[0] == 1
    times = [monday + day * 86_400_000 for day in (0, 0, 0, 2, 6)]
    found = measured(make_dataset(impressions(time_ms=times)))
    assert found["weekday.Mon"] == pytest.approx(3 / 5)
    assert found["weekday.Wed"] == pytest.approx(1 / 5)
    assert found["weekday.Sun"] == pytest.approx(1 / 5)


def test_the_days_of_random_exposure_are_days_in_china(make_dataset: Make) -> None:
    # Exposure at random on 2 October 2023 in China, half of it before midnight UTC.
    midnight = 1_696_176_000_000
    hours = {"before": -1, "early": 1, "late": 9, "random": 2, "random, later": 20, "after": 24}
    clicks = {"before": 0, "early": 1, "late": 0, "random": 1, "random, later": 1, "after": 0}
    found = measured(
        make_dataset(
            impressions(
                time_ms=[midnight + h * 3_600_000 for h in hours.values()],
                is_click=list(clicks.values()),
                is_rand=[int(name.startswith("random")) for name in hours],
            )
        )
    )
    assert found["click_rate.standard"] == pytest.approx(1 / 4)
    assert found["click_rate.standard_same_days"] == pytest.approx(1 / 2)


def test_comment_touches_per_open(make_dataset: Make) -> None:
    events = pl.DataFrame(
        {
            "user_id": [1, 1],
            "video_id": [0, 0],
            "comment_id": [3, 4],
            "time_ms": [START] * 2,
            "is_like": pl.Series([1, 0], dtype=pl.Int8),
            "is_reply": pl.Series([0, 1], dtype=pl.Int8),
        }
    )
    dataset = make_dataset(
        impressions(comment_stay_time=[900, 0, 50, 70]),
        comment_events=events,
        comments=pl.DataFrame({"comment_id": [3, 4], "video_id": [0, 0]}),
    )
    assert measured(dataset)["comment_touches"] == pytest.approx(2 / 3)


def random_log(seed: int, rows: int = 4_000) -> pl.DataFrame:
    """Impressions with every column that statistics read; 20 people, 15 videos."""
    random = np.random.default_rng(seed)

    def flags(share: float) -> pl.Series:
        return pl.Series((random.random(rows) < share).astype(np.int8))

    return pl.DataFrame(
        {
            "user_id": random.integers(0, 20, rows),
            "video_id": random.integers(0, 15, rows) ** 2 // 15,
            "time_ms": START + random.integers(0, 3 * 86_400_000, rows),
            "play_time_ms": random.integers(0, 90_000, rows),
            "duration_ms": random.integers(5_000, 60_000, rows),
            "comment_stay_time": random.integers(1, 30_000, rows) * (random.random(rows) < 0.3),
            "is_click": flags(0.5),
            "long_view": flags(0.4),
            "is_like": flags(0.4),
            "is_comment": flags(0.2),
            "is_hate": flags(0.1),
            "is_rand": pl.Series(
                ((random.random(rows) < 0.2) & (random.integers(0, 2, rows) == 1)).astype(np.int8)
            ),
        }
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_statistics_of_a_random_log_are_those_of_a_loop(seed: int) -> None:
    frame = random_log(seed)
    rows = frame.to_dicts()
    found = measure(LogTables({"impressions": frame.lazy()}))
    standard = [r for r in rows if not r["is_rand"]]
    pool = {r["video_id"] for r in rows if r["is_rand"]}

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    per_user: dict[int, list[dict[str, int]]] = {}
    for r in standard:
        per_user.setdefault(r["user_id"], []).append(r)
    rate = [mean([r["is_click"] for r in own]) for own in per_user.values()]
    counts = [len(own) for own in per_user.values()]
    assert found["click_rate_of_users.p50"] == pytest.approx(np.quantile(rate, 0.5))
    assert found["exposures_of_users.p90"] == pytest.approx(np.quantile(counts, 0.9) / mean(counts))
    expected = stats.spearmanr(rate, counts).statistic
    assert found["click_rate_of_users.spearman_impressions"] == pytest.approx(expected)
    liked = [r for r in standard if r["is_like"]]
    opened = [r for r in liked if r["comment_stay_time"] > 0]
    stay = [r["comment_stay_time"] / 1_000 for r in opened]
    assert found["stay.p90"] == pytest.approx(np.quantile(stay, 0.9))
    written = [r["comment_stay_time"] / 1_000 for r in opened if r["is_comment"]]
    assert found["stay.p50_if_written"] == pytest.approx(np.median(written))
    ratio = [r["play_time_ms"] / r["duration_ms"] for r in liked]
    assert found["watch_ratio.share_ge_1"] == pytest.approx(mean([x >= 1.0 for x in ratio]))
    shown = sorted(sum(r["video_id"] == v for r in standard) for v in {r["video_id"] for r in rows})
    assert found["exposure.gini"] == pytest.approx(gini(np.array([n for n in shown if n])))
    by_video = []
    for video in pool:
        own = [r for r in standard if r["video_id"] == video]
        chance = [r for r in rows if r["is_rand"] and r["video_id"] == video]
        if min(len(own), len(chance)) >= 10:
            by_video.append(mean([r["play_time_ms"] / 1_000 for r in own]))
    assert len(by_video) > 2
    assert found["paired_videos.play_seconds_standard"] == pytest.approx(mean(by_video))


def test_missing_columns_are_not_measured(make_dataset: Make) -> None:
    comparisons = {c.published.name: c for c in compare(make_dataset(impressions(is_click=[1, 0])))}
    for name in ("rate.like", "open_rate.all", "follows.p50", "click_rate.random", "stay.p50"):
        assert comparisons[name].simulated is None, name
        assert comparisons[name].verdict == "not measured"
    assert comparisons["click_rate.standard"].simulated == 0.5


def test_empty_log_gives_no_numbers(make_dataset: Make) -> None:
    statistics = describe(make_dataset(impressions(is_click=[0]).clear()))
    assert all(s.value is None or s.name.startswith("rows.") for s in statistics)


def test_verdicts_keep_to_the_tolerance_of_each_figure() -> None:
    figures = {p.name: p for p in kuaishou()}
    bounds = {"click_rate.standard": 0.05, "stay.p50": 0.10, "stay.p99": 0.20}
    for name, bound in bounds.items():
        assert figures[name].tolerance == bound
        for factor, verdict in ((1 + 0.99 * bound, "close"), (1 - 1.01 * bound, "off")):
            found = {name: figures[name].value * factor}
            (one,) = [c for c in compare_measures(found) if c.published.name == name]
            assert one.verdict == verdict, name
    counts = summary(compare_measures({"stay.p99": figures["stay.p99"].value}))
    assert counts["held out"]["close"] == 1 and counts["fitted"]["close"] == 0


def test_a_figure_published_as_more_than_a_value_is_close_wherever_it_is_above() -> None:
    name = "minutes.comments"
    (figure,) = [p for p in kuaishou() if p.at_least]
    assert figure.name == name and figure.value == 7.0
    for value, verdict in ((21.0, "close"), (7.0, "close"), (5.7, "close"), (5.5, "off")):
        (one,) = [c for c in compare_measures({name: value}) if c.published.name == name]
        assert one.verdict == verdict, value


def test_what_is_off_comes_with_its_reason() -> None:
    figures = {p.name: p for p in kuaishou()}
    name = "exposure.top_1pct"
    assert figures[name].note in reasons(compare_measures({name: 0.01})).values()
    assert not reasons(compare_measures({name: figures[name].value}))


def test_published_figures_have_definitions_sources_and_a_role() -> None:
    figures = kuaishou()
    assert len({p.name for p in figures}) == len(figures)
    assert all(p.definition and p.source and p.label and p.unit for p in figures)
    # Two more of the published statistics than asked for, and a third of them never fitted.
    assert len({p.entry for p in figures}) >= 60
    held_out = sum(p.role == "held out" for p in figures)
    assert held_out >= len(figures) / 3
    table = tomllib.loads(Path(published.__file__).with_suffix(".toml").read_text("utf-8"))
    assert len(table["entry"]) >= 60


def test_the_fit_sees_fitted_figures_only_and_each_has_a_parameter() -> None:
    names = [target.name for target in targets()]
    roles = {p.name: p.role for p in published.kuaishou()}
    roles |= {f"contrast.{c.name}": c.role for c in published_contrasts()}
    roles |= {f"ladder.{e.line.name}": e.line.role for e in published_elasticities()}
    assert {roles[name] for name in names} == {"fitted"}
    assert {c.name for c in published_contrasts()} < set(CONTRASTS)
    # Something of every kind of evidence is kept aside.
    assert {r for n, r in roles.items() if n.startswith("contrast.")} == {"fitted", "held out"}
    assert {r for n, r in roles.items() if n.startswith("ladder.")} == {"fitted", "held out"}
    config = WorldConfig()
    for knob in KNOBS:
        assert hasattr(config, knob.parameter)
        assert any(name.startswith(knob.moves) for name in names), knob.parameter
        assert knob.write(knob.read(config)) == pytest.approx(getattr(config, knob.parameter))
    for name in names:
        assert any(name.startswith(knob.moves) for knob in KNOBS), name


def test_unknown_reference(make_dataset: Make) -> None:
    with pytest.raises(DataError, match="kuaishou"):
        compare(make_dataset(impressions(is_click=[1])), "netflix")


@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=60))
def test_gini_is_the_mean_difference(values: list[int]) -> None:
    x = np.sort(np.array(values, dtype=np.float64))
    expected = np.abs(x[:, None] - x[None, :]).mean() / (2 * x.mean())
    assert gini(x) == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_needs_three_pairs() -> None:
    assert spearman(np.array([1.0, 2.0]), np.array([2.0, 1.0])) is None
    assert spearman(np.array([1.0, 2.0, 5.0]), np.array([9.0, 3.0, 1.0])) == pytest.approx(-1.0)


def test_the_same_log_gives_the_same_numbers_to_the_last_digit() -> None:
    """Groups come in any order, and sums of floats depend on it."""
    random = np.random.default_rng(3)
    frame = random_log(3, rows=60_000).with_columns(
        user_id=pl.Series(random.integers(0, 3_000, 60_000)),
        video_id=pl.Series(random.integers(0, 800, 60_000)),
    )
    found = [measure(LogTables({"impressions": frame.lazy()})) for _ in range(6)]
    assert all(again == found[0] for again in found)
