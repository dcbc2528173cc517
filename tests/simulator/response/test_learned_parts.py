from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import expon, kstest

from simulator.calendar import HOUR_MS
from simulator.response.learned import metrics
from simulator.response.learned.carried import KEPT, CarriedState, replay_states
from simulator.response.learned.chain import NEVER, Calibration, Chain, chain_mask
from simulator.response.learned.features import CONTEXT_FEATURES, context_features
from simulator.response.learned.heads import (
    HATE,
    LIKE,
    N_OUTCOMES,
    N_OUTPUTS,
    OUTCOMES,
)
from simulator.response.learned.network import SIZE, Predictor, ResponseNet, Sizes
from simulator.response.learned.parts.split import split_by_time
from simulator.response.learned.playtime import PlayTime, thresholds
from simulator.response.learned.quantiles import QuantileTable
from simulator.response.learned.sessions import (
    ReturnModel,
    _product_limit_quantiles,
    _profile_hours,
    _profile_inverse,
    hour_of_day,
)

CHINA = ZoneInfo("Asia/Shanghai")


def test_states_before_each_page_match_a_plain_loop() -> None:
    random = np.random.default_rng(2)
    user = np.sort(random.integers(0, 9, 400)).astype(np.int32)
    video = random.integers(0, 30, 400).astype(np.int32)
    like, hate = random.random((2, 400)) < 0.4
    page_start = np.arange(400)
    for i in range(1, 400):
        if user[i] == user[i - 1] and random.random() < 0.5:
            page_start[i] = page_start[i - 1]
    before, final = replay_states(user, video, like, hate, page_start, 10)
    liked: dict[int, list[int]] = {u: [] for u in range(10)}
    hated: dict[int, list[int]] = {u: [] for u in range(10)}
    at_start = {}
    for i in range(400):
        u = int(user[i])
        if page_start[i] == i:
            at_start[i] = (liked[u][-KEPT:], hated[u][-KEPT:], len(liked[u]))
        expected = at_start[int(page_start[i])]
        assert sorted(before.liked[i][before.liked[i] >= 0]) == sorted(expected[0])
        assert sorted(before.hated[i][before.hated[i] >= 0]) == sorted(expected[1])
        assert before.liked_count[i] == expected[2]
        if like[i]:
            liked[u].append(int(video[i]))
        if hate[i]:
            hated[u].append(int(video[i]))
    assert final.hated_count.tolist() == [len(hated[u]) for u in range(10)]


def test_taken_states_are_independent() -> None:
    state = CarriedState(3)
    other = state.copy()
    yes = np.ones(1, dtype=bool)
    other.update(np.array([1]), np.array([4], np.int32), yes, ~yes)
    assert state.liked_count.sum() == 0
    assert other.liked_count.tolist() == [0, 1, 0]
    assert other.hated_count.sum() == 0


def test_quantile_table_reproduces_its_cells_and_inverts() -> None:
    random = np.random.default_rng(1)
    cell = random.integers(0, 2, 20_000)
    value = np.where(cell == 0, random.exponential(5_000, 20_000), random.lognormal(9, 1, 20_000))
    table = QuantileTable.fit(value, cell, 3, np.array([0, 0, 1]))
    drawn = table.value(random.normal(size=20_000), np.zeros(20_000, dtype=int))
    for level in (0.1, 0.5, 0.9):
        expected = expon(scale=5_000).ppf(level)
        assert np.quantile(drawn, level) == pytest.approx(expected, rel=0.06)
    again = table.value(table.score(value, cell), cell)
    for index in (0, 1):
        low, high = np.quantile(value[cell == index], [0.02, 0.98])
        inside = (cell == index) & (value > low) & (value < high)
        np.testing.assert_allclose(again[inside], value[inside], rtol=0.02)
    assert (np.diff(table.values, axis=1) >= 0).all()
    assert table.values[2].tolist() == np.quantile(value, np.linspace(0, 1, 201)).tolist()


def test_scores_of_many_ties_are_standardised() -> None:
    value = np.repeat([0.0, 100.0], [700, 300])
    table = QuantileTable.fit(value, np.zeros(1000, dtype=int), 1, np.zeros(1, dtype=int))
    score = table.score(value, np.zeros(1000, dtype=int))
    assert score[0] < 0 < score[-1]
    assert np.abs(score).max() < 3


@given(st.integers(1_500_000_000_000, 1_700_000_000_000), st.integers(0, 50))
def test_profile_time_inverts(time_ms: int, seed: int) -> None:
    profile = np.random.default_rng(seed).uniform(0.1, 3.0, 24)
    profile /= profile.mean()
    hours = _profile_hours(np.array([time_ms]), profile)
    assert abs(int(_profile_inverse(hours, profile)[0]) - time_ms) <= 2


