"""Rare videos share ID vectors where a setting says so; their texts still tell them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsvcr import learner
from lsvcr import policy as lsvcr_policy
from lsvcr.data.examples import histories
from lsvcr.learner import id_count, shared_rows
from lsvcr.policy import LSVCR
from policies import memory
from policies.errors import UnknownPolicy
from policies.registry import create
from simulator.logs.dataset import Dataset
from tests.lsvcr.scoring import QUICK, VIDEOS, Ask, scores_of

SHARED = 3


def events_of(dataset: Dataset) -> np.ndarray:
    both = histories(dataset, "liked")
    return np.bincount(np.concatenate([both.liked.video, both.discussed.video]), minlength=60)


def fit(dataset: Dataset, **settings: Any) -> LSVCR:
    policy = create("lsvcr", **{**QUICK, **settings})
    assert isinstance(policy, LSVCR)
    policy.fit(dataset, seed=1)
    return policy


def test_without_texts_videos_that_share_a_vector_score_alike(
    planted: Any, asking: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = events_of(planted.dataset)
    own_from = int(np.median(counts[counts > 0])) + 1
    made = []
    plain = learner.new_model

    def noted(options: Any, task: Any, n_videos: int, text_dim: int) -> Any:
        made.append(n_videos)
        return plain(options, task, n_videos, text_dim)

    monkeypatch.setattr(learner, "new_model", noted)
    policy = fit(planted.dataset, text=False, own_from=own_from, shared_ids=SHARED)
    own = counts >= own_from
    assert 0 < own.sum() < 56
    # Rare videos share at most so many rows, and those without an event one more.
    unseen = int((counts == 0).any())
    assert set(made) <= set(range(own.sum() + 1 + unseen, own.sum() + SHARED + 1 + unseen))
    scores = scores_of(policy, planted.dataset, asking)[0]
    rows = shared_rows(
        policy.options, histories(planted.dataset, "liked"), planted.dataset.catalogue()
    )
    assert rows is not None and id_count(rows, planted.dataset.catalogue()) == made[0]
    for row in range(made[0]):
        assert np.ptp(scores[:, rows == row], axis=1).max() == 0.0
    assert len(np.unique(scores[0, own])) == own.sum()


def test_texts_tell_videos_apart_that_share_a_vector(planted: Any, asking: Ask) -> None:
    policy = fit(planted.dataset, own_from=10**6, shared_ids=1)
    scores = scores_of(policy, planted.dataset, asking)[0]
    # Titles name the chain and the number of a video: all 60 differ.
    assert len(np.unique(scores[0])) == len(VIDEOS)


def test_a_stored_policy_needs_no_rows(planted: Any, asking: Ask, tmp_path: Path) -> None:
    policy = fit(planted.dataset, own_from=10**6, shared_ids=2)
    policy.save(tmp_path)
    again = create("lsvcr", **policy.settings())
    again.load(tmp_path, planted.dataset)
    assert isinstance(again, LSVCR)
    for before, after in zip(
        scores_of(policy, planted.dataset, asking),
        scores_of(again, planted.dataset, asking),
        strict=True,
    ):
        np.testing.assert_array_equal(before, after)


def test_tables_that_memory_cannot_hold_are_refused_before_training(
    planted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = planted.dataset.catalogue().n_videos
    monkeypatch.setattr(memory, "memory_limit", lambda: 10**9)
    monkeypatch.setattr(lsvcr_policy, "BYTES_PER_VIDEO_AND_DIM", 2 * 10**9 // n)
    with pytest.raises(UnknownPolicy, match=f"ranks from .*{n} ID vectors for {n} videos"):
        fit(planted.dataset, text=False)
