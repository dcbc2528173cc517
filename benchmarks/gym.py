"""Measure steps and impressions per second of the Gymnasium environments on one core.

    python -m benchmarks.gym

Printed beside 55,000 impressions per second, the known figure of SARDINE, the fastest peer with a
Gymnasium interface: one environment, slates of 10. It is not run here. Slates here have 6 videos;
only those that the person got to are counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

import gymnasium
import numpy as np

from simulator.gym import ENVIRONMENT_ID

PEER = 55_000


def single(world: str, seconds: float) -> tuple[float, float]:
    """Steps and impressions per second of one person at a time, resets included."""
    env = gymnasium.make(ENVIRONMENT_ID, world=world)
    env.action_space.seed(0)
    env.reset(seed=0)
    steps = seen = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        steps += 1
        seen += int(info["reached"].sum())
        if terminated or truncated:
            env.reset()
    spent = time.perf_counter() - started
    return steps / spent, seen / spent


def vector(world: str, people: int, seconds: float) -> tuple[float, float]:
    """The same of many people at once; a step is a page of one person."""
    envs = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=people, world=world)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    steps = seen = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        slate = rng.integers(0, 40, (people, 6))
        *_, info = envs.step(slate)
        # A step in which every row begins an episode shows no page.
        steps += int(info["_videos"].sum()) if "videos" in info else 0
        seen += int(info["reached"].sum()) if "videos" in info else 0
    spent = time.perf_counter() - started
    return steps / spent, seen / spent


def main() -> None:
    """Print a line per number of people."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", default="default")
    parser.add_argument("--seconds", type=float, default=5.0, help="per line")
    parser.add_argument("--people", type=int, nargs="*", default=[1, 64, 1_024, 4_096])
    options = parser.parse_args()
    single(options.world, 0.1)  # makes the world
    rates = [("single", single(options.world, options.seconds))]
    rates += [(f"vector {n:,}", vector(options.world, n, options.seconds)) for n in options.people]
    print(f"{'environment':<14} {'steps/s':>10} {'impressions/s':>14} {'of SARDINE':>11}")
    for name, (steps, seen) in rates:
        print(f"{name:<14} {steps:>10,.0f} {seen:>14,.0f} {seen / PEER:>10.1f}x")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB; SARDINE: {PEER:,} impressions/s, not run here")


if __name__ == "__main__":
    main()
