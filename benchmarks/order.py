"""Measure whether better rankers of videos earn more, in the order that platforms know.

    python -m benchmarks.order
    python -m benchmarks.order --world small --seed 1 --users 1000 --policy popular

Random, then popular, then trained policies, then the platform's own ranker, then the oracle: in
play time, comment opens, comment watch time and session time. Everyone lives the same day under
every ranker with common random numbers. What a ranker has finished is kept under ``--out`` and not
run again. Comments stand in the platform's order under all of them.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
import torch
from numpy.typing import NDArray

from abtest.config import RunConfig
from abtest.console import Console
from abtest.run.arms.oracle import attach_oracles
from abtest.run.arms.serving import PolicyRanker
from abtest.run.arms.training import load_policy, train
from abtest.run.datasets import builtin_dataset
from abtest.tables import table
from policies.registry import create
from simulator.calendar import DAY_MS
from simulator.feed import Feed
from simulator.loop import Ranker, drive
from simulator.outcomes import INDEX
from simulator.requests import CommentRequests, HistoryState, Int32, Slates, VideoRequests
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world import World

PLATFORM, ORACLE = "platform", "oracle-video"
STEPS = (("random",), ("popular",), ("itemknn", "ease", "sasrec"), (PLATFORM,), (ORACLE,))
"""Worst first; those of one step are not compared with each other."""
METRICS = {
    "play time": "play_time_ms",
    "comment opens": "comment_opens",
    "comment watch time": "comment_watch_time_ms",
    "session time": "session_time_ms",
}
BURN_IN_DAYS = 2
FIRST_USER = 3_000_000
Totals = NDArray[np.float64]


class PlatformOrder:
    """The videos of one ranker, and comments as the platform orders them."""

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        """As the ranker does."""
        return self._ranker.slates(requests, page_size)

    def comments(self, requests: CommentRequests) -> Int32:
        """Most liked first."""
        return requests.candidates


class Stage:
    """People of one world on the morning of the day that they live under every ranker."""

    def __init__(self, preset: str, seed: int, users: int, log_users: int) -> None:
        console = Console(quiet=True)
        self._console = console
        self._dataset = builtin_dataset(preset, seed, log_users, BURN_IN_DAYS, console)
        assert self._dataset.info.world is not None
        self._world = World.from_spec(self._dataset.info.world)
        self._users = np.arange(FIRST_USER, FIRST_USER + users, dtype=np.int32)
        catalogue = self._world.catalogue()
        start_ms = self._world.config.start_ms
        self._end_ms = start_ms + (BURN_IN_DAYS + 1) * DAY_MS
        self._feed = Feed(
            catalogue,
            WorldResponse(self._world).population(self._users),
            self._users,
            seed=seed,
            start_ms=start_ms,
            end_ms=start_ms + BURN_IN_DAYS * DAY_MS,
            history=HistoryState(users),
            retrieval=Retrieval(catalogue, self._world.popularity()),
            batch=2_048,
        )
        drive(self._feed, PlatformRanker(self._world, self._users))

    def live(self, name: str) -> Totals:
        """float64[N, 4]: each person's day under a ranker."""
        feed = self._feed.copy()
        ranker = self._ranker(name, feed)
        before = feed.outcomes.values.sum(axis=1)
        feed.extend(self._end_ms)
        drive(feed, ranker)
        change = feed.outcomes.values.sum(axis=1) - before
        return np.stack([change[:, INDEX[column]] for column in METRICS.values()], axis=1)

    def _ranker(self, name: str, feed: Feed) -> Ranker:
        if name == PLATFORM:
            return PlatformRanker(self._world, self._users)
        if name == ORACLE:
            policy = create(ORACLE)
            attach_oracles([policy], feed.population, feed.catalogue, policy)
            return PlatformOrder(PolicyRanker(policy))
        trained = train(name, {}, self._dataset, seed=1, console=self._console)
        policy = load_policy(trained, self._dataset)
        policy.reset(len(self._users))
        return PlatformOrder(PolicyRanker(policy))


@dataclass(frozen=True)
class Lift:
    """Relative difference of two means of the same people, with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, first: NDArray[np.float64], second: NDArray[np.float64]) -> Lift:
        """Of the first over the second; the variance of a ratio of means by the delta method."""
        ratio = first.mean() / second.mean()
        error = 1.96 * (first - ratio * second).std(ddof=1) / second.mean() / np.sqrt(len(first))
        return cls(float(ratio - 1.0), float(ratio - 1.0 - error), float(ratio - 1.0 + error))

    def __str__(self) -> str:
        return f"{100 * self.value:+.1f} % ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


def verdict(lift: Lift) -> str:
    """Whether the first is above the second."""
    return "above" if lift.low > 0 else "below" if lift.high < 0 else "not told apart"


def report(found: dict[str, Totals]) -> tuple[list[tuple[str, ...]], int, int]:
    """Rows of a table, and how many comparisons of neighbouring steps are above, of how many."""
    rows: list[tuple[str, ...]] = []
    above = compared = 0
    present = [[name for name in step if name in found] for step in STEPS]
    present = [step for step in present if step]
    for number, step in enumerate(present):
        for name in step:
            cells = []
            for column in range(len(METRICS)):
                over_random = Lift.of(found[name][:, column], found[present[0][0]][:, column])
                told = [
                    verdict(Lift.of(found[name][:, column], found[below][:, column]))
                    for below in (present[number - 1] if number else [])
                ]
                compared += len(told)
                above += told.count("above")
                worst = [word for word in told if word != "above"]
                cells.append(f"{100 * over_random.value:+.1f} %" + (" !" if worst else ""))
            rows.append((name, *cells))
    return rows, above, compared


def main() -> None:
    """Print a table per world and seed: lift over random, marked where the order does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", action="append", help="preset; default: default and small")
    parser.add_argument("--seed", action="append", type=int, help="of the world; default: 1, 2, 3")
    parser.add_argument("--policy", action="append", help="only these steps, and random")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--log-users", type=int, default=RunConfig().log_users)
    parser.add_argument("--out", type=Path, default=Path("order"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [n for step in STEPS for n in step if not options.policy or n in options.policy]
    wanted = list(dict.fromkeys(["random", *wanted]))
    options.out.mkdir(parents=True, exist_ok=True)
    for preset in options.world or ["default", "small"]:
        for seed in options.seed or [1, 2, 3]:
            found: dict[str, Totals] = {}
            stage: Stage | None = None
            for name in wanted:
                size = f"{options.users}-{options.log_users}"
                file = options.out / f"{preset}-{seed}-{size}-{name}.npy"
                if not file.is_file():
                    stage = stage or Stage(preset, seed, options.users, options.log_users)
                    np.save(file, stage.live(name))
                found[name] = np.load(file)
            rows, above, compared = report(found)
            print(f"\n{preset}, world seed {seed}: {above} of {compared} comparisons in order")
            print(
                table(rows, header=("videos ranked by", *METRICS), right=(1, 2, 3, 4)), flush=True
            )
    print(
        "\nLift over random, per person and day. ! marks where a step is not above the one before."
    )


if __name__ == "__main__":
    main()
