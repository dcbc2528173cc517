"""Item-to-item policies against their formulas, written out with dense matrices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from abtest.run.contract.suite import check_policy
from policies.base import Policy
from policies.errors import PolicyError
from policies.evaluation.evaluate import gains, ranks
from policies.evaluation.holdout import held_out, training_part
from policies.registry import create
from policies.videos.ease import EASE
from policies.videos.item_to_item import TIE_BREAK, popularity_prior, user_video_matrix
from policies.videos.itemknn import ItemKNN
from policies.videos.popular import PopularPolicy
from simulator.logs.dataset import Dataset
from simulator.requests import VideoRequests
from tests.policies.conftest import VIDEOS, write_log

Make = Callable[..., VideoRequests]
HISTORIES = [[0, 1, 2], [], [13, 13, 40, 13], [59], [7]]


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """80 people with random likes, repeats among them; videos 55 and up are fresh."""
    rng = np.random.default_rng(2)
    rows = [
        (user, int(55 * rng.random() ** 2), step)
        for user in range(80)
        for step in range(int(rng.integers(1, 15)))
    ]
    return write_log(tmp_path_factory.mktemp("messy") / "log", rows)


def dense(dataset: Dataset) -> NDArray[np.float64]:
    return np.asarray(user_video_matrix(dataset, "liked").toarray())


def expected(weights: NDArray[np.float64], log: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each candidate's weights summed over the distinct videos of each history."""
    prior = popularity_prior(log.sum(axis=0).astype(np.int64))
    lines = [weights[sorted(set(history))].sum(axis=0) for history in HISTORIES]
    return np.array(lines) + TIE_BREAK * prior


def test_matrix_counts_a_pair_once(messy: Dataset) -> None:
    assert set(np.unique(dense(messy))) == {0.0, 1.0}


@pytest.mark.parametrize("neighbours", [3, 20, 1_000])
@pytest.mark.parametrize("shrinkage", [0.0, 10.0])
@pytest.mark.parametrize("pairs", [40, 4_000_000])
def test_itemknn_is_shrunk_cosine_of_the_nearest(
    messy: Dataset,
    make_requests: Make,
    monkeypatch: pytest.MonkeyPatch,
    neighbours: int,
    shrinkage: float,
    pairs: int,
) -> None:
    monkeypatch.setattr("policies.videos.itemknn._PAIRS", pairs)
    policy = ItemKNN(neighbours=neighbours, shrinkage=shrinkage)
    policy.fit(messy, seed=1)
    log = dense(messy)
    together = log.T @ log
    n = np.diag(together).copy()
    scale = np.sqrt(np.outer(n, n)) + shrinkage
    similarity = np.divide(together, scale, out=np.zeros_like(together), where=scale > 0)
    np.fill_diagonal(similarity, 0.0)
    for row in similarity:
        row[np.argsort(-row, kind="stable")[neighbours:]] = 0.0
    scores = policy.score_videos(make_requests(HISTORIES))
    np.testing.assert_allclose(scores, expected(similarity.T, log), atol=1e-6)


@pytest.mark.parametrize("regularisation", [0.5, 100.0])
def test_ease_is_its_closed_form(
    messy: Dataset, make_requests: Make, regularisation: float
) -> None:
    policy = EASE(regularisation=regularisation)
    policy.fit(messy, seed=1)
    log = dense(messy)
    inverse = np.linalg.inv(log.T @ log + regularisation * np.eye(VIDEOS))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    scores = policy.score_videos(make_requests(HISTORIES))
    np.testing.assert_allclose(scores, expected(weights, log), atol=1e-6)


def test_ease_is_the_least_squares_model(messy: Dataset) -> None:
    """Each column of weights is a ridge regression of that video on the others."""
    policy = EASE(regularisation=2.0)
    policy.fit(messy, seed=1)
    weights, place = policy._weights["weights"], policy._weights["place"]
    log = dense(messy)
    others = np.delete(log, 0, axis=1)
    ridge = np.linalg.solve(others.T @ others + 2.0 * np.eye(VIDEOS - 1), others.T @ log[:, 0])
    assert weights[place[1:], place[0]] == pytest.approx(ridge, abs=1e-6)


def test_ease_refuses_a_catalogue_too_large(messy: Dataset) -> None:
    with pytest.raises(PolicyError, match=r"max_videos = 5\. Use itemknn"):
        EASE(max_videos=5).fit(messy, seed=1)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("itemknn", {"neighbours": 0}),
        ("itemknn", {"shrinkage": -1}),
        ("ease", {"regularisation": 0}),
    ],
)
def test_settings_out_of_range(name: str, setting: dict[str, float]) -> None:
    with pytest.raises(PolicyError, match=f"{name}: {next(iter(setting))} is"):
        create(name, **setting)


@pytest.mark.parametrize("kind", [ItemKNN, EASE])
def test_new_people_get_the_popular_and_fresh_videos_an_average_chance(
    messy: Dataset, make_requests: Make, kind: type[Policy]
) -> None:
    policy = kind()
    policy.fit(messy, seed=1)
    scores = policy.score_videos(make_requests([[]]))[0]
    counts = dense(messy).sum(axis=0)
    assert counts[55:].sum() == 0
    assert np.array_equal(np.argsort(scores[:55])[-1:], np.argsort(counts[:55])[-1:])
    assert scores[55] == pytest.approx(scores[counts > 0].mean(), rel=1e-5)


@pytest.mark.parametrize("name", ["itemknn", "ease"])
def test_contract(chains: Dataset, name: str) -> None:
    results = check_policy(name, chains)
    assert all(r.passed for r in results), [r for r in results if not r.passed]


@pytest.mark.parametrize("kind", [ItemKNN, EASE])
def test_beats_popularity_where_neighbours_matter(
    chains: Dataset, tmp_path: Path, kind: type[Policy]
) -> None:
    test = held_out(chains, "liked")
    training = training_part(chains, test, tmp_path / "training")
    found = []
    for policy in (kind(), PopularPolicy(signal="liked")):
        policy.fit(training, seed=1)
        found.append(gains(ranks(policy, training, test, "liked"))["HR@5"].mean())
    assert found[0] > 2 * found[1]


@pytest.mark.parametrize("name", ["itemknn", "ease"])
def test_a_log_without_likes(tmp_path: Path, make_requests: Make, name: str) -> None:
    log = write_log(tmp_path / "log", [(0, 1, 0)])
    policy = create(name, signal="discussed")
    policy.fit(log, seed=1)
    scores = policy.score_videos(make_requests(HISTORIES))
    assert np.isfinite(scores).all()
