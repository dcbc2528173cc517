"""Offline ranking metrics: the held-out video among the whole catalogue."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.base import Policy
from policies.holdout import HeldOut, in_rank
from policies.ranking import checked_video_scores
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import initial_history, interactions
from simulator.randomness import mix, purpose_key
from simulator.requests import Signal, VideoRequests

CUTOFFS = (5, 10)
_CELLS = 4_000_000


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one policy, averaged over people and training seeds.

    Attributes:
        policy: Its name.
        users: People with a held-out event.
        videos: Videos ranked for each of them.
        seeds: Training seeds averaged over.
        metrics: "HR@10", "NDCG@10", ..., "MRR" to the mean.
        errors: The same names to standard errors over people.
        spread: The same names to the standard error over seeds; None for one seed.
    """

    policy: str
    users: int
    videos: int
    seeds: int
    metrics: dict[str, float]
    errors: dict[str, float]
    spread: dict[str, float] | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def ranks(policy: Policy, training: Dataset, test: HeldOut, signal: Signal) -> NDArray[np.int64]:
    """Rank of each held-out video among all videos not seen before, ties against the policy.

    Videos with the same signal in the person's training part do not compete; the held-out video
    always does.

    Args:
        policy: Fitted on ``training``.
        training: See `policies.holdout.training_part`.
        test: What was held out.
        signal: Which events.

    Returns:
        int64[n], from 0.
    """
    n_videos = training.catalogue().n_videos
    history = initial_history(training, test.user)
    events = interactions(training, signal)
    starts = np.searchsorted(events.user, np.arange(len(training.user_ids()) + 1))
    policy.reset(len(test))
    key = purpose_key(0, "evaluate.request")
    everything = np.arange(n_videos, dtype=np.int32)
    found = np.zeros(len(test), dtype=np.int64)
    block = max(1, _CELLS // max(n_videos, 1))
    for at in range(0, len(test), block):
        rows = np.arange(at, min(at + block, len(test)))
        users = test.user[rows]
        requests = VideoRequests(
            row=rows.astype(np.int32),
            user=users,
            time_ms=test.time_ms[rows],
            key=mix(key, users),
            candidates=np.tile(everything, (len(rows), 1)),
            history=history.view(rows),
        )
        scores = checked_video_scores(policy, requests).astype(np.float32)
        line = np.arange(len(rows))
        target = scores[line, test.video[rows]]
        lengths = starts[users + 1] - starts[users]
        owner = np.repeat(line, lengths)
        first = np.repeat(starts[users] - (np.cumsum(lengths) - lengths), lengths)
        seen = events.video[first + np.arange(len(owner))]
        known = seen >= 0
        scores[owner[known], seen[known]] = -np.inf
        scores[line, test.video[rows]] = -np.inf
        found[rows] = in_rank(target, scores)
    return found


def gains(found: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Per-person values of every metric, from ranks counted from 0."""
    values: dict[str, NDArray[np.float64]] = {}
    for k in CUTOFFS:
        hit = found < k
        values[f"HR@{k}"] = hit.astype(np.float64)
        values[f"NDCG@{k}"] = np.asarray(hit / np.log2(found + 2.0), dtype=np.float64)
    values["MRR"] = np.asarray(1.0 / (found + 1.0), dtype=np.float64)
    return values


def summarise(policy: str, videos: int, per_seed: list[NDArray[np.int64]]) -> Evaluation:
    """Means and standard errors from the ranks of each training seed."""
    values = [gains(found) for found in per_seed]
    names = list(values[0])
    users = len(per_seed[0])
    person = {name: np.mean([v[name] for v in values], axis=0) for name in names}
    spread = None
    if len(per_seed) > 1:
        spread = {
            name: float(np.std([v[name].mean() for v in values], ddof=1) / np.sqrt(len(values)))
            for name in names
        }
    return Evaluation(
        policy=policy,
        users=users,
        videos=videos,
        seeds=len(per_seed),
        metrics={name: float(person[name].mean()) for name in names},
        errors={
            name: float(person[name].std(ddof=1) / np.sqrt(users)) if users > 1 else 0.0
            for name in names
        },
        spread=spread,
    )
