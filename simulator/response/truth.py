"""The built-in world's truth: how its people watch, read, leave and come back.

Equations, units and sources are in docs/world.md. All draws are addressed by the request's key
and the slot, so they do not depend on who else is in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from simulator.randomness import mix, uniforms
from simulator.requests import Int32, Int64
from simulator.response.base import Finished, Population, Read, Response, Watched
from simulator.response.reading import expected_stay, read_section
from simulator.response.visits import VisitClock
from simulator.world.items import N_TOPICS
from simulator.world.world import World

Float32 = NDArray[np.float32]

# Purposes of draws inside a request; slots take the low bits.
_WATCH, _FINISH, _SESSION, _VISIT = 11 << 16, 13 << 16, 14 << 16, 15 << 16
_WORDS = 5
_TAU_DAYS = 20.0


@dataclass(frozen=True)
class Expectations:
    """Exact probabilities and expectations at each slot, float32[B, S].

    Play times are in seconds and exclude comment time; ``stay`` is the expected stay in the
    comment section per impression, with comments in the platform's order.
    """

    click: Float32
    like: Float32
    open: Float32
    long_view: Float32
    play_seconds: Float32


@dataclass(frozen=True)
class _Page:
    """Intermediate quantities of one page, float32[B, S]."""

    affinity: Float32
    logit: Float32
    p_click: Float32
    duration: Float32
    shortest_click: Float32
    room: Float32
    p_full: Float32
    share: Float32


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
        self._world = world
        self._config = config
        self.people = world.people(users)
        self._clock = VisitClock(config)
        n = len(users)
        mean, deviation = world.affinity_moments
        self._scale = np.float32(1.0 / deviation)
        self._centre = np.float32(mean / deviation)
        self._taste: Float32 = self.people.taste * self._scale
        self._interest: Float32 = np.zeros_like(self.people.taste)
        self._satiation: Float32 = np.zeros((n, N_TOPICS), dtype=np.float32)
        self._author: Int32 = np.full(n, -1, dtype=np.int32)
        self._budget: Float32 = np.zeros(n, dtype=np.float32)
        self._joy: Float32 = np.zeros(n, dtype=np.float32)
        counts = np.diff(world.comments.offsets)
        self._log_comments = np.where(
            counts > 0, np.log(np.maximum(counts, 1) / config.comments_median), -np.inf
        ).astype(np.float32)
        self._duration = (world.videos.duration_ms / 1000.0).astype(np.float32)

    def copy(self) -> WorldPopulation:
        """An independent copy of what is carried; the world itself is shared."""
        other = WorldPopulation.__new__(WorldPopulation)
        other.__dict__.update(self.__dict__)
        for name in ("_taste", "_interest", "_satiation", "_author", "_budget", "_joy"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def next_session(self, rows: Int64, now_ms: Int64, key: NDArray[np.uint64]) -> Int64:
        """The next visit: a Poisson process in rescaled time, nudged by the last session's joy."""
        c = self._config
        rate = c.visits_per_day * self.people.visits[rows]
        rate = rate * np.exp(c.visits_satisfaction * np.tanh(self._joy[rows]))
        draw = uniforms(mix(key, _VISIT), 2)
        return self._clock.next_visit(now_ms, rate.astype(np.float64), draw[:, 0])

    def begin_session(self, rows: Int64, time_ms: Int64, key: NDArray[np.uint64]) -> None:
        """A fresh budget; interest, satiation and joy start anew; taste drifts with the date."""
        c = self._config
        draw = uniforms(mix(key, _SESSION), 2)
        spread = np.sqrt(-2.0 * np.log(draw[:, 0])) * np.cos(2.0 * np.pi * draw[:, 1])
        log_budget = self.people.session[rows] + c.session_sigma * spread
        self._budget[rows] = c.session_seconds * np.exp(log_budget)
        self._interest[rows] = 0.0
        self._satiation[rows] = 0.0
        self._author[rows] = -1
        self._joy[rows] = 0.0
        day = (time_ms - c.start_ms) / 86_400_000.0
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
        c = self._config
        page = self._page(rows, videos)
        u = uniforms(mix(key[:, None], _WATCH + np.arange(videos.shape[1])), 2 * _WORDS)
        click = u[..., 0] < page.p_click
        full = u[..., 1] < page.p_full
        skip_mean = np.float32(c.play_skip_seconds)
        reach = 1.0 - np.exp(-page.shortest_click / skip_mean)
        skipped = -skip_mean * np.log1p(-u[..., 2] * reach)
        partial = page.shortest_click + page.room * u[..., 2] ** page.share
        replayed = page.duration * (1.0 - c.play_replay * np.log(u[..., 3]))
        play = np.where(click, np.where(full, replayed, partial), skipped)
        play_ms = (play * 1000.0).astype(np.int64)
        # Milliseconds are whole numbers: a click stays on its side of the published rule.
        shortest_ms = (page.shortest_click * 1000.0).astype(np.int64) + 1
        play_ms = np.where(
            click, np.maximum(play_ms, shortest_ms), np.minimum(play_ms, shortest_ms - 2)
        )
        play_ms = np.maximum(play_ms, 0)
        like = u[..., 4] < self._p_like(rows, page, click)
        opened = u[..., 5] < self._p_open(rows, videos, preview, click, like)
        rare = u[..., 6]
        lift = np.exp(0.6 * page.affinity) * np.where(click, 2.0, 0.35)
        follow = rare < c.follow_rate * lift
        forward = (rare >= 0.2) & (rare < 0.2 + c.forward_rate * lift)
        hate = (rare >= 0.4) & (rare < 0.4 + c.hate_rate * np.exp(-0.5 * page.affinity))
        write = opened & (u[..., 7] < c.write_rate * np.where(like, 6.0, 0.9))
        profile = (u[..., 8] < 0.02 * np.where(click, 2.0, 0.4)) | follow
        stay = np.minimum(-9_000.0 * np.log(u[..., 9]), 300_000.0)
        duration_ms = self._world.videos.duration_ms[videos]
        long_view = play_ms >= np.minimum(duration_ms, 18_000)
        return Watched(
            play_ms=play_ms,
            click=click,
            long_view=long_view,
            like=like,
            follow=follow,
            comment=write,
            forward=forward,
            hate=hate,
            profile_stay_ms=np.where(profile, stay, 0.0).astype(np.int64),
            opened=opened,
        )

    def read(
        self,
        rows: Int64,
        key: NDArray[np.uint64],
        slot: Int64,
        videos: Int32,
        comments: Int32,
    ) -> Read:
        """Read down the list until interest runs out; see `simulator.response.reading`."""
        return read_section(self._world, self.people, rows, key, slot, comments)

    def finish(
        self,
        rows: Int64,
        key: NDArray[np.uint64],
        videos: Int32,
        watched: Watched,
        stay_ms: Int64,
    ) -> Finished:
        """Spend the session's budget slot by slot; where it ends, the person leaves."""
        c = self._config
        real = videos >= 0
        pause = mix(key[:, None], _FINISH + np.arange(videos.shape[1])) >> np.uint64(40)
        running = pause.astype(np.float32) * np.float32(2.0**-24) < 0.93
        play_ms = watched.play_ms + np.where(running, stay_ms, 0)
        elapsed = np.where(real, np.maximum(play_ms, stay_ms) / 1000.0 + 0.4, 0.0)
        cost = np.where(
            watched.click, elapsed * (1.0 - c.session_refund), elapsed + c.session_skip_cost
        )
        cost = np.where(real, cost, 0.0).astype(np.float32)
        spent = np.cumsum(cost, axis=1)
        budget = self._budget[rows][:, None]
        reached = real & (spent - cost < budget)
        reached[:, 0] = True
        left = spent[:, -1] >= budget[:, 0]
        self._budget[rows] -= (cost * reached).sum(axis=1)
        self._carry(rows, videos, watched.click & reached, reached & real)
        return Finished(
            reached=reached,
            play_ms=play_ms,
            elapsed_ms=(1000.0 * (elapsed * reached).sum(axis=1)).astype(np.int64) + 1,
            left=left,
        )

    def expectations(self, rows: Int64, videos: Int32, preview: Int32) -> Expectations:
        """Exact probabilities for these people in their present state, B x S."""
        page = self._page(rows, videos)
        yes = np.ones(videos.shape, dtype=np.bool_)
        p_like_click = self._p_like(rows, page, yes)
        p_like_skip = self._p_like(rows, page, ~yes)
        p = page.p_click
        p_open = np.zeros_like(p)
        for click, like, weight in (
            (yes, yes, p * p_like_click),
            (yes, ~yes, p * (1 - p_like_click)),
            (~yes, yes, (1 - p) * p_like_skip),
            (~yes, ~yes, (1 - p) * (1 - p_like_skip)),
        ):
            p_open += weight * self._p_open(rows, videos, preview, click, like)
        return Expectations(
            click=p,
            like=p * p_like_click + (1 - p) * p_like_skip,
            open=p_open,
            long_view=self._p_long_view(page),
            play_seconds=self._expected_play(page),
        )

    def expected_stay_seconds(self, rows: Int64, comments: Int32) -> Float32:
        """float32[R]: expected stay in a section with comments int32[R, M] in this order."""
        return expected_stay(self._world, self.people, rows, comments)

    def _page(self, rows: Int64, videos: Int32) -> _Page:
        c, v = self._config, self._world.videos
        strength = np.float32(c.sequence_strength)
        vectors = v.vector[videos]
        affinity = np.einsum("bd,bsd->bs", self._taste[rows], vectors) - self._centre
        interest = np.einsum("bd,bsd->bs", self._interest[rows], vectors) * self._scale
        same_author = v.author[videos] == self._author[rows][:, None]
        tired = np.log1p(self._satiation[rows[:, None], v.topic[videos]])
        logit = (
            np.float32(c.click_base)
            + self.people.click[rows][:, None]
            + np.float32(c.click_taste) * affinity
            + np.float32(c.click_quality) * v.quality[videos]
            + strength
            * (
                np.float32(c.click_session) * interest
                + np.float32(c.click_author) * same_author
                - np.float32(c.click_satiation) * tired
            )
        )
        duration = self._duration[videos]
        shortest = np.minimum(np.float32(7.0), duration)
        full = (
            c.play_full_base
            + c.play_full_taste * affinity
            - c.play_full_duration * np.log(duration / 30.0)
        )
        return _Page(
            affinity=affinity,
            logit=logit,
            p_click=expit(logit),
            duration=duration,
            shortest_click=shortest,
            room=np.minimum(duration, np.float32(c.play_patience)) - shortest,
            p_full=expit(full),
            share=np.float32(c.play_share)
            * (duration / 60.0) ** np.float32(c.play_share_duration)
            * np.exp(-np.float32(c.play_share_taste) * affinity),
        )

    def _p_like(self, rows: Int64, page: _Page, click: NDArray[np.bool_]) -> Float32:
        c = self._config
        logit = c.like_base + self.people.like[rows][:, None] + c.like_taste * page.affinity
        return np.asarray(expit(logit + np.where(click, c.like_click, 0.0)), dtype=np.float32)

    def _p_open(
        self,
        rows: Int64,
        videos: Int32,
        preview: Int32,
        click: NDArray[np.bool_],
        like: NDArray[np.bool_],
    ) -> Float32:
        c = self._config
        logit = (
            c.open_base
            + self.people.open[rows][:, None]
            + c.open_comments * self._log_comments[videos]
            + np.where(click, c.open_click, 0.0)
            + np.where(like, c.open_like, 0.0)
        )
        if c.open_preview:
            style = self._world.comments.style[preview]
            match = np.einsum("bd,bsd->bs", self.people.comment_taste[rows], style)
            logit = logit + np.where(preview >= 0, c.open_preview * match, 0.0)
        return np.asarray(expit(logit), dtype=np.float32)

    def _p_long_view(self, page: _Page) -> Float32:
        """P(play >= min(duration, 18 s)): certain after a full play, else by the share's law."""
        room = np.maximum(page.room, 1e-6)
        need = np.minimum(page.duration, 18.0) - page.shortest_click
        partial = 1.0 - np.clip(need / room, 0.0, 1.0) ** (1.0 / page.share)
        partial = np.where(page.duration <= 18.0, 0.0, partial)
        short = page.duration <= 7.0
        given_click = np.where(short, 1.0, page.p_full + (1.0 - page.p_full) * partial)
        return np.asarray(page.p_click * given_click, dtype=np.float32)

    def _expected_play(self, page: _Page) -> Float32:
        c = self._config
        full = page.duration * (1.0 + c.play_replay)
        partial = page.shortest_click + page.room / (1.0 + page.share)
        skip = c.play_skip_seconds
        tail = np.exp(-page.shortest_click / skip)
        skipped = skip - page.shortest_click * tail / (1.0 - tail)
        given_click = page.p_full * full + (1.0 - page.p_full) * partial
        return np.asarray(page.p_click * given_click + (1 - page.p_click) * skipped, np.float32)

    def _carry(
        self,
        rows: Int64,
        videos: Int32,
        clicked: NDArray[np.bool_],
        reached: NDArray[np.bool_],
    ) -> None:
        """Interest moves to what was clicked, topics tire, joy follows clicks against skips."""
        v = self._world.videos
        count = clicked.sum(axis=1)
        some = count > 0
        mean = np.einsum("bs,bsd->bd", clicked.astype(np.float32), v.vector[videos])
        mean[some] /= count[some, None]
        kept = np.where(some, 0.7, 0.95)[:, None]
        self._interest[rows] = (
            kept * self._interest[rows] + np.where(some, 0.3, 0.0)[:, None] * mean
        )
        self._satiation[rows] *= np.float32(0.85)
        for slot in range(videos.shape[1]):
            here = reached[:, slot]
            self._satiation[rows[here], v.topic[videos[here, slot]]] += np.float32(1.0)
            chosen = clicked[:, slot]
            self._author[rows[chosen]] = v.author[videos[chosen, slot]]
        balance = count - 0.4 * reached.sum(axis=1)
        self._joy[rows] = 0.9 * self._joy[rows] + 0.1 * balance
