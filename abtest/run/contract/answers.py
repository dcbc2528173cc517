"""Put requests for videos and for comments to a policy, and compare what it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abtest.run.contract.requests import comment_requests, fingerprint, video_requests
from policies.base import Policy, Scores
from policies.ranking import checked_comment_scores, checked_video_scores
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, HistoryState, VideoRequests

_OF_SPREAD = 1e-4
_OF_SIZE = 1e-6
"""What float32 loses where large numbers are added up in another order."""


class Broken(Exception):
    """A rule's own verdict."""


class Differs(Broken):
    """Scores that should be the same are not."""


@dataclass(frozen=True)
class Answers:
    """Scores of the candidates of one batch, copied: a policy may use its arrays again.

    Attributes:
        videos: float[B, C], 0 at padding.
        comments: float[B, M], 0 at padding; None for the platform's order, or without comments.
    """

    videos: Scores
    comments: Scores | None

    def select(self, index: Any) -> Answers:
        """Of some requests."""
        return Answers(self.videos[index], None if self.comments is None else self.comments[index])


@dataclass(frozen=True)
class Questions:
    """A batch of requests for videos and one of as many opened sections of the same people.

    Attributes:
        videos: B requests.
        comments: B requests; None for a log without comments.
    """

    videos: VideoRequests
    comments: CommentRequests | None

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        history: HistoryState,
        users: Any,
        time_ms: int | None = None,
        *,
        seed: int = 3,
    ) -> Questions:
        """Random candidates and sections, one of each per row of a history state."""
        videos = video_requests(dataset, history, users, time_ms, seed=seed)
        return cls(videos, comment_requests(dataset, history, videos))

    def __len__(self) -> int:
        return len(self.videos.row)

    def select(self, index: NDArray[np.intp]) -> Questions:
        """Those of some people."""
        return Questions(
            self.videos.select(index),
            None if self.comments is None else self.comments.select(index),
        )

    def in_other_rows(self) -> Questions:
        """The same people and histories, kept in each other's rows."""
        row = self.videos.row[::-1]
        return Questions(
            replace(self.videos, row=row),
            None if self.comments is None else replace(self.comments, row=row),
        )

    def bytes(self) -> tuple[bytes, ...]:
        """All bytes that a policy is given."""
        return fingerprint(self.videos) + (
            () if self.comments is None else fingerprint(self.comments)
        )

    def put_to(self, policy: Policy) -> Answers:
        """What a policy answers.

        Raises:
            PolicyContractError: no scores.
        """
        videos = _kept(checked_video_scores(policy, self.videos), self.videos.candidates)
        found = None
        if self.comments is not None:
            found = checked_comment_scores(policy, self.comments)
        if found is None or self.comments is None:
            return Answers(videos, None)
        return Answers(videos, _kept(found, self.comments.candidates))


def same(first: Answers, second: Answers, problem: str) -> None:
    """Refuse answers that differ by more than rounding.

    Args:
        first: Some answers.
        second: Answers to the same requests.
        problem: What a difference means.

    Raises:
        Differs: they differ, or comments were ranked in one of them only.
    """
    _same(first.videos, second.videos, problem)
    if first.comments is not None and second.comments is not None:
        _same(first.comments, second.comments, problem, "comments' ")
    elif first.comments is not second.comments:
        raise Differs(f"{problem} (None for comments in one of two cases)")


def _kept(scores: Scores, candidates: NDArray[np.int32]) -> Scores:
    return np.where(candidates >= 0, scores, scores.dtype.type(0))


def _same(first: Scores, second: Scores, problem: str, whose: str = "") -> None:
    """Differences count beside the range of the scores: probabilities may all be small."""
    if first.shape != second.shape:
        raise Differs(f"{problem}: shape {first.shape} is not {second.shape}")
    if first.size == 0:
        return
    low = min(float(first.min()), float(second.min()))
    high = max(float(first.max()), float(second.max()))
    worst = float(np.abs(first.astype(np.float64) - second).max())
    allowed = _OF_SPREAD * (high - low) + _OF_SIZE * max(abs(low), abs(high))
    if not worst <= allowed:
        raise Differs(f"{problem} (by up to {worst / (high - low):.2g} of {whose}scores' range)")
