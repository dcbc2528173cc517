"""Sequences of events against plain Python over the rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from simulator.errors import DataError
from simulator.logs import interactions as events_of_a_log
from simulator.logs import scanning
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.initial_history import initial_history
from simulator.logs.interactions import interactions
from simulator.requests import COMMENTS_PER_EVENT, HISTORY_LENGTH, SIGNALS, Signal
from tests.simulator.logs.conftest import impressions

Make = Callable[..., Dataset]
USERS = [4, 7, 9]
VIDEOS = [10, 20, 30]
label = st.none() | st.integers(0, 1)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(USERS),
            "video_id": st.sampled_from([*VIDEOS, 99]),  # 99 is in no table
            "time_ms": st.integers(0, 12),
            "is_click": st.integers(0, 1),
            "is_like": label,
            "comment_stay_time": st.none() | st.sampled_from([0, 0, 700]),
        }
    ),
    min_size=1,
    max_size=30,
)
event_rows = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(USERS),
            "video_id": st.sampled_from(VIDEOS),
            "comment_id": st.integers(100, 108),  # 108 is in no table
            "time_ms": st.integers(0, 12),
            "is_like": st.integers(0, 1),
            "is_reply": st.integers(0, 1),
        }
    ),
    min_size=1,
    max_size=40,
)
cuts = st.none() | st.integers(0, 13)
COMMENT_ORDER = [100, 101, 102, 103, 104, 105, 106, 107]
LABELS = {"is_click", "is_like", "is_reply"}
Event = tuple[int, int, int, list[int] | None]


def frame(data: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(
        data, schema={k: pl.Int8 if k in LABELS else pl.Int64 for k in data[0]}
    ).with_columns(pl.lit(1).cast(pl.Int64).alias("play_time_ms"))


def written(
    factory: pytest.TempPathFactory, log: list[dict], events: list[dict] | None = None
) -> Dataset:
    """In parts of five rows, with all users, three videos, and eight comments in id order."""
    path = factory.mktemp("interactions") / "log"
    owner = [VIDEOS[i // 3] for i in range(8)]
    with DatasetWriter(path, name="n", source="s", licence="l") as writer:
        for start in range(0, len(log), 5):
            writer.append("impressions", frame(log)[start : start + 5])
        for start in range(0, len(events or []), 5):
            part = frame(events or []).drop("play_time_ms")
            writer.append("comment_events", part[start : start + 5])
        writer.append("users", pl.DataFrame({"user_id": [9, 4, 7]}))
        writer.append("videos", pl.DataFrame({"video_id": VIDEOS[::-1]}))
        writer.append("comments", pl.DataFrame({"comment_id": COMMENT_ORDER, "video_id": owner}))
    return Dataset.open(path)


def dense(user: int, video: int) -> tuple[int, int]:
    return USERS.index(user), VIDEOS.index(video) if video in VIDEOS else -1


def expected_of_impressions(log: list[dict], signal: Signal, before_ms: int | None) -> list[Event]:
    wanted = {
        "clicked": lambda r: r["is_click"] == 1,
        "liked": lambda r: r["is_like"] == 1,
        "discussed": lambda r: (r["comment_stay_time"] or 0) > 0,
    }[signal]
    kept = [r for r in log if wanted(r) and (before_ms is None or r["time_ms"] < before_ms)]
    kept.sort(key=lambda r: (r["user_id"], r["time_ms"]))
    return [(*dense(r["user_id"], r["video_id"]), r["time_ms"], None) for r in kept]


def expected_of_events(events: list[dict], before_ms: int | None) -> list[Event]:
    kept = [
        e
        for e in events
        if (e["is_like"] or e["is_reply"]) and (before_ms is None or e["time_ms"] < before_ms)
    ]
    kept.sort(key=lambda e: (e["user_id"], e["time_ms"]))
    found: list[Event] = []
    for (user, video), visit in itertools.groupby(kept, lambda e: (e["user_id"], e["video_id"])):
        said = list(visit)
        comments = [
            COMMENT_ORDER.index(e["comment_id"]) if e["comment_id"] in COMMENT_ORDER else -1
            for e in said
        ][:COMMENTS_PER_EVENT]
        padding = [-1] * (COMMENTS_PER_EVENT - len(comments))
        found.append((*dense(user, video), said[-1]["time_ms"], comments + padding))
    return found


def events_of(dataset: Dataset, signal: Signal, before_ms: int | None) -> list[Event]:
    found = interactions(dataset, signal, before_ms=before_ms)
    comments = itertools.repeat(None) if found.comments is None else iter(found.comments.tolist())
    assert found.user.dtype == found.video.dtype == np.int32
    columns = zip(found.user.tolist(), found.video.tolist(), found.time_ms.tolist(), strict=True)
    return [(*event, c) for event, c in zip(columns, comments, strict=False)]


quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(log=rows, before_ms=cuts)
def test_signals_of_impressions(
    tmp_path_factory: pytest.TempPathFactory, log: list[dict], before_ms: int | None
) -> None:
    dataset = written(tmp_path_factory, log)
    for signal in SIGNALS:
        expected = expected_of_impressions(log, signal, before_ms)
        assert events_of(dataset, signal, before_ms) == expected


@quick
@given(log=rows, events=event_rows, before_ms=cuts)
def test_comment_events_say_what_was_discussed(
    tmp_path_factory: pytest.TempPathFactory,
    log: list[dict],
    events: list[dict],
    before_ms: int | None,
) -> None:
    dataset = written(tmp_path_factory, log, events)
    assert events_of(dataset, "discussed", before_ms) == expected_of_events(events, before_ms)
    for signal in ("clicked", "liked"):
        expected = expected_of_impressions(log, signal, before_ms)
        assert events_of(dataset, signal, before_ms) == expected


@quick
@given(
    log=rows,
    events=st.none() | event_rows,
    before_ms=cuts,
    group=st.permutations(range(3)).flatmap(lambda p: st.integers(1, 3).map(lambda k: p[:k])),
)
def test_initial_history_is_the_last_known_events_of_each_person(
    tmp_path_factory: pytest.TempPathFactory,
    log: list[dict],
    events: list[dict] | None,
    before_ms: int | None,
    group: list[int],
) -> None:
    dataset = written(tmp_path_factory, log, events)
    state = initial_history(dataset, np.array(group, dtype=np.int32), before_ms)
    assert state.n_users == len(group)
    view = state.view(np.arange(len(group)))
    for signal in SIGNALS:
        if signal == "discussed" and events is not None:
            expected = expected_of_events(events, before_ms)
        else:
            expected = expected_of_impressions(log, signal, before_ms)
        for row, user in enumerate(group):
            own = [e for e in expected if e[0] == user and e[1] >= 0][-HISTORY_LENGTH:]
            assert view.lengths(signal)[row] == len(own)
            assert view.videos(signal)[row, : len(own)].tolist() == [e[1] for e in own]
            if signal == "discussed":
                comments = [e[3] or [-1] * COMMENTS_PER_EVENT for e in own]
                assert view.comments()[row, : len(own)].tolist() == comments


def test_initial_history_keeps_the_last_fifty(make_dataset: Make) -> None:
    """One person with 120 clicks, one with 50, one with 3, and one who only looked."""
    counts = {1: 120, 2: 50, 3: 3, 4: 1}
    user = [u for u, n in counts.items() for _ in range(n)]
    video = [i for n in counts.values() for i in range(n)]
    log = impressions(
        user_id=user, video_id=video, time_ms=video, is_click=[int(u != 4) for u in user]
    )
    # The order of rows in the file does not matter, only their times do.
    shuffled = log.sample(fraction=1.0, shuffle=True, seed=3)
    view = initial_history(make_dataset(shuffled), np.arange(4, dtype=np.int32)).view(np.arange(4))
    assert view.videos("clicked")[0].tolist() == list(range(70, 120))
    assert view.videos("clicked")[1].tolist() == list(range(50))
    assert view.videos("clicked")[2, :4].tolist() == [0, 1, 2, -1]
    assert view.lengths("clicked").tolist() == [50, 50, 3, 0]


@pytest.mark.parametrize(("batch", "pending"), [(7, 3), (1, 0), (500_000, 1_000_000)])
def test_the_latest_events_are_those_of_the_whole_log_however_it_is_read(
    make_dataset: Make, monkeypatch: pytest.MonkeyPatch, batch: int, pending: int
) -> None:
    random = np.random.default_rng(4)
    n = 300
    columns = {
        "user_id": random.integers(0, 5, n), "video_id": random.integers(0, 9, n),
        "time_ms": random.integers(0, 40, n), "is_click": random.integers(0, 2, n),
    }  # fmt: skip
    log = impressions(**{name: values.tolist() for name, values in columns.items()})
    dataset = make_dataset(log)
    whole = interactions(dataset, "clicked")
    monkeypatch.setattr(scanning, "BATCH_ROWS", batch)
    monkeypatch.setattr(events_of_a_log, "_PENDING", pending)
    people = np.array([3, 1], dtype=np.int32)
    found = interactions(dataset, "clicked", users=people, latest=6)
    expected = [np.flatnonzero((whole.user == u) & (whole.video >= 0))[-6:] for u in (1, 3)]
    for name in ("user", "video", "time_ms"):
        np.testing.assert_array_equal(
            getattr(found, name), getattr(whole, name)[np.concatenate(expected)]
        )


def test_a_visit_of_a_section_is_one_event(make_dataset: Make) -> None:
    events = pl.DataFrame(
        {
            "user_id": [1, 1, 1, 1, 1, 1],
            "video_id": [5, 5, 6, 5, 5, 5],
            "comment_id": [1, 2, 9, 1, 3, 4],
            "time_ms": [10, 10, 20, 30, 31, 32],
        }
    ).with_columns(is_like=pl.lit(1, pl.Int8), is_reply=pl.lit(0, pl.Int8))
    comments = pl.DataFrame({"comment_id": [1, 2, 3, 4, 9], "video_id": [5, 5, 5, 5, 6]})
    dataset = make_dataset(impressions(video_id=[5, 6]), comment_events=events, comments=comments)
    found = interactions(dataset, "discussed")
    assert found.video.tolist() == [0, 1, 0]
    assert found.time_ms.tolist() == [10, 20, 32]
    assert found.comments is not None
    assert found.comments.tolist() == [[0, 1, -1], [4, -1, -1], [0, 2, 3]]


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signal_that_the_log_does_not_have(make_dataset: Make, signal: Signal) -> None:
    dataset = make_dataset(impressions(is_click=[0, 0]))
    found = interactions(dataset, signal)
    assert [len(c) for c in found[:3]] == [0, 0, 0]
    assert found.comments is None
    state = initial_history(dataset, np.array([0], dtype=np.int32))
    assert state.view(np.array([0])).lengths(signal).tolist() == [0]


def test_comment_events_without_likes_mean_that_nobody_discussed(make_dataset: Make) -> None:
    """Reading comments is not discussing them, and opening a section is not consulted."""
    events = pl.DataFrame(
        {"user_id": [1], "video_id": [0], "comment_id": [1], "time_ms": [10]}
    ).with_columns(is_like=pl.lit(0, pl.Int8), is_reply=pl.lit(0, pl.Int8))
    dataset = make_dataset(impressions(comment_stay_time=[900]), comment_events=events)
    found = interactions(dataset, "discussed")
    assert len(found.user) == 0
    assert found.comments is not None
    assert found.comments.shape == (0, COMMENTS_PER_EVENT)


@pytest.mark.parametrize("stranger", [2, 8])
@pytest.mark.parametrize("signal", SIGNALS)
def test_events_of_strangers_are_an_error_and_nobody_elses(
    make_dataset: Make, stranger: int, signal: Signal
) -> None:
    """A person missing from table users, with an identifier in between or after all others."""
    log = impressions(
        user_id=[1, stranger, 5], is_click=[1] * 3, is_like=[1] * 3, comment_stay_time=[1] * 3
    )
    dataset = make_dataset(log, users=pl.DataFrame({"user_id": [1, 5]}))
    expected = f"impressions has user_id {stranger}, table 'users' does not.*abtest data check"
    with pytest.raises(DataError, match=expected):
        interactions(dataset, signal)
    # Rows that take no part in the signal do no harm.
    quiet = make_dataset(
        log.with_columns(
            pl.when(pl.col("user_id") != stranger).then(pl.col(name)).otherwise(0).alias(name)
            for name in ("is_click", "is_like", "comment_stay_time")
        ).cast({"is_click": pl.Int8, "is_like": pl.Int8}),
        name="quiet",
        users=pl.DataFrame({"user_id": [1, 5]}),
    )
    assert interactions(quiet, signal).user.tolist() == [0, 1]
