"""Measure impressions per second of the environment on one core, beside a bare numpy loop.

    python -m benchmarks.world
    python -m benchmarks.world --policy random --policy sasrec --policy lsvcr
    python -m benchmarks.world --beside OTHER_CHECKOUT

The bare loop draws clicks and log-normal watch times from 64-dimensional dot products for slates of
10 videos in batches of 4,096 people: what a simulator without behaviour would cost. It runs in
double precision, numpy's default, as a product of matrices and as an einsum, and in the single
precision that the environment computes with. Everything runs in this process, one after the other,
on one thread, and is timed by the processor's clock: a busy machine slows all down, but does not
let the one wait for the other.

With ``--beside``, the platform's own log is made by this checkout and by another one in turn, in
processes of their own, and the ratio of their times is printed: what a change of structure costs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

import numpy as np
import torch
from numpy.typing import NDArray

from abtest.config import RunConfig
from abtest.console import Console
from abtest.run.arms.serving import PolicyRanker
from abtest.run.arms.training import load_policy, train
from abtest.run.datasets import builtin_dataset
from benchmarks.world_scale import impressions, new_feed
from simulator.loop import Ranker, drive
from simulator.response.platform import PlatformRanker
from simulator.world import World

Floats = NDArray[np.floating]


def by_matmul(users: Floats, slates: Floats) -> Floats:
    """Dot products float[B, S] of users float[B, d] with their slates float[B, S, d]."""
    return np.asarray(np.matmul(slates, users[:, :, None])[:, :, 0])


def by_einsum(users: Floats, slates: Floats) -> Floats:
    """The same, faster."""
    return np.asarray(np.einsum("bd,bsd->bs", users, slates))


BARE: dict[str, tuple[type[np.floating], Callable[[Floats, Floats], Floats]]] = {
    "bare loop, float64, matmul": (np.float64, by_matmul),
    "bare loop, float64, einsum": (np.float64, by_einsum),
    "bare loop, float32, einsum": (np.float32, by_einsum),
}


def bare_loop(
    seconds: float, dtype: type[np.floating], products: Callable[[Floats, Floats], Floats]
) -> float:
    """Impressions per second of the bare loop."""
    rng = np.random.default_rng(0)
    users = rng.normal(size=(4_096, 64)).astype(dtype)
    videos = rng.normal(size=(12_000, 64)).astype(dtype)
    shown, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        slate = rng.integers(0, len(videos), (len(users), 10))
        score = products(users, videos[slate]) / 8.0
        click = rng.random(score.shape, dtype=dtype) < 1.0 / (1.0 + np.exp(-score))
        watch = np.exp(rng.standard_normal(score.shape, dtype=dtype) + score) * click
        shown += watch.size
    return shown / (time.process_time() - started)


def environment(world: World, ranker: Ranker | None, users: int, days: int) -> tuple[int, float]:
    """Impressions and seconds of one group of people; the platform's own ranker if None."""
    group = np.arange(users, dtype=np.int32)
    feed = new_feed(world, group, days)
    started = time.process_time()
    drive(feed, ranker or PlatformRanker(world, group))
    seconds = time.process_time() - started
    return impressions(feed), seconds


_ONE_LOG = """
import sys, time
from importlib import import_module
from pathlib import Path
import numpy as np
from simulator.feed import Feed
from simulator.requests import HistoryState
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world import World
# By the checkout's own files: an installed one would be found for a module that it lacks.
places = "simulator.loop", "abtest.run.arms.serving", "abtest.run.serving"
here = next(name for name in places if Path(name.replace(".", "/") + ".py").exists())
drive = import_module(here).drive
world, n = World.create("default", 1), int(sys.argv[1])
users = np.arange(n, dtype=np.int32)
start = world.config.start_ms
feed = Feed(
    world.catalogue(), WorldResponse(world).population(users), users, seed=1, start_ms=start,
    end_ms=start + 86_400_000, history=HistoryState(n), batch=2048,
    retrieval=Retrieval(world.catalogue(), world.popularity()),
)
ranker = PlatformRanker(world, users)
began = time.process_time()
drive(feed, ranker)
seconds = time.process_time() - began
print(seconds / feed.outcomes.to_frame(users.astype(np.int64))["impressions"].sum() * 1e6)
"""


def beside(other: Path, users: int, times: int) -> None:
    """Print CPU microseconds per impression of both checkouts, run by run, and their ratio.

    The two take turns, and the ratio is that of the fastest runs: other work on the machine only
    ever adds time.
    """
    here = Path(__file__).parents[1]
    found: dict[Path, list[float]] = {other.resolve(): [], here: []}
    for _ in range(times):
        for checkout, costs in found.items():
            run = subprocess.run(
                [sys.executable, "-c", _ONE_LOG, str(users)], check=True, capture_output=True,
                text=True, cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)},
            )  # fmt: skip
            costs.append(float(run.stdout))
    for checkout, costs in found.items():
        shown = ", ".join(f"{cost:.3f}" for cost in costs)
        print(f"{checkout}: {shown} microseconds per impression")
    before, after = (min(costs) for costs in found.values())
    print(f"this checkout takes {after / before:.3f} times as long")


def main() -> None:
    """Print a line per policy and the ratio to the bare loop."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", action="append", help="repeatable; default: random")
    parser.add_argument("--users", type=int, default=32_768, help="fewer for slow policies")
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--beside", type=Path, help="folder of another checkout")
    parser.add_argument("--times", type=int, default=3, help="runs of each, with --beside")
    options = parser.parse_args()
    if options.beside is not None:
        beside(options.beside, options.users, options.times)
        return
    torch.set_num_threads(1)
    config = RunConfig()
    console = Console()
    dataset = builtin_dataset(
        config.world, config.world_seed, config.log_users, config.burn_in_days, console
    )
    assert dataset.info.world is not None
    world = World.from_spec(dataset.info.world)
    world.catalogue()
    bare = {}
    for name, (dtype, products) in BARE.items():
        bare[name] = bare_loop(3.0, dtype, products)
        print(f"{name:<28}{bare[name]:>12,.0f} impressions/s")
    for spec in options.policy or ["random"]:
        policy = load_policy(train(spec, {}, dataset, seed=1, console=console), dataset)
        torch.set_num_threads(1)
        policy.reset(options.users)
        shown, seconds = environment(world, PolicyRanker(policy), options.users, options.days)
        rate = shown / seconds
        times = ", ".join(f"{loop / rate:.1f}" for loop in bare.values())
        print(
            f"{spec:<28}{rate:>12,.0f} impressions/s, {times} times the bare loops' "
            f"time ({shown:,} in {seconds:.1f} s, {options.users:,} people)"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
