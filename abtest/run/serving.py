"""The only place where the feed meets a ranker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.base import Policy
from policies.ranking import rank_comments, rank_videos
from simulator.feed import Feed
from simulator.requests import CommentRequests, Int32, Slates, VideoRequests


class Ranker(Protocol):
    """Anything that turns requests into slates and comment orders."""

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        """A page of videos per request."""

    def comments(self, requests: CommentRequests) -> Int32:
        """Comments of each opened section in display order."""


class PolicyRanker:
    """A policy as the platform uses it: it scores, the platform sorts and explores."""

    def __init__(self, policy: Policy, explore_share: float = 0.0) -> None:
        self.policy = policy
        self.explore_share = explore_share

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        """A page of videos per request, best first."""
        return rank_videos(self.policy, requests, page_size, self.explore_share)

    def comments(self, requests: CommentRequests) -> Int32:
        """Comments of each opened section, best first."""
        return rank_comments(self.policy, requests)


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
        propensity = np.ones(shape, dtype=np.float32)
        is_rand = np.zeros(shape, dtype=np.bool_)
        for ranker, index in self._parts(requests.row):
            part = ranker.slates(_select_videos(requests, index), page_size)
            videos[index] = part.videos
            if part.propensity is not None:
                propensity[index] = part.propensity
            if part.is_rand is not None:
                is_rand[index] = part.is_rand
        return Slates(videos=videos, propensity=propensity, is_rand=is_rand)

    def comments(self, requests: CommentRequests) -> Int32:
        """Each arm orders the sections that its own users opened."""
        order = np.full(requests.candidates.shape, -1, dtype=np.int32)
        for ranker, index in self._parts(requests.row):
            order[index] = ranker.comments(_select_comments(requests, index))
        return order

    def _parts(self, rows: Int32) -> Iterator[tuple[Ranker, NDArray[np.intp]]]:
        arms = self._arm_of_row[rows]
        for number, ranker in enumerate(self._rankers):
            index = np.flatnonzero(arms == number)
            if len(index):
                yield ranker, index


def _select_videos(requests: VideoRequests, index: NDArray[np.intp]) -> VideoRequests:
    return VideoRequests(
        row=requests.row[index],
        user=requests.user[index],
        time_ms=requests.time_ms[index],
        key=requests.key[index],
        candidates=requests.candidates[index],
        history=requests.history.select(index),
    )


def _select_comments(requests: CommentRequests, index: NDArray[np.intp]) -> CommentRequests:
    return CommentRequests(
        row=requests.row[index],
        user=requests.user[index],
        time_ms=requests.time_ms[index],
        key=requests.key[index],
        video=requests.video[index],
        candidates=requests.candidates[index],
        history=requests.history.select(index),
    )


BATCH = 2048
"""People per turn: enough to spread the cost of a turn, few enough for the processor's cache."""

Report = Callable[[float], None]
"""``report(fraction_done)``, from 0 to 1, called now and then."""

_PAGES_PER_REPORT = 16


def drive(feed: Feed, ranker: Ranker, report: Report | None = None) -> None:
    """Let everyone in the feed live until its end time.

    Args:
        feed: The environment.
        ranker: Who fills the pages.
        report: Told the share of the simulated time that has passed.
    """
    page_size = feed.settings.page_size
    started = feed.time_left_ms()
    pages = 0
    while (requests := feed.video_requests()) is not None:
        sections = feed.show(ranker.slates(requests, page_size))
        if sections is not None:
            feed.show_comments(ranker.comments(sections))
        pages += 1
        if report is not None and pages % _PAGES_PER_REPORT == 0:
            report(1.0 - feed.time_left_ms() / started)
    if report is not None:
        report(1.0)
