"""Where creators answer, a test of a ranker that favours some creators finds too small a lift."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.calendar import HOUR_MS
from simulator.feed import Feed, FeedSettings
from simulator.interference.feed import SharedFeed
from simulator.interference.settings import InterferenceSettings
from simulator.requests import CommentRequests, HistoryState, Int32, Slates, VideoRequests
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval, Sources
from simulator.world.world import World
from tests.simulator.conftest import START_MS, shuffled

PEOPLE = 24
SOURCES = Sources(categories=0, authors=0, sequels=0, popular=0, fresh=8, random=0)


class Favour:
    """Shows videos of even creators first to the people of ``favoured`` rows, others by chance."""

    def __init__(self, world: World, favoured: np.ndarray) -> None:
        self.even = world.catalogue().author % 2 == 0
        self.favoured = favoured
        self.shown = np.zeros((len(favoured), 2))

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        mixed = shuffled(requests.key, requests.candidates)
        last = np.where(mixed < 0, 2, ~self.even[mixed] & self.favoured[requests.row][:, None])
        pages = np.take_along_axis(mixed, np.argsort(last, axis=1, kind="stable"), axis=1)
        pages = pages[:, :page_size]
        real = pages >= 0
        self.shown[requests.row, 0] += (self.even[pages] & real).sum(axis=1)
        self.shown[requests.row, 1] += real.sum(axis=1)
        return Slates(videos=pages)

    def comments(self, requests: CommentRequests) -> Int32:
        return requests.candidates


def share_of_even(world: World, favoured: np.ndarray, rows: np.ndarray, supply: float) -> float:
    """Share of even creators in what some people are shown in the second half of a day."""
    group = np.arange(PEOPLE, dtype=np.int32)
    feed = Feed(
        world.catalogue(),
        WorldResponse(world).population(group),
        group,
        seed=1,
        start_ms=START_MS,
        end_ms=START_MS,
        history=HistoryState(PEOPLE),
        retrieval=Retrieval(world.catalogue(), sources=SOURCES),
        settings=FeedSettings(sources=SOURCES),
    )
    settings = InterferenceSettings(comment_likes=0.0, supply=supply)
    feed = SharedFeed.of(feed, settings, START_MS)
    ranker = Favour(world, favoured)
    for hours in (12, 24):
        ranker.shown[:] = 0.0
        feed.extend(START_MS + hours * HOUR_MS)
        while (requests := feed.video_requests()) is not None:
            sections = feed.show(ranker.slates(requests, 6))
            if sections is not None:
                feed.show_comments(ranker.comments(sections))
    return float(ranker.shown[rows, 0].sum() / ranker.shown[rows, 1].sum())


@pytest.fixture(scope="module")
def crowd(lively_world: World) -> World:
    """Many new videos by few creators."""
    config = dataclasses.replace(
        lively_world.config,
        n_videos=600,
        n_authors=30,
        old_days=1.0,
        new_days=1.0,
        session_seconds=70.0,
    )
    return World.create(config, 3)


def test_both_arms_move_towards_each_other(crowd: World) -> None:
    nobody, half, everybody = (np.arange(PEOPLE) % 2 >= low for low in (2, 1, 0))
    control = share_of_even(crowd, nobody, ~half, 2.0)
    treatment = share_of_even(crowd, everybody, half, 2.0)
    with_treatment = share_of_even(crowd, half, ~half, 2.0)
    with_control = share_of_even(crowd, half, half, 2.0)
    assert with_treatment > control + 0.02
    assert with_control < treatment
    assert with_control / with_treatment < treatment / control - 0.05


def test_without_an_answer_of_creators_they_do_not(crowd: World) -> None:
    nobody, half = (np.arange(PEOPLE) % 2 >= low for low in (2, 1))
    alone, mixed = (share_of_even(crowd, arm, ~half, 0.0) for arm in (nobody, half))
    assert alone == mixed
