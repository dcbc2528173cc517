"""Videos and comments of the built-in world have the distributions that their docs state.

Tests that draw say their error rate; all of them use fixed seeds.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from simulator.calendar import DAY_MS, HOUR_MS
from simulator.world.config import WorldConfig
from simulator.world.draws import IndependentDraws
from simulator.world.items import N_STYLES, N_TOPICS, _discussability, topic_vectors
from simulator.world.vocabulary import TOPICS_PER_GROUP
from simulator.world.world import World

CONFIG = dataclasses.replace(
    WorldConfig(), n_videos=8_000, n_authors=900, comments_min=2, comments_max=40,
    platform_random_pool=2_000, series_share=0.3,
)  # fmt: skip
WORLD = World.create(CONFIG, 2)
VIDEOS, COMMENTS = WORLD.videos, WORLD.comments
N, M = CONFIG.n_videos, len(COMMENTS.appeal)
OF = np.repeat(np.arange(N), np.diff(COMMENTS.offsets))
"""The video of each comment."""
RARE = 1e-4
"""p values below this fail: one wrong alarm in ten thousand seeds."""

# KuaiRand-Pure's pool of random videos (docs/world.md): share of videos, seconds.
POOL = {0.01: 7.44, 0.05: 10.73, 0.10: 14.59, 0.25: 31.95, 0.5: 81.17, 0.75: 148.2, 0.9: 237.8,
        0.95: 303.5, 0.99: 510.0}  # fmt: skip


def test_topics_of_a_group_are_close_and_videos_are_near_their_topic() -> None:
    inside, across = [], []
    for seed in range(20):
        topics = topic_vectors(CONFIG, seed).astype(float)
        np.testing.assert_allclose(np.linalg.norm(topics, axis=1), 1.0, rtol=1e-5)
        cosine = topics @ topics.T
        group = np.arange(N_TOPICS) // TOPICS_PER_GROUP
        same = group[:, None] == group
        inside.append(cosine[same & ~np.eye(N_TOPICS, dtype=bool)].mean())
        across.append(cosine[~same].mean())
    # Of each unit vector 0.6 are the group's and 0.8 its own: the cosine is 0.36.
    assert np.mean(inside) == pytest.approx(0.36, abs=0.03)
    assert np.mean(across) == pytest.approx(0.0, abs=0.03)
    np.testing.assert_allclose(np.linalg.norm(VIDEOS.vector, axis=1), 1.0, rtol=1e-5)
    cosine = (VIDEOS.vector * WORLD.topics[VIDEOS.topic]).sum(axis=1).mean()
    # 0.8 of the topic, 0.35 of the author, 0.45 of its own, before the length is made one.
    assert cosine == pytest.approx(0.8 / np.sqrt(0.8**2 + 0.35**2 + 0.45**2), abs=0.03)


def test_most_videos_of_an_author_are_of_one_topic() -> None:
    count = np.zeros((CONFIG.n_authors, N_TOPICS), dtype=np.int64)
    np.add.at(count, (VIDEOS.author, VIDEOS.topic), 1)
    many = count.sum(axis=1) >= 10
    main = count[many].max(axis=1).sum() / count[many].sum()
    # 15 % go astray, of which one in 24 falls on the author's own topic again.
    assert main == pytest.approx(1.0 - 0.15 * (1 - 1 / N_TOPICS), abs=0.02)
    away = count[many].sum(axis=0) > 0
    assert away.all() and VIDEOS.topic.min() == 0 and VIDEOS.topic.max() == N_TOPICS - 1
    # The most productive authors make more: the k-th in proportion to (k + 10)^-0.6.
    share = (np.arange(CONFIG.n_authors) + 10.0) ** -0.6
    share /= share.sum()
    halves = count.sum(axis=1)
    top = halves[:100].sum()
    expected, spread = N * share[:100].sum(), np.sqrt(N * share[:100].sum())
    assert abs(top - expected) < 4.0 * spread


def test_qualities_are_standard_normal_and_uploads_even() -> None:
    assert stats.kstest(VIDEOS.quality, "norm").pvalue > RARE
    assert stats.kstest(COMMENTS.appeal, "norm").pvalue > RARE
    span = (CONFIG.old_days + CONFIG.new_days) * DAY_MS
    at = (VIDEOS.upload_ms - CONFIG.start_ms + CONFIG.old_days * DAY_MS) / span
    assert stats.kstest(at, "uniform").pvalue > RARE
    assert (np.diff(VIDEOS.upload_ms) >= 0).all()
    fame = np.log(VIDEOS.popularity) / CONFIG.popularity_sigma
    assert stats.kstest(fame, "norm").pvalue > RARE
    found = np.corrcoef(fame, VIDEOS.quality)[0, 1]
    assert found == pytest.approx(CONFIG.popularity_quality, abs=0.02)


def test_discussability_is_of_unit_variance_shared_by_topic_author_and_video() -> None:
    whole, topics, authors = [], [], []
    for seed in range(60):
        # One video for each pair of a topic and an author.
        topic, author = (grid.ravel() for grid in np.meshgrid(np.arange(24), np.arange(24)))
        draws = IndependentDraws(np.random.default_rng(seed))
        table = _discussability(draws, 24, topic, author).astype(float).reshape(24, 24)
        rows, columns = table.mean(axis=1), table.mean(axis=0)
        rest = table - rows[:, None] - columns + table.mean()
        own = (rest**2).sum() / 23**2
        authors.append(rows.var(ddof=1) - own / 24)
        topics.append(columns.var(ddof=1) - own / 24)
        whole.append(own)
    # Means over 60 worlds of variance components: their error is below 0.01.
    assert np.mean(whole) == pytest.approx(0.6, abs=0.02)
    assert np.mean(topics) == pytest.approx(0.2, abs=0.04)
    assert np.mean(authors) == pytest.approx(0.2, abs=0.04)


def test_durations_are_log_normal_and_those_of_the_random_pool_published() -> None:
    seconds = VIDEOS.duration_ms / 1000
    for level, published in POOL.items():
        assert np.quantile(seconds[VIDEOS.pool], level) == pytest.approx(published, rel=0.01)
    assert len(VIDEOS.pool) == CONFIG.platform_random_pool
    assert (VIDEOS.upload_ms[VIDEOS.pool] < CONFIG.start_ms).all()
    others = np.delete(seconds, VIDEOS.pool)
    assert others.min() >= 2.999 and others.max() <= 1_200.0
    score = (np.log(others) - np.log(CONFIG.duration_median)) / CONFIG.duration_sigma
    low, high = ((np.log(x / CONFIG.duration_median)) / CONFIG.duration_sigma for x in (4.0, 1e3))
    inside = stats.norm.cdf(score[(score > low) & (score < high)])
    ends = stats.norm.cdf([low, high])
    assert stats.kstest((inside - ends[0]) / (ends[1] - ends[0]), "uniform").pvalue > RARE


def test_episodes_of_a_series_follow_each_other() -> None:
    serial = VIDEOS.episode > 0
    for author in np.unique(VIDEOS.author):
        mine = np.flatnonzero(VIDEOS.author == author)
        assert len(set(serial[mine])) == 1
        if serial[mine[0]]:
            assert VIDEOS.episode[mine].tolist() == list(range(1, len(mine) + 1))
            assert VIDEOS.sequel[mine].tolist() == [*mine[1:].tolist(), -1]
        else:
            assert (VIDEOS.sequel[mine] == -1).all()
    authors = np.unique(VIDEOS.author)
    share = np.mean([serial[VIDEOS.author == a][0] for a in authors])
    assert share == pytest.approx(0.3, abs=4.0 * np.sqrt(0.21 / len(authors)))


def test_numbers_of_comments_follow_quality_and_discussability() -> None:
    counts = np.diff(COMMENTS.offsets)
    assert counts.min() >= CONFIG.comments_min and counts.max() == CONFIG.comments_max
    c, draws = CONFIG, np.random.default_rng(0).normal(size=(N, 20))
    centre = np.log(c.comments_median) + 0.25 * VIDEOS.quality
    centre = centre + c.comments_discussability * VIDEOS.discussability
    expected = np.exp(centre[:, None] + c.comments_sigma * draws)
    expected = np.clip(np.round(expected), c.comments_min, c.comments_max)
    assert counts.mean() == pytest.approx(expected.mean(), rel=0.02)
    for of in (VIDEOS.quality, VIDEOS.discussability):
        for half in (of > 1.0, of < -1.0):
            assert counts[half].mean() == pytest.approx(expected[half].mean(), rel=0.04)


def test_comments_are_written_after_the_upload_and_stand_by_their_likes() -> None:
    hours = (COMMENTS.time_ms - VIDEOS.upload_ms[OF]) / HOUR_MS
    assert stats.kstest((np.log(hours) - 2.0) / 1.4, "norm").pvalue > RARE
    same = OF[1:] == OF[:-1]
    assert (np.diff(COMMENTS.likes.astype(np.int64))[same] <= 0).all()
    np.testing.assert_array_equal(COMMENTS.replies, np.floor(COMMENTS.likes * 0.08))
    # Likes are rounded down; where there are many, their logarithm is normal.
    centre = np.log(2.0) + 1.0 + 1.1 * COMMENTS.appeal + 0.5 * VIDEOS.quality[OF]
    many = centre > 5.0
    score = (np.log(COMMENTS.likes[many] + 0.5) - centre[many]) / 0.6
    assert abs(score.mean()) < 4.0 / np.sqrt(many.sum()) + 0.01
    assert score.std() == pytest.approx(1.0, abs=0.05)


def test_a_comment_has_one_dominant_style_and_a_little_of_the_others() -> None:
    np.testing.assert_array_equal(COMMENTS.style.argmax(axis=1), COMMENTS.dominant)
    rest = COMMENTS.style - np.eye(N_STYLES)[COMMENTS.dominant]
    assert rest.std() == pytest.approx(0.25 / np.sqrt(N_STYLES), rel=0.02)
    assert np.bincount(COMMENTS.dominant, minlength=N_STYLES).min() > 0.05 * M


def test_what_a_video_adds_to_the_odds_of_opening_its_comments() -> None:
    counts = np.diff(COMMENTS.offsets)
    c = CONFIG
    expected = c.open_comments * np.log(counts / c.comments_median)
    expected = expected + c.open_discussability * VIDEOS.discussability
    np.testing.assert_allclose(WORLD.talk, expected, rtol=1e-4, atol=1e-4)
    none = World.create(dataclasses.replace(c, comments_min=0, comments_median=1.0), 2)
    empty = np.diff(none.comments.offsets) == 0
    assert empty.any() and (none.talk[empty] == -30.0).all() and (none.talk[~empty] > -20.0).all()
    scale = WORLD.relevance_scale
    assert np.hypot(c.click_taste, c.click_quality) * scale == pytest.approx(1.0)
    keys = np.random.default_rng(0).integers(0, 2**63, 20_000).astype(np.uint64)
    half = np.where(np.arange(20_000) % 2, 0.3, 0.05)
    grid = WORLD.in_grid(keys, half)
    assert grid[1::2].mean() == pytest.approx(0.3, abs=0.015)
    assert grid[::2].mean() == pytest.approx(0.05, abs=0.01)
