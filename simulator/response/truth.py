"""Draw how people of the built-in world watch, read, leave and come back.

Equations, units and sources are in docs/world.md. All draws are addressed by the request's key
and the slot, so they do not depend on who else is in the batch.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import look_up, row_counts, row_sums
from simulator.calendar import DAY_MS
from simulator.randomness import uniforms
from simulator.requests import Int32, Int64
from simulator.response.base import Finished, Population, Read, Response, Watched
from simulator.response.displayed import DisplayedLikes
from simulator.response.page import Bool, Float32, Page, sigmoid
from simulator.response.playing import play_laws
from simulator.response.reading import (
    SectionExpectations,
    comment_index,
    expected_stay,
    read_section,
    section_expectations,
    writing_ms,
)
from simulator.response.visits import BREAK_MS, VisitClock, in_session, next_start, pause_ms
from simulator.response.watching import Expectations, draw, expectations
from simulator.world.items import N_TOPICS
from simulator.world.people import People
from simulator.world.world import World

__all__ = ["Expectations", "SectionExpectations", "WorldPopulation", "WorldResponse"]

_FINISH, _SESSION, _VISIT, _FIRST = 13 << 16, 14 << 16, 15 << 16, 22 << 16
_TAU_DAYS = 20.0
SWIPE_SECONDS = 0.4
"""Time that leaving an impression takes from a session."""
_PLAYS_ON = 0.93
_NEVER = -(1 << 62)
_SATISFACTION_MOVES = 0.1
_CARRIED = (
    "_taste",
    "_interest",
    "_satiation",
    "_author",
    "_wanted",
    "_budget",
    "_satisfaction",
    "_changed_ms",
)


class WorldResponse(Response):
    """Makes populations of the built-in world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def population(self, users: Int32) -> WorldPopulation:
        """The people with these indices, before their first session."""
        return WorldPopulation(self.world, np.asarray(users, dtype=np.int32))


