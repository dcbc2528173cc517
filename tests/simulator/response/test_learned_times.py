"""Times of the learned response by hand: label rules, quantile tables, returns, corrections."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from simulator.calendar import HOUR_MS
from simulator.response.learned import metrics, quality
from simulator.response.learned.chain import (
    NEVER,
    Calibration,
    Chain,
    chain_mask,
    play_state,
)
from simulator.response.learned.heads import (
    CLICK,
    END,
    GAUSSIANS,
    LIKE,
    LONG_VIEW,
    N_OUTCOMES,
    N_OUTPUTS,
    OUTCOMES,
)
from simulator.response.learned.playtime import PlayTime, duration_group, thresholds
from simulator.response.learned.quantiles import LEVELS, QuantileTable
from simulator.response.learned.sessions import ReturnModel, _product_limit_quantiles

SKIP, CLICKED, LONG = 0, 1, 2


def test_labels_ask_for_7_and_18_seconds_or_the_whole_of_a_shorter_video() -> None:
    duration = np.array([0, 5_000, 7_000, 7_001, 12_000, 18_000, 60_000])
    click, long_view = thresholds(duration)
    assert click.tolist() == [7_001, 5_000, 7_000, 7_001, 7_001, 7_001, 7_001]
    assert long_view.tolist() == [18_000, 5_000, 7_000, 7_001, 12_000, 18_000, 18_000]


def test_groups_of_durations_begin_at_their_edges() -> None:
    edges = [1, 7_000, 12_000, 18_000, 35_000, 60_000, 120_000]
    assert duration_group(np.array([0])).tolist() == [0]
    for number, edge in enumerate(edges):
        assert duration_group(np.array([edge - 1, edge])).tolist() == [number, number + 1]


def test_drawn_play_times_end_at_the_limits_of_their_state() -> None:
    # Play times of one value per state: whatever is drawn must move to the nearest limit.
    for held in (True, False):
        model = PlayTime(QuantileTable(np.full((24, LEVELS), 9_000.4)), held, 1.0)
        state = np.array([SKIP, CLICKED, LONG, SKIP, CLICKED, LONG, CLICKED])
        duration = np.array([60_000] * 3 + [6_000] * 3 + [8_000])
        drawn = model.draw(np.zeros(7), state, duration).tolist()
        # At most 7 s for a skip of a long video; a click on 6 s is a view of all 6 s.
        limits = [7_000, 9_000, 18_000, 5_999, 6_000, 9_000, 7_999]
        assert drawn == (limits if held else [9_000] * 7)


def test_rules_are_held_where_nearly_all_of_the_log_follows_them() -> None:
    duration, play = np.full(1_000, 60_000), np.full(1_000, 9_000)
    for odd, held in ((10, True), (11, False)):
        state = np.where(np.arange(1_000) < odd, LONG, CLICKED)
        model = PlayTime.fit(play, state, duration)
        assert model.conformity == pytest.approx(1.0 - odd / 1_000)
        assert model.rules_hold is held


def test_cells_with_few_rows_take_the_quantiles_of_their_group_or_of_all() -> None:
    random = np.random.default_rng(0)
    sizes = {0: 60, 1: 59, 2: 300, 3: 30, 4: 20}
    cell = np.repeat(list(sizes), list(sizes.values()))
    value = random.exponential(1_000.0, len(cell)) * (1 + cell)
    parent = np.array([0, 1, 1, 2, 2])
    table = QuantileTable.fit(value, cell, 5, parent).values
    grid = np.linspace(0.0, 1.0, LEVELS)
    taken = [cell == 0, (cell == 1) | (cell == 2), cell == 2, cell >= 0, cell >= 0]
    for index, rows in enumerate(taken):
        np.testing.assert_allclose(table[index], np.quantile(value[rows], grid))
    assert (QuantileTable.fit(value[:0], cell[:0], 2, parent[:2]).values == 0.0).all()


def test_scores_and_values_are_normal_quantiles_of_the_table() -> None:
    table = QuantileTable(np.stack([np.linspace(0, 1_000, LEVELS), np.full(LEVELS, 7.0)]))
    level = np.array([0.02, 0.5, 0.777, 0.99])
    cell = np.zeros(4, dtype=np.int64)
    np.testing.assert_allclose(table.value(norm.ppf(level), cell), 1_000 * level)
    np.testing.assert_allclose(table.score(1_000 * level, cell), norm.ppf(level))
    # All values alike: the middle rank. Beyond the table: half a step from its end.
    ends = table.score(np.array([7.0, -5.0, 2_000.0]), np.array([1, 0, 0]))
    edge = norm.ppf(0.5 / (LEVELS - 1))
    np.testing.assert_allclose(ends, [0.0, edge, -edge], atol=1e-12)
    np.testing.assert_allclose(table.value(np.array([-9.0, 9.0]), cell[:2]), [0, 1_000], atol=1e-9)


def test_tied_values_score_at_the_middle_of_their_levels() -> None:
    row = np.concatenate([np.zeros(101), np.linspace(1, 50, 100)])
    score = QuantileTable(row[None]).score(np.array([0.0]), np.zeros(1, dtype=np.int64))
    assert score[0] == pytest.approx(norm.ppf(0.25))


def test_censored_gaps_have_the_product_limit_and_an_exponential_tail() -> None:
    random = np.random.default_rng(3)
    gap = np.round(random.exponential(1.0, 400), 6)
    happened = random.random(400) < 0.7
    happened[np.argsort(gap)[-40:]] = False
    survival, at_risk, steps = 1.0, 400, []
    for i in np.argsort(gap):
        if happened[i]:
            survival *= 1.0 - 1.0 / at_risk
            steps.append((gap[i], 1.0 - survival))
        at_risk -= 1
    found = _product_limit_quantiles(gap, happened)
    levels = np.linspace(0.0, 1.0, len(found))
    inside = (levels > steps[0][1]) & (levels < steps[-1][1])
    for level, quantile in zip(levels[inside], found[inside], strict=True):
        reached = [(time, share) for time, share in steps if share >= level]
        before = [(time, share) for time, share in steps if share < level]
        assert before[-1][0] <= quantile <= reached[0][0]
    # Beyond the last event the gaps go on at the rate of all events per time at risk.
    rate = happened.sum() / gap.sum()
    beyond = (levels > steps[-1][1]) & (levels < 1.0)
    assert beyond.sum() > 5
    tail = np.log(survival / (1.0 - levels[beyond])) / rate
    np.testing.assert_allclose(found[beyond], steps[-1][0] + tail)
    assert np.isfinite(found).all() and (np.diff(found) >= 0).all()


def test_fewer_than_twenty_gaps_count_as_exponential() -> None:
    gap = np.linspace(5.0, 9.0, 30)
    few = _product_limit_quantiles(gap, np.arange(30) < 19)
    levels = np.linspace(0.0, 1.0, len(few))[:-1]
    np.testing.assert_allclose(few[:-1], -np.log(1.0 - levels), atol=1e-12)
    assert _product_limit_quantiles(gap, np.arange(30) < 20)[200] > 5.0


def test_rates_are_shrunken_towards_the_common_one() -> None:
    # One session an hour, at every hour of the day alike, so that profile hours are hours.
    start = HOUR_MS * np.arange(24 * 7, dtype=np.int64)
    user = np.zeros(len(start), dtype=np.int32)
    model = ReturnModel.fit(
        user, start, start, log_end_ms=int(start[-1]), n_users=2, minimum_gap_ms=0
    )
    np.testing.assert_allclose(model.profile, 1.0)
    # 167 gaps of one hour; the last session ends with the log, so nothing follows it.
    common = 1.0
    np.testing.assert_allclose(model.rate, [(167 + 2) / (167 + 2 / common), 1.0])
    nothing = ReturnModel.fit(
        user[:1], start[:1], start[:1], log_end_ms=0, n_users=1, minimum_gap_ms=0
    )
    assert nothing.rate[0] == pytest.approx(3.0 / 24.0), "three sessions a day where none is known"


def test_a_gap_counts_from_the_end_of_a_session_and_the_least_gap() -> None:
    start = 1_650_000_000_123 + HOUR_MS * np.arange(24, dtype=np.int64)
    end = start + 1_234_567
    user = np.zeros(24, dtype=np.int32)
    least = 600_001
    model = ReturnModel.fit(
        user, start, end, log_end_ms=int(start[-1]), n_users=1, minimum_gap_ms=least
    )
    np.testing.assert_allclose(model.profile, 1.0)
    # 23 gaps, each what is left of an hour; two more of the common rate, which is the same.
    hours = (HOUR_MS - 1_234_567 - least) / HOUR_MS
    np.testing.assert_allclose(model.rate, 1.0 / hours)


def test_gaps_shorter_than_the_least_one_do_not_occur() -> None:
    model = ReturnModel(np.array([2.0]), np.ones(24), np.linspace(0.0, 4.0, 401), HOUR_MS // 2)
    now = np.full(3, 1_650_000_000_000)
    starts = model.next_start(np.zeros(3, np.int32), now, np.array([0.0, 0.5, 1.0]))
    # The middle quantile 2 at two sessions per hour is one hour.
    np.testing.assert_allclose(starts - now, [HOUR_MS / 2, 1.5 * HOUR_MS, 2.5 * HOUR_MS], atol=2)


def test_corrections_of_times_grow_with_the_rows_behind_them() -> None:
    residual = np.tile([1.0, 5.0], 10)
    fixed = np.full(N_OUTCOMES, NEVER)
    outcomes = np.zeros((1, N_OUTCOMES), dtype=np.int8)
    found = Calibration.fit(np.zeros((1, N_OUTCOMES)), outcomes, [residual, residual[:1]], fixed)
    # 20 rows count as much as the prior: half of the mean 3, half of the logarithm of 2.
    np.testing.assert_allclose(found.time_shift, [1.5, 0.0])
    np.testing.assert_allclose(found.time_scale, [np.sqrt(2.0), 1.0])
    assert (found.slope == 1.0).all() and (found.shift == 0.0).all()


def test_chances_and_times_of_a_chain_with_known_numbers() -> None:
    weights = np.zeros((N_OUTPUTS, N_OUTCOMES))
    weights[LIKE, CLICK], weights[N_OUTCOMES, LIKE] = 1.5, -0.5
    calibration = Calibration.none(np.full(N_OUTCOMES, np.nan))
    calibration.slope[LIKE], calibration.shift[LIKE] = 0.5, 0.25
    calibration.time_shift[0], calibration.time_scale[0] = 0.3, 2.0
    calibration.fixed[END] = 1.0
    chain = Chain(weights * chain_mask(), calibration)
    outputs = np.zeros((2, N_OUTPUTS))
    outputs[:, LIKE], outputs[:, N_OUTCOMES] = 0.7, 0.2
    outputs[:, N_OUTCOMES + 1] = [-5.0, 5.0]
    drawn = np.zeros((2, N_OUTCOMES), dtype=np.int8)
    drawn[:, [CLICK, LIKE]] = [[1, 1], [0, 0]]
    chance = chain.probability(outputs, drawn, LIKE)
    np.testing.assert_allclose(chance, expit([0.5 * (0.7 + 1.5) + 0.25, 0.5 * 0.7 + 0.25]))
    assert (chain.probability(outputs, drawn, END) == expit(1.0)).all()
    mean, scale = chain.location(outputs, drawn, 0)
    # The logarithm of a scale is held between -2 and 1.
    np.testing.assert_allclose(scale, 2.0 * np.exp([-2.0, 1.0]))
    np.testing.assert_allclose(mean, np.array([0.2 - 0.5, 0.2]) + 0.3 * np.exp([-2.0, 1.0]))
    assert len(GAUSSIANS) == 2
    drawn[0, LONG_VIEW] = 1
    assert play_state(np.eye(N_OUTCOMES, dtype=np.int8)).tolist() == [
        {"click": CLICKED, "long_view": LONG}.get(name, SKIP) for name in OUTCOMES
    ]


def test_quantiles_of_weighted_draws() -> None:
    random = np.random.default_rng(0)
    value, training = random.integers(0, 100, 40), random.integers(0, 100, 500)
    draws, weight = random.normal(50.0, 20.0, (40, 100)), random.random((40, 100))
    report = quality._quantiles(value, draws, weight, training)
    assert report["rows"] == 40
    for level in (0.1, 0.5, 0.9):
        predicted = []
        for row, of_row in zip(draws, weight, strict=True):
            order = np.argsort(row)
            share = np.cumsum(of_row[order]) / of_row.sum()
            predicted.append(row[order][np.flatnonzero(share >= level)[0]])
        entry = report[f"p{round(100 * level)}"]
        below = np.array([v <= p for v, p in zip(value, predicted, strict=True)])
        assert entry["share_below"] == pytest.approx(below.mean(), abs=1e-4)
        error = value - np.array(predicted)
        loss = np.where(error > 0, level * error, (level - 1.0) * error).mean()
        assert entry["pinball"] == pytest.approx(loss, abs=0.06)
        error = value - np.quantile(training, level)
        loss = np.where(error > 0, level * error, (level - 1.0) * error).mean()
        assert entry["pinball_constant"] == pytest.approx(loss, abs=0.06)
        assert entry["observed"] == round(np.quantile(value, level))
        order = np.argsort(draws.ravel())
        share = np.cumsum(weight.ravel()[order]) / weight.sum()
        assert entry["predicted"] == round(draws.ravel()[order][(share < level).sum()])
    assert quality._quantiles(value[:0], draws[:0], None, training) == {"rows": 0}
    assert quality._quantiles(value, draws, None, training[:0]) == {"rows": 40}


def test_quality_of_chances_by_hand() -> None:
    label = np.array([0, 0, 1, 1], dtype=np.int8)
    chance = np.array([0.1, 0.6, 0.6, 0.9])
    found = quality._binary(label, chance, np.array([0, 0, 0, 1], dtype=np.int8))
    assert found["rows"] == 4 and found["observed_rate"] == 0.5
    assert found["predicted_rate"] == pytest.approx(0.55)
    assert found["auc"] == pytest.approx(3.5 / 4)
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.16 + 0.01) / 4)
    assert found["brier_base_rate"] == pytest.approx((2 * 0.25**2 + 2 * 0.75**2) / 4)
    assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.4 + 0.1) / 4)
    # Two bins of two: means 0.35 and 0.75 against 0 and 1.
    assert metrics.calibration_error(label, chance, bins=2) == pytest.approx(0.3)
    assert quality._binary(label[:2], chance[:2], label)["auc"] is None


def test_people_of_later_pools_get_rates_where_the_first_ones_never_came_back() -> None:
    hour = 3_600_000
    once = np.array([0], dtype=np.int32), np.array([hour]), np.array([2 * hour])
    often = np.full(20, 1, dtype=np.int32), hour * np.arange(20), hour * np.arange(20) + 1
    fit = partial(ReturnModel.fit, log_end_ms=0, n_users=3, minimum_gap_ms=0)
    found = fit(*once, others=[often])
    assert found.rate[1] > 2.0 * found.rate[0]
    assert found.rate[0] == found.rate[2]
