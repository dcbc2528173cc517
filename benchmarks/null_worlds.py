"""Compare rankers that know one mechanism in worlds with and without that mechanism.

    python -m benchmarks.null_worlds
    python -m benchmarks.null_worlds --trained lsvcr --users 2000

Everyone lives one day under both rankers of a pair with common random numbers. In the first world
all mechanisms are on; in the others the pair's own one is off, and the lift should be nothing. All
worlds have the small preset's inventory. A lift of 0 with an interval of no width means that every
life was the same, to the byte. Rankers but the trained one read the truth, minus what the
pair is about.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abtest.console import Console
from abtest.results.metrics import platform_metrics
from abtest.run.arms.serving import BATCH, PolicyRanker
from abtest.run.arms.training import load_policy, train
from abtest.run.datasets import synthesise
from abtest.tables import table
from policies.base import Policy, Scores
from policies.videos.random import RandomPolicy
from reports.analysis.analyze import analyze
from reports.plan import build_plan
from simulator.calendar import DAY_MS
from simulator.feed import Feed
from simulator.logs.dataset import Dataset
from simulator.loop import Ranker, drive
from simulator.requests import CommentRequests, HistoryState, VideoRequests
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldPopulation, WorldResponse
from simulator.retrieval import Retrieval
from simulator.world import World
from simulator.world.config import WorldConfig

BURN_IN_DAYS = 3


class Judge(Policy):
    """Ranks videos by clicks and comments by stay, as one who sees these people would.

    Args:
        videos: Who is seen when videos are ranked; None for a random order.
        comments: Who is seen when comments are ranked; None for the platform's order.
        known: bool[V], videos that can be told apart; None for all.
    """

    def __init__(
        self,
        videos: WorldPopulation | None = None,
        comments: WorldPopulation | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__()
        self._videos, self._comments, self._known = videos, comments, known
        self._random = RandomPolicy()

    def score_videos(self, requests: VideoRequests) -> Scores:
        """Probability of a click; unknown videos get the mean of the known ones."""
        if self._videos is None:
            return self._random.score_videos(requests)
        videos = requests.candidates
        rows = requests.row.astype(np.int64)
        grid = self._videos.in_grid(rows, requests.key)
        score = self._videos.page(rows, videos, grid).click
        if self._known is None:
            return score
        seen = self._known[videos] & (videos >= 0)
        mean = (score * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
        return np.where(seen, score, mean[:, None]).astype(np.float32)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """The index of longest expected stay."""
        if self._comments is None:
            return None
        return self._comments.comment_index(requests.row.astype(np.int64), requests.candidates)


class CommentsOf(Policy):
    """Random videos, and the comments of another policy."""

    def __init__(self, other: Policy) -> None:
        super().__init__()
        self._other, self._random = other, RandomPolicy()

    def score_videos(self, requests: VideoRequests) -> Scores:
        """At random."""
        return self._random.score_videos(requests)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """As the other does."""
        return self._other.score_comments(requests)


def with_traits(people: WorldPopulation, **traits: Any) -> WorldPopulation:
    """The same people as someone sees them who is mistaken about some traits."""
    other = people.copy()
    other.people = dataclasses.replace(people.people, **traits)
    return other


def average_reader(people: WorldPopulation) -> WorldPopulation:
    """Everyone as the average reader of comments."""
    names = ("comment_taste", "read", "pace")
    return with_traits(people, **{k: np.zeros_like(getattr(people.people, k)) for k in names})


def guessed_reader(people: WorldPopulation) -> WorldPopulation:
    """Everyone with the comment taste that a regression on 20,000 others' video tastes suggests."""
    n = len(people.people.taste)
    others = people.world.people(np.arange(10_000_000, 10_020_000, dtype=np.int32))
    fit, *_ = np.linalg.lstsq(others.taste, others.comment_taste, rcond=None)
    zero = np.zeros(n, dtype=np.float32)
    guess = (people.people.taste @ fit).astype(np.float32)
    return with_traits(people, comment_taste=guess, read=zero, pace=zero)


Pairing = Callable[[WorldPopulation], tuple[Policy, Policy]]


@dataclass(frozen=True)
class Pair:
    """Two rankers, the metric on which they differ, and the worlds in which they must not."""

    name: str
    metric: str
    nulls: tuple[str, ...]
    rankers: Pairing


def old_videos(people: WorldPopulation) -> NDArray[np.bool_]:
    """bool[V]: uploaded at least a day before the experiment, so that they have a history."""
    config = people.world.config
    return people.world.videos.upload_ms < config.start_ms + (BURN_IN_DAYS - 1) * DAY_MS


PAIRS = (
    Pair(
        "comments for each person / for the average one",
        "stay_per_open",
        ("no-comment-taste", "no-comment-order"),
        lambda p: (Judge(comments=p), Judge(comments=average_reader(p))),
    ),
    Pair(
        "best comments / the platform's order",
        "stay_per_open",
        ("no-comment-order",),
        lambda p: (Judge(comments=p), Judge()),
    ),
    Pair(
        "comments by video taste / for the average one",
        "stay_per_open",
        ("no-taste-link", "no-comment-taste"),
        lambda p: (Judge(comments=guessed_reader(p)), Judge(comments=average_reader(p))),
    ),
    Pair(
        "knows the session / does not",
        "click_rate",
        ("no-sequence",),
        lambda p: (Judge(p), Judge(p.seen_without(sequence=True))),
    ),
    Pair(
        "knows today's taste / the average taste",
        "click_rate",
        ("no-drift",),
        lambda p: (Judge(p), Judge(p.seen_without(drift=True))),
    ),
    Pair(
        "tells fresh videos apart / only older ones",
        "click_rate",
        ("no-fresh",),
        lambda p: (Judge(p), Judge(p, known=old_videos(p))),
    ),
)


