"""Cut both histories of every user into windows with targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsvcr.data.engaged import engaged_comments, skipped_comments
from lsvcr.data.lengths import by_lengths
from lsvcr.task import MAX_LENGTH, Task
from policies.evaluation.comment_visits import shown_ms
from policies.evaluation.holdout import known_videos
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.requests import COMMENTS_PER_EVENT, Signal

Int64 = NDArray[np.int64]
# (user, time) packed into one sortable integer; Unix milliseconds need 41 bits.
_TIME_BITS = 42


@dataclass(frozen=True)
class History:
    """One kind of event of all people, sorted by person and time.

    Attributes:
        starts: int64[U + 1]; person u has events ``starts[u] : starts[u + 1]``.
        video: int64[n].
        comments: int64[n, 3], the comments liked or replied to, -1 padded.
        earlier: int64[n], how many events of this kind the person had strictly before this one.
        other: int64[n], the same of the other kind.
        time_ms: int64[n], when the video of the event was shown.
        engaged: int64[n, k], all comments that the person liked or replied to under this video.
        skipped: int64[n, m], comments seen there and skipped, -1 padded; None where unknown.
    """

    starts: Int64
    video: Int64
    comments: Int64
    earlier: Int64
    other: Int64
    time_ms: Int64
    engaged: Int64
    skipped: Int64 | None = None

    @property
    def lengths(self) -> Int64:
        """int64[U]."""
        return np.diff(self.starts)

    def until(self, stop: Int64) -> History:
        """Without each person's events from number ``stop[u]`` on; int64[U]."""
        number = np.arange(len(self.video)) - np.repeat(self.starts[:-1], self.lengths)
        kept = number < np.repeat(stop, self.lengths)
        starts = np.concatenate([[0], np.cumsum(np.minimum(stop, self.lengths))])
        return History(
            starts,
            self.video[kept],
            self.comments[kept],
            self.earlier[kept],
            self.other[kept],
            self.time_ms[kept],
            self.engaged[kept],
            None if self.skipped is None else self.skipped[kept],
        )


@dataclass(frozen=True)
class Histories:
    """The liked videos and the comment sections with engaged comments."""

    liked: History
    discussed: History

    def without_comment_history(self) -> Histories:
        """The same events, of which nobody has seen one in a comment section."""
        return Histories(
            replace(self.liked, other=np.zeros_like(self.liked.other)),
            replace(self.discussed, earlier=np.zeros_like(self.discussed.earlier)),
        )

    def of(self, task: Task) -> tuple[History, History]:
        """(own, other) history of a task."""
        pair = (self.liked, self.discussed)
        return pair if task == "video" else (pair[1], pair[0])


def histories(dataset: Dataset, signal: Signal, *, skipped: bool = False) -> Histories:
    """Both histories of everybody in a log; ``signal`` makes the video history.

    Args:
        dataset: The log.
        signal: Of the video history.
        skipped: Whether the comment history knows what was skipped.

    Raises:
        PolicyError: it is to know, and the log does not.
    """
    n_users = len(dataset.user_ids())
    events = [known_videos(interactions(dataset, s)) for s in (signal, "discussed")]
    keys = [_key(event.user, event.time_ms) for event in events]
    built = []
    for number, event in enumerate(events):
        starts = np.searchsorted(event.user, np.arange(n_users + 1)).astype(np.int64)
        other_starts = np.searchsorted(events[1 - number].user, event.user)
        # Comments are ranked when their section is opened: nothing that followed the video's
        # impression has happened yet, its own like neither.
        now = event.time_ms
        if event.begun_ms is not None:
            now = shown_ms(dataset, event.user, event.video, event.begun_ms)
        key = _key(event.user, now)
        before = np.searchsorted(keys[1 - number], key, side="left") - other_starts
        # A page's events carry its time: when it is ranked, none of them has happened yet.
        earlier = np.searchsorted(keys[number], key, side="left") - starts[event.user]
        comments = np.full((len(event.user), COMMENTS_PER_EVENT), -1, dtype=np.int64)
        if event.comments is not None:
            comments = event.comments.astype(np.int64)
        engaged, left = comments, None
        if number == 1 and dataset.has("comment_events"):
            engaged = engaged_comments(dataset, event.user, event.video)
            left = skipped_comments(dataset, event.user, event.video) if skipped else None
        video = event.video.astype(np.int64)
        built.append(History(starts, video, comments, earlier, before, now, engaged, left))
    return Histories(built[0], built[1])


