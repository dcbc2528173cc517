"""Measure time and memory of many users who live for many days under `random`.

    python -m benchmarks.world_scale --users 1000000 --days 7

Nobody influences anybody, so people live in groups, each on one core from start to end; only
user-day sums are kept. A line per finished group says how long the rest will take. Memory is the
sum over processes of the most each of them held.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

import numpy as np
from numpy.typing import NDArray

from abtest.processes import end_with
from abtest.run.arms.serving import PolicyRanker
from policies.videos.random import RandomPolicy
from simulator.calendar import DAY_MS
from simulator.feed import Feed
from simulator.loop import drive
from simulator.requests import HistoryState
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world import World

GROUP = 25_000
BATCH = 16_384
"""People per turn, at most. A turn costs a millisecond or two whatever their number, and as the
busiest people of a group need hundreds of turns a day, large groups make full turns."""


def new_feed(world: World, group: NDArray[np.int32], days: int) -> Feed:
    """These people at the start of some days; nothing is logged."""
    catalogue = world.catalogue()
    start_ms = world.config.start_ms
    return Feed(
        catalogue,
        WorldResponse(world).population(group),
        group,
        seed=1,
        start_ms=start_ms,
        end_ms=start_ms + days * DAY_MS,
        history=HistoryState(len(group)),
        retrieval=Retrieval(catalogue, world.popularity()),
        batch=BATCH,
    )


def impressions(feed: Feed) -> int:
    """How many videos were shown."""
    return int(feed.outcomes.to_frame(feed.users.astype(np.int64))["impressions"].sum())


@lru_cache(maxsize=1)
def _world() -> World:
    """The default world, made once per process."""
    return World.create("default", 1)


def live(first: int, last: int, days: int) -> tuple[int, int, int, float]:
    """People ``first .. last - 1`` live; how many, their impressions, process, peak MiB."""
    group = np.arange(first, last, dtype=np.int32)
    feed = new_feed(_world(), group, days)
    drive(feed, PolicyRanker(RandomPolicy()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return last - first, impressions(feed), os.getpid(), peak


def main() -> None:
    """Print a line as each group of people has lived, and the sums."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--group", type=int, default=GROUP, help="people per group")
    options = parser.parse_args()
    firsts = range(0, options.users, options.group)
    started = time.perf_counter()
    people, shown, peaks = 0, 0, dict[int, float]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        options.workers, mp_context=context, initializer=end_with, initargs=(os.getpid(),)
    ) as pool:
        lives = [
            pool.submit(live, first, min(first + options.group, options.users), options.days)
            for first in firsts
        ]
        for finished in as_completed(lives):
            lived, seen, process, peak = finished.result()
            people += lived
            shown += seen
            peaks[process] = max(peak, peaks.get(process, 0.0))
            seconds = time.perf_counter() - started
            left = seconds * (options.users - people) / people
            print(
                f"{people:>12,} people  {shown:>15,} impressions  {seconds:>8,.0f} s, "
                f"about {left:,.0f} s left",
                flush=True,
            )
    seconds = time.perf_counter() - started
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    print(
        f"{options.users:,} people, {options.days} days, {shown:,} impressions: "
        f"{seconds:,.0f} s on {options.workers} processes "
        f"({shown / seconds:,.0f} impressions/s), {(sum(peaks.values()) + own) / 1024:.2f} GiB"
    )


if __name__ == "__main__":
    main()
