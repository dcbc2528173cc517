"""The environment: who is asked what, when, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from simulator.calendar import DAY_MS
from simulator.feed import Feed, FeedSettings
from simulator.logs.catalogue import Catalogue
from simulator.requests import Slates
from simulator.retrieval import Sources
from simulator.world.world import World
from tests.simulator.conftest import PAGE, START_MS, Beat, Run, Start

Scripted = Callable[..., tuple[Feed, object, object]]


HALF_HOUR_MS = 30 * 60_000


@pytest.fixture(scope="module")
def lived(start_run: Start) -> Run:
    """Three days of 40 people."""
    return start_run(range(40)).until(START_MS + 3 * DAY_MS)


# -- time -----------------------------------------------------------------------------------------


def test_clocks_run_forward_and_stop_before_the_end(lived: Run) -> None:
    last: dict[int, int] = {}
    for request in lived.asked:
        assert len(set(request["row"].tolist())) == len(request["row"])
        for user, time_ms in zip(
            request["user"].tolist(), request["time_ms"].tolist(), strict=True
        ):
            assert START_MS < time_ms < START_MS + 3 * DAY_MS
            assert time_ms > last.get(user, 0)
            last[user] = time_ms
    # Some people stay away for days.
    assert len(last) >= 35


def test_keys_of_requests_are_all_different(lived: Run) -> None:
    keys = np.concatenate([request["key"] for request in lived.asked])
    sections = np.concatenate([section.key for section in lived.sections])
    assert len(np.unique(np.r_[keys, sections])) == len(keys) + len(sections)


def test_sessions_are_numbered_in_time_and_half_an_hour_apart(start_run: Start) -> None:
    log = start_run(range(40)).until(START_MS + 3 * DAY_MS).log()["impressions"]
    pages = log.unique(["user_id", "time_ms"]).sort("user_id", "time_ms")
    assert pages.height == log.select("user_id", "request_id").unique().height
    step = pages.with_columns(
        (pl.col("session_id") - pl.col("session_id").shift(1)).over("user_id").alias("sessions"),
        (pl.col("request_id") - pl.col("request_id").shift(1)).over("user_id").alias("pages"),
        (pl.col("time_ms") - pl.col("time_ms").shift(1)).over("user_id").alias("gap_ms"),
    ).drop_nulls("gap_ms")
    assert set(step["sessions"].to_list()) == {0, 1}
    assert step.filter(sessions=0)["pages"].to_list() == [1] * step.filter(sessions=0).height
    assert step.filter(sessions=1)["gap_ms"].min() >= HALF_HOUR_MS


# -- what is offered ------------------------------------------------------------------------------


def test_candidates_exist_are_new_and_distinct(lived: Run, lively_world: World) -> None:
    upload_ms = lively_world.catalogue().upload_ms
    assert upload_ms.max() > START_MS + 2 * DAY_MS
    offered_new = 0
    for request in lived.asked:
        for row, time_ms in zip(request["candidates"], request["time_ms"], strict=True):
            videos = row[row >= 0]
            assert len(videos) >= PAGE
            assert len(set(videos.tolist())) == len(videos)
            assert (upload_ms[videos] <= time_ms).all()
            offered_new += int((upload_ms[videos] > START_MS).sum())
    assert offered_new > 100


def test_what_was_reached_is_not_offered_again_for_a_while(start_run: Start) -> None:
    run = start_run(range(20)).until(START_MS + 3 * DAY_MS)
    memory = run.feed.settings.memory(run.feed.catalogue.n_videos)
    log = run.log()["impressions"]
    first_seen: dict[int, dict[int, int]] = {user: {} for user in range(20)}
    for user, video, time_ms in log.select("user_id", "video_id", "time_ms").iter_rows():
        first_seen[user].setdefault(video, time_ms)
    fresh = 0
    for request in run.asked:
        for user, time_ms, row in zip(
            request["user"].tolist(),
            request["time_ms"].tolist(),
            request["candidates"],
            strict=True,
        ):
            seen = {video for video, at in first_seen[user].items() if at < time_ms}
            # `test_retrieval` pins down when exactly rows are topped up with seen videos.
            if len(seen) <= memory:
                assert not seen & set(row[row >= 0].tolist())
                fresh += len(seen) > memory // 2
    assert fresh > 10


def test_a_small_inventory_is_not_exhausted() -> None:
    assert FeedSettings().memory(1_000_000) == FeedSettings().memory(13_000) == 400
    assert FeedSettings().memory(1_200) == 40
    assert FeedSettings().memory(3) == 1
    assert FeedSettings(repeat_after=7).memory(1_200) == 7


def test_unreached_slots_may_be_offered_again(scripted_feed: Scripted) -> None:
    feed, _, _ = scripted_feed([Beat(reached=1), Beat(), Beat()])
    requests = feed.video_requests()
    assert requests is not None
    page = np.arange(10, 10 + PAGE, dtype=np.int32)[None]
    feed.show(Slates(page))
    again = set()
    while (requests := feed.video_requests()) is not None:
        again |= set(requests.candidates.ravel().tolist())
        feed.show(Slates(np.array([[20, 21, 22, 23, 24, 25]], np.int32)))
    assert 10 not in again
    assert again & {11, 12, 13, 14, 15}


def test_a_video_from_outside_the_candidates_counts_as_seen(scripted_feed: Scripted) -> None:
    """Random exposure shows videos that no retrieval source proposed."""
    feed, _, recorder = scripted_feed([Beat()] * 4)
    requests = feed.video_requests()
    assert requests is not None
    outside = np.setdiff1d(np.arange(50), requests.candidates)[:PAGE].astype(np.int32)
    feed.show(Slates(outside[None], is_rand=np.ones((1, PAGE), np.bool_)))
    while (requests := feed.video_requests()) is not None:
        assert not set(outside.tolist()) & set(requests.candidates.ravel().tolist())
        feed.show(Slates(np.sort(requests.candidates, axis=1)[:, -PAGE:]))
    log = dict(recorder.drain())["impressions"]  # type: ignore[attr-defined]
    assert log.filter(is_rand=1)["video_id"].to_list() == (1_000 + 10 * outside).tolist()


def test_sections_hold_only_comments_that_are_written(lived: Run, lively_world: World) -> None:
    catalogue = lively_world.catalogue()
    cut = 0
    for section in lived.sections:
        for video, time_ms, row in zip(
            section.video.tolist(), section.time_ms.tolist(), section.candidates, strict=True
        ):
            own = range(*catalogue.comment_offsets[[video, video + 1]].tolist())
            expected = [c for c in own if catalogue.comment_time_ms[c] <= time_ms]
            # Without gaps: readers would take one for the end of the list.
            assert row[: len(expected)].tolist() == expected[:64]
            assert (row[len(expected) :] == -1).all()
            cut += len(own) - len(expected)
    assert cut > 0, "no comment of this world is ever in the future: the check is idle"


def test_comment_limit_keeps_the_most_liked(scripted_feed: Scripted, shelf: Catalogue) -> None:
    feed, _, _ = scripted_feed([Beat(opens=(0, 1))], settings=FeedSettings(comment_limit=2))
    feed.video_requests()
    sections = feed.show(Slates(np.array([[8, 9, 10, 11, 12, 13]], np.int32)))
    assert sections is not None
    assert sections.candidates.shape == (2, 2)
    for video, row in zip(sections.video.tolist(), sections.candidates.tolist(), strict=True):
        first = int(shelf.comment_offsets[video])
        assert row == [first, first + 1]


def test_preview_is_the_most_liked_comment_if_it_is_written(scripted_feed: Scripted) -> None:
    """Video 3's best comment is written on the second day; video 7 has no comments."""
    later = DAY_MS + 1
    feed, people, _ = scripted_feed([Beat(pause_ms=later), Beat()])
    for _ in range(2):
        feed.video_requests()
        feed.show(Slates(np.array([[2, 3, 7, 8, -1, -1]], np.int32)))
    first, second = people.previews  # type: ignore[attr-defined]
    assert first.tolist() == [[8, -1, -1, 28, -1, -1]]
    assert second.tolist() == [[8, 12, -1, 28, -1, -1]]


