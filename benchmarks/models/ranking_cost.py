"""Measure what ranking costs inside the environment: users per second, with and without caches.

    python -m benchmarks.models.ranking_cost --world small --log-users 1500

Every policy ranks for the same people in the same days. ``ranking`` is the time spent in the
policy and in sorting its scores, ``videos`` and ``comments`` its parts; the rest of a loop is the
environment. Without caches everybody is encoded at every request. Times are processor seconds of
one thread, each the least of some repetitions. What ranking costs does not depend on how long a
policy has learned, so that each learns for one epoch unless told otherwise.

SASRec ranks videos alone; ``comment-sasrec`` has another one for the comments and is what LSVCR,
which ranks both, is compared with. Ratios are per impression: better rankers keep people longer.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

import numpy as np
import torch
from numpy.typing import NDArray

from abtest.console import Console
from abtest.run.arms.serving import PolicyRanker
from abtest.run.arms.training import load_policy, train
from abtest.run.datasets import builtin_dataset
from benchmarks.world_scale import impressions, new_feed
from policies.base import Policy
from policies.sequence.cache import RowCache
from simulator.loop import drive
from simulator.requests import CommentOrders, CommentRequests, Int32, Int64, Slates, VideoRequests
from simulator.world import World

SETTINGS: dict[str, dict[str, Any]] = {
    "sasrec": {"epochs": 1, "epoch_steps": 1},
    "comment-sasrec": {"videos": "sasrec", "epochs": 1, "epoch_steps": 1},
    "lsvcr": {"epochs": 1, "epoch_steps": 1},
}


@dataclass(frozen=True)
class Cost:
    """Processor seconds of one run.

    Attributes:
        loop: Of everything.
        videos, comments: Of ranking them.
        shown: Impressions.
    """

    loop: float
    videos: float
    comments: float
    shown: int

    @property
    def ranking(self) -> float:
        """Seconds."""
        return self.videos + self.comments


class TimedRanker(PolicyRanker):
    """Measures what it does."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.videos = self.comment_sections = 0.0

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        """A page of videos per request."""
        started = time.process_time()
        slates = super().slates(requests, page_size)
        self.videos += time.process_time() - started
        return slates

    def comments(self, requests: CommentRequests) -> CommentOrders:
        """Comments of each opened section."""
        started = time.process_time()
        order = super().comments(requests)
        self.comment_sections += time.process_time() - started
        return order


@contextmanager
def caches(used: bool) -> Iterator[None]:
    """Policies encode everybody anew at every request while this is open and not ``used``."""
    plain = RowCache.stale

    def everybody(self: RowCache, rows: Int32, versions: Int64) -> NDArray[np.intp]:
        plain(self, rows, versions)
        return np.asarray(np.unique(rows, return_index=True)[1])

    if not used:
        RowCache.stale = everybody  # type: ignore[method-assign]
    try:
        yield
    finally:
        RowCache.stale = plain  # type: ignore[method-assign]


def measure(world: World, policy: Policy, users: int, days: int, repetitions: int) -> Cost:
    """The cheapest of some runs of the same people."""
    runs = []
    for _ in range(repetitions):
        policy.reset(users)
        ranker = TimedRanker(policy)
        feed = new_feed(world, np.arange(users, dtype=np.int32), days)
        started = time.process_time()
        drive(feed, ranker)
        loop = time.process_time() - started
        runs.append(Cost(loop, ranker.videos, ranker.comment_sections, impressions(feed)))
    return min(runs, key=lambda cost: cost.ranking)


def main() -> None:
    """Print a line per policy with caches and without, and what the last costs of the others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", default="small", help="preset of the built-in world")
    parser.add_argument("--log-users", type=int, default=1_500, help="people in the log learned on")
    parser.add_argument("--users", type=int, default=1_024, help="people ranked for")
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--policy", action="append", help="repeatable; default: all three")
    parser.add_argument("--trained", action="store_true", help="train in full, not for one epoch")
    options = parser.parse_args()
    dataset = builtin_dataset(options.world, 1, options.log_users, 2, Console())
    assert dataset.info.world is not None
    world = World.from_spec(dataset.info.world)
    made = {}
    for spec in options.policy or list(SETTINGS):
        settings = {} if options.trained else SETTINGS.get(spec, {})
        trained = train(spec, settings, dataset, seed=1, console=Console())
        made[spec] = load_policy(trained, dataset)
    torch.set_num_threads(1)
    print(f"{options.users:,} people, {options.days} day(s) of the {options.world} world")
    print(
        f"{'policy':<16}{'caches':<8}{'people/s':>9}{'loop s':>9}{'ranking s':>11}"
        f"{'videos s':>10}{'comments s':>12}{'us/impression':>15}"
    )
    cached = []
    for spec, policy in made.items():
        for used in (True, False):
            with caches(used):
                cost = measure(world, policy, options.users, options.days, options.repetitions)
            each = cost.ranking / cost.shown * 1e6
            if used:
                cached.append((cost.videos / cost.shown, cost.ranking / cost.shown))
            print(
                f"{spec:<16}{'on' if used else 'off':<8}{options.users / cost.loop:>9,.0f}"
                f"{cost.loop:>9.2f}{cost.ranking:>11.2f}{cost.videos:>10.2f}"
                f"{cost.comments:>12.2f}{each:>15.2f}",
                flush=True,
            )
    *others, last = made
    for spec, other in zip(others, cached[:-1], strict=True):
        videos, everything = (a / b for a, b in zip(cached[-1], other, strict=True))
        print(
            f"with caches, {last} costs {videos:.2f} times what {spec} does for ranking videos, "
            f"{everything:.2f} times for all that either ranks"
        )


if __name__ == "__main__":
    main()
