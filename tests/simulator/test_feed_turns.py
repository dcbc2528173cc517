"""A turn: what may be shown, what it leaves behind, and who may move between turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from simulator.calendar import DAY_MS
from simulator.feed import Feed
from simulator.logs.catalogue import Catalogue
from simulator.requests import CommentRequests, Slates
from tests.simulator.conftest import PAGE, START_MS, Beat, Run, Start

Scripted = Callable[..., tuple[Feed, object, object]]


# -- one turn -------------------------------------------------------------------------------------


def test_comments_must_be_shown_exactly_if_sections_were_opened(scripted_feed: Scripted) -> None:
    feed, people, _ = scripted_feed([Beat(opens=(2,)), Beat()])
    page = Slates(np.arange(PAGE, dtype=np.int32)[None])
    with pytest.raises(RuntimeError, match="video_requests"):
        feed.show(page)
    with pytest.raises(RuntimeError, match="no comment section"):
        feed.show_comments(np.zeros((1, 1), np.int32))
    feed.video_requests()
    with pytest.raises(RuntimeError, match="no comment section"):
        feed.show_comments(np.zeros((1, 1), np.int32))
    sections = feed.show(page)
    assert sections is not None
    assert sections.video.tolist() == [2]
    for wrong in (feed.video_requests, lambda: feed.show(page), feed.copy):
        with pytest.raises(RuntimeError):
            wrong()
    feed.show_comments(sections.candidates)
    feed.video_requests()
    assert feed.show(page) is None
    with pytest.raises(RuntimeError, match="no comment section"):
        feed.show_comments(sections.candidates)
    assert people.heard == [  # type: ignore[attr-defined]
        *("begin", "watch", "read", "finish"),
        *("watch", "finish"),
    ]


def test_a_turn_in_progress_cannot_be_copied(scripted_feed: Scripted) -> None:
    feed, _, _ = scripted_feed([Beat()])
    feed.video_requests()
    with pytest.raises(RuntimeError, match="finish the turn"):
        feed.copy()


@pytest.mark.parametrize("shape", [(1, PAGE + 1), (1, PAGE - 1), (2, PAGE), (0, PAGE)])
def test_slates_of_the_wrong_shape_are_refused(
    scripted_feed: Scripted, shape: tuple[int, int]
) -> None:
    feed, people, _ = scripted_feed([Beat()])
    feed.video_requests()
    with pytest.raises(ValueError, match=r"expected \(1, 6\)"):
        feed.show(Slates(np.zeros(shape, np.int32)))
    # The refused page was never shown; the turn goes on with a correct one.
    feed.show(Slates(np.arange(PAGE, dtype=np.int32)[None]))
    assert people.heard == ["begin", "watch", "finish"]  # type: ignore[attr-defined]


def test_padding_of_a_page_is_nothing(scripted_feed: Scripted) -> None:
    everywhere = tuple(range(PAGE))
    feed, _, recorder = scripted_feed([Beat(clicks=everywhere, opens=everywhere)])
    requests = feed.video_requests()
    assert requests is not None
    sections = feed.show(Slates(np.array([[4, 5, -1, -1, -1, -1]], np.int32)))
    assert sections is not None
    assert sections.video.tolist() == [4, 5]
    feed.show_comments(sections.candidates)
    log = dict(recorder.drain())["impressions"]  # type: ignore[attr-defined]
    assert log["video_id"].to_list() == [1_040, 1_050]
    totals = feed.outcomes.to_frame(np.array([0])).sum()
    assert totals.select("impressions", "clicks", "comment_opens").row(0) == (2, 2, 2)
    assert totals["comment_watch_time_ms"].item() == 2 * 4_000
    assert requests.history.videos("clicked")[0, :3].tolist() == [4, 5, -1]


def test_sections_that_were_not_reached_leave_no_trace(scripted_feed: Scripted) -> None:
    beat = Beat(reached=2, clicks=(0, 5), opens=(1, 4), comment_likes=(0,))
    feed, _, recorder = scripted_feed([beat])
    requests = feed.video_requests()
    assert requests is not None
    sections = feed.show(Slates(np.array([[10, 11, 12, 13, 14, 15]], np.int32)))
    assert sections is not None
    assert sections.video.tolist() == [11, 14]
    feed.show_comments(sections.candidates)
    log = dict(recorder.drain())  # type: ignore[attr-defined]
    assert log["impressions"]["video_id"].to_list() == [1_100, 1_110]
    assert log["comment_events"]["video_id"].unique().to_list() == [1_110]
    totals = feed.outcomes.to_frame(np.array([0])).sum()
    names = ("clicks", "comment_opens", "comment_watch_time_ms", "comment_likes", "comments_shown")
    assert totals.select(names).row(0) == (1, 1, 4_000, 1, 2)
    assert requests.history.videos("discussed")[0, :2].tolist() == [11, -1]
    assert requests.history.videos("clicked")[0, :2].tolist() == [10, -1]


def test_without_comments_in_the_data_sections_open_but_nothing_is_ranked(
    scripted_feed: Scripted, shelf: Catalogue
) -> None:
    bare = Catalogue.build(shelf.video_ids, upload_ms=shelf.upload_ms)
    feed, _, recorder = scripted_feed([Beat(opens=(1, 3), reached=3)], catalogue=bare)
    requests = feed.video_requests()
    assert requests is not None
    assert feed.show(Slates(np.arange(PAGE, dtype=np.int32)[None])) is None
    log = dict(recorder.drain())  # type: ignore[attr-defined]
    assert list(log) == ["impressions"]
    assert log["impressions"]["comment_stay_time"].to_list() == [0, 4_000, 0]
    # As in a log without comment events, an opened section is what is known of the interest.
    assert requests.history.videos("discussed")[0, :2].tolist() == [1, -1]
    assert requests.history.comments()[0, 0].tolist() == [-1, -1, -1]


def test_policy_label_holds_from_the_next_page_on(scripted_feed: Scripted) -> None:
    feed, _, recorder = scripted_feed([Beat()] * 3)
    for label in ("first", "second", "first"):
        feed.set_policy_label(label)
        requests = feed.video_requests()
        assert requests is not None
        feed.show(Slates(np.sort(requests.candidates, axis=1)[:, -PAGE:]))
    log = dict(recorder.drain())["impressions"]  # type: ignore[attr-defined]
    assert log["policy"].to_list() == [*["first"] * PAGE, *["second"] * PAGE, *["first"] * PAGE]


def test_sections_carry_the_history_before_the_page(scripted_feed: Scripted) -> None:
    beat = Beat(clicks=(0,), opens=(0,), comment_likes=(1,))
    feed, _, _ = scripted_feed([beat, dataclasses.replace(beat, comment_replies=(0,))])
    page = np.array([[10, 11, 12, 13, 14, 15]], np.int32)
    seen: list[CommentRequests] = []
    for shift in (0, 20):
        feed.video_requests()
        sections = feed.show(Slates(page + np.int32(shift)))
        assert sections is not None
        seen.append(sections)
        before = 0 if shift == 0 else 1
        assert sections.history.lengths("clicked").tolist() == [before]
        assert sections.history.lengths("discussed").tolist() == [before]
        feed.show_comments(sections.candidates)
    first, second = (section.candidates[0] for section in seen)
    assert seen[-1].history.comments()[0, :2].tolist() == [
        [first[1], -1, -1],
        [second[0], second[1], -1],
    ]


# -- people who move, people who wait -------------------------------------------------------------


def test_people_taken_in_live_on_as_if_they_had_stayed(start_run: Start) -> None:
    end_ms = START_MS + 3 * DAY_MS

    def began(users: range) -> Run:
        run = start_run(users, record=False)
        run.feed.extend(end_ms)
        run.feed.end_ms = START_MS + DAY_MS
        return run.until(START_MS + DAY_MS)

    home, away, undisturbed = began(range(12)), began(range(20, 30)), began(range(20, 30))
    moved, places = np.array([1, 4, 11]), np.array([7, 0, 3])
    away.feed.take_in(places, home.feed, moved)
    assert away.feed.users[places].tolist() == moved.tolist()
    for run in (home, away, undisturbed):
        run.until(end_ms)
    expected = home.feed.outcomes.values[moved]
    assert (away.feed.outcomes.values[places] == expected).all()
    assert expected[:, 1:].sum() > 0
    others = np.setdiff1d(np.arange(10), places)
    assert (away.feed.outcomes.values[others] == undisturbed.feed.outcomes.values[others]).all()
    lived = {(u, t): c for r in home.asked for u, t, c in _pages(r)}
    came = {(u, t): c for r in away.asked for u, t, c in _pages(r) if u < 12}
    assert came
    assert all(lived[page] == candidates for page, candidates in came.items())


def _pages(request: dict[str, np.ndarray]) -> list[tuple[int, int, list[int]]]:
    columns = (request["user"], request["time_ms"], request["candidates"])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_people_cannot_move_in_the_middle_of_a_page_or_between_days(start_run: Start) -> None:
    one, other = start_run(range(3), record=False), start_run(range(3, 6), record=False)
    rows = np.arange(2)
    other.feed.extend(START_MS + 3 * DAY_MS)
    with pytest.raises(ValueError, match="cannot take in"):
        one.feed.take_in(rows, other.feed, rows)
    one.feed.extend(START_MS + 3 * DAY_MS)
    assert one.feed.video_requests() is not None
    with pytest.raises(RuntimeError, match="finish the turn"):
        one.feed.take_in(rows, other.feed, rows)


def test_who_may_not_ask_waits(start_run: Start) -> None:
    run = start_run(range(10), record=False)
    run.feed.extend(START_MS + 2 * DAY_MS)
    due = run.feed.next_page_ms() < START_MS + 2 * DAY_MS
    among = np.arange(10) % 2 == 0
    requests = run.feed.video_requests(among)
    assert requests is not None
    assert requests.row.tolist() == np.flatnonzero(due & among).tolist()
    assert np.flatnonzero(~run.feed.between_sessions()).tolist() == requests.row.tolist()
    sections = run.feed.show(Slates(requests.candidates[:, :PAGE]))
    if sections is not None:
        run.feed.show_comments(sections.candidates)
    assert (run.feed.next_page_ms() > START_MS).all()
    everyone = run.feed.video_requests()
    assert everyone is not None
    assert set(np.flatnonzero(due & ~among)) <= set(everyone.row.tolist())
