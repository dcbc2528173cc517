from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsvcr.data import examples
from lsvcr.data.examples import Batch, Histories, batches, histories, last_events, make_batch
from lsvcr.task import MAX_LENGTH, Task
from simulator.logs.interactions import Interactions

# (user, time, video): one event. Videos are numbered by order, so that an event is recognised.
Event = tuple[int, int]


def _interactions(events: Sequence[Event], first_video: int, comments: bool) -> Interactions:
    ordered = sorted(events)
    n = len(ordered)
    video = np.arange(first_video, first_video + n, dtype=np.int32)
    return Interactions(
        np.array([u for u, _ in ordered], dtype=np.int32),
        video,
        np.array([t for _, t in ordered], dtype=np.int64),
        np.stack([video, video, -np.ones_like(video)], axis=1) if comments else None,
    )


class _Log:
    """As much of a dataset as `histories` asks for."""

    def __init__(self, users: int, liked: Sequence[Event], discussed: Sequence[Event]) -> None:
        self.users = users
        self.events = {
            "liked": _interactions(liked, 0, comments=False),
            "discussed": _interactions(discussed, 1_000, comments=True),
        }

    def user_ids(self) -> NDArray[np.int64]:
        return np.arange(self.users)

    def has(self, table: str) -> bool:
        return False


USERS = 4
EVENTS = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, 12)), max_size=40)
TASKS: tuple[Task, ...] = ("video", "comment")


@pytest.fixture(autouse=True)
def _read_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "interactions", lambda log, signal: log.events[signal])


def built(liked: Sequence[Event], discussed: Sequence[Event]) -> tuple[_Log, Histories]:
    log = _Log(USERS, liked, discussed)
    return log, histories(log, "liked")  # type: ignore[arg-type]


def seen_by_hand(log: _Log, signal: str, user: int, time: int) -> list[int]:
    """Videos of a person's events strictly before a time: what the platform knew then."""
    events = log.events[signal]
    mine = (events.user == user) & (events.time_ms < time)
    return [int(v) for v in events.video[mine]]


def moments(batch: Batch, task: Task) -> list[dict[str, Any]]:
    """Every real moment of a batch, with the events that its counts make visible."""
    found = []
    for b, k in np.argwhere(batch.real):
        n, m = int(batch.video_count[b, k]), int(batch.comment_count[b, k])
        w = int(batch.window[b])
        found.append(
            {
                "target": int(batch.target[b, k]),
                "now": int(batch.target_ms[b, k]),
                "liked": batch.videos[w, :n].tolist(),
                "discussed": batch.sections[w, :m].tolist(),
                "comments": batch.target_comments[b, k].tolist(),
                "section_comments": batch.section_comments[w, :m].tolist(),
            }
        )
    return found


@pytest.mark.parametrize("task", TASKS)
@given(liked=EVENTS, discussed=EVENTS, seed=st.integers(0, 20), targets=st.integers(1, 12))
@settings(max_examples=40, deadline=None, suppress_health_check=[])
def test_a_target_sees_what_came_strictly_before_it(
    task: Task, liked: list[Event], discussed: list[Event], seed: int, targets: int
) -> None:
    log, both = built(liked, discussed)
    own_signal = "liked" if task == "video" else "discussed"
    own = log.events[own_signal]
    owner = {int(v): (int(u), int(t)) for u, v, t in zip(own.user, own.video, own.time_ms)}  # noqa: B905
    stop = both.of(task)[0].lengths
    found = [
        moment
        for batch in batches(both, task, stop, size=3, targets=targets, seed=[seed])
        for moment in moments(batch, task)
    ]
    assert sorted(moment["target"] for moment in found) == sorted(owner)
    for moment in found:
        user, time = owner[moment["target"]]
        assert moment["now"] == time
        assert moment["liked"] == seen_by_hand(log, "liked", user, time)
        assert moment["discussed"] == seen_by_hand(log, "discussed", user, time)
        assert moment["section_comments"] == [[v, v, -1] for v in moment["discussed"]]
        if task == "comment":
            assert moment["comments"] == [moment["target"], moment["target"], -1]


@pytest.mark.parametrize("task", TASKS)
def test_long_histories_show_their_latest_events_and_never_more_than_fit(task: Task) -> None:
    own, other = [(0, 2 * i) for i in range(170)], [(0, 2 * i + 1) for i in range(130)]
    log, both = built(*((own, other) if task == "video" else (other, own)))
    history = both.of(task)[0]
    for batch in batches(both, task, history.lengths, size=4, targets=10, seed=[1]):
        assert batch.videos.shape[1] <= MAX_LENGTH
        assert batch.sections.shape[1] <= MAX_LENGTH
        for moment in moments(batch, task):
            for signal in ("liked", "discussed"):
                full = seen_by_hand(log, signal, 0, _time(log, moment["target"]))
                assert moment[signal] == full[len(full) - len(moment[signal]) :]
                # At most one window's worth of targets shortens the view.
                assert len(moment[signal]) >= min(len(full), MAX_LENGTH - 10)


def _time(log: _Log, video: int) -> int:
    events = log.events["liked" if video < 1_000 else "discussed"]
    return int(events.time_ms[events.video == video][0])


@pytest.mark.parametrize("task", TASKS)
def test_the_last_event_sees_fifty_events_as_in_serving(task: Task) -> None:
    own, other = [(0, 2 * i) for i in range(80)], [(0, 2 * i + 1) for i in range(70)]
    log, both = built(*((own, other) if task == "video" else (other, own)))
    batch = make_batch(both, task, last_events(both.of(task)[0], np.array([0])))
    (moment,) = moments(batch, task)
    time = _time(log, moment["target"])
    assert moment["liked"] == seen_by_hand(log, "liked", 0, time)[-MAX_LENGTH:]
    assert moment["discussed"] == seen_by_hand(log, "discussed", 0, time)[-MAX_LENGTH:]


@pytest.mark.parametrize("task", TASKS)
def test_held_out_events_are_neither_targets_nor_seen(task: Task) -> None:
    liked = [(u, t) for u in range(3) for t in range(0, 20, 2)]
    discussed = [(u, t) for u in range(3) for t in range(1, 20, 2)]
    _, both = built(liked, discussed)
    own = both.of(task)[0]
    stop = own.lengths - np.array([1, 0, 3, 0])
    hidden = {
        int(v) for u in range(3) for v in own.video[own.starts[u] + stop[u] : own.starts[u + 1]]
    }
    targets = []
    for batch in batches(both, task, stop, size=2, targets=4, seed=[3]):
        for moment in moments(batch, task):
            targets.append(moment["target"])
            assert not hidden & {moment["target"], *moment["liked"], *moment["discussed"]}
    assert len(targets) == int(stop.sum())


def test_epochs_differ_by_seed_and_repeat_with_it() -> None:
    _, both = built([(u % 4, t) for t in range(30) for u in range(4)], [(0, 3), (1, 4)])
    stop = both.liked.lengths

    def epoch(seed: int) -> list[bytes]:
        made = batches(both, "video", stop, size=4, targets=3, seed=[seed])
        return [batch.target.tobytes() + batch.videos.tobytes() for batch in made]

    assert epoch(1) == epoch(1)
    assert epoch(1) != epoch(2)


@pytest.mark.parametrize("task", TASKS)
def test_people_without_events_make_no_batches(task: Task) -> None:
    _, both = built([], [])
    own = both.of(task)[0]
    assert list(batches(both, task, own.lengths, size=4, targets=3, seed=[1])) == []