def _key(user: NDArray[np.integer], time_ms: Int64) -> Int64:
    return np.asarray((user.astype(np.int64) << _TIME_BITS) + time_ms)


@dataclass(frozen=True)
class Batch:
    """Windows of histories and the moments at which something is predicted.

    The moments of a window that have seen equally much of the other history are one *view* of
    it; most of what a moment costs is paid per view.

    Attributes:
        videos: int64[B, L], liked videos, -1 padded at the end.
        sections: int64[B, M], videos of the comment history, -1 padded.
        section_comments: int64[B, M, 3].
        window: int64[P], the window that each view is of, ascending.
        video_count, comment_count: int64[P, K], events that each moment has seen.
        real: bool[P, K], whether the moment exists; the first of a view always does.
        target: int64[P, K], the video that is liked (or under which is commented) next.
        target_ms: int64[P, K], when that is.
        target_comments: int64[P, K, 3], comments interacted with (comment task), -1 padded.
        target_engaged: int64[P, K, k], all of them, at whichever visit.
        target_skipped: int64[P, K, m], comments skipped there, where the history knows them.
    """

    videos: Int64
    sections: Int64
    section_comments: Int64
    window: Int64
    video_count: Int64
    comment_count: Int64
    real: NDArray[np.bool_]
    target: Int64
    target_ms: Int64
    target_comments: Int64
    target_engaged: Int64
    target_skipped: Int64 | None = None


@dataclass(frozen=True)
class Windows:
    """Targets ``start .. stop - 1`` of one person, seen from the event ``base`` on."""

    user: Int64
    base: Int64
    start: Int64
    stop: Int64

    def __len__(self) -> int:
        return len(self.user)

    def pick(self, index: NDArray[np.integer]) -> Windows:
        """Some of them, in the order of an index."""
        return Windows(self.user[index], self.base[index], self.start[index], self.stop[index])


