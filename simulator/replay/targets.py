"""The target policy that a ranker stands for: one of its best eligible videos, chosen uniformly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SimulatorError
from simulator.logs.dataset import Dataset
from simulator.randomness import mix, purpose_key
from simulator.replay.eligible import LoggedRows
from simulator.replay.histories import Waves
from simulator.requests import Int32, Int64, VideoRequests

Float64 = NDArray[np.float64]
Scorer = Callable[[VideoRequests], NDArray[np.float32]]
"""Scores the candidates of a batch of requests, float32[B, C]; higher is better."""

_CELLS = 4_000_000
"""Scores held at a time: bounds memory to a few hundred MB whatever the pool."""


class ScorerError(SimulatorError):
    """A scorer returned something that is not a finite score per candidate."""


@dataclass(frozen=True)
class Target:
    """Probabilities of the shown videos under the target policy.

    Attributes:
        probability: float64[N]: 1/m where the shown video is among the m best, else 0.
        rank: int64[N]: rank of the shown video among the eligible ones, from 1.
        unsupported: Mean share of the m best that no used row of the log ever shows; NaN where
            candidates differ between rows.
    """

    probability: Float64
    rank: Int64
    unsupported: float


def top_counts(sizes: Int64, top_share: float | None, per_row_candidates: bool) -> Int64:
    """int64[N]: m, how many of the eligible videos count as the ranker's choice.

    ``m = max(1, ceil(top_share * |E|))``; the default is 1 for candidate lists and a share of 0.1
    for pools.
    """
    if top_share is None:
        if per_row_candidates:
            return np.ones_like(sizes)
        top_share = 0.1
    exact = np.asarray(top_share * sizes, dtype=np.float64)
    # 0.1 * 30 is 3.0000000000000004: that is 3 videos, not 4.
    return np.maximum(np.ceil(exact - 1e-9).astype(np.int64), 1)


def targets(
    dataset: Dataset, logged: LoggedRows, scorers: dict[str, Scorer], m: Int64, *, seed: int
) -> dict[str, Target]:
    """Rank the shown video of every row under every scorer.

    ``VideoRequests.row`` and ``.user`` are both the dense user index, so a scorer that caches per
    row needs ``len(dataset.user_ids())`` rows.

    Args:
        dataset: The log; histories come from all of it, not only from the used rows.
        logged: The used rows.
        scorers: By name.
        m: int64[N], from `top_counts`.
        seed: For request keys and for the order of ties.

    Raises:
        ScorerError: a scorer broke its contract.
    """
    n = len(logged)
    ranks = {name: np.zeros(n, dtype=np.int64) for name in scorers}
    unsupported = dict.fromkeys(scorers, 0.0)
    request_key = purpose_key(seed, "replay.request")
    tie_key = purpose_key(seed, "replay.tie")
    never_shown = None
    if logged.pool is not None:
        never_shown = ~np.isin(logged.pool, logged.video)
    width = logged.candidates.shape[1] if logged.pool is None else len(logged.pool)  # type: ignore[union-attr]
    block = max(1, _CELLS // max(width, 1))
    waves = Waves(dataset, logged.user, logged.time_ms)
    for step, (wave, people) in enumerate(waves):
        for start in range(0, len(wave), block):
            rows, who = wave[start : start + block], people[start : start + block]
            requests = VideoRequests(
                row=logged.user[rows],
                user=logged.user[rows],
                time_ms=logged.time_ms[rows],
                key=mix(request_key, logged.user[rows], logged.time_ms[rows], step),
                candidates=_candidates(logged, rows),
                history=waves.state.view(who),
            )
            for name, scorer in scorers.items():
                scores = _checked(name, scorer(requests), requests, dataset)
                ranks[name][rows] = _rank(scores, requests.candidates, logged.video[rows], tie_key)
                if never_shown is not None and never_shown.any():
                    unsupported[name] += _unsupported(scores, m[rows], never_shown)
    return {
        name: Target(
            probability=np.where(rank <= m, 1.0 / m, 0.0),
            rank=rank,
            unsupported=unsupported[name] / n if logged.pool is not None else float("nan"),
        )
        for name, rank in ranks.items()
    }


def _candidates(logged: LoggedRows, rows: Int64) -> Int32:
    if logged.candidates is not None:
        return logged.candidates[rows]
    assert logged.pool is not None
    return np.broadcast_to(logged.pool, (len(rows), len(logged.pool))).copy()


def _checked(
    name: str, scores: NDArray[np.float32], requests: VideoRequests, dataset: Dataset
) -> NDArray[np.float32]:
    scores = np.asarray(scores)
    if scores.shape != requests.candidates.shape:
        raise ScorerError(
            f"'{name}' returned scores of shape {scores.shape} for candidates of shape "
            f"{requests.candidates.shape}.",
            "Check it: abtest policy check FILE:CLASS",
        )
    bad = ~np.isfinite(scores) & (requests.candidates >= 0)
    if bad.any():
        row, column = (int(x[0]) for x in np.nonzero(bad))
        video = dataset.catalogue().video_ids[requests.candidates[row, column]]
        raise ScorerError(
            f"'{name}' returned a non-finite score for video {video} "
            f"(user {dataset.user_ids()[requests.user[row]]}).",
            "Check it: abtest policy check FILE:CLASS",
        )
    return scores


def _rank(
    scores: NDArray[np.float32], candidates: Int32, shown: Int32, tie_key: np.uint64
) -> Int64:
    """Rank of the shown video, from 1; equal scores are ordered by a fixed hash of the video."""
    is_shown = candidates == shown[:, None]
    own = np.where(is_shown, scores, -np.inf).max(axis=1, keepdims=True)
    real = candidates >= 0
    better = (scores > own) & real
    tied = (scores == own) & real & ~is_shown
    count = better.sum(axis=1)
    if tied.any():
        row, column = np.nonzero(tied)
        first = mix(tie_key, candidates[row, column]) < mix(tie_key, shown[row])
        count = count + np.bincount(row[first], minlength=len(shown))
    return np.asarray(count + 1, dtype=np.int64)


def _unsupported(scores: NDArray[np.float32], m: Int64, never_shown: NDArray[np.bool_]) -> float:
    """Sum over rows of the share of the m best pool videos that the log never shows."""
    kth = np.partition(scores, -int(m[0]), axis=1)[:, -int(m[0])][:, None]
    best = scores >= kth
    return float(((best & never_shown).sum(axis=1) / best.sum(axis=1)).sum())