def small(preset: str, seed: int) -> World:
    """A world with the preset's changes and the small preset's inventory."""
    default = dataclasses.asdict(WorldConfig.preset("default"))
    changed = dataclasses.asdict(WorldConfig.preset(preset))
    off = {k: v for k, v in changed.items() if v != default[k]}
    values = {**dataclasses.asdict(WorldConfig.preset("small")), **off, "name": preset}
    return World.create(WorldConfig.from_dict(values), seed)


class Start:
    """People of one world on the morning of the experiment."""

    def __init__(self, world: World, users: int, seed: int) -> None:
        self.world = world
        self._users = np.arange(1_000_000, 1_000_000 + users, dtype=np.int32)
        catalogue = world.catalogue()
        start_ms = world.config.start_ms
        self._end_ms = start_ms + (BURN_IN_DAYS + 1) * DAY_MS
        self._feed = Feed(
            catalogue,
            WorldResponse(world).population(self._users),
            self._users,
            seed=seed,
            start_ms=start_ms,
            end_ms=start_ms + BURN_IN_DAYS * DAY_MS,
            history=HistoryState(users),
            retrieval=Retrieval(catalogue, world.popularity()),
            batch=BATCH,
        )
        drive(self._feed, PlatformRanker(world, self._users))

    def compare(self, pair: Pair) -> tuple[float, float, float]:
        """Relative lift of the pair's first ranker and its 95 % interval, twin design."""
        lived = []
        for side, arm in enumerate(("first", "second")):
            feed = self._feed.copy()
            population = feed.population
            assert isinstance(population, WorldPopulation)
            policy = pair.rankers(population)[side]
            policy.reset(len(self._users))
            lived.append(self._day(feed, PolicyRanker(policy)).with_columns(arm=pl.lit(arm)))
        if lived[0].drop("arm").equals(lived[1].drop("arm")):
            return 0.0, 0.0, 0.0
        result = analyze(
            pl.concat(lived),
            build_plan(
                metrics=platform_metrics(), primary=pair.metric, guardrails=(), min_effect=0.0
            ),
            control="second",
            treatments=["first"],
            design="twin",
            planned_split={"first": 0.5, "second": 0.5},
            title=pair.name,
            context={},
        )
        found = next(m for m in result.comparisons[0].metrics if m.metric == pair.metric)
        lift = found.relative
        assert lift is not None and lift.low is not None and lift.high is not None
        return lift.value, lift.low, lift.high

    def _day(self, feed: Feed, ranker: Ranker) -> pl.DataFrame:
        before = feed.outcomes.to_frame(self._users.astype(np.int64))
        feed.extend(self._end_ms)
        drive(feed, ranker)
        after = feed.outcomes.to_frame(self._users.astype(np.int64))
        return after.filter(pl.col("day") > before["day"].max()).with_columns(day=pl.lit(0))


def trained_pair(name: str, world: World, folder: Path, log_users: int) -> Pair:
    """A trained policy's comments against the platform's order, under the same videos."""
    console = Console(quiet=True)
    target = folder / world.config.name
    synthesise(target, preset=world.config.name, seed=world.seed, users=log_users,
               days=BURN_IN_DAYS, console=console, world=world)  # fmt: skip
    dataset = Dataset.open(target)
    policy = load_policy(train(name, {}, dataset, seed=1, console=console), dataset)
    return Pair(
        f"comments by {name} / the platform's order",
        "stay_per_open",
        ("no-comment-taste", "no-comment-order"),
        lambda p: (CommentsOf(policy), Judge()),
    )


def main() -> None:
    """Print world x pair -> lift with its interval."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trained", action="append", default=[], help="a policy; repeatable")
    parser.add_argument("--log-users", type=int, default=600, help="people that it is trained on")
    options = parser.parse_args()
    started = time.perf_counter()
    nulls = sorted({null for pair in PAIRS for null in pair.nulls})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for preset in ("default", *nulls):
            world = small(preset, options.seed)
            start = Start(world, options.users, options.seed)
            pairs = list(PAIRS)
            if preset in ("default", "no-comment-taste", "no-comment-order"):
                pairs += [
                    trained_pair(name, world, Path(folder), options.log_users)
                    for name in options.trained
                ]
            for pair in pairs:
                if preset == "default" or preset in pair.nulls:
                    lift, low, high = start.compare(pair)
                    rows.append(
                        (
                            pair.name,
                            preset,
                            pair.metric,
                            f"{100 * lift:+.2f} %",
                            f"{100 * low:+.2f} to {100 * high:+.2f} %",
                        )
                    )
    rows.sort(key=lambda row: row[0])
    header = ("first / second", "world", "metric", "lift", "95 % interval")
    print(table(rows, header=header, right=(3, 4)))
    print(
        f"\n{options.users:,} people, one day, twin design, {time.perf_counter() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
