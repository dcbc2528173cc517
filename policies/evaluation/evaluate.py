"""Evaluate one policy offline: rank every case, note the rank of what was chosen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from policies.base import Policy, Progress, Scores, silent
from policies.evaluation.candidates import CandidateBlock, CommentCandidates, VideoCandidates
from policies.evaluation.case_history import history_at
from policies.evaluation.holdout import HeldOut
from policies.evaluation.metrics import COVERAGE_CUTOFF, case_metrics, positive_ranks
from policies.ranking import checked_comment_scores, checked_video_scores, rank
from simulator.logs.dataset import Dataset
from simulator.randomness import mix, purpose_key
from simulator.requests import (
    CommentRequests,
    HistoryState,
    Int32,
    Int64,
    Signal,
    VideoRequests,
)

Task = Literal["videos", "comments"]
_REQUEST = purpose_key(0, "evaluate.request")


@dataclass(frozen=True)
class Ranked:
    """What a policy made of all cases.

    Attributes:
        ranks: int64[n, P], ranks of the positives from 0, ascending, -1 padded.
        top: int32[n, 10], the best candidates, -1 padded.
        offered: Distinct items that competed in any case.
        competing: Candidates per case, on average.
    """

    ranks: Int64
    top: Int32
    offered: int
    competing: float


def rank_cases(
    policy: Policy,
    test: HeldOut,
    candidates: VideoCandidates | CommentCandidates,
    history: HistoryState,
    *,
    progress: Progress = silent,
) -> Ranked | None:
    """Rank the candidates of all cases.

    Args:
        policy: Fitted on the training part.
        test: Cases.
        candidates: What competes in each of them.
        history: What is known of the person of case r, in row r; see `case_history.history_at`.
        progress: Called after every block.

    Returns:
        None if the policy leaves comments in the platform's order.

    Raises:
        PolicyContractError: scores that the contract forbids.
    """
    policy.reset(len(test))
    ranks = np.full((len(test), test.positives.shape[1]), -1, dtype=np.int64)
    top = np.full((len(test), COVERAGE_CUTOFF), -1, dtype=np.int32)
    offered = np.zeros(candidates.items, dtype=bool)
    done, competed = 0, 0
    task: Task = "videos" if isinstance(candidates, VideoCandidates) else "comments"
    for block in candidates.blocks():
        key = mix(_REQUEST, test.user[block.rows], test.time_ms[block.rows])
        scores = _scores(policy, task, test, block, key, history)
        if scores is None:
            return None
        found = positive_ranks(scores.astype(np.float32), block.positive, block.competes)
        ranks[block.rows, : found.shape[1]] = found
        competing = np.where(block.competes, block.candidates, np.int32(-1))
        top[block.rows] = rank(scores, competing, key, COVERAGE_CUTOFF)
        offered[competing[competing >= 0]] = True
        competed += int(block.competes.sum())
        done += len(block.rows)
        progress("ranking", done / len(test), f"{done:,} of {len(test):,}")
    return Ranked(ranks, top, int(offered.sum()), competed / len(test))


def _scores(
    policy: Policy,
    task: Task,
    test: HeldOut,
    block: CandidateBlock,
    key: NDArray[np.uint64],
    history: HistoryState,
) -> Scores | None:
    common: dict[str, Any] = {
        "row": block.rows.astype(np.int32),
        "user": test.user[block.rows],
        "time_ms": test.time_ms[block.rows],
        "key": key,
        "candidates": block.candidates,
        "history": history.view(block.rows),
    }
    if task == "videos":
        return checked_video_scores(policy, VideoRequests(**common))
    requests = CommentRequests(video=test.video[block.rows], **common)
    return checked_comment_scores(policy, requests)


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one policy on videos, averaged over people and training seeds, for benchmarks.

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

    Args:
        policy: Fitted on ``training``.
        training: See `policies.evaluation.holdout.training_part`.
        test: What was held out.
        signal: Which events.

    Returns:
        int64[n], from 0.
    """
    candidates = VideoCandidates(training, test, signal)
    ranked = rank_cases(policy, test, candidates, history_at(training, test))
    assert ranked is not None, "only comments can be left in the platform's order"
    return ranked.ranks[:, 0]


def gains(found: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Per-person values of every metric, from ranks counted from 0 of one video each."""
    values = case_metrics(found[:, None])
    return {name.replace("Recall", "HR"): value for name, value in values.items()}


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
