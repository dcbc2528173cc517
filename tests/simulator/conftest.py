"""A lively little world, a ranker without taste, and people who follow a script."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest

from simulator.calendar import DAY_MS
from simulator.feed import Feed, FeedSettings
from simulator.logs.catalogue import Catalogue
from simulator.randomness import mix, purpose_key
from simulator.recorder import Recorder
from simulator.requests import CommentRequests, HistoryState, Int32, Int64, Slates, VideoRequests
from simulator.response.base import Finished, Population, Read, Watched
from simulator.response.truth import WorldResponse
from simulator.world.config import WorldConfig
from simulator.world.world import World

START_MS = WorldConfig().start_ms
PAGE = 6
Words = np.ndarray


@pytest.fixture(scope="session")
def lively_world() -> World:
    """Rare events happen often, so that a few dozen people show every one of them."""
    config = dataclasses.replace(
        WorldConfig.preset("small"),
        n_videos=700,
        n_authors=90,
        click_base=-1.0,
        like_base=-2.0,
        follow_rate=0.1,
        forward_rate=0.1,
        hate_rate=0.1,
        write_rate=0.3,
        comment_like_base=-2.0,
        visits_per_day=2.5,
        session_seconds=300.0,
    )
    return World.create(config, 3)


def shuffled(key: Words, items: Int32) -> Int32:
    """Each row in an order of hashes of its own, padding last."""
    ticket = mix(key[:, None], 31, items) >> np.uint64(1)
    ticket = np.where(items >= 0, ticket, np.uint64(2**63))
    return np.take_along_axis(items, np.argsort(ticket, axis=1, kind="stable"), axis=1)


@dataclass
class Run:
    """A feed, who ranks in it, and everything it was asked and told.

    ``salt`` picks one of many tasteless rankers; ``asked`` and ``sections`` hold copies of what
    the feed handed out at that moment.
    """

    feed: Feed
    recorder: Recorder | None
    salt: int = 0
    asked: list[dict[str, np.ndarray]] = field(default_factory=list)
    sections: list[CommentRequests] = field(default_factory=list)

    def until(self, end_ms: int) -> Run:
        """Extend the feed and let everyone live until then."""
        self.feed.extend(end_ms)
        while (requests := self.feed.video_requests()) is not None:
            self.asked.append(_copied(requests))
            pages = shuffled(mix(requests.key, self.salt), requests.candidates)[:, :PAGE]
            sections = self.feed.show(Slates(videos=pages))
            if sections is not None:
                self.sections.append(sections)
                self.feed.show_comments(shuffled(mix(sections.key, self.salt), sections.candidates))
        return self

    def log(self) -> dict[str, pl.DataFrame]:
        """What the recorder has collected; it forgets it."""
        assert self.recorder is not None
        return dict(self.recorder.drain())

    def outcomes(self) -> pl.DataFrame:
        """One row per user and day."""
        return self.feed.outcomes.to_frame(self.feed.users.astype(np.int64))


def _copied(requests: VideoRequests) -> dict[str, np.ndarray]:
    history = requests.history
    return {
        "user": requests.user.copy(),
        "row": requests.row.copy(),
        "time_ms": requests.time_ms.copy(),
        "key": requests.key.copy(),
        "candidates": requests.candidates.copy(),
        "clicked": history.videos("clicked"),
        "liked": history.videos("liked"),
        "discussed": history.videos("discussed"),
        "comments": history.comments(),
    }


Start = Callable[..., Run]


@pytest.fixture(scope="session")
def start_run(lively_world: World) -> Start:
    """A run of these people in the lively world, before its first page."""

    def start(
        users: Sequence[int],
        *,
        seed: int = 1,
        salt: int = 0,
        record: bool = True,
        world: World = lively_world,
    ) -> Run:
        group = np.asarray(users, dtype=np.int32)
        recorder = Recorder(world.catalogue()) if record else None
        feed = Feed(
            world.catalogue(),
            WorldResponse(world).population(group),
            group,
            seed=seed,
            start_ms=START_MS,
            end_ms=START_MS,
            history=HistoryState(len(group)),
            recorder=recorder,
        )
        return Run(feed, recorder, salt)

    return start


@dataclass(frozen=True)
class Beat:
    """One page of one scripted person; numbers in tuples are slots (comments: ranks).

    ``pause_ms`` is the time until the next session, None if this one goes on.
    """

    reached: int = PAGE
    clicks: tuple[int, ...] = ()
    likes: tuple[int, ...] = ()
    follows: tuple[int, ...] = ()
    opens: tuple[int, ...] = ()
    play_ms: int = 2_000
    stay_ms: int = 4_000
    comments_read: int = 2
    comment_likes: tuple[int, ...] = ()
    comment_replies: tuple[int, ...] = ()
    elapsed_ms: int = 10_000
    pause_ms: int | None = None


class ScriptedPeople(Population):
    """Row r lives through ``script[r]`` from ``first_ms`` on, then stays away for a century.

    ``heard`` lists the calls; ``previews`` what was previewed on each page.
    """

    def __init__(self, script: list[list[Beat]], first_ms: int = 1_000) -> None:
        self.script = script
        self.first_ms = first_ms
        self.at = [0] * len(script)
        self.heard: list[str] = []
        self.previews: list[Int32] = []

    def copy(self) -> ScriptedPeople:
        other = ScriptedPeople(self.script, self.first_ms)
        other.at = list(self.at)
        return other

    def next_session(self, rows: Int64, now_ms: Int64, key: Words) -> Int64:
        gaps = []
        for row in rows:
            done = self.at[row]
            if done >= len(self.script[row]):
                gaps.append(36_500 * DAY_MS)
            elif done == 0:
                gaps.append(self.first_ms)
            else:
                gaps.append(self.script[row][done - 1].pause_ms or 0)
        return now_ms + np.array(gaps, dtype=np.int64)

    def begin_session(self, rows: Int64, time_ms: Int64, key: Words) -> None:
        self.heard.append("begin")

    def watch(
        self, rows: Int64, time_ms: Int64, key: Words, videos: Int32, preview: Int32
    ) -> Watched:
        self.heard.append("watch")
        self.previews.append(preview)
        beats = [self.script[row][self.at[row]] for row in rows]

        def marks(name: str) -> np.ndarray:
            return np.array([[s in getattr(b, name) for s in range(PAGE)] for b in beats])

        nothing = np.zeros(videos.shape, dtype=np.bool_)
        return Watched(
            play_ms=np.repeat([[b.play_ms] for b in beats], PAGE, axis=1),
            flags={
                "click": marks("clicks"),
                "long_view": nothing,
                "like": marks("likes"),
                "follow": marks("follows"),
                "comment": nothing,
                "forward": nothing,
                "hate": nothing,
            },
            profile_stay_ms=np.zeros(videos.shape, dtype=np.int64),
            opened=marks("opens"),
        )

    def read(self, rows: Int64, key: Words, slot: Int64, videos: Int32, comments: Int32) -> Read:
        self.heard.append("read")
        beats = [self.script[row][self.at[row]] for row in rows]
        rank = np.arange(comments.shape[1])
        real = comments >= 0
        shown = np.array([rank < b.comments_read for b in beats]) & real
        return Read.of_tables(
            dwell_ms=np.where(shown, 500, 0),
            shown=shown,
            like=np.array([np.isin(rank, b.comment_likes) for b in beats]) & shown,
            reply=np.array([np.isin(rank, b.comment_replies) for b in beats]) & shown,
            stay_ms=np.array([b.stay_ms for b in beats]),
        )

    def finish(
        self, rows: Int64, key: Words, videos: Int32, watched: Watched, stay_ms: Int64
    ) -> Finished:
        self.heard.append("finish")
        beats = [self.script[row][self.at[row]] for row in rows]
        for row in rows:
            self.at[row] += 1
        last = [self.at[row] >= len(self.script[row]) for row in rows]
        return Finished(
            reached=np.array([np.arange(PAGE) < b.reached for b in beats]),
            play_ms=watched.play_ms + stay_ms,
            elapsed_ms=np.array([b.elapsed_ms for b in beats]),
            left=np.array([b.pause_ms is not None for b in beats]) | last,
        )


@pytest.fixture
def shelf() -> Catalogue:
    """60 videos with four comments each (video 7 has none), in two categories by six authors.

    Videos 50-59 are uploaded on the second day; the most liked comment of video 3, and the second
    of video 4, are written on the second day.
    """
    n = 60
    counts = np.full(n, 4)
    counts[7] = 0
    offsets = np.r_[0, np.cumsum(counts)]
    written = np.full(offsets[-1], START_MS - DAY_MS)
    written[[offsets[3], offsets[4] + 1]] = START_MS + DAY_MS
    return Catalogue.build(
        1_000 + 10 * np.arange(n),
        author=np.arange(n) % 6,
        category=np.arange(n) % 2,
        category_names=["a", "b"],
        duration_ms=np.where(np.arange(n) == 5, 0, 20_000),
        upload_ms=np.where(np.arange(n) < 50, START_MS - DAY_MS, START_MS + DAY_MS),
        comment_offsets=offsets,
        comment_ids=5_000 + np.arange(offsets[-1]),
        comment_likes=np.concatenate([np.arange(c)[::-1] for c in counts]),
        comment_time_ms=written,
    )


@pytest.fixture
def scripted_feed(shelf: Catalogue) -> Callable[..., tuple[Feed, ScriptedPeople, Recorder]]:
    """A feed of scripted people on the shelf (or another catalogue)."""

    def make(
        *script: list[Beat],
        catalogue: Catalogue = shelf,
        first_ms: int = 1_000,
        days: int = 3,
        settings: FeedSettings | None = None,
    ) -> tuple[Feed, ScriptedPeople, Recorder]:
        people = ScriptedPeople(list(script), first_ms)
        recorder = Recorder(catalogue)
        feed = Feed(
            catalogue,
            people,
            np.arange(len(script), dtype=np.int32),
            seed=4,
            start_ms=START_MS,
            end_ms=START_MS + days * DAY_MS,
            history=HistoryState(len(script)),
            # The shelf is tiny: nothing is offered twice.
            settings=settings or FeedSettings(repeat_after=400),
            recorder=recorder,
        )
        return feed, people, recorder

    return make


def request_keys(n: int, purpose: str = "test") -> Words:
    """n unrelated request keys."""
    return mix(purpose_key(0, purpose), np.arange(n))


@dataclass(frozen=True)
class ReadTables:
    """What `Read` lists, as arrays [R, M] over all comments."""

    shown: np.ndarray
    like: np.ndarray
    reply: np.ndarray
    dwell_ms: np.ndarray
    stay_ms: np.ndarray


def tables(read: Read, width: int) -> ReadTables:
    """The comments read, in their places among ``width`` comments per section."""

    def spread(values: np.ndarray) -> np.ndarray:
        wide = np.zeros((len(read.stay_ms), width), dtype=values.dtype)
        wide[read.section, read.rank] = values
        return wide

    place = read.section * width + read.rank
    assert (np.diff(place) > 0).all(), "not in order of sections and ranks"
    shown = spread(np.ones(len(place), dtype=np.bool_))
    return ReadTables(
        shown, spread(read.like), spread(read.reply), spread(read.dwell_ms), read.stay_ms
    )
