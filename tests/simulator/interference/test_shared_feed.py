"""People of one feed change its likes and its supply; without strength they change nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from simulator.calendar import DAY_MS, HOUR_MS
from simulator.interference.feed import SharedFeed
from simulator.interference.settings import InterferenceSettings
from simulator.requests import Int32
from simulator.world.world import World
from tests.simulator.conftest import START_MS, Run, Start

NONE = InterferenceSettings(comment_likes=0.0, supply=0.0)
STRONG = InterferenceSettings(people_per_video=0.5, refresh_hours=2.0)
END_MS = START_MS + DAY_MS
PEOPLE = 12


def shared(run: Run, settings: InterferenceSettings) -> Run:
    feed = SharedFeed.of(run.feed, settings, START_MS)
    return dataclasses.replace(run, feed=feed, recorder=None, asked=[], sections=[])


@pytest.fixture(scope="module")
def begin(start_run: Start, lively_world: World) -> Callable[[], Run]:
    """A few people at the start, where few videos are shown and comments often opened and liked."""
    config = dataclasses.replace(
        lively_world.config,
        n_videos=150,
        n_authors=25,
        open_base=-3.0,
        comment_like_base=-1.0,
        session_seconds=150.0,
    )
    world = World.create(config, 3)
    return lambda: start_run(range(PEOPLE), world=world)


@pytest.fixture(scope="module")
def alone(begin: Callable[[], Run]) -> pl.DataFrame:
    """Outcomes of a day without interference."""
    return begin().until(END_MS).outcomes()


def platform_of(run: Run) -> SharedFeed:
    assert isinstance(run.feed, SharedFeed)
    return run.feed


def test_without_strength_nobody_lives_otherwise(
    begin: Callable[[], Run], alone: pl.DataFrame
) -> None:
    without = shared(begin(), NONE).until(END_MS)
    assert_frame_equal(without.outcomes(), alone, check_exact=True)
    assert platform_of(without).platform.likes_given.sum() > 0


def test_with_strength_they_do_and_the_same_twice(
    begin: Callable[[], Run], alone: pl.DataFrame
) -> None:
    first, second = (shared(begin(), STRONG).until(END_MS) for _ in range(2))
    assert_frame_equal(first.outcomes(), second.outcomes(), check_exact=True)
    assert not first.outcomes().equals(alone)


@pytest.mark.parametrize(
    "settings",
    [dataclasses.replace(STRONG, supply=0.0), dataclasses.replace(STRONG, comment_likes=0.0)],
    ids=["likes alone", "supply alone"],
)
def test_each_mechanism_acts_by_itself(
    begin: Callable[[], Run], alone: pl.DataFrame, settings: InterferenceSettings
) -> None:
    changed = shared(begin(), settings).until(END_MS)
    assert not changed.outcomes().equals(alone)


def test_nothing_shows_before_the_first_refresh(begin: Callable[[], Run]) -> None:
    first = START_MS + 2 * HOUR_MS
    alone = begin().until(first)
    changed = shared(begin(), STRONG).until(first)
    assert_frame_equal(changed.outcomes(), alone.outcomes(), check_exact=True)
    assert all(request.likes is None for request in changed.sections)


def test_pausing_does_not_matter(begin: Callable[[], Run]) -> None:
    at_once = shared(begin(), STRONG).until(END_MS)
    paused = shared(begin(), STRONG)
    for hours in (1, 2, 3, 7, 24):
        paused.until(START_MS + hours * HOUR_MS)
    assert_frame_equal(paused.outcomes(), at_once.outcomes(), check_exact=True)


def test_how_many_share_a_turn_does_not_matter(begin: Callable[[], Run]) -> None:
    whole, small = (shared(begin(), STRONG) for _ in range(2))
    small.feed.batch = 3
    assert_frame_equal(
        small.until(END_MS).outcomes(), whole.until(END_MS).outcomes(), check_exact=True
    )


def test_copies_live_on_platforms_of_their_own(begin: Callable[[], Run]) -> None:
    start = shared(begin(), STRONG)
    copy = dataclasses.replace(start, feed=start.feed.copy(), salt=7, asked=[], sections=[])
    expected = shared(begin(), STRONG).until(END_MS)
    copy.until(END_MS)
    given = platform_of(start).platform.likes_given
    assert given.sum() == 0
    assert platform_of(copy).platform.likes_given.sum() > 0
    assert_frame_equal(start.until(END_MS).outcomes(), expected.outcomes(), check_exact=True)


def test_displayed_likes_are_those_given_until_the_last_refresh(begin: Callable[[], Run]) -> None:
    """Held against the log of the same people, where every like has its time and its comment."""
    settings = dataclasses.replace(STRONG, supply=0.0, refresh_hours=6.0)
    run = begin()
    recorder = run.recorder
    assert recorder is not None
    run = shared(run, settings)
    run.feed.recorder = recorder
    run.until(END_MS)
    liked = dict(recorder.drain())["comment_events"].filter(pl.col("is_like") > 0)
    assert liked.height > 20
    catalogue = run.feed.catalogue
    scale = 0.5 * catalogue.n_videos / PEOPLE
    checked = 0
    for request in run.sections:
        block = (int(request.time_ms[0]) - START_MS) // (6 * HOUR_MS)
        refreshed = START_MS + block * 6 * HOUR_MS
        if request.likes is None:
            assert block == 0
            continue
        before = liked.filter(pl.col("time_ms") < refreshed)
        given = np.bincount(before["comment_id"].to_numpy(), minlength=catalogue.n_comments)
        shown = catalogue.comment_likes + np.rint(scale * given)
        real = request.candidates >= 0
        assert np.array_equal(request.likes[real], shown[request.candidates[real]])
        checked += int((given[request.candidates[real]] > 0).sum())
        in_order = np.where(real, request.likes, -1)
        assert (np.diff(in_order, axis=1) <= 0).all()
    assert checked > 10


def test_the_preview_is_the_most_liked_comment_now(begin: Callable[[], Run]) -> None:
    run = shared(begin(), STRONG).until(END_MS)
    feed = platform_of(run)
    likes, catalogue = feed.platform.displayed_likes(), feed.catalogue
    feed._refresh()
    videos = np.flatnonzero(np.diff(catalogue.comment_offsets) > 0).astype(np.int32)
    late = np.array([END_MS + 365 * DAY_MS])
    shown: Int32 = feed._sections.previews(videos[None, :], late)[0]
    most = np.maximum.reduceat(likes, catalogue.comment_offsets[videos])
    assert np.array_equal(likes[shown], most)
    assert np.array_equal(catalogue.comment_video[shown], videos)
    assert not np.array_equal(shown, catalogue.comment_offsets[videos])