@given(st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1), timezones=st.just(CHINA)))
@example(datetime(2022, 4, 16, 1, tzinfo=CHINA))  # Saturday in China, still Friday in UTC.
@example(datetime(2022, 4, 18, 1, tzinfo=CHINA))  # Monday in China, still Sunday in UTC.
def test_hour_and_weekend_of_the_context_are_those_in_china(moment: datetime) -> None:
    found = context_features(np.array([int(moment.timestamp() * 1000)]))[0]
    hour = moment.hour + moment.minute / 60 + moment.second / 3600 + moment.microsecond / 3.6e9
    angle = 2 * np.pi * hour / 24
    waves = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    np.testing.assert_allclose(found[:4], waves, atol=1e-5)
    assert found[4] == (moment.weekday() >= 5)


def test_product_limit_without_censoring_is_the_empirical_distribution() -> None:
    gap = np.random.default_rng(0).exponential(1.0, 5_000)
    quantiles = _product_limit_quantiles(gap, np.ones(5_000, dtype=bool))
    levels = np.linspace(0, 1, len(quantiles))[1:-1]
    np.testing.assert_allclose(quantiles[1:-1], np.quantile(gap, levels), rtol=0.03, atol=0.002)


def test_product_limit_undoes_censoring() -> None:
    random = np.random.default_rng(0)
    gap, cut = random.exponential(1.0, 20_000), random.uniform(0.0, 2.0, 20_000)
    quantiles = _product_limit_quantiles(np.minimum(gap, cut), gap <= cut)
    middle = len(quantiles) // 2
    assert quantiles[middle] == pytest.approx(np.log(2.0), rel=0.04)


def test_returns_recover_rates_and_hours() -> None:
    random = np.random.default_rng(4)
    rows = []
    for person in range(300):
        per_hour = 0.1 if person % 2 else 0.4
        time = 1_649_347_200_000
        while True:
            time += int(random.exponential(1.0 / per_hour) * HOUR_MS)
            if time > 1_649_347_200_000 + 14 * 24 * HOUR_MS:
                break
            if 10 <= hour_of_day(np.array([time]))[0] < 20:
                rows.append((person, time))
    user, start = (np.array(c) for c in zip(*rows, strict=True))
    model = ReturnModel.fit(
        user.astype(np.int32),
        start,
        start,
        log_end_ms=1_649_347_200_000 + 14 * 24 * HOUR_MS,
        n_users=300,
        minimum_gap_ms=0,
    )
    assert model.profile[12] > 20 * model.profile[3]
    active = 10 / 24
    assert np.median(model.rate[1::2]) == pytest.approx(0.1 * active, rel=0.12)
    assert np.median(model.rate[::2]) == pytest.approx(0.4 * active, rel=0.12)
    now = np.full(4_000, 1_652_000_000_000)
    level = (np.arange(4_000) + 0.5) / 4_000
    starts = model.next_start(np.zeros(4_000, np.int32), now, level)
    assert (starts > now).all()
    hours = hour_of_day(starts)
    assert ((hours >= 10) & (hours < 20)).mean() > 0.95
    rescaled = (_profile_hours(starts, model.profile) - _profile_hours(now, model.profile)) * (
        model.rate[0]
    )
    assert kstest(rescaled, expon.cdf).statistic < 0.06


@given(st.integers(0, 5_000))
@settings(max_examples=50)
def test_auc_counts_pairs(seed: int) -> None:
    random = np.random.default_rng(seed)
    label, score = random.integers(0, 2, 40), random.integers(0, 6, 40) / 5
    good, bad = score[label == 1], score[label == 0]
    if len(good) == 0 or len(bad) == 0:
        assert metrics.auc(label, score) is None
        return
    pairs = (good[:, None] > bad) + 0.5 * (good[:, None] == bad)
    assert metrics.auc(label, score) == pytest.approx(pairs.mean())


def test_calibration_error_sees_a_shift_and_pinball_prefers_the_quantile() -> None:
    random = np.random.default_rng(0)
    chance = random.uniform(0.1, 0.7, 40_000)
    label = (random.random(40_000) < chance).astype(np.int8)
    assert metrics.calibration_error(label, chance) < 0.01
    assert metrics.calibration_error(label, chance + 0.2) == pytest.approx(0.2, abs=0.01)
    value = random.exponential(1.0, 20_000)
    losses = [metrics.pinball(value, q, 0.9) for q in (1.5, expon.ppf(0.9), 3.5)]
    assert losses[1] == min(losses)