def test_a_section_closes_up_over_comments_that_are_not_written_yet(
    scripted_feed: Scripted, shelf: Catalogue
) -> None:
    """Of videos 3 and 4, the best and the second comment are written on the second day."""
    feed, _, _ = scripted_feed([Beat(opens=(0, 1), pause_ms=DAY_MS + 1), Beat(opens=(0, 1))])
    listed = []
    for _ in range(2):
        feed.video_requests()
        sections = feed.show(Slates(np.array([[3, 4, -1, -1, -1, -1]], np.int32)))
        assert sections is not None
        feed.show_comments(sections.candidates)
        listed.append((sections.candidates - shelf.comment_offsets[[3, 4], None]).tolist())
    first, second = listed
    assert [[c for c in row if c >= 0] for row in first] == [[1, 2, 3], [0, 2, 3]]
    assert all(row[-1] < 0 for row in first)
    assert second == [[0, 1, 2, 3]] * 2


def test_same_user_may_open_several_sections_of_a_page(lived: Run) -> None:
    repeated = 0
    for section in lived.sections:
        pairs = list(zip(section.row.tolist(), section.video.tolist(), strict=True))
        assert len(set(pairs)) == len(pairs)
        repeated += len(pairs) - len(set(section.row.tolist()))
    assert repeated > 0


def suite_sources_of_candidates_are_a_setting(scripted_feed: Scripted) -> None:
    few = Sources(categories=0, authors=0, sequels=0, popular=0, fresh=0, random=12)
    feed, _, _ = scripted_feed([Beat()], settings=FeedSettings(sources=few))
    requests = feed.video_requests()
    assert requests is not None
    assert requests.candidates.shape == (1, few.total)
