"""Likes add up as counted by hand; creators answer to what is watched; settings have ranges."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.calendar import DAY_MS
from simulator.errors import DataError
from simulator.interference.platform import MOST, GroupPlatform
from simulator.interference.settings import InterferenceSettings
from simulator.logs.catalogue import Catalogue
from simulator.requests import HistoryState
from simulator.retrieval import Retrieval, SeenVideos, Sources

START_MS = 10 * DAY_MS
LIKES = [9, 4, 4, 0, 7, 1]


def small_catalogue() -> Catalogue:
    """Two videos with comments; creators 0 and 1 with two old and two coming videos each."""
    upload = np.array([1, 2, 3, 4, 11, 11, 12, 12]) * DAY_MS
    return Catalogue.build(
        np.arange(8),
        author=np.array([0, 1, 0, 1, 0, 1, 0, 1]),
        upload_ms=upload,
        comment_offsets=np.array([0, 4, 6, 6, 6, 6, 6, 6, 6]),
        comment_likes=np.array(LIKES),
    )


def platform(**settings: float) -> GroupPlatform:
    chosen = dataclasses.replace(InterferenceSettings(people_per_video=10.0), **settings)
    return GroupPlatform(small_catalogue(), chosen, people=20, start_ms=START_MS)


def test_displayed_likes_are_the_start_plus_scaled_likes() -> None:
    """80 people stand behind 20: a like counts four times, at strength 0.4 as 1.6."""
    full, part = platform(), platform(comment_likes=0.4)
    assert full.scale == 4.0
    for each in (full, part):
        each.likes_given[:] = [0, 0, 2, 3, 0, 1]
    assert full.displayed_likes().tolist() == [9, 4, 12, 12, 7, 5]
    assert part.displayed_likes().tolist() == [9, 4, 7, 5, 7, 3]
    assert full.order(full.displayed_likes()).tolist() == [2, 3, 0, 1, 4, 5]


def test_herding_is_the_log_of_the_gain() -> None:
    each = platform(like_herding=0.5)
    each.likes_given[3] = 2
    likes = each.displayed_likes()
    seen = each.seen(likes, each.order(likes))
    assert np.allclose(seen.herding, [0, 0, 0, 0.5 * np.log(9.0), 0, 0])
    assert seen.place.tolist() == [0, 2, 3, 1, 4, 5]


def test_creators_publish_by_what_is_watched_of_each_video() -> None:
    each = platform(supply=0.5)
    each.attention[:] = [30.0, 10.0]
    # 15 and 5 seconds a video, the mean is 10, and half way to it 12.5 and 7.5.
    assert np.allclose(each.publishing(), [1.25**0.5, 0.75**0.5])
    each.refresh(START_MS)
    weight = each.weights() / each.weights()[0]
    assert np.allclose(weight[:4], 1.0)
    assert np.allclose(weight[4:], [1.25**0.5, 0.75**0.5] * 2, atol=1e-3)


def test_what_is_uploaded_already_stays_as_it_was_decided() -> None:
    each = platform(supply=1.0)
    each.attention[:] = [30.0, 10.0]
    each.refresh(START_MS)
    each.attention[:] = [0.0, 40.0]
    each.refresh(START_MS + 36 * 3_600_000)
    weight = each.weights() / each.weights()[0]
    assert np.allclose(weight[4:], [1.25, 0.75, 0.5, 1.5], atol=1e-3)


def test_attention_fades_within_a_day() -> None:
    each = platform()
    each.attention[:] = 50.0
    each.refresh(START_MS + DAY_MS)
    assert np.allclose(each.attention, 50.0 * np.exp(-1.0))


def test_nobody_publishes_without_bounds() -> None:
    each = platform(supply=2.0)
    each._videos = np.array([1, 1_000])
    each.attention[:] = [1e6, 0.0]
    assert each.publishing().tolist() == [MOST, 0.25]


def test_fresh_candidates_follow_the_weights() -> None:
    """Of the four videos of the last two days, creator 0's weigh three times as much."""
    catalogue = small_catalogue()
    sources = Sources(categories=0, authors=0, sequels=0, popular=0, fresh=1, random=0)
    weight = np.array([8, 8, 8, 8, 24, 8, 24, 8])
    stage = Retrieval(catalogue, sources=sources).publishing(weight)
    n = 4_000
    rows = np.arange(n)
    key = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    found = stage.candidates(
        rows,
        np.full(n, 13 * DAY_MS - 1),
        key,
        HistoryState(n).view(rows),
        SeenVideos(n, catalogue.n_videos, 10),
        0,
    )
    share = np.bincount(found[:, 0], minlength=8) / n
    assert np.allclose(share, [0, 0, 0, 0, 0.375, 0.125, 0.375, 0.125], atol=0.03)


def test_equal_weights_change_no_candidate() -> None:
    catalogue = small_catalogue()
    sources = Sources(categories=0, authors=0, sequels=0, popular=0, fresh=3, random=5)
    plain = Retrieval(catalogue, sources=sources)
    n = 500
    rows = np.arange(n)
    key = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    arguments = (
        rows, np.full(n, 13 * DAY_MS - 1), key, HistoryState(n).view(rows),
        SeenVideos(n, catalogue.n_videos, 10), 0,
    )  # fmt: skip
    equal = plain.publishing(np.full(8, 1 << 14))
    assert np.array_equal(plain.candidates(*arguments), equal.candidates(*arguments))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"suply": 0.3}, "Did you mean 'supply'"),
        ({"supply": -0.1}, "interference.supply is -0.1, expected a number from 0 to 2"),
        ({"supply": float("nan")}, "expected a number"),
        ({"comment_likes": True}, "expected a number from 0 to 10"),
        ({"refresh_hours": "1"}, "expected a number from 0.1 to 24"),
    ],
)
def test_strengths_out_of_range_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        InterferenceSettings.of(values)


def test_strengths_that_are_not_given_have_their_defaults() -> None:
    chosen = InterferenceSettings.of({"supply": 1})
    assert chosen == InterferenceSettings(supply=1.0)
    assert InterferenceSettings.of(chosen.values()) == chosen
