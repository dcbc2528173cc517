"""In the two-tower model rare videos share identifiers' vectors, and features tell them apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from policies import memory
from policies.errors import UnknownPolicy
from policies.registry import create
from policies.sequence import encoder as blocks
from policies.sequence.ids import id_rows
from policies.videos import two_tower, unisrec
from policies.videos.two_tower import Features, TwoTower, TwoTowerModel
from policies.videos.unisrec import UniSRecModel
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.requests import VideoRequests
from tests.policies.conftest import CHAIN, VIDEOS, write_log

Make = Callable[..., VideoRequests]
QUICK = {"dim": 16, "text_dim": 8, "epochs": 3, "epoch_steps": 1, "tokens": 512}
SHARED = 3


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The chains of 300 people again; captions differ, and the last two videos have no event."""
    rng = np.random.default_rng(1)
    rows = []
    for user in range(300):
        chain, at = int(rng.integers(VIDEOS // CHAIN)), int(rng.integers(CHAIN))
        for step in range(int(rng.integers(4, 12))):
            video = chain * CHAIN + (at + step) % CHAIN
            if video < VIDEOS - 2:
                rows.append((user, video, step))
    captions = [f"chain {v // CHAIN} number {v}" for v in range(VIDEOS)]
    return write_log(tmp_path_factory.mktemp("named") / "log", rows, captions=captions)


def shared(dataset: Dataset) -> tuple[TwoTower, np.ndarray, np.ndarray]:
    """A policy in which half of the videos share identifiers, events per video, rows."""
    events = interactions(dataset, "liked")
    counts = np.bincount(events.video, minlength=VIDEOS)
    own_from = int(np.median(counts)) + 1
    policy = create("two-tower", own_from=own_from, shared_ids=SHARED, **QUICK)
    policy.fit(dataset, seed=1)
    assert isinstance(policy, TwoTower)
    rows = id_rows(counts, dataset.catalogue().video_ids, own_from, SHARED)
    return policy, counts, rows


def test_the_table_is_smaller_and_captions_still_tell_every_video_apart(
    named: Dataset, make_requests: Make
) -> None:
    policy, counts, rows = shared(named)
    model = policy._model._encoder
    assert isinstance(model, TwoTowerModel)
    own = int((counts >= policy.options.own_from).sum())
    assert own > 0 and len(model.items.weight) == rows.max() + 1 <= own + SHARED + 1 < VIDEOS
    assert len(policy.item_vectors) == VIDEOS
    policy.reset(1)
    scores = policy.score_videos(make_requests([[0, 1, 2]]))[0]
    assert len(np.unique(scores)) == VIDEOS
    state = policy.encode(np.array([[0, 1, 2]]))
    np.testing.assert_allclose(scores, policy.item_vectors @ state[0], atol=1e-4)
    # Videos without an event are ranked by their features alone.
    unseen = torch.from_numpy(np.flatnonzero(counts == 0))
    assert len(unseen) == 2
    torch.testing.assert_close(model.items(model.row[unseen])[0], model.unknown.data)
    # Those that share a row differ by their features alone.
    first, second = np.flatnonzero(rows == rows[counts < policy.options.own_from][0])[:2]
    x = model._videos(torch.tensor([first, second]))
    features = model.of_text(model.text) + model.authors(model.author)
    features = features + model.categories(model.category)
    torch.testing.assert_close(x[0] - x[1], features[first] - features[second])


def test_shared_rows_are_stored(named: Dataset, make_requests: Make, tmp_path: Path) -> None:
    policy, _, _ = shared(named)
    policy.save(tmp_path)
    again = create("two-tower", **policy.settings())
    again.load(tmp_path, named)
    requests = make_requests([[0, 1, 2], [9], []])
    for one in (policy, again):
        one.reset(3)
    np.testing.assert_array_equal(again.score_videos(requests), policy.score_videos(requests))


def test_by_default_every_video_has_its_own(named: Dataset) -> None:
    policy = create("two-tower", **QUICK)
    policy.fit(named, seed=1)
    assert isinstance(policy, TwoTower)
    model = policy._model._encoder
    assert model is not None and len(model.items.weight) == VIDEOS and policy._rows is None


@pytest.mark.parametrize("name", ["two-tower", "unisrec"])
def test_videos_that_memory_cannot_hold_are_refused_before_texts_are_read(
    named: Dataset, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def read(*arguments: object) -> None:
        raise AssertionError("texts were read")

    for module in (two_tower, unisrec):
        monkeypatch.setattr(module, "text_vectors", read)
    # Vectors of 16 numbers; texts of 8, twice; of two towers the author and category, twice.
    of_video = 4 * 16 + 2 * (4 * 8 + (16 if name == "two-tower" else 0))
    asked = {**QUICK, "own_from": 5} if name == "two-tower" else QUICK
    monkeypatch.setattr(memory, "memory_limit", lambda: of_video * VIDEOS - 1)
    with pytest.raises(UnknownPolicy, match=f"ranks from .*text_dim = 8, {VIDEOS} videos"):
        create(name, **asked).fit(named, seed=1)
    monkeypatch.setattr(memory, "memory_limit", lambda: of_video * VIDEOS)
    with pytest.raises(AssertionError, match="texts were read"):
        create(name, **asked).fit(named, seed=1)


@torch.no_grad()
def test_a_catalogue_in_blocks_has_the_same_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    texts = np.random.default_rng(1).standard_normal((30, 5)).astype(np.float32)
    features = Features(texts, torch.arange(30) % 4, torch.arange(30) % 3)
    rows = np.arange(30, dtype=np.int32) % 7
    models = [
        TwoTowerModel(features, 8, 0.0, 0.07, 0.1, rows).eval(),
        UniSRecModel(texts, 12, 8, 2, 2, 3, 0.0, 0.07).eval(),
    ]
    whole = [model.vectors() for model in models]
    for module in (two_tower, unisrec, blocks):
        monkeypatch.setattr(module, "VECTORS_AT_A_TIME", 8)
    for model, expected in zip(models, whole, strict=True):
        found = model.vectors()
        assert found.shape == (30, 8)
        torch.testing.assert_close(found, expected)
