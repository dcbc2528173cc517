"""Run episodes of N people at once on one vectorised feed, without Gymnasium.

Row r is one person at a time. An episode is a session, or everything a person does within the
horizon; a person whose horizon is over makes room for a newcomer. Newcomers come from a nursery:
a feed of people that the platform's own ranker has served for the burn-in days.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulator.calendar import DAY_MS
from simulator.feed import Feed, FeedSettings
from simulator.gym.outcome import LastPage, PageOutcome
from simulator.loop import drive
from simulator.requests import CommentRequests, HistoryState, Int32, Int64, Slates, VideoRequests
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldPopulation, WorldResponse
from simulator.retrieval import Retrieval
from simulator.world.world import World

Bool = NDArray[np.bool_]
Episode = Literal["session", "horizon"]
EPISODES: tuple[Episode, ...] = ("session", "horizon")

_NURSERY_SIZE = (16, 1024)
_NURSERIES_TRIED = 100
_PEOPLE = 1 << 30


@dataclass(frozen=True)
class EpisodeSettings:
    """What an episode is.

    Attributes:
        episode: "session": from a person's first page to their leaving; the next episode is the
            same person's next session. "horizon": all sessions of a person within the horizon.
        days: Horizon of one person, after the burn-in.
        burn_in_days: Days before it under the platform's own ranker, which give a history.

    Raises:
        ValueError: another kind of episode, or days out of range.
    """

    episode: Episode = "session"
    days: int = 2
    burn_in_days: int = 0

    def __post_init__(self) -> None:
        if self.episode not in EPISODES:
            raise ValueError(f"episode is '{self.episode}', expected {' or '.join(EPISODES)}")
        if self.days < 1 or self.burn_in_days < 0:
            raise ValueError(
                f"days is {self.days} and burn_in_days {self.burn_in_days}, "
                "expected at least 1 and 0"
            )


@dataclass(frozen=True)
class Scene:
    """A world and what is made of it once.

    Attributes:
        world: Its truth.
        response: Makes its people.
        retrieval: Its candidate stage.
    """

    world: World
    response: WorldResponse
    retrieval: Retrieval

    @classmethod
    def of(cls, world: World | str, seed: int) -> Scene:
        """From a world, or from a preset's name and a seed; scenes of presets are kept."""
        return _preset(world, seed) if isinstance(world, str) else cls._make(world)

    @classmethod
    def _make(cls, world: World) -> Scene:
        retrieval = Retrieval(world.catalogue(), world.popularity())
        return cls(world, WorldResponse(world), retrieval)


@lru_cache(maxsize=2)
def _preset(name: str, seed: int) -> Scene:
    return Scene._make(World.create(name, seed))


