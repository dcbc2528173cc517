"""Rows of the log against the page and the section they come from."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from simulator.logs.catalogue import Catalogue
from simulator.logs.schema import TABLES
from simulator.recorder import RecordedPage, Recorder, Sections
from simulator.response.base import Read, Watched
from tests.simulator.conftest import START_MS, tables

FLAGS = ("click", "like", "follow", "comment", "forward", "hate", "long_view")
ROWS, SLOTS = 3, 4


def page(seed: int, **changes: object) -> RecordedPage:
    """Three people, four slots, everything at random; users 5, 2 and 9."""
    random = np.random.default_rng(seed)
    shape = (ROWS, SLOTS)
    watched = Watched(
        play_ms=random.integers(0, 9_000, shape),
        profile_stay_ms=random.integers(0, 500, shape),
        opened=random.random(shape) < 0.5,
        flags={name: random.random(shape) < 0.5 for name in FLAGS},
    )
    values: dict[str, object] = {
        "user": np.array([5, 2, 9], dtype=np.int32),
        "session": random.integers(0, 9, ROWS),
        "step": random.integers(0, 9, ROWS),
        "time_ms": START_MS + random.integers(0, 10**6, ROWS),
        "slates_videos": np.array([random.permutation(60)[:SLOTS] for _ in range(ROWS)], np.int32),
        "propensity": random.random(shape).astype(np.float32),
        "is_rand": random.random(shape) < 0.3,
        "watched": watched,
        "reached": np.arange(SLOTS) < random.integers(1, SLOTS + 1, ROWS)[:, None],
        "play_ms": random.integers(0, 9_000, shape),
        "stay_ms": random.integers(0, 9_000, shape),
        "policy": "ranker",
    }
    return RecordedPage(**{**values, **changes})  # type: ignore[arg-type]


def sections(seed: int, shelf: Catalogue, **changes: object) -> Sections:
    """Three sections with their comments in random order and one comment of padding each."""
    random = np.random.default_rng(seed)
    video = np.array([random.permutation(np.arange(8, 60))[:3]], dtype=np.int32)[0]
    order = np.array(
        [[*random.permutation(np.arange(4)) + shelf.comment_offsets[v], -1] for v in video],
        dtype=np.int32,
    )
    marks = {name: random.random(order.shape) < 0.5 for name in ("shown", "like", "reply")}
    marks["shown"] &= order >= 0
    dwell_ms = random.integers(1, 900, order.shape)
    values: dict[str, object] = {
        "user": np.array([5, 5, 9], dtype=np.int32),
        "time_ms": START_MS + random.integers(0, 10**6, ROWS),
        "video": video,
        "order": order,
        "read": Read.of_tables(dwell_ms=dwell_ms, stay_ms=dwell_ms.sum(axis=1), **marks),
        "live": np.array([True, True, False]),
        "propensity": None,
    }
    return Sections(**{**values, **changes})  # type: ignore[arg-type]


def expected_impressions(catalogue: Catalogue, *pages: RecordedPage) -> list[dict[str, object]]:
    rows = []
    for p in pages:
        for r, s in zip(*np.nonzero(p.reached), strict=True):
            video = int(p.slates_videos[r, s])
            flags = {
                ("long_view" if n == "long_view" else f"is_{n}"): int(p.watched.flags[n][r, s])
                for n in FLAGS
            }
            rows.append(
                flags
                | {
                    "user_id": int(p.user[r]),
                    "video_id": int(catalogue.video_ids[video]),
                    "session_id": int(p.session[r]),
                    "request_id": int(p.session[r] * 100_000 + p.step[r]),
                    "position": int(s),
                    "time_ms": int(p.time_ms[r]),
                    "play_time_ms": int(p.play_ms[r, s]),
                    "duration_ms": int(catalogue.duration_ms[video]) or None,
                    "is_profile_enter": int(p.watched.profile_stay_ms[r, s] > 0),
                    "profile_stay_time": int(p.watched.profile_stay_ms[r, s]),
                    "comment_stay_time": int(p.stay_ms[r, s]),
                    "is_rand": 0 if p.is_rand is None else int(p.is_rand[r, s]),
                    "policy": p.policy,
                    "propensity": None if p.propensity is None else float(p.propensity[r, s]),
                }
            )
    return sorted(rows, key=lambda row: (row["user_id"], row["time_ms"], row["position"]))


def test_impressions_are_the_slots_that_were_reached(shelf: Catalogue) -> None:
    pages = [page(seed, policy=policy) for seed, policy in ((1, "b"), (2, "a"), (3, "b"))]
    pages.append(page(4, propensity=None, is_rand=None))
    recorder = Recorder(shelf)
    for p in pages:
        recorder.add_page(p)
    ((table, frame),) = recorder.drain()
    assert table == "impressions"
    assert frame.to_dicts() == [
        {name: row[name] for name in frame.columns} for row in expected_impressions(shelf, *pages)
    ]
    assert set(frame.columns) == set(expected_impressions(shelf, pages[0])[0])
    known = TABLES[table].dtypes()
    assert frame.schema == {name: known[name] for name in frame.columns}


def test_a_video_of_unknown_length_has_no_duration(shelf: Catalogue) -> None:
    videos = np.tile(np.array([5, 6, 5, 6], dtype=np.int32), (ROWS, 1))
    recorder = Recorder(shelf)
    recorder.add_page(page(1, slates_videos=videos, reached=np.ones((ROWS, SLOTS), np.bool_)))
    frame = dict(recorder.drain())["impressions"]
    assert frame["duration_ms"].to_list() == [None, 20_000] * 6


@pytest.mark.parametrize("known", [True, False])
def test_comment_events_are_what_was_scrolled_into_view(shelf: Catalogue, known: bool) -> None:
    given = np.random.default_rng(0).random((3, 5)).astype(np.float32) if known else None
    recorder = Recorder(shelf)
    recorder.add_page(page(1))
    s = sections(6, shelf, propensity=given)
    recorder.add_sections(s)
    frame = dict(recorder.drain())["comment_events"]
    read = tables(s.read, 5)
    expected = [
        {
            "user_id": int(s.user[r]),
            "video_id": int(shelf.video_ids[s.video[r]]),
            "comment_id": int(shelf.comment_ids[s.order[r, m]]),
            "time_ms": int(s.time_ms[r]),
            "position": m,
            "is_shown": 1,
            "is_like": int(read.like[r, m]),
            "is_reply": int(read.reply[r, m]),
            "dwell_ms": int(read.dwell_ms[r, m]),
            "propensity": None if given is None else float(given[r, m]),
        }
        for r in range(3)
        for m in range(5)
        if s.live[r] and read.shown[r, m]
    ]
    expected.sort(key=lambda e: (e["user_id"], e["time_ms"], e["video_id"], e["position"]))
    assert len(expected) > 2
    assert frame.to_dicts() == expected
    dtypes = TABLES["comment_events"].dtypes()
    # Who ordered the section, in which arm, is added by whoever knows it.
    del dtypes["policy"], dtypes["arm"]
    assert frame.schema == dtypes


def test_identifiers_follow_the_table_of_users(shelf: Catalogue) -> None:
    ids = 7_000 + 3 * np.arange(10)
    recorder = Recorder(shelf, ids)
    recorder.add_page(page(1))
    recorder.add_sections(sections(6, shelf))
    tables = dict(recorder.drain())
    assert set(tables["impressions"]["user_id"]) == {7_015, 7_006, 7_027}
    assert set(tables["comment_events"]["user_id"]) == {7_015}


def test_draining_forgets(shelf: Catalogue) -> None:
    recorder = Recorder(shelf)
    assert list(recorder.drain()) == []
    recorder.add_page(page(1))
    recorder.add_sections(sections(6, shelf))
    assert [table for table, _ in recorder.drain()] == ["impressions", "comment_events"]
    assert list(recorder.drain()) == []
    recorder.add_page(page(2))
    ((_, again),) = recorder.drain()
    assert again.height == len(expected_impressions(shelf, page(2)))


def test_two_drains_hold_the_rows_of_one(shelf: Catalogue) -> None:
    often, once = Recorder(shelf), Recorder(shelf)
    parts = []
    for seed in (1, 2):
        for recorder in (often, once):
            recorder.add_page(page(seed))
        parts += [frame for _, frame in often.drain()]
    ((_, whole),) = once.drain()
    assert pl.concat(parts).sort(whole.columns).equals(whole.sort(whole.columns))


def test_decisions_keep_every_candidate_and_its_probability(shelf: Catalogue) -> None:
    random = np.random.default_rng(4)
    given = page(1)
    candidates = np.full((ROWS, 7), -1, dtype=np.int32)
    for r, videos in enumerate(given.slates_videos):
        others = np.setdiff1d(np.arange(60), videos)[: 1 + r]
        candidates[r, : SLOTS + 1 + r] = np.sort([*videos, *others])
    weights = random.random((ROWS, SLOTS, 7)).astype(np.float32) * (candidates >= 0)[:, None, :]
    probabilities = weights / weights.sum(axis=2, keepdims=True)
    recorder = Recorder(shelf)
    recorder.add_page(page(1, candidates=candidates, probabilities=probabilities))
    assert recorder.bytes > 0
    drained = dict(recorder.drain())
    assert recorder.bytes == 0 and list(recorder.drain()) == []
    decisions = drained["video_decisions"]
    assert decisions.schema == TABLES["video_decisions"].dtypes()
    same = ["user_id", "request_id", "position", "time_ms", "video_id"]
    assert decisions.select(same).equals(drained["impressions"].select(same))
    row_of_user = {5: 0, 2: 1, 9: 2}
    for row in decisions.to_dicts():
        r, s = row_of_user[row["user_id"]], row["position"]
        real = candidates[r] >= 0
        assert row["candidates"] == shelf.video_ids[candidates[r][real]].tolist()
        assert row["propensities"] == probabilities[r, s][real].tolist()
        assert row["video_id"] in row["candidates"]
        assert sum(row["propensities"]) == pytest.approx(1.0, abs=1e-6)


def test_comment_decisions_are_of_what_was_scrolled_into_view(shelf: Catalogue) -> None:
    given = sections(5, shelf)
    candidates = np.sort(given.order, axis=1)[:, ::-1].copy()
    ranks = 3
    probabilities = np.random.default_rng(1).random((ROWS, ranks, 5)).astype(np.float32)
    recorder = Recorder(shelf)
    more = {"session": np.array([1, 1, 2]), "step": np.array([0, 0, 4])}
    recorder.add_sections(
        sections(5, shelf, candidates=candidates, probabilities=probabilities, **more)
    )
    drained = dict(recorder.drain())
    decisions, events = drained["comment_decisions"], drained["comment_events"]
    assert decisions.schema == TABLES["comment_decisions"].dtypes()
    same = ["user_id", "video_id", "comment_id", "time_ms", "position"]
    # Only the first ranks have probabilities.
    assert decisions.select(same).equals(events.filter(pl.col("position") < ranks).select(same))
    assert 0 < decisions.height < events.height
    section = {int(shelf.video_ids[v]): i for i, v in enumerate(given.video)}
    for row in decisions.to_dicts():
        i, k = section[row["video_id"]], row["position"]
        real = candidates[i] >= 0
        assert row["candidates"] == shelf.comment_ids[candidates[i][real]].tolist()
        assert row["propensities"] == probabilities[i, k][real].tolist()
        assert row["request_id"] == more["session"][i] * 100_000 + more["step"][i]
    with pytest.raises(ValueError, match="session"):
        recorder.add_sections(
            sections(5, shelf, candidates=candidates, probabilities=probabilities)
        )
