"""Serve requests with policies: one policy for everyone, or the policy of each user's arm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.base import Policy
from policies.ranking import order_comments, rank_videos
from simulator.loop import Ranker
from simulator.requests import CommentOrders, CommentRequests, Int32, Slates, VideoRequests


class PolicyRanker:
    """A policy as the platform uses it: it scores, the platform sorts and explores.

    Args:
        policy: Fitted.
        explore_share: Share of slots of a page filled at random.
        explore_comments: Share of ranks of a comment section filled at random.
        keep_probabilities: Whether slates and orders carry the probability of every candidate.
    """

    def __init__(
        self,
        policy: Policy,
        explore_share: float = 0.0,
        explore_comments: float = 0.0,
        *,
        keep_probabilities: bool = False,
    ) -> None:
        self.policy = policy
        self.explore_share = explore_share
        self.explore_comments = explore_comments
        self._keep = keep_probabilities

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        """A page of videos per request, best first."""
        return rank_videos(
            self.policy, requests, page_size, self.explore_share, keep_probabilities=self._keep
        )

    def comments(self, requests: CommentRequests) -> CommentOrders:
        """Comments of each opened section, best first."""
        return order_comments(
            self.policy, requests, self.explore_comments, keep_probabilities=self._keep
        )


class ArmsRanker:
    """Routes every request to the ranker of the user's arm.

    Args:
        rankers: One per arm.
        arm_of_row: int[G], the arm of each row of the group.
    """

    def __init__(self, rankers: list[Ranker], arm_of_row: NDArray[np.integer[Any]]) -> None:
        self._rankers = rankers
        self._arm_of_row = arm_of_row

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        """Each arm ranks its own users' requests."""
        shape = (len(requests.row), page_size)
        videos = np.full(shape, -1, dtype=np.int32)
        propensity = np.full(shape, np.nan, dtype=np.float32)
        is_rand = np.zeros(shape, dtype=np.bool_)
        probabilities: NDArray[np.float32] | None = None
        for ranker, index in self._parts(requests.row):
            part = ranker.slates(requests.select(index), page_size)
            videos[index] = part.videos
            # A ranker that does not know how likely its choice was says nothing: NaN is a null.
            propensity[index] = np.nan if part.propensity is None else part.propensity
            if part.is_rand is not None:
                is_rand[index] = part.is_rand
            if part.probabilities is not None:
                if probabilities is None:
                    probabilities = np.zeros((*shape, requests.candidates.shape[1]), np.float32)
                probabilities[index] = part.probabilities
        return Slates(
            videos=videos, propensity=propensity, is_rand=is_rand, probabilities=probabilities
        )

    def comments(self, requests: CommentRequests) -> CommentOrders:
        """Each arm orders the sections that its own users opened."""
        shape = requests.candidates.shape
        order = np.full(shape, -1, dtype=np.int32)
        propensity = np.full(shape, np.nan, dtype=np.float32)
        probabilities: NDArray[np.float32] | None = None
        for ranker, index in self._parts(requests.row):
            part = ranker.comments(requests.select(index))
            if not isinstance(part, CommentOrders):
                part = CommentOrders(part)
            order[index] = part.comments
            if part.propensity is not None:
                propensity[index] = part.propensity
            if part.probabilities is not None:
                if probabilities is None:
                    probabilities = np.zeros((*shape, shape[1]), np.float32)
                probabilities[index] = part.probabilities
        return CommentOrders(order, propensity, probabilities)

    def _parts(self, rows: Int32) -> Iterator[tuple[Ranker, NDArray[np.intp]]]:
        arms = self._arm_of_row[rows]
        for number, ranker in enumerate(self._rankers):
            index = np.flatnonzero(arms == number)
            if len(index):
                yield ranker, index


BATCH = 2048
"""People per turn: enough to spread the cost of a turn, few enough for the processor's cache."""
