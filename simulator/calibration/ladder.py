"""Climb the platform's own ladders: better and better views of taste, other and other objectives.

Everybody lives through every rung with common random numbers (a twin run), so the changes of all
metrics from rung to rung say how they move together: their elasticities. No rung is a policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.calendar import DAY_MS
from simulator.feed import Feed
from simulator.loop import drive
from simulator.outcomes import INDEX
from simulator.requests import (
    CommentOrders,
    CommentRequests,
    HistoryState,
    Int32,
    Slates,
    VideoRequests,
)
from simulator.response.platform import Objective, PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world.config import WorldConfig
from simulator.world.world import World

BLIND = float("inf")
NOISE = (BLIND, 4.0, 2.0, 1.0, 0.5, 0.0)
"""Rungs of the ladder of quality: the error in the platform's view, over that of its own ranker."""
_BATCH = 1_024

METRICS = {
    "watch": "play_time_ms",
    "stay": "session_time_ms",
    "views": "clicks",
    "likes": "likes",
    "follows": "follows",
    "forwards": "forwards",
    "comments": "comments_written",
    "opens": "comment_opens",
    "comment_watch": "comment_watch_time_ms",
    "dislikes": "hates",
    "active_days": "active",
    "sessions": "sessions",
}
"""Name of each metric and the outcome that it sums."""


def quality_ladder(config: WorldConfig) -> dict[str, Objective]:
    """The production objective with more and less error in its view, worst first."""
    own = Objective.of(config)
    rungs = {}
    for times in NOISE:
        name = "blind" if times == BLIND else "perfect" if times == 0.0 else f"noise x {times:g}"
        noise = BLIND if times == BLIND else times * own.noise
        rungs[name] = Objective(noise, own.click, own.play, own.like, own.comment)
    return rungs


def objective_ladder(config: WorldConfig) -> dict[str, Objective]:
    """The production view with other weights of the outcomes."""
    own = Objective.of(config)
    return {
        "production": own,
        "clicks only": Objective(own.noise, 1.0, 0.0, 0.0, 0.0),
        "play time only": Objective(own.noise, 0.0, 1.0, 0.0, 0.0),
        "likes only": Objective(own.noise, 0.0, 0.0, 1.0, 0.0),
        "comments only": Objective(own.noise, 0.0, 0.0, 0.0, 1.0),
        "more play time": Objective(own.noise, own.click, own.play + 0.5, own.like, own.comment),
        "more comments": Objective(own.noise, own.click, own.play, own.like, own.comment + 0.5),
    }


@dataclass(frozen=True)
class Rung:
    """What one ranker of a ladder brought.

    Attributes:
        name: Of the rung.
        totals: float64[N, len(METRICS)], sums of each person over the days.
        activity: float32[N], how often each person comes, relative to the mean.
    """

    name: str
    totals: NDArray[np.float64]
    activity: NDArray[np.float32]

    def mean(self, metric: str, people: NDArray[np.bool_] | None = None) -> float:
        """Mean per person of a metric, among some people."""
        values = self.totals[:, list(METRICS).index(metric)]
        return float(values.mean() if people is None else values[people].mean())


def live_ladder(
    world: World,
    rungs: Mapping[str, Objective] | None = None,
    *,
    users: int,
    days: int,
    seed: int,
    first_user: int = 2_000_000,
    warm_days: int = 1,
) -> list[Rung]:
    """Let the same people live some days under each rung.

    Args:
        world: The world.
        rungs: Rankers by name; the ladder of quality if None.
        users: Number of people, others than those of any log.
        days: Days under each rung.
        seed: Of all draws.
        first_user: Index of the first of them.
        warm_days: Days before, under the production ranker.
    """
    rungs = rungs or quality_ladder(world.config)
    group = np.arange(first_user, first_user + users, dtype=np.int32)
    catalogue = world.catalogue()
    start_ms = world.config.start_ms

    def feed_of(people: NDArray[np.int32]) -> Feed:
        return Feed(
            catalogue,
            WorldResponse(world).population(people),
            people,
            seed=seed,
            start_ms=start_ms,
            end_ms=start_ms + warm_days * DAY_MS,
            history=HistoryState(len(people)),
            retrieval=Retrieval(catalogue, world.popularity()),
            batch=_BATCH,
        )

    feed = feed_of(group)
    drive(feed, PlatformRanker(world, group))
    # Everybody once per rung, in one feed: large turns take much less time than many small ones.
    many = np.tile(group, len(rungs))
    lives = feed_of(many)
    rows = np.arange(users, dtype=np.int64)
    for number in range(len(rungs)):
        lives.take_in(rows + number * users, feed, rows)
    lives.extend(start_ms + (warm_days + days) * DAY_MS)
    drive(lives, _Rungs([PlatformRanker(world, many, o) for o in rungs.values()], users))
    # Pages that began before the ladder are the same in all rungs.
    sums = lives.outcomes.values[:, warm_days:].sum(axis=1)
    columns = [INDEX[outcome] for outcome in METRICS.values()]
    totals = sums[:, columns].reshape(len(rungs), users, len(columns))
    activity = world.people(group).visits
    return [Rung(name, own, activity) for name, own in zip(rungs, totals, strict=True)]


class _Rungs:
    """Serves block after block of a feed's rows by one ranker each.

    Args:
        rankers: One per block.
        size: Rows per block.
    """

    def __init__(self, rankers: Sequence[PlatformRanker], size: int) -> None:
        self._rankers = rankers
        self._size = size

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        """Pages of each block by its ranker."""
        shape = (len(requests.row), page_size)
        videos = np.full(shape, -1, dtype=np.int32)
        for number, ranker in enumerate(self._rankers):
            mine = np.flatnonzero(requests.row // self._size == number)
            if len(mine):
                videos[mine] = ranker.slates(requests.select(mine), page_size).videos
        return Slates(videos)

    def comments(self, requests: CommentRequests) -> Int32 | CommentOrders:
        """The platform's own order, which is the same under all of them."""
        return self._rankers[0].comments(requests)


def elasticity(rungs: Sequence[Rung], first: str, second: str) -> float:
    """Slope of the log mean of one metric in that of another, over rungs (least squares)."""
    x, y = (np.log([max(rung.mean(m), 1e-12) for rung in rungs]) for m in (second, first))
    x = x - x.mean()
    return float(x @ (y - y.mean()) / max(float(x @ x), 1e-12))
