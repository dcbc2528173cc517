"""What the platform's own ranker does on purpose at random: whole sections, and slots."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from simulator.calendar import HOUR_MS
from simulator.randomness import mix, purpose_key
from simulator.requests import (
    CommentOrders,
    CommentRequests,
    HistoryState,
    VideoRequests,
)
from simulator.response.platform import PlatformRanker, bucket_propensity
from simulator.world.config import WorldConfig
from simulator.world.world import World

SMALL = dataclasses.replace(WorldConfig.preset("small"), n_videos=400, n_authors=80)
SECTIONS = 4_000


def section_requests(listed: np.ndarray) -> CommentRequests:
    """One section per person, all with these comments."""
    rows = np.arange(SECTIONS, dtype=np.int32)
    return CommentRequests(
        row=rows,
        user=rows,
        time_ms=np.full(SECTIONS, SMALL.start_ms),
        key=mix(purpose_key(1, "sections"), rows),
        video=np.zeros(SECTIONS, dtype=np.int32),
        candidates=np.tile(listed.astype(np.int32), (SECTIONS, 1)),
        history=HistoryState(SECTIONS).view(rows.astype(np.int64)),
    )


def test_propensities_of_the_bucket_are_those_of_all_orders_by_hand() -> None:
    """Of every order of four comments: the product over its ranks is its probability."""
    share, listed = 0.3, np.array([7, 3, 5, 9, -1])
    orders = np.array([(*p, -1) for p in itertools.permutations(listed[:4])], dtype=np.int32)
    found = bucket_propensity(orders, np.tile(listed, (len(orders), 1)).astype(np.int32), share)
    assert (found[:, 4] == 0.0).all()
    whole = found[:, :4].astype(float).prod(axis=1)
    by_hand = share / 24 + (1.0 - share) * (orders == listed).all(axis=1)
    assert whole == pytest.approx(by_hand, rel=1e-5)
    assert whole.sum() == pytest.approx(1.0, rel=1e-5)


def test_a_share_of_sections_is_shown_in_random_order() -> None:
    config = dataclasses.replace(SMALL, platform_explore_comments=0.25)
    listed = np.array([4, 8, 1, 6, -1, -1])
    ranker = PlatformRanker(World.create(config, 2), np.arange(SECTIONS, dtype=np.int32))
    shown = ranker.comments(section_requests(listed))
    assert isinstance(shown, CommentOrders) and shown.propensity is not None
    assert (np.sort(shown.comments, axis=1) == np.sort(listed)).all()
    other = (shown.comments != listed).any(axis=1)
    # One order in 24 is the platform's own by chance.
    expected = 0.25 * 23 / 24
    assert other.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / SECTIONS))
    first = np.bincount(shown.comments[other, 0], minlength=9)[[8, 1, 6]]
    assert first.min() > 0.8 * first.max()
    for comment in (4, 1):
        stated = shown.propensity[shown.comments[:, 0] == comment, 0].mean()
        assert stated == pytest.approx(np.mean(shown.comments[:, 0] == comment), abs=0.02)


def test_without_a_bucket_the_order_is_the_listed_one_and_says_nothing() -> None:
    ranker = PlatformRanker(World.create(SMALL, 2), np.arange(SECTIONS, dtype=np.int32))
    requests = section_requests(np.array([4, 8, 1]))
    assert ranker.comments(requests) is requests.candidates


def test_random_slots_come_in_bursts_of_the_stated_share() -> None:
    """Shares of random slots per person and two hours vary more with bursts, about one mean."""
    people, blocks = 300, 40
    rows = np.tile(np.arange(people), blocks).astype(np.int32)
    block = np.repeat(np.arange(blocks), people)
    asked = VideoRequests(
        row=rows,
        user=rows,
        time_ms=SMALL.start_ms + block * 2 * HOUR_MS,
        key=mix(purpose_key(1, "bursts"), rows, block),
        candidates=np.zeros((len(rows), 1), dtype=np.int32),
        history=HistoryState(people).view(np.arange(people)),
    )
    means, spreads = [], []
    for bursts in (0.0, 0.8):
        config = dataclasses.replace(
            SMALL, platform_random_bursts=bursts, platform_random_sigma=0.0,
            platform_random_share=0.01,
        )  # fmt: skip
        ranker = PlatformRanker(World.create(config, 2), np.arange(people, dtype=np.int32))
        share = ranker._share(asked)
        means.append(share.mean())
        spreads.append(np.log(share).std())
    assert means == pytest.approx([0.01, 0.01], rel=0.05)
    assert spreads == pytest.approx([0.0, 0.8], abs=0.03)


def test_the_ranker_may_know_its_heavy_users_less_well_than_others() -> None:
    """The correlation of its scores with what suits each person falls with their use of it."""
    people, videos = 600, np.arange(200, dtype=np.int32)
    rows = np.arange(people, dtype=np.int32)
    asked = VideoRequests(
        row=rows,
        user=rows,
        time_ms=np.full(people, SMALL.start_ms),
        key=mix(purpose_key(1, "heavy"), rows),
        candidates=np.tile(videos, (people, 1)),
        history=HistoryState(people).view(rows.astype(np.int64)),
    )
    known = {}
    for volume in (0.0, 0.7):
        config = dataclasses.replace(SMALL, platform_noise=2.0, platform_noise_volume=volume)
        world = World.create(config, 2)
        person = world.people(rows)
        suits = person.taste @ world.videos.vector[videos].T
        score = PlatformRanker(world, rows)._scores(asked)
        found = [np.corrcoef(a, b)[0, 1] for a, b in zip(suits, score, strict=True)]
        heavy = person.volume > np.median(person.volume)
        known[volume] = np.mean(np.array(found)[heavy]), np.mean(np.array(found)[~heavy])
    assert known[0.0][0] == pytest.approx(known[0.0][1], abs=0.04)
    assert known[0.7][0] < known[0.0][0] - 0.05
    assert known[0.7][1] > known[0.0][1] + 0.05