def test_numpy_and_torch_networks_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    net = ResponseNet(Sizes(5, 1, 8, 1, 1), torch.zeros(N_OUTPUTS), generator)
    random = np.random.default_rng(0)
    p, q = random.normal(size=(4, SIZE)), random.normal(size=(8, SIZE))
    arrays = {k: v.detach().numpy() for k, v in net.named_parameters()}
    predictor = Predictor.from_arrays({**arrays, "p": p, "q": q})
    liked, hated = random.normal(size=(2, 4, SIZE))
    context, place = random.normal(size=(4, CONTEXT_FEATURES)), random.normal(size=(4, 3))
    videos = random.integers(0, 8, (4, 3)).astype(np.int32)
    got = predictor.outputs(np.arange(4, dtype=np.int32), videos, liked, hated, context, place)
    for slot in range(3):
        inputs = [p, q[videos[:, slot]], liked, hated]
        inputs.append(np.concatenate([context, place[:, slot : slot + 1]], axis=1))
        with torch.no_grad():
            expected = net(*(torch.from_numpy(x).float() for x in inputs)).numpy()
        np.testing.assert_allclose(got[:, slot], expected, atol=1e-5)


def test_platt_repairs_a_distorted_logit_and_trusts_little_data_little() -> None:
    random = np.random.default_rng(0)
    logit = random.normal(0, 1.5, (6_000, N_OUTCOMES))
    label = (random.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    fixed = np.full(N_OUTCOMES, np.nan)
    many = Calibration.fit(2.0 * logit + 1.0, label, [], fixed)
    np.testing.assert_allclose(many.slope, 0.5, atol=0.06)
    np.testing.assert_allclose(many.shift, -0.5, atol=0.12)
    # Eight rows that a line separates: without the prior, the slope has no bound.
    few = Calibration.fit(2.0 * logit[:8], (logit[:8] > 0.0).astype(np.int8), [], fixed)
    assert (few.slope > 1.0).all() and (few.slope < 2.5).all()


def test_the_chain_draws_the_joint_distribution_it_states() -> None:
    weights = np.zeros((N_OUTPUTS, N_OUTCOMES))
    weights[HATE, LIKE] = -50.0
    fixed = np.full(N_OUTCOMES, NEVER)
    fixed[[LIKE, HATE]] = np.nan
    chain = Chain(weights * chain_mask(), Calibration.none(fixed))
    random = np.random.default_rng(0)
    drawn, used = chain.walk(np.zeros((50_000, N_OUTPUTS)), lambda head: random.random(50_000))
    like, hate = drawn[:, LIKE], drawn[:, HATE]
    assert like.mean() == pytest.approx(0.5, abs=0.01)
    assert (like & hate).sum() == 0
    assert hate.mean() == pytest.approx(0.25, abs=0.01)
    assert used[HATE].mean() == pytest.approx(hate.mean(), abs=0.01)
    assert drawn[:, [i for i in range(N_OUTCOMES) if i not in (LIKE, HATE)]].sum() == 0
    assert len(used) == len(OUTCOMES) - 1


def test_the_chain_never_looks_forward() -> None:
    mask = chain_mask()
    assert (np.triu(mask[:N_OUTCOMES]) == 0).all()
    assert (mask[N_OUTCOMES + 1 :: 2] == 0).all()


def test_play_times_obey_the_label_rules_where_the_log_does() -> None:
    random = np.random.default_rng(0)
    duration = random.choice([0, 4_000, 12_000, 60_000], 8_000)
    play = random.exponential(12_000, 8_000).astype(np.int64)
    click_at, long_at = thresholds(duration)
    state = np.where(play >= long_at, 2, (play >= click_at).astype(int))
    model = PlayTime.fit(play, state, duration)
    assert model.rules_hold
    drawn = model.draw(random.normal(size=8_000), state, duration)
    np.testing.assert_array_equal(drawn >= long_at, state == 2)
    np.testing.assert_array_equal(drawn >= click_at, state > 0)
    noisy = PlayTime.fit(random.permutation(play), state, duration)
    assert not noisy.rules_hold


def test_the_split_is_by_time_inside_each_person() -> None:
    user = np.repeat([0, 1, 2], [40, 200, 3])
    part = split_by_time(user)
    for person in (0, 1):
        mine = part[user == person]
        assert (np.diff(mine) >= 0).all()
        assert (mine == 0).mean() == pytest.approx(0.85, abs=0.02)
        assert (mine == 2).mean() == pytest.approx(0.075, abs=0.02)
