"""The candidate stage: where candidates come from, and which never come.

Frequencies are checked at fixed seeds; a correct stage fails one such check in 10,000 seeds.
"""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from scipy import stats

from simulator.logs.catalogue import UNKNOWN_TIME, Catalogue
from simulator.requests import HistoryState
from simulator.retrieval import FRESH_MS, Retrieval, SeenVideos, Sources
from tests.simulator.conftest import START_MS, request_keys

ERROR_RATE = 1e-4
NONE = Sources(categories=0, authors=0, sequels=0, popular=0, fresh=0, random=0)
VIDEOS = 120
NEVER = 1 << 30
HOUR_MS = 3_600_000


def inventory(upload_ms: np.ndarray | None = None) -> Catalogue:
    """Category = index % 4, -1 from 100 on; author = index // 5, -1 from 110 on."""
    index = np.arange(VIDEOS)
    return Catalogue.build(
        index,
        category=np.where(index < 100, index % 4, -1),
        author=np.where(index < 110, index // 5, -1),
        upload_ms=upload_ms,
    )


def only(**counts: int) -> Sources:
    return Sources(**{**vars(NONE), **counts})


def clicked(*histories: list[int], signal: str = "clicked") -> HistoryState:
    state = HistoryState(len(histories))
    for row, videos in enumerate(histories):
        for video in videos:
            state.append(signal, np.array([row]), np.array([video], np.int32))  # type: ignore[arg-type]
    return state


def mark(seen: SeenVideos, rows: np.ndarray, videos: np.ndarray) -> None:
    """One video per row; -1 is nothing."""
    seen.add_page(rows, videos[:, None], np.ones((len(rows), 1), dtype=np.bool_))


def ask(
    retrieval: Retrieval,
    n: int = 1,
    *,
    history: HistoryState | None = None,
    seen: SeenVideos | None = None,
    time_ms: int | np.ndarray = START_MS,
    at_least: int = 0,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Candidates of n requests with keys of their own, all of user 0 unless rows are given."""
    rows = np.zeros(n, dtype=np.int64) if rows is None else rows
    users = int(rows.max(initial=0)) + 1
    return retrieval.candidates(
        rows,
        np.broadcast_to(np.asarray(time_ms, dtype=np.int64), (len(rows),)).copy(),
        request_keys(len(rows)),
        (history or HistoryState(users)).view(rows),
        seen or SeenVideos(users, VIDEOS, NEVER),
        at_least,
    )


def frequencies_agree(found: np.ndarray, shares: np.ndarray) -> bool:
    """Whether single candidates int[n, 1] come up in these shares; others must not come up."""
    counts = np.bincount(found.ravel(), minlength=len(shares))
    possible = shares > 0
    assert counts[~possible].sum() == 0
    expected = shares[possible] / shares.sum() * counts.sum()
    return bool(stats.chisquare(counts[possible], expected).pvalue > ERROR_RATE)


# -- what each source proposes --------------------------------------------------------------------


def test_categories_follow_recent_clicks_in_proportion() -> None:
    retrieval = Retrieval(inventory(), sources=only(categories=1))
    found = ask(retrieval, 8_000, history=clicked([0, 4, 8, 1]))
    category = np.arange(VIDEOS) % 4
    shares = np.where(np.arange(VIDEOS) < 100, np.array([3.0, 1.0, 0.0, 0.0])[category], 0.0)
    assert frequencies_agree(found, shares)


@pytest.mark.parametrize("history", [[], [105]])
def test_without_a_known_category_the_popular_stand_in(history: list[int]) -> None:
    popularity = np.where(np.arange(VIDEOS) < 10, 1.0, 0.0)
    retrieval = Retrieval(inventory(), popularity, only(categories=1))
    found = ask(retrieval, 4_000, history=clicked(history))
    assert frequencies_agree(found, popularity)


def test_categories_prefer_what_is_popular_within_them() -> None:
    popularity = np.where(np.arange(VIDEOS) % 8 == 2, 3.0, 1.0)
    retrieval = Retrieval(inventory(), popularity, only(categories=1))
    found = ask(retrieval, 8_000, history=clicked([2]))
    inside = (np.arange(VIDEOS) % 4 == 2) & (np.arange(VIDEOS) < 100)
    assert frequencies_agree(found, np.where(inside, popularity, 0.0))


def test_authors_are_those_of_recent_likes() -> None:
    retrieval = Retrieval(inventory(), sources=only(authors=1))
    found = ask(retrieval, 4_000, history=clicked([7, 100], signal="liked"))
    of_author = np.arange(VIDEOS) // 5
    assert frequencies_agree(found, ((of_author == 1) | (of_author == 20)).astype(float))


@pytest.mark.parametrize("liked", [[], [115]])
def test_without_a_known_author_nothing_is_proposed(liked: list[int]) -> None:
    retrieval = Retrieval(inventory(), sources=only(authors=4))
    found = ask(retrieval, 50, history=clicked(liked, signal="liked"))
    assert (found == -1).all()


def test_sequels_are_what_the_authors_of_the_last_two_clicks_uploaded_next() -> None:
    retrieval = Retrieval(inventory(), sources=only(sequels=2))

    def proposed(*history: int) -> list[int]:
        return [v for v in ask(retrieval, history=clicked(list(history)))[0].tolist() if v >= 0]

    assert proposed() == []
    assert proposed(7) == [8]
    assert proposed(50, 7, 22) == [8, 23]
    assert proposed(22, 50, 7) == [8, 51]
    # 9 is its author's last one; 110 and later have no known author.
    assert proposed(9, 112) == []
    assert proposed(*[7] * 49, 61, 32) == [33, 62]
    # Order of upload, not of identifiers.
    upload_ms = START_MS - np.arange(VIDEOS, dtype=np.int64) * HOUR_MS
    backwards = Retrieval(inventory(upload_ms), sources=only(sequels=1))
    assert ask(backwards, history=clicked([7]))[0].tolist() == [6]
    # Not before it is uploaded.
    future = np.full(VIDEOS, START_MS, dtype=np.int64)
    future[8:10] += HOUR_MS
    early = Retrieval(inventory(future), sources=only(sequels=1))
    assert ask(early, history=clicked([7]))[0].tolist() == [-1]
    late = ask(early, history=clicked([7]), time_ms=START_MS + 2 * HOUR_MS)
    assert late[0].tolist() == [8]


def test_popular_videos_come_up_in_proportion_to_popularity() -> None:
    popularity = np.arange(VIDEOS) % 5 + 1.0
    retrieval = Retrieval(inventory(), popularity, only(popular=1))
    assert frequencies_agree(ask(retrieval, 12_000), popularity)


def test_fresh_videos_are_those_of_the_last_two_days() -> None:
    age_ms = np.arange(VIDEOS) * HOUR_MS
    retrieval = Retrieval(inventory(START_MS - age_ms), sources=only(fresh=1))
    assert frequencies_agree(ask(retrieval, 6_000), (age_ms < FRESH_MS).astype(float))
    # A day later nothing newer has come: half of them are still fresh.
    later = ask(retrieval, 6_000, time_ms=START_MS + 24 * HOUR_MS)
    assert frequencies_agree(later, (age_ms < FRESH_MS - 24 * HOUR_MS).astype(float))
    much_later = ask(retrieval, 20, time_ms=START_MS + 2 * FRESH_MS)
    assert (much_later == -1).all()


def test_random_videos_are_uniform_over_what_is_uploaded() -> None:
    upload_ms = START_MS + (np.arange(VIDEOS) - 30) * HOUR_MS
    retrieval = Retrieval(inventory(upload_ms), sources=only(random=1))
    assert frequencies_agree(ask(retrieval, 6_000), (upload_ms <= START_MS).astype(float))


def test_unknown_upload_time_means_always_available() -> None:
    upload_ms = np.where(np.arange(VIDEOS) < 3, UNKNOWN_TIME, START_MS + HOUR_MS)
    retrieval = Retrieval(inventory(upload_ms), sources=only(random=1))
    assert set(ask(retrieval, 200).ravel().tolist()) == {0, 1, 2}


# -- what never comes -----------------------------------------------------------------------------

upload_hours = hnp.arrays(np.int64, VIDEOS, elements=st.integers(-100, 30))
histories = st.lists(st.lists(st.integers(0, VIDEOS - 1), max_size=60), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    hours=upload_hours,
    past=histories,
    seen_share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
    at_least=st.integers(0, 12),
)
def test_candidates_are_uploaded_distinct_and_unseen_unless_too_few(
    hours: np.ndarray, past: list[list[int]], seen_share: float, seed: int, at_least: int
) -> None:
    upload_ms = START_MS + hours * HOUR_MS
    retrieval = Retrieval(inventory(upload_ms))
    random = np.random.default_rng(seed)
    marked = random.random((len(past), VIDEOS)) < seen_share
    seen = SeenVideos(len(past), VIDEOS, NEVER)
    for row, video in zip(*np.nonzero(marked), strict=True):
        mark(seen, np.array([row]), np.array([video], dtype=np.int32))
    rows = np.arange(len(past))
    time_ms = START_MS + random.integers(0, 20, len(past)) * HOUR_MS
    asked = {"history": clicked(*past), "seen": seen, "time_ms": time_ms, "rows": rows}
    unseen = ask(retrieval, **asked)
    found = ask(retrieval, **asked, at_least=at_least)
    assert found.shape == unseen.shape == (len(past), Sources().total)
    for row in rows:
        proposed = unseen[row][unseen[row] >= 0].tolist()
        assert not marked[row, proposed].any()
        offered = found[row][found[row] >= 0].tolist()
        assert len(offered) == len(set(offered))
        assert (upload_ms[offered] <= time_ms[row]).all()
        if len(proposed) >= at_least:
            assert sorted(offered) == sorted(proposed)
        else:
            # Topping up adds; it takes nothing unseen away.
            assert set(proposed) <= set(offered)
            if (upload_ms <= time_ms[row]).sum() > 60:
                assert len(offered) > at_least


def test_somebody_who_has_seen_everything_is_served_all_the_same() -> None:
    seen = SeenVideos(1, VIDEOS, NEVER)
    for video in range(VIDEOS):
        mark(seen, np.array([0]), np.array([video], dtype=np.int32))
    retrieval = Retrieval(inventory())
    assert (ask(retrieval, 30, seen=seen) == -1).all()
    found = ask(retrieval, 30, seen=seen, at_least=6)
    assert ((found >= 0).sum(axis=1) >= 6).all()


def test_topping_up_takes_no_unseen_video_away() -> None:
    n_videos = 20_000
    catalogue = Catalogue.build(np.arange(n_videos))
    seen = SeenVideos(1, n_videos, NEVER)
    for video in range(1_000, n_videos):
        mark(seen, np.array([0]), np.array([video], dtype=np.int32))
    retrieval = Retrieval(catalogue)
    unseen, found = (ask(retrieval, 200, seen=seen, at_least=least) for least in (0, 6))
    topped_up = 0
    for before, after in zip(unseen, found, strict=True):
        proposed = set(before[before >= 0].tolist())
        assert proposed <= set(after.tolist())
        topped_up += bool(proposed) and (after >= 0).sum() > len(proposed)
    assert topped_up > 100


def test_before_the_first_upload_there_is_nothing() -> None:
    retrieval = Retrieval(inventory(np.full(VIDEOS, START_MS)))
    past = clicked([1, 2], [])
    rows = np.array([0, 1])
    before = ask(retrieval, history=past, rows=rows, time_ms=START_MS - 1, at_least=6)
    assert (before == -1).all()
    assert (ask(retrieval, history=past, rows=rows, at_least=6) >= 0).any()


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(8)), size=st.integers(1, 8))
def test_a_request_gets_the_same_in_every_batch(order: list[int], size: int) -> None:
    retrieval = Retrieval(inventory())
    history = clicked(*[[row, row + 20, row + 40] for row in range(8)])
    seen = SeenVideos(8, VIDEOS, NEVER)
    rows = np.arange(8)
    mark(seen, rows, (rows * 7).astype(np.int32))
    times, keys = START_MS + rows, request_keys(8)
    pick = np.array(order[:size])
    whole = retrieval.candidates(rows, times, keys, history.view(rows), seen, 6)
    part = retrieval.candidates(pick, times[pick], keys[pick], history.view(pick), seen, 6)
    assert np.array_equal(part, whole[pick])


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1e6)))
def test_popularity_of_any_kind_is_taken(popularity: np.ndarray) -> None:
    """Zeros, ties, huge and tiny values: something real always comes out."""
    catalogue = Catalogue.build(np.arange(len(popularity)))
    found = Retrieval(catalogue, popularity, only(popular=1))
    candidates = ask(found, 64)
    assert ((candidates >= 0) & (candidates < len(popularity))).all()
    if popularity.max() > 1.0:
        assert (popularity[candidates] > 0).all()


# -- what was seen --------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    n_videos=st.integers(1, 40),
    shown=st.lists(st.dictionaries(st.integers(0, 3), st.integers(-1, 39)), max_size=20),
)
def test_seen_videos_are_a_set_per_user(n_videos: int, shown: list[dict[int, int]]) -> None:
    seen = SeenVideos(4, n_videos, NEVER)
    expected: set[tuple[int, int]] = set()
    for call in shown:
        call = {row: video for row, video in call.items() if video < n_videos}
        videos = np.array(list(call.values()), dtype=np.int32)
        mark(seen, np.array(list(call), dtype=np.int64), videos)
        expected |= {pair for pair in call.items() if pair[1] >= 0}
    everything = np.tile(np.arange(n_videos, dtype=np.int32), (4, 1))
    found = seen.contains(np.arange(4), everything)
    assert set(zip(*np.nonzero(found), strict=True)) == expected


def test_seen_videos_of_a_copy_are_its_own() -> None:
    seen = SeenVideos(2, 50, NEVER)
    copy = seen.copy()
    mark(copy, np.array([1]), np.array([33], dtype=np.int32))
    wanted = np.array([[33]], dtype=np.int32)
    assert copy.contains(np.array([1]), wanted).all()
    assert not seen.contains(np.array([1]), wanted).any()


def test_in_a_huge_catalogue_a_seen_video_is_never_taken_for_unseen() -> None:
    n_videos = 200_000
    seen = SeenVideos(1, n_videos, NEVER)
    shown = np.random.default_rng(0).choice(n_videos, 500, replace=False).astype(np.int32)
    for video in shown:
        mark(seen, np.array([0]), np.array([video]))
    assert seen.contains(np.array([0]), shown[None]).all()
    everything = np.arange(n_videos, dtype=np.int32)[None]
    # 500 of 65,536 bits: others are withheld in error with at most that share.
    assert seen.contains(np.array([0]), everything).mean() <= 500 / 65_536 + 1e-3


def test_videos_of_one_page_are_marked_together_where_they_were_shown() -> None:
    seen = SeenVideos(3, 50, NEVER)
    videos = np.array([[1, 2, 3], [4, -1, 4], [7, 0, -1]], dtype=np.int32)
    shown = np.array([[True, False, True], [True, True, True], [True, True, True]])
    seen.add_page(np.array([2, 0, 1]), videos, shown)
    everything = np.tile(np.arange(50, dtype=np.int32), (3, 1))
    found = zip(*np.nonzero(seen.contains(np.arange(3), everything)), strict=True)
    assert set(found) == {(2, 1), (2, 3), (0, 4), (1, 7), (1, 0)}


def test_a_video_comes_back_after_enough_others_and_not_before() -> None:
    """Whatever a user was shown within the memory is withheld; after twice that it is free."""
    memory, page = 30, 4
    seen = SeenVideos(2, 1_000, memory)
    everything = np.tile(np.arange(1_000, dtype=np.int32), (2, 1))
    row = np.array([1])
    shown: list[int] = []
    for first in range(0, 400, page):
        videos = np.arange(first, first + page, dtype=np.int32)[None]
        seen.add_page(row, videos, np.ones((1, page), dtype=np.bool_))
        shown.extend(videos[0].tolist())
        found = set(np.flatnonzero(seen.contains(np.array([0, 1]), everything)[1]).tolist())
        assert set(shown[-memory:]) <= found <= set(shown[-2 * memory - page :])
    assert not seen.contains(np.array([0, 1]), everything)[0].any()
