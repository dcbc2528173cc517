"""A log larger than memory is learned from pool by pool: everybody, and no pool twice at once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from simulator.logs import scanning
from simulator.logs.dataset import Dataset
from simulator.response.learned import LearnedResponse, features, metrics, optimisation, quality
from simulator.response.learned.carried import replay_states
from simulator.response.learned.features import Impressions
from simulator.response.learned.heads import CLICK, HATE, LIKE
from simulator.response.learned.parts.pools import Pools
from simulator.response.learned.training import row_outputs
from simulator.response.learned.two_sample import boosting


@pytest.fixture
def whole(toy: Dataset) -> Impressions:
    """The log in one piece."""
    return Impressions.read(toy, seed=3)


def dealt(toy: Dataset, folder: Path) -> list[Impressions]:
    folder.mkdir()
    pools = Pools(toy, seed=3, folder=folder)
    return [pools.read(number) for number in range(pools.count)]


def test_everybody_is_in_one_pool_whole_however_the_log_is_read(
    toy: Dataset, whole: Impressions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "MAX_ROWS", len(whole) // 5)
    found = dealt(toy, tmp_path / "a")
    assert len(found) == 6 and sum(map(len, found)) == len(whole)
    people = [set(pool.user) for pool in found]
    assert sum(map(len, people)) == 60 == len(set().union(*people))
    for pool in found:
        rows = np.isin(whole.user, np.unique(pool.user))
        for name in ("user", "video", "time_ms", "place", "outcomes", "play_ms", "stay_ms"):
            np.testing.assert_array_equal(getattr(pool, name), getattr(whole, name)[rows])
        assert pool.rows_in_log == len(whole)
    monkeypatch.setattr(scanning, "BATCH_ROWS", 700)
    for one, other in zip(found, dealt(toy, tmp_path / "b"), strict=True):
        for field in fields(Impressions):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    first = Impressions.read(toy, seed=3)
    np.testing.assert_array_equal(first.user, found[0].user)


def test_one_pool_writes_no_file(toy: Dataset, tmp_path: Path) -> None:
    assert len(dealt(toy, tmp_path / "a")) == 1
    assert not list((tmp_path / "a").iterdir())


def test_people_of_all_pools_are_learned_from(
    toy: Dataset, whole: Impressions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boosting, "_TREES", 2)
    monkeypatch.setattr(quality, "_DRAWS", 2)
    monkeypatch.setattr(features, "MAX_ROWS", len(whole) // 2)
    monkeypatch.setattr(optimisation, "_MAX_STEPS", 200)
    response = LearnedResponse.fit(toy, seed=3)
    assert response.quality()["pools"] == 2 and response.quality()["rows"]["in_log"] == len(whole)
    like, hate = whole.outcomes[:, LIKE] == 1, whole.outcomes[:, HATE] == 1
    before, final = replay_states(whole.user, whole.video, like, hate, whole.page_start, 60)
    for name in ("liked", "hated", "liked_count", "hated_count"):
        np.testing.assert_array_equal(getattr(response._final, name), getattr(final, name))
    behaviour = response._behaviour
    # Taste is known of everybody: clicks of people of the other pools are told apart as well.
    first = np.unique(Impressions.read(toy, seed=3).user)
    others = np.flatnonzero(~np.isin(whole.user, first))
    outputs = row_outputs(behaviour.predictor, whole, before, others)
    clicked = whole.outcomes[others, CLICK]
    assert metrics.auc(clicked, outputs[:, CLICK]) > 0.7
    means = np.bincount(whole.user, whole.outcomes[:, CLICK]) / np.bincount(whole.user)
    told = np.bincount(whole.user[others], expit(outputs[:, CLICK]), 60) / np.maximum(
        np.bincount(whole.user[others], minlength=60), 1
    )
    mine = ~np.isin(np.arange(60), first)
    clipped = np.clip(means[mine], 0.02, 0.98)
    assert np.corrcoef(logit(clipped), logit(told[mine]))[0, 1] > 0.8
    # And so is how often they come.
    sessions = np.array([len(np.unique(whole.session[whole.user == u])) for u in range(60)])
    assert np.corrcoef(sessions[mine], behaviour.returns.rate[mine])[0, 1] > 0.8
