"""Even draws have the distribution that they replace, and averages that hardly vary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from simulator.world.config import WorldConfig
from simulator.world.draws import EvenDraws, IndependentDraws, even_normals, even_points
from simulator.world.items import taste_map, topic_vectors
from simulator.world.world import World


@given(st.integers(1, 400), st.integers(0, 50), st.integers(0, 2**32))
def test_even_normals_are_normal_scores_in_every_block(n: int, block: int, seed: int) -> None:
    drawn = even_normals(np.random.default_rng(seed), n, block)
    size = min(block or n, n)
    scores = stats.norm.ppf((np.arange(size) + 0.5) / size)
    scores = scores / scores.std() if size > 1 else scores
    assert drawn.shape == (n,)
    for start in range(0, n - size + 1, size):
        np.testing.assert_allclose(np.sort(drawn[start : start + size]), scores, atol=1e-9)


def test_even_normals_come_in_another_order_for_another_seed() -> None:
    first, second = (even_normals(np.random.default_rng(seed), 1_000) for seed in (1, 2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.15
    assert len(even_normals(np.random.default_rng(1), 0)) == 0


@pytest.mark.parametrize("dimensions", [1, 2, 6, 8])
def test_even_points_fill_the_cube_better_than_independent_ones(dimensions: int) -> None:
    n = 2_000
    for seed in range(5):
        random = np.random.default_rng(seed)
        points = even_points(random, n, dimensions)
        assert points.shape == (n, dimensions)
        assert points.min() > 0.0 and points.max() < 1.0
        # The mean of independent points would have an error of .0065 in each dimension.
        assert np.sqrt(np.square(points.mean(axis=0) - 0.5).mean()) < 0.0025
        if dimensions > 1:
            low = (points[:, :2] < 0.5).all(axis=1).mean()
            assert low == pytest.approx(0.25, abs=0.006)
        # Neighbours in the list have nothing to do with each other.
        assert abs(np.corrcoef(points[1:, 0], points[:-1, 0])[0, 1]) < 0.1


def _even(seed: int) -> EvenDraws:
    return EvenDraws(np.random.default_rng(seed))


def test_an_even_part_is_as_good_as_the_whole() -> None:
    quality = np.random.default_rng(0).normal(size=5_000)
    for seed in range(10):
        part = _even(seed).part(quality, 60)
        assert len(set(part.tolist())) == 60 and (np.diff(part) > 0).all()
        # Sixty independent ones would be off by 0.13.
        assert quality[part].mean() == pytest.approx(quality.mean(), abs=0.05)
    assert _even(0).part(quality[:3], 60).tolist() == [0, 1, 2]
    assert len(_even(0).part(quality[:0], 60)) == 0


def test_even_draws_have_the_frequencies_that_were_asked_for() -> None:
    n = 4_000
    weights = 1.0 / np.arange(1.0, 21.0)
    draws = EvenDraws(np.random.default_rng(1), even_points(np.random.default_rng(2), n, 2))
    found = np.bincount(draws.places(weights, n), minlength=20)
    np.testing.assert_allclose(found, n * weights / weights.sum(), atol=8.0)
    stray, other = draws.strays(n, 0.2, 5)
    assert stray.mean() == pytest.approx(0.2, abs=0.003)
    np.testing.assert_allclose(np.bincount(other[stray], minlength=5), 160.0, atol=8.0)
    kinds = draws.kinds(50, 24)
    assert np.bincount(kinds[:24]).tolist() == [1] * 24 and len(kinds) == 50
    values = np.array([3.0, 1.0, 2.0])
    np.testing.assert_allclose(draws.levels(values), [5 / 6, 1 / 6, 0.5])
    independent = IndependentDraws(np.random.default_rng(1))
    np.testing.assert_allclose(np.sort(independent.levels(values)), [1 / 6, 0.5, 5 / 6])
    cloud = even_points(np.random.default_rng(3), 9, 2)
    one = EvenDraws(np.random.default_rng(1), cloud)
    other = one.going_on(np.random.default_rng(2))
    np.testing.assert_allclose(one.normals(9), stats.norm.ppf(cloud[:, 0]))
    np.testing.assert_allclose(other.normals(9), stats.norm.ppf(cloud[:, 1]))
    # Only the first draws of so many numbers take a column of the cloud of points.
    assert len(draws.normals(7)) == 7


def test_styles_of_a_topic_are_neither_more_nor_less_to_the_taste_of_those_who_like_it() -> None:
    config = WorldConfig.preset("even")
    means = []
    for seed in range(10):
        liked = topic_vectors(config, seed) @ taste_map(config, seed)
        lean = _even(seed).leanings(liked)
        np.testing.assert_allclose((lean * liked).sum(axis=1), 0.0, atol=1e-5)
        np.testing.assert_allclose(np.square(lean).mean(axis=1), 1.0, rtol=1e-9)
        means.append(np.abs(lean.mean(axis=0)).mean())
    # Every style is about as common as the others: independent leanings would give .17.
    assert np.mean(means) < 0.1


def test_comment_taste_that_video_taste_explains_is_of_unit_variance() -> None:
    random = np.random.default_rng(0)
    taste = random.normal(size=(20_000, 16))
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    config = WorldConfig.preset("even")
    for seed in range(3):
        np.testing.assert_allclose((taste @ taste_map(config, seed)).var(axis=0), 1.0, rtol=0.05)


def test_topics_are_alike_in_all_even_worlds() -> None:
    one, other = (World.create("even", seed) for seed in (1, 2))
    np.testing.assert_array_equal(one.topics, other.topics)
    assert (one.videos.topic != other.videos.topic).mean() > 0.5
    cosine = one.topics.astype(float) @ one.topics.T
    near = (one.videos.vector * one.topics[one.videos.topic]).sum(axis=1).mean()
    # 0.8 of the topic, 0.35 of the author, 0.45 of its own, before the length is made one.
    assert near == pytest.approx(0.8 / np.sqrt(0.8**2 + 0.35**2 + 0.45**2), abs=0.03)
    group = np.arange(24) // 4
    same = group[:, None] == group
    # Of each unit vector 0.6 are the group's and 0.8 its own: the cosine is 0.36 on average.
    assert cosine[same & ~np.eye(24, dtype=bool)].mean() == pytest.approx(0.36, abs=0.06)
    assert cosine[~same].mean() == pytest.approx(0.0, abs=0.03)


def test_qualities_of_an_even_world_have_the_same_distributions() -> None:
    videos = World.create("even", 3).videos
    config = WorldConfig.preset("even")
    apart = np.ones(len(videos.quality), dtype=bool)
    apart[videos.pool] = False
    assert stats.kstest(videos.quality[apart], "norm").statistic < 0.01
    assert stats.kstest(videos.discussability, "norm").pvalue > 1e-4
    lengths = np.log(videos.duration_ms[apart] / 1000 / config.duration_median)
    middle = np.abs(lengths) < config.duration_sigma
    assert middle.mean() == pytest.approx(0.6827, abs=0.01)
    assert abs(np.corrcoef(videos.quality[apart], lengths)[0, 1]) < 0.02
    fame = np.log(videos.popularity) / config.popularity_sigma
    assert np.corrcoef(fame, videos.quality)[0, 1] == pytest.approx(0.8, abs=0.01)


def test_popular_videos_are_as_good_in_even_worlds_of_other_seeds() -> None:
    config = WorldConfig.preset("even")
    worlds = [World.create(config, seed).videos for seed in range(1, 9)]
    # Popular videos are seen more, so they count more.
    weights = [np.sqrt(v.popularity.astype(float)) for v in worlds]
    independent = np.mean([np.sqrt(np.square(w).sum()) / w.sum() for w in weights])
    means = [np.average(v.quality, weights=w) for v, w in zip(worlds, weights, strict=True)]
    assert np.std(means) < 0.5 * independent
