"""Measure the replay estimators: time and memory beside bare numpy and OBP, agreement with OBP.

    python -m benchmarks.replay                          1,000,000 rows x 100 actions
    python -m benchmarks.replay --rows 100000            smaller
    python -m benchmarks.replay --agree obd/random/men   every estimator on an Open Bandit sample

OBP (https://github.com/st-tech/zr-obp) is measured where it can be imported; a checkout on
PYTHONPATH is enough. Each measurement is a process of its own: seconds are the least of three,
memory is the peak above what the input itself takes. The input is two float64 tables of rows x
actions (target probabilities and a reward model) and columns of rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

import numpy as np
from numpy.typing import NDArray

from benchmarks.lib.open_bandit import agreement
from simulator.replay.estimators import Estimate, Rows, dense_rows
from simulator.replay.estimators.single import UNTUNED, shrinkage_dr, switch_dr

Float64 = NDArray[np.float64]
REPEATS = 3
OURS = ("ips", "snips", "matching", "dm", "dr", "sndr", "switch_dr", "dr_os")
OBP_NAMES = {
    "ips": "InverseProbabilityWeighting",
    "snips": "SelfNormalizedInverseProbabilityWeighting",
    "matching": "ReplayMethod",
    "dm": "DirectMethod",
    "dr": "DoublyRobust",
    "sndr": "SelfNormalizedDoublyRobust",
    "switch_dr": "SwitchDoublyRobust",
    "dr_os": "DoublyRobustWithShrinkage",
}


class Input:
    """A log of one row per user with dense tables, float64[N, A] each."""

    def __init__(self, rows: int, actions: int) -> None:
        random = np.random.default_rng(1)
        self.target = random.random((rows, actions))
        self.target /= self.target.sum(axis=1, keepdims=True)
        self.model = random.random((rows, actions))
        self.action = random.integers(0, actions, rows)
        self.logging = np.full(rows, 1.0 / actions)
        self.outcome = (random.random(rows) < 0.3).astype(np.float64)
        self.user = np.arange(rows)

    def megabytes(self) -> float:
        """Of all arrays."""
        return float(sum(a.nbytes for a in vars(self).values())) / 1e6


def numpy_ips(data: Input) -> float:
    at = np.arange(len(data.action))
    weight = data.target[at, data.action] / data.logging
    return float((weight * data.outcome).mean())


def numpy_dr(data: Input) -> float:
    at = np.arange(len(data.action))
    weight = data.target[at, data.action] / data.logging
    level = (data.target * data.model).sum(axis=1)
    return float((level + weight * (data.outcome - data.model[at, data.action])).mean())


def ours(data: Input, name: str) -> Estimate | None:
    needs = name not in ("ips", "snips", "matching")
    rows: Rows = dense_rows(
        data.user, len(data.user), data.outcome, data.action, data.target, data.logging,
        data.model if needs else None,
    )  # fmt: skip
    calls: dict[str, Callable[[Rows], Any]] = {
        **UNTUNED,
        "switch_dr": lambda r: switch_dr(r, 1.5),
        "dr_os": lambda r: shrinkage_dr(r, 10.0),
    }
    found = calls[name](rows)
    return None if found is None else Estimate.of(found)


def obp_value(data: Input, name: str) -> float:
    from obp import ope  # type: ignore[import-not-found]

    kind = getattr(ope, OBP_NAMES[name])
    more = {"lambda_": 1.5} if name == "switch_dr" else {"lambda_": 10.0} if name == "dr_os" else {}
    estimator = kind(**more)
    arguments: dict[str, Any] = {
        "reward": data.outcome, "action": data.action, "pscore": data.logging,
        "action_dist": data.target[:, :, None], "estimated_rewards_by_reg_model":
        data.model[:, :, None], "position": np.zeros(len(data.action), int),
    }  # fmt: skip
    if name == "matching":
        best = np.zeros_like(data.target)
        best[np.arange(len(best)), data.target.argmax(axis=1)] = 1.0
        arguments["action_dist"] = best[:, :, None]
    return float(estimator.estimate_policy_value(**arguments))


def measure(which: str, rows: int, actions: int) -> dict[str, float]:
    """Seconds, and peak megabytes above the input, of one estimator in this process."""
    data = Input(rows, actions)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    package, _, name = which.partition(":")
    calls: dict[str, Callable[[], object]] = {
        "numpy": lambda: (numpy_dr if name == "dr" else numpy_ips)(data),
        "ours": lambda: ours(data, name),
        "obp": lambda: obp_value(data, name),
    }
    seconds = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        calls[package]()
        seconds = min(seconds, time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"seconds": seconds, "above": peak - before, "input": data.megabytes(), "peak": peak}


def speed(rows: int, actions: int) -> None:
    """Print the table."""
    chosen = ["numpy:ips", "numpy:dr", *[f"ours:{n}" for n in OURS]]
    if importlib.util.find_spec("obp") is None:
        print("OBP cannot be imported and is left out.")
    else:
        chosen += [f"obp:{name}" for name in OURS]
    print(f"{rows:,} rows x {actions} actions, one thread, least of {REPEATS}")
    print(f"{'estimator':<16} {'seconds':>8} {'MB above input':>15} {'peak / input':>13}")
    found = {}
    for which in chosen:
        command = [sys.executable, "-m", "benchmarks.replay", "--one", which,
                   "--rows", str(rows), "--actions", str(actions)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{which:<16} failed: {done.stderr.strip().splitlines()[-1][:60]}")
            continue
        found[which] = one = json.loads(done.stdout)
        ratio = one["peak"] / one["input"]
        print(f"{which:<16} {one['seconds']:8.3f} {one['above']:15.0f} {ratio:13.2f}", flush=True)
    times = found["ours:dr"]["seconds"] / found["numpy:dr"]["seconds"]
    print(f"DR takes {times:.2f} times bare numpy (goal: at most 1.5)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--actions", type=int, default=100)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--agree", type=Path, help="Folder of an Open Bandit campaign.")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.rows, options.actions)))
    elif options.agree:
        agreement(options.agree)
    else:
        speed(options.rows, options.actions)


if __name__ == "__main__":
    main()
