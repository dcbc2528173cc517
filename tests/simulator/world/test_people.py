"""The people of the built-in world have the published features and the stated traits."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from scipy import stats

from simulator.world.config import WorldConfig
from simulator.world.people import N_CIRCLES
from simulator.world.world import World

N = 27_000
USERS = np.arange(N, dtype=np.int32)
CONFIG = dataclasses.replace(
    WorldConfig(), n_videos=500, n_authors=60, comment_taste_topics=0.25,
    comment_taste_strength=1.5, comment_taste_predictable=0.3, click_volume=0.4,
)  # fmt: skip
WORLD = World.create(CONFIG, 3)
PEOPLE = WORLD.people(USERS)
FRAME = WORLD.users_frame(USERS)
RARE = 1e-4

# KuaiRand's 27,285 users (docs/world.md).
ACTIVITY = {"full_active": 0.6582, "high_active": 0.2257, "middle_active": 0.0782,
            "2_14_day_new": 0.0233, "low_active": 0.0110, "other": 0.0037}  # fmt: skip
QUANTILES = {
    "follow_user_num": {0.05: 7, 0.1: 16, 0.9: 1021, 0.95: 1743, 0.99: 4128},
    "fans_user_num": {0.1: 2, 0.5: 48, 0.75: 221, 0.9: 660},
    "friend_user_num": {0.5: 16, 0.95: 550, 0.99: 1626},
    "register_days": {0.5: 1188, 0.75: 1701, 0.9: 2108, 0.95: 2381, 0.99: 2700},
}
LARGEST = {"follow_user_num": 5003, "fans_user_num": 1_986_249, "friend_user_num": 4995,
           "register_days": 3624}  # fmt: skip
RANGE_SHARES = {
    "follow_user_num_range": {"0": 0.00689, "(0,10]": 0.070625 - 0.00689, "500+": 1 - 0.781931},
    "fans_user_num_range": {"0": 0.042404, "[1,10)": 0.237603 - 0.042404, "[1w,10w)": 0.0036},
    "friend_user_num_range": {"0": 0.123694, "[1,5)": 0.31684 - 0.123694, "250+": 1 - 0.883744},
    "register_days_range": {"15-30": 0.0054, "31-60": 0.019315 - 0.005351, "730+": 1 - 0.264687},
}
SPEARMAN = {(0, 1): 0.5191, (0, 2): 0.6296, (0, 3): 0.2211, (1, 2): 0.8885, (1, 3): 0.3149,
            (2, 3): 0.2205}  # fmt: skip


def test_features_have_the_published_quantiles_shares_and_correlations() -> None:
    for name, quantiles in QUANTILES.items():
        for level, value in quantiles.items():
            assert np.quantile(FRAME[name], level) == pytest.approx(value, rel=0.04, abs=1), name
    for name, largest in LARGEST.items():
        assert FRAME[name].max() == pytest.approx(largest, rel=0.15), name
        assert FRAME[name].max() <= largest
    for name, shares in RANGE_SHARES.items():
        for label, share in shares.items():
            assert (FRAME[name] == label).mean() == pytest.approx(share, abs=0.003), label
    for (one, other), rho in SPEARMAN.items():
        names = list(QUANTILES)
        found = stats.spearmanr(FRAME[names[one]], FRAME[names[other]]).statistic
        assert found == pytest.approx(rho, abs=0.02), (names[one], names[other])
    assert FRAME["is_live_streamer"].mean() == pytest.approx(0.225692, abs=0.001)
    assert FRAME["is_video_author"].mean() == pytest.approx(0.816419, abs=0.001)


def limits(label: str) -> tuple[float, float]:
    """The least and the largest whole number of a published range."""
    units = {"": 1, "k": 1_000, "w": 10_000}
    numbers = [int(n) * units[u] for n, u in re.findall(r"(\d+)([kw]?)", label)]
    if label.endswith("+"):
        return numbers[0] + (label in ("500+", "730+")), np.inf
    low, high = numbers[0], numbers[-1]
    return low + label.startswith("("), high - label.endswith(")")


@pytest.mark.parametrize("name", list(QUANTILES))
def test_a_range_holds_its_number(name: str) -> None:
    pairs = FRAME.select(name, f"{name}_range").unique()
    assert pairs[f"{name}_range"].n_unique() >= 7
    for value, label in pairs.iter_rows():
        low, high = limits(label)
        if label == "8-14":
            low = 0
        assert low <= value <= high, (value, label)


def test_activity_classes_have_their_shares_and_follow_the_visits() -> None:
    degree = FRAME["user_active_degree"].to_numpy()
    for name, share in ACTIVITY.items():
        error = 4.0 * np.sqrt(share / N)
        assert (degree == name).mean() == pytest.approx(share, abs=0.01 + error), name
    order = [PEOPLE.visits[degree == name].mean() for name in list(ACTIVITY)[:3]]
    assert order == sorted(order, reverse=True)


def test_visits_are_gamma_with_mean_one_and_traits_normal() -> None:
    shape = 1.0 / CONFIG.visits_person_cv**2
    assert stats.kstest(PEOPLE.visits, stats.gamma(shape, scale=1 / shape).cdf).pvalue > RARE
    for values, sigma in (
        (PEOPLE.like, CONFIG.like_person_sigma),
        (PEOPLE.open, CONFIG.open_person_sigma),
        (PEOPLE.read, CONFIG.read_person_sigma),
        (PEOPLE.pace, CONFIG.dwell_person_sigma),
        (PEOPLE.session, CONFIG.session_person_sigma),
    ):
        assert stats.kstest(values / sigma, "norm").pvalue > RARE
    assert stats.kstest(PEOPLE.phase, "uniform").pvalue > RARE
    counts = np.bincount(PEOPLE.circle, minlength=N_CIRCLES)
    assert len(counts) == N_CIRCLES and stats.chisquare(counts).pvalue > RARE


def test_heavy_users_click_less_by_the_stated_amount() -> None:
    normal_visits = stats.norm.ppf(
        stats.gamma(1 / CONFIG.visits_person_cv**2, scale=CONFIG.visits_person_cv**2).cdf(
            PEOPLE.visits.astype(float)
        )
    )
    volume = CONFIG.visits_person_cv * normal_visits + PEOPLE.session
    volume /= np.hypot(CONFIG.visits_person_cv, CONFIG.session_person_sigma)
    assert volume.std() == pytest.approx(1.0, abs=0.02)
    rest = PEOPLE.click + CONFIG.click_volume * volume
    assert stats.kstest(rest / CONFIG.click_person_sigma, "norm").pvalue > RARE
    assert abs(np.corrcoef(rest, volume)[0, 1]) < 4.0 / np.sqrt(N)


def test_taste_in_comments_is_in_part_taste_in_videos() -> None:
    np.testing.assert_allclose(np.linalg.norm(PEOPLE.taste, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(PEOPLE.drift, axis=1), 1.0, rtol=1e-5)
    explained = PEOPLE.taste @ WORLD.taste_map
    scale = CONFIG.comment_taste_strength * np.sqrt(1.0 - CONFIG.comment_taste_topics)
    share = CONFIG.comment_taste_predictable
    rest = PEOPLE.comment_taste / scale - np.sqrt(share) * explained
    assert stats.kstest(rest[:, 0] / np.sqrt(1.0 - share), "norm").pvalue > RARE
    assert abs(np.corrcoef(rest[:, 0], explained[:, 0])[0, 1]) < 4.0 / np.sqrt(N)
    # What circles add by topic makes up for what the own taste lacks.
    circles = WORLD.circle_taste
    assert circles.shape == (N_CIRCLES, 24, 8)
    wanted = CONFIG.comment_taste_strength * np.sqrt(CONFIG.comment_taste_topics)
    assert circles.std() == pytest.approx(wanted, rel=0.1)


def test_people_are_the_same_in_any_group() -> None:
    some = np.array([26_999, 5, 5, 123], dtype=np.int32)
    group = WORLD.people(some)
    for name, values in vars(group).items():
        # Products of float32 matrices are rounded by the shape of the batch, in the last bit.
        near = 1e-5 if name == "comment_taste" else 0.0
        whole = getattr(PEOPLE, name)[some]
        np.testing.assert_allclose(values, whole, rtol=near, atol=near, err_msg=name)
    assert WORLD.users_frame(some).equals(FRAME[some.tolist()])


def test_affinity_moments_are_those_of_random_people_and_videos() -> None:
    affinity = PEOPLE.taste[:2_000] @ WORLD.videos.vector.T
    mean, deviation = WORLD.affinity_moments
    assert mean == pytest.approx(affinity.mean(), rel=1e-4)
    assert deviation == pytest.approx(affinity.std(), rel=1e-4)


def test_people_differ_in_how_much_they_use_the_two_column_tab() -> None:
    """Log-odds are normal around those of the person in the middle; without a spread all agree."""
    config = dataclasses.replace(CONFIG, grid_share=0.07, grid_person_sigma=1.7)
    grid = World.create(config, 3).people(USERS).grid.astype(float)
    standard = (np.log(grid / (1.0 - grid)) - np.log(0.07 / 0.93)) / 1.7
    assert stats.kstest(standard, "norm").pvalue > RARE
    alike = dataclasses.replace(CONFIG, grid_share=0.07, grid_person_sigma=0.0)
    assert World.create(alike, 3).people(USERS).grid == pytest.approx(np.full(N, 0.07), rel=1e-5)
    never = dataclasses.replace(config, grid_share=0.0)
    assert (World.create(never, 3).people(USERS).grid == 0.0).all()
