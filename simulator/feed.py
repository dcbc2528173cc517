"""Let many people scroll a feed at once, each on their own clock.

One turn is: `Feed.video_requests` -> `Feed.show` -> (if anyone opened a comment section)
`Feed.show_comments`. The feed knows requests and slates, not policies.

People do not influence each other. Every draw is addressed by (seed, purpose, user, session,
step, slot), so nothing depends on who else is in the group or on how often the run was paused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from simulator.calendar import china_day
from simulator.comment_sections import CommentSections
from simulator.logs.catalogue import Catalogue
from simulator.outcomes import UserDayOutcomes
from simulator.randomness import mix, purpose_key
from simulator.recorder import Recorder
from simulator.requests import (
    CommentOrders,
    CommentRequests,
    HistoryState,
    HistoryView,
    Int32,
    Int64,
    Slates,
    VideoRequests,
)
from simulator.response.base import Population
from simulator.retrieval import Retrieval, SeenVideos, Sources
from simulator.turn import PlayedPages, ReadSections, ShownPages, Turn, record

Bool = NDArray[np.bool_]

_REPEAT_AFTER, _TURNOVER = 400, 30
_SAMPLED = 256
"""People of a batch that are looked at to tell when it ends, at least."""
_CARRIED = ("_session", "_step", "_fresh_session", "_page_keys", "_next_ms")


@dataclass(frozen=True)
class FeedSettings:
    """The platform's fixed choices.

    Attributes:
        page_size: Videos per request; Kuaishou's mean burst is 5.8.
        comment_limit: Comments of a section that are ranked.
        sources: How many candidates each retrieval source proposes per request.
        repeat_after: A video is offered again at the earliest after so many other impressions,
            at the latest after twice as many: a small inventory stands for a large one, in which
            people meet similar videos again. None for 400, or fewer where the inventory would be
            exhausted: a thirtieth of its videos.
    """

    page_size: int = 6
    comment_limit: int = 64
    sources: Sources = field(default_factory=Sources)
    repeat_after: int | None = None

    def memory(self, n_videos: int) -> int:
        """``repeat_after`` in an inventory of this size."""
        if self.repeat_after is not None:
            return self.repeat_after
        return min(_REPEAT_AFTER, max(n_videos // _TURNOVER, 1))


class Feed:
    """The sessions of one group of people.

    Args:
        catalogue: Videos and comments.
        population: What these people do; row r is ``users[r]``.
        users: int32[G], dense user indices.
        seed: Addresses all of the feed's own draws.
        start_ms: Unix ms; no page is dispatched before it.
        end_ms: No page is dispatched at or after it (see `extend`).
        history: What the platform knows of each user; changed in place.
        retrieval: The candidate stage; made from the catalogue if None.
        settings: The platform's fixed choices.
        recorder: Receives impressions and comment events; None to keep only outcomes.
        batch: At most so many people per turn, about those whose next page is due first; None
            for all. Outcomes do not depend on it. Small batches keep arrays in the processor's
            cache, and as nobody runs ahead, turns stay full to the end.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        population: Population,
        users: Int32,
        *,
        seed: int,
        start_ms: int,
        end_ms: int,
        history: HistoryState,
        retrieval: Retrieval | None = None,
        settings: FeedSettings | None = None,
        recorder: Recorder | None = None,
        batch: int | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.batch = batch
        self.users = np.asarray(users, dtype=np.int32)
        self.settings = settings or FeedSettings()
        self.end_ms = end_ms
        self.recorder = recorder
        self._policy_label = ""
        self._population = population
        self._history = history
        self._retrieval = retrieval or Retrieval(catalogue, sources=self.settings.sources)
        self._request_key = purpose_key(seed, "feed.request")
        self._session_key = purpose_key(seed, "feed.session")
        n = len(self.users)
        self._sections = CommentSections(catalogue, self.settings.comment_limit)
        self._seen = SeenVideos(n, catalogue.n_videos, self.settings.memory(catalogue.n_videos))
        self._session: Int64 = np.zeros(n, dtype=np.int64)
        self._step: Int64 = np.zeros(n, dtype=np.int64)
        self._fresh_session: Bool = np.ones(n, dtype=np.bool_)
        # Of the session's pages; a page's own key follows from its step.
        self._page_keys: NDArray[np.uint64] = np.zeros(n, dtype=np.uint64)
        everyone = np.arange(n, dtype=np.int64)
        self._next_ms: Int64 = population.first_session(
            everyone, np.full(n, start_ms, dtype=np.int64), self._keys_of_session(everyone)
        )
        first_day = int(china_day(start_ms))
        self.outcomes = UserDayOutcomes(n, first_day, self._last_day() - first_day + 1)
        self._turn: Turn | None = None

    def video_requests(self, among: Bool | None = None) -> VideoRequests | None:
        """A request from those who have a page due before the end; None when nobody has.

        Everyone, or with ``batch`` the ones that are due first.

        Args:
            among: bool[G], who may ask; the others wait. None for everyone.

        Raises:
            RuntimeError: the previous turn is not finished.
        """
        if self._turn is not None:
            raise RuntimeError("show the previous page (and its comments) first")
        rows = self._due(among)
        if len(rows) == 0:
            return None
        time_ms = self._next_ms[rows]
        starting = self._fresh_session[rows]
        if starting.any():
            new = rows[starting]
            self._population.begin_session(new, time_ms[starting], self._keys_of_session(new))
            self._fresh_session[new] = False
            self._page_keys[new] = mix(self._request_key, self.users[new], self._session[new])
            day = china_day(time_ms[starting])
            self.outcomes.add(new, day, {"sessions": np.ones(len(new))})
        key = mix(self._page_keys[rows], self._step[rows])
        history = self._history.view(rows)
        candidates = self._retrieval.candidates(
            rows, time_ms, key, history, self._seen, self.settings.page_size
        )
        self._turn = Turn(rows, time_ms, key, candidates)
        return VideoRequests(
            row=rows.astype(np.int32),
            user=self.users[rows],
            time_ms=time_ms,
            key=key,
            candidates=candidates,
            history=history,
        )

    def show(self, slates: Slates) -> CommentRequests | None:
        """Show a page to everyone who asked; the comment sections they open, or None.

        Raises:
            RuntimeError: nobody asked for a page.
            ValueError: a slate of the wrong shape.
        """
        turn = self._turn
        if turn is None or turn.shown is not None:
            raise RuntimeError("ask for video_requests first")
        if slates.videos.shape != (len(turn.rows), self.settings.page_size):
            raise ValueError(
                f"slates have shape {slates.videos.shape}, "
                f"expected {(len(turn.rows), self.settings.page_size)}"
            )
        # Slot by slot in memory, see `simulator.arrays`.
        videos = np.asfortranarray(slates.videos)
        watched = self._population.watch(
            turn.rows, turn.time_ms, turn.key, videos, self._sections.previews(videos, turn.time_ms)
        )
        at, slot = np.nonzero(watched.opened & (videos >= 0))
        turn.shown = ShownPages(replace(slates, videos=videos), watched, at, slot)
        if len(at) == 0:
            self._finish(turn, turn.shown, None)
            return None
        rows = turn.rows[at]
        turn.requests = CommentRequests(
            row=rows.astype(np.int32),
            user=self.users[rows],
            time_ms=turn.time_ms[at],
            key=mix(turn.key[at], 7_000 + slot),
            video=videos[at, slot],
            candidates=self._sections.candidates(videos[at, slot], turn.time_ms[at]),
            history=self._history.view(rows),
        )
        if self.catalogue.n_comments == 0:
            # Sections exist but their comments are not in the data: nothing to rank.
            self.show_comments(turn.requests.candidates)
            return None
        return turn.requests

    def show_comments(self, orders: Int32 | CommentOrders) -> None:
        """Show the opened sections: comments int32[R, M] in display order, -1 padded.

        `CommentOrders` say how likely that order was; a bare array says nothing about it.

        Raises:
            RuntimeError: no section is open.
        """
        turn = self._turn
        if turn is None or turn.shown is None or turn.requests is None:
            raise RuntimeError("no comment section is open")
        at, slot = turn.shown.section_at, turn.shown.section_slot
        if not isinstance(orders, CommentOrders):
            orders = CommentOrders(orders)
        read = self._population.read(
            turn.rows[at], turn.key[at], slot, turn.requests.video, orders.comments
        )
        sections = ReadSections(read, orders.comments, orders.propensity, orders.probabilities)
        self._finish(turn, turn.shown, sections)

    @property
    def population(self) -> Population:
        """The people, in their present state."""
        return self._population

    def between_sessions(self) -> Bool:
        """bool[G]: who is away: before their first session, or left on their last page."""
        return self._fresh_session.copy()

    def next_page_ms(self) -> Int64:
        """int64[G]: when each person's next page is due, Unix ms; it may lie after the end."""
        return self._next_ms.copy()

    def history(self, rows: Int64) -> HistoryView:
        """What the platform knows of these people (rows of the group) now."""
        return self._history.view(rows)

    def take_in(self, rows: Int64, other: Feed, other_rows: Int64) -> None:
        """Put people of another feed, as they are now, in the place of these.

        Both feeds must have been made for the same catalogue and the same days. A ranker that keeps
        anything by row has to forget it.

        Args:
            rows: int64[B], distinct rows of this feed.
            other: Where the newcomers have lived so far; it stays as it is.
            other_rows: int64[B], their rows there.

        Raises:
            RuntimeError: a turn is in progress in one of the feeds.
            ValueError: the feeds hold different days.
        """
        if self._turn is not None or other._turn is not None:
            raise RuntimeError("a page is being shown; finish the turn before moving people")
        self.outcomes.put(rows, other.outcomes, other_rows)
        self._population.put(rows, other._population, other_rows)
        self._history.put(rows, other._history, other_rows)
        self._seen.put(rows, other._seen, other_rows)
        for name in ("users", *_CARRIED):
            # A new array: the old one may belong to the caller or to a copy.
            changed = getattr(self, name).copy()
            changed[rows] = getattr(other, name)[other_rows]
            setattr(self, name, changed)

    def time_left_ms(self) -> float:
        """Mean over people of the time from their next page to the end; for progress."""
        return float(np.maximum(self.end_ms - self._next_ms, 0).mean())

    def extend(self, end_ms: int) -> None:
        """Let the simulation go on, from the same state, to a later end."""
        self.end_ms = max(self.end_ms, end_ms)
        self.outcomes.extend(self._last_day() - self.outcomes.first_day + 1)

    def copy(self) -> Feed:
        """An independent feed in the same state, without a recorder.

        Raises:
            RuntimeError: a turn is in progress.
        """
        if self._turn is not None:
            raise RuntimeError("a page is being shown; finish the turn before copying")
        other = Feed.__new__(Feed)
        other.__dict__.update(self.__dict__)
        other.recorder = None
        other._population = self._population.copy()
        other._history = self._history.copy()
        other._seen = self._seen.copy()
        other.outcomes = self.outcomes.copy()
        for name in _CARRIED:
            setattr(other, name, getattr(self, name).copy())
        return other

    def change_ranker(self, rows: Int64, time_ms: int) -> None:
        """Tell these people (rows of the group) that another ranker serves them from now on."""
        self._population.change_ranker(rows, time_ms)

    def set_policy_label(self, label: str) -> None:
        """What the log's ``policy`` column says from now on."""
        self._policy_label = label

    def _due(self, among: Bool | None) -> Int64:
        """int64[B], ascending: who has a page due, the earliest ones if they are more than a batch.

        Who is among the earliest is decided by a sample's quantile: sorting everybody in each turn
        would cost more, and outcomes do not depend on it.
        """
        limit, batch, n = self._next_stop_ms(), self.batch, len(self._next_ms)
        if among is None and batch is not None and batch < n:
            sample = self._next_ms[:: max(batch // _SAMPLED, 1)]
            place = min(batch * len(sample) // n, len(sample) - 1)
            limit = min(limit, int(np.partition(sample, place)[place]) + 1)
        due = self._next_ms < limit
        return np.flatnonzero(due if among is None else due & among)[:batch]

    def _next_stop_ms(self) -> int:
        """Unix ms; nobody's page is dispatched at or after it for now."""
        return self.end_ms

    def _last_day(self) -> int:
        return int(china_day(max(self.end_ms - 1, 0)))

    def _keys_of_session(self, rows: Int64) -> NDArray[np.uint64]:
        return mix(self._session_key, self.users[rows], self._session[rows])

    def _finish(self, turn: Turn, shown: ShownPages, sections: ReadSections | None) -> None:
        """Let everyone come to the end of their page, and keep what they did on it."""
        rows, videos = turn.rows, shown.slates.videos
        stay_ms = np.zeros(videos.shape, dtype=np.int64)
        if sections is not None:
            stay_ms[shown.section_at, shown.section_slot] = sections.read.stay_ms
        finished = self._population.finish(rows, turn.key, videos, shown.watched, stay_ms)
        reached = finished.reached & (videos >= 0)
        pages = PlayedPages(shown, sections, reached, finished.play_ms, stay_ms)
        day = china_day(turn.time_ms)
        self.outcomes.add(rows, day, {**pages.sums(), "session_time_ms": finished.elapsed_ms})
        self.outcomes.assign(rows, day, "active", np.ones(len(rows)))
        self._remember(rows, pages)
        if self.recorder is not None:
            record(
                self.recorder, turn, pages, user=self.users[rows], session=self._session[rows],
                step=self._step[rows], policy=self._policy_label,
                comments=self.catalogue.n_comments > 0,
            )  # fmt: skip
        self._advance(turn, finished.elapsed_ms, finished.left, day)
        self._turn = None

    def _remember(self, rows: Int64, pages: PlayedPages) -> None:
        """Append what happened to the histories, slot by slot."""
        shown, reached = pages.shown, pages.reached
        videos, watched = shown.slates.videos, shown.watched
        self._seen.add_page(rows, videos, reached)
        self._history.append_page("clicked", rows, watched.flags["click"] & reached, videos)
        self._history.append_page("liked", rows, watched.flags["like"] & reached, videos)
        if pages.sections is None:
            return
        comments: Int32 | None = None
        if self.catalogue.n_comments == 0:
            sections = np.flatnonzero(pages.live_sections())
        else:
            sections, comments = pages.discussed()
            section, read, dwell_ms, last = pages.reads()
            self._history.extend_reads(rows[shown.section_at[section]], read, dwell_ms, last)
        at, slot = shown.section_at[sections], shown.section_slot[sections]
        self._history.extend("discussed", rows[at], videos[at, slot], comments)

    def _advance(self, turn: Turn, elapsed_ms: Int64, left: Bool, day: Int64) -> None:
        rows = turn.rows
        after = turn.time_ms + np.maximum(elapsed_ms, 1)
        self._step[rows] += 1
        leaving = rows[left]
        if len(leaving):
            self._session[leaving] += 1
            self._step[leaving] = 0
            self._fresh_session[leaving] = True
            after[left] = np.maximum(
                self._population.next_session(leaving, after[left], self._keys_of_session(leaving)),
                after[left] + 1,
            )
        self._next_ms[rows] = after
        days_on = china_day(after) - day
        later = days_on > 0
        self.outcomes.assign(rows[later], day[later], "returned", days_on[later] == 1)
