"""Rare videos share rows of the table of identifiers; frequent ones keep their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from policies.registry import create
from policies.sequence.ids import id_rows, in_rows
from policies.videos.sasrec import SASRec
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.requests import HistoryState, VideoRequests

QUICK = {"dim": 16, "layers": 1, "epochs": 6, "epoch_steps": 1, "tokens": 512}


def test_frequent_videos_have_rows_of_their_own_and_the_others_share_a_bounded_number() -> None:
    random = np.random.default_rng(1)
    counts = random.integers(1, 10, 5_000)
    ids = random.integers(0, 10**15, 5_000)
    rows = id_rows(counts, ids, 8, 50)
    own = counts >= 8
    assert rows[own].tolist() == list(range(own.sum()))
    shared = rows[~own]
    assert shared.min() == own.sum() and len(np.unique(rows)) == rows.max() + 1
    assert rows.max() + 1 == own.sum() + 50
    # Evenly: 4,000 videos in 50 rows.
    sizes = np.bincount(shared - own.sum())
    assert sizes.min() > 0.5 * sizes.mean() and sizes.max() < 1.6 * sizes.mean()
    # Who shares with whom depends on identifiers alone.
    order = random.permutation(5_000)
    again = id_rows(counts[order], ids[order], 8, 50)
    assert (again[~own[order]] == rows[order][~own[order]]).all()


def test_no_row_is_left_empty_where_few_videos_are_rare() -> None:
    rows = id_rows(np.array([5, 1, 5, 2, 5]), np.arange(5), 3, 1_000)
    assert rows[[0, 2, 4]].tolist() == [0, 1, 2] and sorted(rows[[1, 3]]) == [3, 4]
    assert id_rows(np.array([5, 5]), np.arange(2), 5, 9).tolist() == [0, 1]


@pytest.mark.parametrize("own_from", [1, 3])
def test_videos_without_an_event_have_one_row_together_and_never_that_of_a_rare_one(
    own_from: int,
) -> None:
    counts = np.array([5, 0, 1, 0, 5, 0])
    rows = id_rows(counts, np.arange(6), own_from, 1)
    assert len(set(rows[counts == 0])) == 1 and rows[1] == rows.max()
    assert not set(rows[counts == 0]) & set(rows[counts > 0])
    assert rows.max() + 1 == 4


def test_padding_stays_padding() -> None:
    rows = np.array([2, 0, 1], dtype=np.int32)
    assert in_rows(rows, np.array([[0, -1], [2, 1]])).tolist() == [[2, -1], [1, 0]]
    videos = np.array([4, -1])
    assert in_rows(None, videos) is videos


@pytest.fixture(scope="module")
def capped(chains: Dataset) -> tuple[SASRec, np.ndarray]:
    """A policy in which only the more frequent half of the videos have rows of their own."""
    events = interactions(chains, "liked")
    counts = np.bincount(events.video, minlength=chains.catalogue().n_videos)
    policy = create("sasrec", own_from=int(np.median(counts)) + 1, shared_ids=4, **QUICK)
    policy.fit(chains, seed=1)
    assert isinstance(policy, SASRec)
    return policy, counts


def requests(chains: Dataset, candidates: np.ndarray) -> VideoRequests:
    row = np.arange(len(candidates), dtype=np.int32)
    history = HistoryState(len(row))
    for video in (3, 5, 8):
        history.append("liked", row.astype(np.int64), np.full(len(row), video, dtype=np.int32))
    return VideoRequests(
        row=row, user=row, time_ms=np.zeros(len(row), dtype=np.int64),
        key=row.astype(np.uint64), candidates=candidates, history=history.view(row),
    )  # fmt: skip


def test_videos_that_share_a_row_score_alike_and_the_table_is_smaller(
    capped: tuple[SASRec, np.ndarray], chains: Dataset
) -> None:
    policy, counts = capped
    n_videos = len(counts)
    table = policy._model.table
    own = counts >= policy.options.own_from
    assert own.sum() + 1 <= len(table) <= own.sum() + 4 < n_videos
    policy.reset(1)
    scores = policy.score_videos(requests(chains, np.arange(n_videos, dtype=np.int32)[None]))[0]
    rows = id_rows(counts, chains.catalogue().video_ids, policy.options.own_from, 4)
    for row in range(len(table)):
        assert np.ptp(scores[rows == row]) == 0.0
    assert len(np.unique(scores[own])) == own.sum()
    state = policy.encode(np.array([[3, 5, 8]]))
    np.testing.assert_allclose(scores, (policy.item_vectors @ state[0]), atol=1e-5)
    among = np.arange(n_videos, dtype=np.int32)
    view = requests(chains, among[None]).history
    best = policy.propose_videos(view, among, 3)[0]
    assert scores[best].tolist() == pytest.approx(np.sort(scores)[::-1][:3].tolist(), abs=1e-5)


def test_shared_rows_are_stored(
    capped: tuple[SASRec, np.ndarray], chains: Dataset, tmp_path: Path
) -> None:
    policy, _ = capped
    policy.save(tmp_path)
    again = create("sasrec", **policy.settings())
    again.load(tmp_path, chains)
    assert isinstance(again, SASRec)
    assert np.array_equal(again.item_vectors, policy.item_vectors)
    histories = np.array([[1, 2, 3, -1]])
    assert np.array_equal(again.encode(histories), policy.encode(histories))


def test_where_every_video_has_events_nothing_is_shared(chains: Dataset) -> None:
    plain, all_own = create("sasrec", own_from=0, **QUICK), create("sasrec", **QUICK)
    for policy in (plain, all_own):
        policy.fit(chains, seed=1)
    assert isinstance(plain, SASRec) and isinstance(all_own, SASRec)
    assert plain._rows is None
    # Every video of this log has events: all have rows of their own, the same ones.
    np.testing.assert_array_equal(plain.item_vectors, all_own.item_vectors)