class Episodes:
    """N rows of people, each in an episode of their own.

    Args:
        scene: The world.
        people: N.
        settings: What an episode is.
        seed: Decides who comes and how every draw falls.

    Attributes:
        feed, population: The people as they are now.
        requests: Of those who wait for a page; None if nobody does.
        last: The page that the last turn showed; None before the first one.
        over: bool[N], whose episode has ended and begins anew with the next turn.
        pages: int64[N], pages of the present session so far.
        since_ms: int64[N], when that session began, Unix ms.
    """

    page_size = FeedSettings().page_size

    def __init__(self, scene: Scene, people: int, settings: EpisodeSettings, seed: int) -> None:
        self.scene = scene
        self.people = people
        self.settings = settings
        self.requests: VideoRequests | None = None
        self.last: PageOutcome | None = None
        self.over: Bool = np.zeros(people, dtype=np.bool_)
        self.pages: Int64 = np.zeros(people, dtype=np.int64)
        self.since_ms: Int64 = np.zeros(people, dtype=np.int64)
        self._seed = seed
        self._next_user = int(np.random.default_rng(seed).integers(_PEOPLE))
        self._nursery: Feed | None = None
        self._ready: Int64 = np.empty(0, dtype=np.int64)
        self._page = LastPage(scene.world.catalogue())
        self.restart()

    def restart(self) -> None:
        """Newcomers in every row, whatever the present people are doing."""
        # Placeholders, until the nursery has somebody for every row.
        self.feed, self.population = self._make(np.zeros(self.people, dtype=np.int32))
        self.feed.recorder = self._page
        self.feed.extend(self._end_ms)
        self.requests = self.last = None
        for state in (self.over, self.pages, self.since_ms):
            state[:] = 0
        self._admit(np.arange(self.people))
        self._ask(~self.over)

    def show(self, videos: Int32) -> CommentRequests | None:
        """Show pages to those with a request; the sections they open, or None."""
        return self.feed.show(Slates(videos=videos))

    def next_turn(self) -> tuple[Bool, Bool]:
        """Finish the turn: begin the episodes that were due to begin, and ask for the next pages.

        Returns:
            bool[N] each: episodes that ended because the person left, and at the horizon.
        """
        asked = np.zeros(self.people, dtype=np.bool_)
        away = self.feed.between_sessions()
        late = self.feed.next_page_ms() >= self._end_ms
        self.last = None
        if self.requests is not None:
            rows = self.requests.row.astype(np.int64)
            asked[rows] = True
            self.last = self._page.outcome(rows, self.people, asked & away)
            self.pages[rows] += 1
        left = asked & away & (self.settings.episode == "session")
        ended = asked & late & ~left
        beginning = self.over
        self._admit(np.flatnonzero(beginning & (late | (self.settings.episode == "horizon"))))
        self.over = left | ended
        self.pages[beginning | (asked & away & ~left)] = 0
        self._ask(~self.over)
        return left, ended

    def _ask(self, among: Bool) -> None:
        self.requests = self.feed.video_requests(among)
        if self.requests is not None:
            rows = self.requests.row
            starting = rows[self.pages[rows] == 0]
            self.since_ms[starting] = self.requests.time_ms[self.pages[rows] == 0]

    @property
    def _burnt_in_ms(self) -> int:
        return self.scene.world.config.start_ms + self.settings.burn_in_days * DAY_MS

    @property
    def _end_ms(self) -> int:
        return self._burnt_in_ms + self.settings.days * DAY_MS

    def _admit(self, rows: Int64) -> None:
        """Newcomers take these rows; they are people who come within the horizon."""
        while len(rows):
            nursery = self._open_nursery()
            count = min(len(rows), len(self._ready))
            self.feed.take_in(rows[:count], nursery, self._ready[:count])
            rows, self._ready = rows[count:], self._ready[count:]

    def _open_nursery(self) -> Feed:
        """A feed with people who are ready; the present one as long as it has some."""
        for _ in range(_NURSERIES_TRIED):
            if self._nursery is not None and len(self._ready):
                return self._nursery
            self._nursery = self._raise_people()
            comes = self._nursery.next_page_ms() < self._end_ms
            # Whom midnight found in a session would begin their first episode in its middle.
            self._ready = np.flatnonzero(comes & self._nursery.between_sessions())
        raise RuntimeError(f"hardly anybody comes within {self.settings.days} days; raise days")

    def _raise_people(self) -> Feed:
        count = int(np.clip(self.people, *_NURSERY_SIZE))
        users = (np.arange(self._next_user, self._next_user + count) % _PEOPLE).astype(np.int32)
        self._next_user += count
        feed, _ = self._make(users)
        drive(feed, PlatformRanker(self.scene.world, users))
        feed.extend(self._end_ms)
        return feed

    def _make(self, users: Int32) -> tuple[Feed, WorldPopulation]:
        """A feed of these people that ends with the burn-in, and the people."""
        population = self.scene.response.population(users)
        feed = Feed(
            self.scene.world.catalogue(),
            population,
            users,
            seed=self._seed,
            start_ms=self.scene.world.config.start_ms,
            end_ms=self._burnt_in_ms,
            history=HistoryState(len(users)),
            retrieval=self.scene.retrieval,
            settings=FeedSettings(),
        )
        return feed, population
