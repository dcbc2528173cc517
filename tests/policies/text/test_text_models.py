"""Models that read captions rank what nobody has seen yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from policies.errors import PolicyError
from policies.registry import create
from policies.text.char_ngrams import tfidf
from policies.text.latent import LatentTexts
from policies.text.vectors import text_vectors
from policies.videos.unisrec import Adaptor
from simulator.logs.dataset import Dataset
from simulator.requests import VideoRequests
from tests.policies.conftest import CHAIN, VIDEOS, write_log

Make = Callable[..., VideoRequests]

TOPICS = ("篮球 扣篮", "烘焙 面包", "gardening roses", "机器人 电路", "surf waves")
FRESH = [chain * CHAIN + CHAIN - 1 for chain in range(VIDEOS // CHAIN)]
SMALL = {
    "dim": 16,
    "text_dim": 16,
    "epochs": 12,
    "epoch_steps": 1,
    "learning_rate": 1e-2,
    "tokens": 512,
}


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Everybody stays with one topic; the last video of each has a caption and no events."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(200):
        topic = int(rng.integers(VIDEOS // CHAIN))
        for step, video in enumerate(rng.permutation(CHAIN - 1)[:8].tolist()):
            rows.append((user, topic * CHAIN + video, step))
    captions = [f"{TOPICS[v // CHAIN]} {v % CHAIN}" for v in range(VIDEOS)]
    return write_log(tmp_path_factory.mktemp("topics") / "log", rows, captions=captions)


@pytest.mark.parametrize("name", ["unisrec", "two-tower"])
def test_fresh_videos_rank_by_their_captions(
    topics: Dataset, make_requests: Make, tmp_path: Path, name: str
) -> None:
    policy = create(name, **SMALL)
    policy.fit(topics, seed=1)
    histories = [[c * CHAIN + i for i in range(3)] for c in range(VIDEOS // CHAIN)]
    requests = make_requests(histories, np.tile(np.array(FRESH, dtype=np.int32), (5, 1)))
    policy.reset(len(histories))
    scores = policy.score_videos(requests)
    assert scores.argmax(axis=1).tolist() == list(range(5))
    policy.save(tmp_path)
    other = create(name, **SMALL)
    other.load(tmp_path, topics)
    assert np.array_equal(other.score_videos(requests), scores)


def test_identifiers_alone_cannot_tell_fresh_videos_apart(
    topics: Dataset, make_requests: Make
) -> None:
    policy = create("sasrec", dim=16, epochs=1, epoch_steps=1)
    policy.fit(topics, seed=1)
    policy.reset(1)
    scores = policy.score_videos(make_requests([[0, 1]], np.array([FRESH], dtype=np.int32)))
    assert np.ptp(scores) < 1e-5


def test_unisrec_says_what_it_misses(chains: Dataset) -> None:
    with pytest.raises(PolicyError, match="ranks by captions, and no video of"):
        create("unisrec").fit(chains, seed=1)


@torch.no_grad()
def test_adaptor_is_its_formula() -> None:
    """Equations 2 to 4 of the paper, one text and one expert at a time."""
    torch.manual_seed(6)
    adaptor = Adaptor(width=5, dim=3, experts=4, dropout=0.3).eval()
    for parameter in adaptor.parameters():
        parameter += torch.randn_like(parameter)
    texts = torch.randn(6, 5)
    for text, found in zip(texts, adaptor(texts), strict=True):
        gate = (adaptor.gate.weight @ text).softmax(dim=0)
        expected = sum(
            gate[e] * adaptor.whiten.weight[3 * e : 3 * e + 3] @ (text - adaptor.bias[e])
            for e in range(4)
        )
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_text_vectors_keep_similarities() -> None:
    """With as many columns as the rank, inner products are those of centred TF-IDF vectors."""
    texts = [f"{TOPICS[i % 5]} {i}" for i in range(20)] + ["", ""]
    found = text_vectors(texts, 40).astype(np.float64)
    exact = tfidf(texts).toarray()[:20].astype(np.float64)
    exact -= exact.mean(axis=0)
    scale = (exact**2).sum(axis=1).mean()
    np.testing.assert_allclose(found[:20] @ found[:20].T, exact @ exact.T / scale, atol=1e-5)
    assert not found[20:].any()
    # Of few columns, the leading ones: the best approximation of that rank (Eckart & Young).
    few = text_vectors(texts, 4).astype(np.float64)[:20]
    values = np.linalg.svd(tfidf(texts).toarray()[:20], compute_uv=False)
    assert np.linalg.matrix_rank(few) <= 4
    assert values[3] > values[4]
    assert not text_vectors(["", ""], 3).any()


def test_latent_texts_are_latent_semantic_analysis_fitted_on_a_part() -> None:
    rng = np.random.default_rng(2)
    words = [f"{a}{b}" for a in "bcdfgh" for b in "aeiou"]
    texts = [" ".join(rng.choice(words, 4)) for _ in range(300)] + [""]
    whole = LatentTexts(texts, 400, 1_000)
    terms = tfidf(texts)
    # With as many dimensions as there are, inner products are those of the weighted counts.
    vectors = whole.rows(np.arange(len(texts)))
    exact = (terms @ terms.T).toarray()
    np.testing.assert_allclose(vectors @ vectors.T, exact, atol=2e-3)
    assert whole.present.tolist() == [True] * 300 + [False] and len(whole) == 301
    weights = rng.normal(size=(whole.width, 3))
    np.testing.assert_allclose(whole.times(weights), vectors @ weights, atol=1e-4)
    # A sample of half of the texts spans nearly the same leading space.
    part = LatentTexts(texts, 20, 150)
    assert part.width == 20
    leading = LatentTexts(texts, 20, 1_000)
    kept = (
        np.square(part.rows(np.arange(300))).sum() / np.square(leading.rows(np.arange(300))).sum()
    )
    assert 0.8 < kept <= 1.0
    assert LatentTexts(["", ""], 4, 10).rows(np.array([0, 1])).shape == (2, 0)