def windows(history: History, stop: Int64, targets: int, random: np.random.Generator) -> Windows:
    """Cut histories so that every event is a target once, with up to 50 events before it.

    Args:
        history: The task's own history.
        stop: int64[U], events from here on are held out.
        targets: Most targets per window.
        random: Decides where the first cut of a long history falls.
    """
    users = np.flatnonzero(stop > 0)
    first = random.integers(1, targets + 1, len(users))
    parts = []
    for number in range(int(stop.max(initial=0)) // targets + 2):
        low = np.where(number == 0, 0, first + (number - 1) * targets)
        high = np.minimum(first + number * targets, stop[users])
        some = high > low
        parts.append((users[some], np.asarray(low)[some], high[some]))
    user = np.concatenate([p[0] for p in parts])
    start = np.concatenate([p[1] for p in parts])
    end = np.concatenate([p[2] for p in parts])
    return Windows(user, np.maximum(end - 1 - MAX_LENGTH, 0), start, end)


def last_events(history: History, users: Int64) -> Windows:
    """The last event of some people, with up to 50 events before it."""
    stop = history.lengths[users]
    return Windows(users, np.maximum(stop - 1 - MAX_LENGTH, 0), stop - 1, stop)


def make_batch(both: Histories, task: Task, chosen: Windows) -> Batch:
    """Gather windows into padded arrays.

    A target sees the last 50 events at most: where a window is longer than that, its later
    targets start from the window's base, so nobody sees more than the model has positions for.

    Args:
        both: Histories.
        task: Which.
        chosen: Windows of the task's own history.
    """
    own, other = both.of(task)
    moments = int((chosen.stop - chosen.start).max(initial=1))
    number = chosen.start[:, None] + np.arange(moments)
    real = (number < chosen.stop[:, None]) & (number >= chosen.base[:, None])
    event = np.where(real, own.starts[chosen.user][:, None] + number, 0)
    if len(own.video) == 0:
        event = np.zeros_like(event)
    own_count = np.where(real, np.maximum(own.earlier[event] - chosen.base[:, None], 0), 0)
    own_index, own_real = _span(own, chosen.user, chosen.base, own_count.max(axis=1, initial=0))
    seen = np.where(real, own.other[event], 0)
    latest = seen.max(axis=1, initial=0)
    other_base = np.maximum(latest - MAX_LENGTH, 0)
    other_count = np.maximum(seen - other_base[:, None], 0)
    other_index, other_real = _span(other, chosen.user, other_base, latest - other_base)
    liked = task == "video"
    own_videos = _take(own.video, own_index, own_real)
    other_videos = _take(other.video, other_index, other_real)
    section_index, section_real = (other_index, other_real) if liked else (own_index, own_real)
    sections = other if liked else own
    comments = np.full((*section_index.shape, COMMENTS_PER_EVENT), -1, dtype=np.int64)
    if len(sections.video):
        comments = np.where(section_real[..., None], sections.comments[section_index], -1)
    window, place = _views(real, other_count)
    shape = (len(window), int(place[1].max(initial=-1)) + 1)

    def by_view(values: NDArray[Any], empty: int) -> NDArray[Any]:
        out = np.full((*shape, *values.shape[2:]), empty, dtype=values.dtype)
        out[place] = values[real]
        return out

    own_seen, other_seen = by_view(own_count, 0), by_view(other_count, 0)
    return Batch(
        videos=own_videos if liked else other_videos,
        sections=other_videos if liked else own_videos,
        section_comments=comments,
        window=window,
        video_count=own_seen if liked else other_seen,
        comment_count=other_seen if liked else own_seen,
        real=by_view(real, 0),
        target=by_view(own.video[event], 0),
        target_ms=by_view(own.time_ms[event], 0),
        target_comments=by_view(own.comments[event], -1),
        target_engaged=by_view(own.engaged[event], -1),
        target_skipped=None if own.skipped is None else by_view(own.skipped[event], -1),
    )


def _views(
    real: NDArray[np.bool_], other_count: Int64
) -> tuple[Int64, tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The window int64[P] of each view; and the view and the column in it of each real moment."""
    row = np.nonzero(real)[0]
    count = other_count[real]
    starts = np.ones(len(row), dtype=np.bool_)
    starts[1:] = (row[1:] != row[:-1]) | (count[1:] != count[:-1])
    view = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    return row[first].astype(np.int64), (view, np.arange(len(row)) - first[view])


def _span(
    history: History, user: Int64, base: Int64, length: Int64
) -> tuple[Int64, NDArray[np.bool_]]:
    """Event numbers int64[B, longest] from ``base`` on, and which are real."""
    column = np.arange(int(length.max(initial=0)))
    index = (history.starts[user] + base)[:, None] + column
    real = column < length[:, None]
    return np.where(real, index, 0), real


def _take(values: Int64, index: Int64, real: NDArray[np.bool_]) -> Int64:
    if len(values) == 0:
        return np.full(index.shape, -1, dtype=np.int64)
    return np.where(real, values[index], -1)


def batches(
    both: Histories,
    task: Task,
    stop: Int64,
    *,
    size: int,
    targets: int,
    seed: list[int],
) -> Iterator[Batch]:
    """One pass: every target once, in random batches of similar length.

    Args:
        both: Histories.
        task: Which.
        stop: int64[U], events of the task's own history from here on are held out.
        size: Windows per batch.
        targets: Most targets per window.
        seed: Of the pass.
    """
    random = np.random.default_rng(seed)
    own = both.of(task)[0]
    cut = windows(own, stop, targets, random)
    if len(cut) == 0:
        return
    other_lengths = np.minimum(own.other[own.starts[cut.user] + cut.stop - 1], MAX_LENGTH)
    order = by_lengths(cut.stop - cut.base, other_lengths, random.random(len(cut)))
    groups = [order[at : at + size] for at in range(0, len(order), size)]
    for number in random.permutation(len(groups)):
        yield make_batch(both, task, cut.pick(groups[number]))
