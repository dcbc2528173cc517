"""Define what the feed asks of a ranker, what a ranker may know, and what it answers.

All indices are dense: ``user`` indexes the population, ``video`` and ``comment`` index the
catalogue (see `simulator.logs.catalogue.Catalogue`). ``-1`` is padding everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Signal = Literal["clicked", "liked", "discussed"]
SIGNALS: tuple[Signal, ...] = ("clicked", "liked", "discussed")
HISTORY_LENGTH = 50
COMMENTS_PER_EVENT = 3
READS_KEPT = 100
"""Comments read last that a history keeps: those of some twenty visits."""

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


class HistoryState:
    """The last events of each user in a group, one ring buffer per signal.

    Signals: ``clicked`` (valid plays), ``liked`` (likes), ``discussed`` (videos in whose comment
    section the user liked or replied, with up to three of those comments).

    Args:
        n_users: Number of users in the group; rows are 0 .. n_users - 1.
    """

    def __init__(self, n_users: int) -> None:
        self.n_users = n_users
        self._videos: dict[Signal, Int32] = {
            s: np.full((n_users, HISTORY_LENGTH), -1, dtype=np.int32) for s in SIGNALS
        }
        self._counts: dict[Signal, Int64] = {s: np.zeros(n_users, dtype=np.int64) for s in SIGNALS}
        self._comments: Int32 = np.full(
            (n_users, HISTORY_LENGTH, COMMENTS_PER_EVENT), -1, dtype=np.int32
        )
        self._reads = _Reads(n_users)

    def extend_reads(
        self, rows: Int64, comments: Int32, dwell_ms: Int64, last: NDArray[np.bool_]
    ) -> None:
        """Append comments that were read.

        Args:
            rows: int64[N], each person's next to one another, oldest first.
            comments: int32[N].
            dwell_ms: int64[N], time on each.
            last: bool[N], whether the visit ended with it.
        """
        self._reads.extend(rows, comments, dwell_ms, last)

    def append(
        self, signal: Signal, rows: Int32 | Int64, videos: Int32, comments: Int32 | None = None
    ) -> None:
        """Append one event per row; ``rows`` must not repeat within a call.

        Args:
            signal: Which history.
            rows: int[B], distinct.
            videos: int32[B].
            comments: int32[B, 3] for ``discussed``, padded with -1.
        """
        slot = self._counts[signal][rows] % HISTORY_LENGTH
        self._videos[signal][rows, slot] = videos
        if signal == "discussed":
            self._comments[rows, slot] = -1 if comments is None else comments
        self._counts[signal][rows] += 1

    def append_page(
        self, signal: Signal, rows: Int64, happened: NDArray[np.bool_], videos: Int32
    ) -> None:
        """Append a page's events, slot by slot: where ``happened``, row r did it to its video.

        Args:
            signal: Which history, except ``discussed``.
            rows: int64[B], distinct.
            happened: bool[B, S].
            videos: int32[B, S], slots in order.
        """
        at, slot = np.nonzero(happened)
        self.extend(signal, rows[at], videos[at, slot])

    def extend(
        self, signal: Signal, rows: Int64, videos: Int32, comments: Int32 | None = None
    ) -> None:
        """Append several events per person.

        Args:
            signal: Which history.
            rows: int64[N], each person's events next to one another, oldest first.
            videos: int32[N].
            comments: int32[N, 3] for ``discussed``, padded with -1.
        """
        if len(rows) == 0:
            return
        number = np.arange(len(rows))
        counts = self._counts[signal]
        place = counts[rows] + number - _start_of_run(rows)
        ring = place % HISTORY_LENGTH
        self._videos[signal][rows, ring] = videos
        if signal == "discussed":
            self._comments[rows, ring] = -1 if comments is None else comments
        # Of a person's events, the last one stays.
        counts[rows] = place + 1

    def view(self, rows: Int32 | Int64) -> HistoryView:
        """A read-only view of some rows as they are now (not a copy: read before appending)."""
        return HistoryView(self, np.asarray(rows, dtype=np.int64))

    def put(self, rows: Int64, other: HistoryState, other_rows: Int64) -> None:
        """Replace the histories of these rows by those of rows of another state."""
        for signal in SIGNALS:
            self._videos[signal][rows] = other._videos[signal][other_rows]
            self._counts[signal][rows] = other._counts[signal][other_rows]
        self._comments[rows] = other._comments[other_rows]
        self._reads.put(rows, other._reads, other_rows)

    def copy(self) -> HistoryState:
        """An independent copy, for running two arms from one starting point."""
        other = HistoryState.__new__(HistoryState)
        other.n_users = self.n_users
        other._videos = {s: a.copy() for s, a in self._videos.items()}
        other._counts = {s: a.copy() for s, a in self._counts.items()}
        other._comments = self._comments.copy()
        other._reads = self._reads.copy()
        return other

    def _order(self, signal: Signal, rows: Int64) -> Int64:
        """Ring positions oldest first, int64[B, 50]; rows shorter than 50 start at 0."""
        count = self._counts[signal][rows]
        start = np.where(count > HISTORY_LENGTH, count % HISTORY_LENGTH, 0)
        return (start[:, None] + np.arange(HISTORY_LENGTH)) % HISTORY_LENGTH


def _start_of_run(rows: Int64) -> Int64:
    """int64[N]: where the run of equal, adjacent rows begins that each element belongs to."""
    number = np.arange(len(rows))
    first = np.ones(len(rows), dtype=np.bool_)
    first[1:] = rows[1:] != rows[:-1]
    return np.asarray(np.maximum.accumulate(number * first), dtype=np.int64)


class _Reads:
    """The comments that each user of a group read last, in a ring; empty until something is."""

    def __init__(self, n_users: int) -> None:
        self.counts: Int64 = np.zeros(n_users, dtype=np.int64)
        self.comment: Int32 = np.zeros((0, READS_KEPT), dtype=np.int32)
        self.dwell_ms: Int32 = np.zeros((0, READS_KEPT), dtype=np.int32)
        self.last: NDArray[np.bool_] = np.zeros((0, READS_KEPT), dtype=np.bool_)

    def extend(
        self, rows: Int64, comments: Int32, dwell_ms: Int64, last: NDArray[np.bool_]
    ) -> None:
        if len(rows) == 0:
            return
        self._make_room()
        place = self.counts[rows] + np.arange(len(rows)) - _start_of_run(rows)
        ring = place % READS_KEPT
        self.comment[rows, ring] = comments
        self.dwell_ms[rows, ring] = np.minimum(dwell_ms, np.iinfo(np.int32).max)
        self.last[rows, ring] = last
        self.counts[rows] = place + 1

    def put(self, rows: Int64, other: _Reads, other_rows: Int64) -> None:
        self.counts[rows] = other.counts[other_rows]
        if len(other.comment):
            self._make_room()
            for name in ("comment", "dwell_ms", "last"):
                getattr(self, name)[rows] = getattr(other, name)[other_rows]

    def copy(self) -> _Reads:
        other = _Reads(0)
        for name, value in vars(self).items():
            setattr(other, name, value.copy())
        return other

    def _make_room(self) -> None:
        n = len(self.counts)
        if len(self.comment) < n:
            self.comment = np.full((n, READS_KEPT), -1, dtype=np.int32)
            self.dwell_ms = np.zeros((n, READS_KEPT), dtype=np.int32)
            self.last = np.zeros((n, READS_KEPT), dtype=np.bool_)


@dataclass(frozen=True)
class ReadComments:
    """Comments that people read last, oldest first, left-aligned.

    Attributes:
        comment: int32[B, n], -1 padded at the end; n is the longest list, at most `READS_KEPT`.
        dwell_ms: int32[B, n], time on each; past the end, anything.
        last: bool[B, n], whether the visit ended with it.
    """

    comment: Int32
    dwell_ms: Int32
    last: NDArray[np.bool_]


class HistoryView:
    """Histories of the users of one batch of requests, gathered on access.

    Gathering costs memory traffic: a policy that caches by `version` should `select` the changed
    rows first.
    """

    def __init__(self, state: HistoryState, rows: Int64) -> None:
        self._state = state
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def select(self, index: NDArray[np.generic]) -> HistoryView:
        """The view restricted to a boolean mask or an integer index over the batch."""
        return HistoryView(self._state, self._rows[index])

    def version(self, signal: Signal) -> Int64:
        """int64[B]: events ever appended; equal versions of one user mean equal histories."""
        return self._state._counts[signal][self._rows]

    def lengths(self, signal: Signal) -> Int64:
        """int64[B]: number of events kept, at most 50."""
        return np.minimum(self.version(signal), HISTORY_LENGTH)

    def videos(self, signal: Signal) -> Int32:
        """int32[B, 50]: video indices, oldest first, left-aligned, padded with -1."""
        order = self._state._order(signal, self._rows)
        return self._state._videos[signal][self._rows[:, None], order]

    def gather(self, signal: Signal, position: NDArray[np.integer[Any]]) -> Int32:
        """int32[B, n]: the videos at positions int[B, n] of each history, without an order.

        Positions below `lengths` are real events, the others -1; cheaper than `videos` where
        order does not matter.
        """
        flat = self._state._videos[signal].ravel()
        return flat.take(position.T + self._rows * HISTORY_LENGTH).T

    def latest(self, signal: Signal, count: int) -> Int32:
        """int32[B, count]: the most recent videos, newest first, -1 padded; count at most 50."""
        place = self._state._counts[signal][self._rows] - np.arange(1, count + 1)[:, None]
        flat = self._state._videos[signal].ravel()
        found = flat.take(place % HISTORY_LENGTH + self._rows * HISTORY_LENGTH)
        found[place < 0] = -1
        return found.T

    def reads_version(self) -> Int64:
        """int64[B]: comments ever read; equal versions of one user mean equal lists of `reads`."""
        return self._state._reads.counts[self._rows]

    def reads(self) -> ReadComments:
        """The comments read last, with the time spent on each."""
        reads = self._state._reads
        count = reads.counts[self._rows]
        longest = int(np.minimum(count, READS_KEPT).max(initial=0))
        if longest == 0:
            nothing = np.zeros((len(self), 0), dtype=np.int32)
            return ReadComments(nothing, nothing, nothing.astype(np.bool_))
        start = np.maximum(count - READS_KEPT, 0)
        number = start[:, None] + np.arange(longest)
        row, ring = self._rows[:, None], number % READS_KEPT
        comment = np.where(number < count[:, None], reads.comment[row, ring], np.int32(-1))
        return ReadComments(comment, reads.dwell_ms[row, ring], reads.last[row, ring])

    def comments(self) -> Int32:
        """int32[B, 50, 3]: comment indices of the ``discussed`` events, padded with -1."""
        order = self._state._order("discussed", self._rows)
        return self._state._comments[self._rows[:, None], order]


@dataclass(frozen=True)
class VideoRequests:
    """A batch of requests for a page of videos.

    Attributes:
        row: int32[B], the user's stable row inside the group being simulated (for caches).
        user: int32[B], dense user index.
        time_ms: int64[B], Unix milliseconds.
        key: uint64[B], counter-based key of the request, for rankers that need noise.
        candidates: int32[B, C], video indices, distinct within a row, -1 padded.
        history: what the platform knows of each user at this moment.
    """

    row: Int32
    user: Int32
    time_ms: Int64
    key: NDArray[np.uint64]
    candidates: Int32
    history: HistoryView

    def select(self, index: NDArray[np.intp]) -> VideoRequests:
        """Some of the requests, in the order of the index."""
        return VideoRequests(
            row=self.row[index],
            user=self.user[index],
            time_ms=self.time_ms[index],
            key=self.key[index],
            candidates=self.candidates[index],
            history=self.history.select(index),
        )


@dataclass(frozen=True)
class CommentRequests:
    """A batch of opened comment sections to order.

    Attributes:
        row, user, time_ms, key, history: as in `VideoRequests` (a user may occur several times,
            once per section opened on the page).
        video: int32[B], the video being watched.
        candidates: int32[B, M], comment indices of that video, -1 padded, in the platform's
            default order (most liked first).
        likes: int32[B, M], the likes that are displayed now; anything at padding. None where they
            are the catalogue's, as in all runs without interference.
    """

    row: Int32
    user: Int32
    time_ms: Int64
    key: NDArray[np.uint64]
    video: Int32
    candidates: Int32
    history: HistoryView
    likes: Int32 | None = None

    def select(self, index: NDArray[np.intp]) -> CommentRequests:
        """Some of the requests, in the order of the index."""
        return CommentRequests(
            row=self.row[index],
            user=self.user[index],
            time_ms=self.time_ms[index],
            key=self.key[index],
            video=self.video[index],
            candidates=self.candidates[index],
            history=self.history.select(index),
            likes=None if self.likes is None else self.likes[index],
        )


@dataclass(frozen=True)
class Slates:
    """Pages to show, one per request, best first.

    Attributes:
        videos: int32[B, S], -1 padded at the end of a row.
        propensity: float32[B, S], probability with which the ranker put that video in that slot,
            given the slots above; None where not known.
        is_rand: bool[B, S], filled by uniformly random exposure; None for nowhere.
        probabilities: float32[B, S, C], probability of every candidate of the request in every
            slot, given the slots above; 0 for padding. None unless a log shall keep them.
    """

    videos: Int32
    propensity: NDArray[np.float32] | None = None
    is_rand: NDArray[np.bool_] | None = None
    probabilities: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class CommentOrders:
    """Opened sections in display order, with what a log can say about the choice.

    Attributes:
        comments: int32[R, M], -1 padded at the end of a row.
        propensity: float32[R, M], probability with which the ranker put that comment at that rank,
            given the ranks above; None where not known.
        probabilities: float32[R, K, M], probability of every candidate of the section at the first
            K ranks, given the ranks above; 0 for padding. None unless a log shall keep them.
    """

    comments: Int32
    propensity: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float32] | None = None
