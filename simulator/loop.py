"""Drive a feed with a ranker until everyone's time is over: the only loop of pages.

Calibration, the gym's nursery and experiments all use it. A ranker is told nothing but requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from simulator.feed import Feed
from simulator.requests import CommentOrders, CommentRequests, Int32, Slates, VideoRequests

Report = Callable[[float], None]
"""``report(fraction_done)``, from 0 to 1, called now and then."""

_PAGES_PER_REPORT = 16


class Ranker(Protocol):
    """Anything that turns requests into slates and comment orders."""

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        """A page of videos per request."""

    def comments(self, requests: CommentRequests) -> Int32 | CommentOrders:
        """int32[R, M]: comments of each opened section in display order, -1 padded."""


def drive(feed: Feed, ranker: Ranker, report: Report | None = None) -> None:
    """Let everyone in the feed live until its end time.

    Args:
        feed: The environment.
        ranker: Who fills the pages and orders the comments.
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