class WorldPopulation(Population):
    """A group of the world's people and what they carry through a session."""

    def __init__(self, world: World, users: Int32) -> None:
        config = world.config
        self.world = world
        self.people = world.people(users)
        self._config = config
        self._clock = VisitClock(config)
        n = len(users)
        mean, deviation = world.affinity_moments
        self._scale = np.float32(1.0 / deviation)
        self._centre = np.float32(mean / deviation)
        self._taste: Float32 = self.people.taste * self._scale
        self._interest: Float32 = np.zeros_like(self.people.taste)
        self._satiation: Float32 = np.zeros((n, N_TOPICS), dtype=np.float32)
        self._author: Int32 = np.full(n, -1, dtype=np.int32)
        self._wanted: Int32 = np.full(n, -2, dtype=np.int32)
        self._budget: Float32 = np.zeros(n, dtype=np.float32)
        self._satisfaction: Float32 = np.full(n, config.satisfaction_start, dtype=np.float32)
        self._changed_ms: Int64 = np.full(n, _NEVER, dtype=np.int64)
        self._duration: Float32 = (world.videos.duration_ms / 1000.0).astype(np.float32)
        self._quality: Float32 = np.float32(config.click_quality) * world.videos.quality
        self._topic: Int64 = world.videos.topic.astype(np.int64)
        self._page: Page | None = None
        self._wrote: tuple[Int64, Bool] | None = None
        self._displayed: DisplayedLikes | None = None

    def copy(self) -> WorldPopulation:
        """An independent copy of what is carried; the world itself is shared."""
        other = WorldPopulation.__new__(WorldPopulation)
        other.__dict__.update(self.__dict__)
        for name in _CARRIED:
            setattr(other, name, getattr(self, name).copy())
        return other

    def seen_without(self, *, sequence: bool = False, drift: bool = False) -> WorldPopulation:
        """The same people to a ranker that is blind to one mechanism; follows their state.

        Only for `page`, `expectations` and the like: it must not be watched with.

        Args:
            sequence: Without session interest, author chains, series and satiation.
            drift: With everybody's taste as it is on average over the dates.
        """
        other = WorldPopulation.__new__(WorldPopulation)
        other.__dict__.update(self.__dict__)
        if sequence:
            other._config = dataclasses.replace(self._config, sequence_strength=0.0)
        if drift:
            other._taste = self.people.taste * self._scale
        return other

    def put(self, rows: Int64, other: Population, other_rows: Int64) -> None:
        """Replace these people, their traits and what they carry, by people of another group."""
        if not isinstance(other, WorldPopulation) or other.world is not self.world:
            raise ValueError("people can move only between populations of one world")
        # Copies of a population share the traits, so they are replaced, not changed in place.
        traits = {}
        for trait in dataclasses.fields(People):
            values = getattr(self.people, trait.name).copy()
            values[rows] = getattr(other.people, trait.name)[other_rows]
            traits[trait.name] = values
        self.people = People(**traits)
        for name in _CARRIED:
            getattr(self, name)[rows] = getattr(other, name)[other_rows]

    def change_ranker(self, rows: Int64, time_ms: int) -> None:
        """From now on these people are curious, for some days; see ``novelty_strength``."""
        self._changed_ms[rows] = time_ms

    def show_likes(self, displayed: DisplayedLikes) -> None:
        """Likes that were given since the start attract likes, and move comments up."""
        self._displayed = displayed

    def next_session(self, rows: Int64, now_ms: Int64, key: NDArray[np.uint64]) -> Int64:
        """The next visit: soon, or a Poisson process in rescaled time, or after some days away.

        The satisfied come sooner and stay away less often, above all those of low activity.
        """
        activity, satisfaction = self.people.visits[rows], self._satisfaction[rows]
        u = uniforms(key, 3, _VISIT)
        return next_start(self._config, self._clock, activity, satisfaction, now_ms, u)

    def first_session(self, rows: Int64, start_ms: Int64, key: NDArray[np.uint64]) -> Int64:
        """As if everybody had come before: some are in the middle of a session at the start."""
        activity, satisfaction = self.people.visits[rows], self._satisfaction[rows]
        u = uniforms(key, 3, _FIRST)
        going = in_session(self._config, self._clock, activity, start_ms, u)
        before = start_ms - BREAK_MS
        visit = uniforms(key, 3, _VISIT)
        later = next_start(self._config, self._clock, activity, satisfaction, before, visit)
        # Pages of those do not all come at the same moment.
        soon = start_ms + (60_000.0 * u[2]).astype(np.int64)
        return np.where(going, soon, np.maximum(later, start_ms))

    def begin_session(self, rows: Int64, time_ms: Int64, key: NDArray[np.uint64]) -> None:
        """A fresh budget; interest and satiation start anew; taste drifts with the date.

        The next episode of a series stays wanted, and how satisfied people are stays with them.
        """
        c = self._config
        u = uniforms(key, 2, _SESSION)
        spread = np.sqrt(-2.0 * np.log(u[0])) * np.cos(2.0 * np.pi * u[1])
        log_budget = self.people.session[rows] + c.session_sigma * spread
        self._budget[rows] = c.session_seconds * np.exp(log_budget)
        self._interest[rows] = 0.0
        self._satiation[rows] = 0.0
        self._author[rows] = -1
        day = (time_ms - c.start_ms) / DAY_MS
        swing = c.taste_drift * np.sin(2.0 * np.pi * (day / _TAU_DAYS + self.people.phase[rows]))
        moved = self.people.taste[rows] + swing[:, None] * self.people.drift[rows]
        norm = np.linalg.norm(moved, axis=1, keepdims=True)
        self._taste[rows] = moved / norm * self._scale

    def watch(
        self,
        rows: Int64,
        time_ms: Int64,
        key: NDArray[np.uint64],
        videos: Int32,
        preview: Int32,
    ) -> Watched:
        """Draw what happens at every slot, as if it is reached."""
        page = self.page(rows, videos, self.in_grid(rows, key), time_ms)
        self._page = page
        watched = draw(self.world, self.people, page, key, preview)
        self._wrote = rows, watched.flags["comment"]
        return watched

    def read(
        self,
        rows: Int64,
        key: NDArray[np.uint64],
        slot: Int64,
        videos: Int32,
        comments: Int32,
    ) -> Read:
        """Read down the list until interest runs out; see `simulator.response.reading`."""
        read = read_section(self.world, self.people, rows, key, slot, comments, self._displayed)
        if self._wrote is None:
            return read
        at = np.searchsorted(self._wrote[0], rows)
        writer = np.flatnonzero(self._wrote[1][at, slot])
        if len(writer):
            read.stay_ms[writer] += writing_ms(self._config, key[writer], slot[writer])
        return read

    def finish(
        self,
        rows: Int64,
        key: NDArray[np.uint64],
        videos: Int32,
        watched: Watched,
        stay_ms: Int64,
    ) -> Finished:
        """Spend the session's patience slot by slot; where it ends, the person leaves."""
        c = self._config
        page = self._page
        if page is None or page.videos is not videos:
            page = self.page(rows, videos, self.in_grid(rows, key), None)
        real = videos >= 0
        # One draw per slot, and two for the pause after the page.
        slots = videos.shape[1]
        u = uniforms(key, 1, _FINISH + np.arange(slots + 2)[:, None])[0]
        running = np.float32(_PLAYS_ON) > u[:slots].T
        play_ms = watched.play_ms + stay_ms * running
        elapsed = np.maximum(play_ms, stay_ms).astype(np.float32) * np.float32(0.001)
        glance = ~watched.flags["click"] & page.grid
        elapsed += np.float32(SWIPE_SECONDS) + np.float32(c.grid_seconds) * glance
        elapsed *= real
        passed = ~watched.flags["click"] & ~page.grid
        pleased = page.pleasure * watched.flags["click"]
        cost = elapsed * (np.float32(1.0) - np.float32(c.session_refund) * pleased)
        cost += np.float32(c.session_skip_cost) * (passed & real)
        cost += np.float32(c.session_video_cost) * (real & ~page.grid)
        left_over = self._budget[rows]
        reached = real.copy()
        reached[:, 0] = True
        for slot in range(videos.shape[1]):
            if slot:
                reached[:, slot] &= left_over > 0.0
            left_over = left_over - cost[:, slot]
        self._budget[rows] -= row_sums(cost * reached).astype(np.float32)
        reached &= real
        self._carry(page, watched.flags["click"] & reached, reached)
        pleased -= np.float32(c.satisfaction_skip) * passed
        pleased += np.float32(c.satisfaction_comments) * np.log1p(
            stay_ms.astype(np.float32) * np.float32(0.001)
        )
        self._satisfy(rows, pleased, reached)
        reached[:, 0] = True
        self._page = self._wrote = None
        left = left_over <= 0.0
        elapsed_ms = (1000.0 * row_sums(elapsed * reached)).astype(np.int64) + 1
        elapsed_ms += pause_ms(c, u[slots], u[slots + 1]) * ~left
        return Finished(
            reached=reached,
            play_ms=play_ms,
            elapsed_ms=elapsed_ms,
            left=left,
        )

    def in_grid(self, rows: Int64, key: NDArray[np.uint64]) -> Bool:
        """bool[B]: whether these people's pages with these keys are of the two-column tab."""
        return self.world.in_grid(key, self.people.grid[rows])

    def page(
        self, rows: Int64, videos: Int32, grid: Bool | None = None, time_ms: Int64 | None = None
    ) -> Page:
        """What these people, as they are now, make of these videos before anything happens.

        Args:
            rows: int64[B].
            videos: int32[B, S].
            grid: bool[B], pages of the two-column tab; None for the single-column feed.
            time_ms: int64[B], for the curiosity after a change of ranker; None for none.
        """
        c, v = self._config, self.world.videos
        vectors = look_up(v.vector, videos)
        logit = np.einsum("bd,bsd->bs", self._taste.take(rows, axis=0), vectors)
        logit -= self._centre
        logit *= np.float32(c.click_taste)
        logit += look_up(self._quality, videos)
        relevance = logit * np.float32(self.world.relevance_scale)
        logit += (np.float32(c.click_base) + self.people.click[rows])[:, None]
        if c.sequence_strength:
            interest = np.einsum("bd,bsd->bs", self._interest.take(rows, axis=0), vectors)
            interest *= self._scale * np.float32(c.click_session)
            interest += np.float32(c.click_author) * (
                look_up(v.author, videos) == self._author[rows][:, None]
            )
            interest += np.float32(c.click_series) * (videos == self._wanted[rows][:, None])
            tired = look_up(self._satiation.ravel(), self._cells(rows, videos))
            interest -= np.float32(c.click_satiation) * np.log1p(tired)
            logit += np.float32(c.sequence_strength) * interest
        if grid is None:
            grid = np.zeros(len(rows), dtype=np.bool_)
        logit += (np.float32(c.grid_click) * grid)[:, None]
        curious = np.zeros((len(rows), 1), dtype=np.float32)
        if c.novelty_strength and time_ms is not None:
            days = np.maximum(time_ms - self._changed_ms[rows], 0) / DAY_MS
            curious[:, 0] = c.novelty_strength * np.exp(-days / c.novelty_days)
            logit += curious
        pleasure = np.float32(c.satisfaction_relevance) * relevance
        pleasure += np.float32(c.satisfaction_base)
        duration = look_up(self._duration, videos)
        shortest, room, full, share = play_laws(c, duration, relevance)
        return Page(
            rows=rows,
            videos=videos,
            vectors=vectors,
            relevance=relevance,
            pleasure=np.clip(pleasure, np.float32(0.0), np.float32(1.0), out=pleasure),
            click=sigmoid(logit),
            duration=duration,
            shortest=shortest,
            room=room,
            full=full,
            share=share,
            curious=curious,
            grid=grid[:, None],
        )

    def expectations(
        self,
        rows: Int64,
        videos: Int32,
        preview: Int32,
        grid: Bool | None = None,
        time_ms: Int64 | None = None,
    ) -> Expectations:
        """Exact probabilities for these people in their present state, B x S; see `page`."""
        page = self.page(rows, videos, grid, time_ms)
        return expectations(self.world, self.people, page, preview)

    def section_expectations(self, rows: Int64, comments: Int32) -> SectionExpectations:
        """Exact expectations for sections opened by these people, in this order.

        Args:
            rows: int64[R].
            comments: int32[R, M] in display order, -1 padded.
        """
        return section_expectations(self.world, self.people, rows, comments)

    def expected_stay_seconds(self, rows: Int64, comments: Int32) -> Float32:
        """float32[R]: expected stay in a section with comments int32[R, M] in this order."""
        return expected_stay(self.world, self.people, rows, comments)

    def comment_index(self, rows: Int64, comments: Int32) -> Float32:
        """float32[R, M]: descending, it orders a section for the longest expected stay."""
        return comment_index(self.world, self.people, rows, comments)

    def _cells(self, rows: Int64, videos: Int32) -> Int64:
        """int64[B, S]: where the satiation of each video's topic stands, rows of 24 end to end."""
        return look_up(self._topic, videos) + (rows * N_TOPICS)[:, None]

    def _satisfy(self, rows: Int64, pleased: Float32, reached: Bool) -> None:
        """Move the running mean of satisfaction by a page's mean over the slots reached."""
        count = row_counts(reached)
        mean = row_sums(pleased * reached) / np.maximum(count, np.float32(1.0))
        before = self._satisfaction[rows]
        after = before + np.float32(_SATISFACTION_MOVES) * (mean - before)
        self._satisfaction[rows] = np.where(count > 0, after, before)

    def _carry(self, page: Page, clicked: Bool, reached: Bool) -> None:
        """Interest moves to what was clicked, and topics tire."""
        rows, videos, v = page.rows, page.videos, self.world.videos
        count = row_counts(clicked)
        weight = clicked * (np.float32(0.3) / np.maximum(count, np.float32(1.0)))[:, None]
        interest = self._interest.take(rows, axis=0)
        interest *= np.where(count > 0, np.float32(0.7), np.float32(0.95))[:, None]
        interest += np.einsum("bs,bsd->bd", weight, page.vectors)
        self._interest[rows] = interest
        self._satiation[rows] *= np.float32(0.85)
        # Slot by slot, as two videos of a page may be of one topic.
        satiation, cells = self._satiation.ravel(), self._cells(rows, videos)
        for number in range(videos.shape[1]):
            satiation[cells[:, number]] += reached[:, number]
        # In order of slots: of several clicks, the last one counts.
        at, slot = np.nonzero(clicked)
        clicker, video = rows[at], videos[at, slot]
        self._author[clicker] = v.author.take(video)
        follows = v.sequel.take(video)
        serial = follows >= 0
        self._wanted[clicker[serial]] = follows[serial]
