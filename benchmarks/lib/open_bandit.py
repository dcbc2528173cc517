"""Compare every estimator with OBP's on a campaign of the Open Bandit data, and show where not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.replay.estimators import Estimate, Linear, Rows, dense_rows
from simulator.replay.estimators.linear import effective_sample_size
from simulator.replay.estimators.single import UNTUNED, shrinkage_dr, sub_gaussian_dr, switch_dr

Float64 = NDArray[np.float64]
TOLERANCE = 1e-9


def agreement(folder: Path) -> None:
    """Print ours beside OBP's for a target that prefers some items by their number.

    Args:
        folder: Holds ``CAMPAIGN.csv`` with item_id, position, click, propensity_score.
    """
    file = next(p for p in sorted(folder.glob("*.csv")) if p.name != "item_context.csv")
    frame = pl.read_csv(file)
    action = frame["item_id"].to_numpy().astype(np.int64)
    position = frame["position"].rank("dense").to_numpy().astype(np.int64) - 1
    reward = frame["click"].to_numpy().astype(np.float64)
    logging = frame["propensity_score"].to_numpy().astype(np.float64)
    n, actions = len(action), int(action.max()) + 1
    score = np.cos(np.arange(actions))
    target = np.tile(np.exp(1.5 * score) / np.exp(1.5 * score).sum(), (n, 1))
    # A fixed model stands for any: both sides get the same one.
    model = np.tile(0.005 + 0.002 * np.sin(np.arange(actions)), (n, 1))
    rows = dense_rows(np.arange(n), n, reward, action, target, logging, model)
    print(f"{file}: {n:,} rows, {actions} items, clicks {reward.mean():.4f}")
    print(f"target: softmax; effective sample size {effective_sample_size(rows.weight):,.0f}")
    theirs = _obp(reward, action, position, logging, target, model)
    print(f"{'estimator':<14} {'ours':>12} {'OBP':>12}  {'our 95 % interval':<24} note")
    for name, linear in _ours(rows).items():
        if linear is None:
            print(f"{name:<14} {'none':>12}")
            continue
        estimate = Estimate.of(linear)
        bounds = "-" if estimate is None else f"{estimate.low:.6f} to {estimate.high:.6f}"
        other = theirs.get(name)
        text, note = "-", ""
        if other is not None:
            text = f"{other:.8f}"
            note = "equal" if abs(other - linear.value) < TOLERANCE else "DIFFERENT"
        print(f"{name:<14} {linear.value:12.8f} {text:>12}  {bounds:<24} {note}")
    if theirs:
        _where_not(reward, action, position, logging, target, rows)


def _ours(rows: Rows) -> dict[str, Linear | None]:
    found = {name: call(rows) for name, call in UNTUNED.items() if name != "matching"}
    found["switch_dr"] = switch_dr(rows, 1.5)
    found["dr_os"] = shrinkage_dr(rows, 10.0)
    found["sub_gaussian_dr"] = sub_gaussian_dr(rows, 0.1)
    return found


def _obp(
    reward: Float64,
    action: NDArray[np.int64],
    position: NDArray[np.int64],
    logging: Float64,
    target: Float64,
    model: Float64,
) -> dict[str, float]:
    """OBP's values; nothing where it cannot be imported. OBP wants a table per position."""
    if importlib.util.find_spec("obp") is None:
        return {}
    from obp import ope  # type: ignore[import-not-found]

    places = int(position.max()) + 1
    arguments: dict[str, Any] = {
        "reward": reward, "action": action, "pscore": logging, "position": position,
        "action_dist": np.repeat(target[:, :, None], places, axis=2),
        "estimated_rewards_by_reg_model": np.repeat(model[:, :, None], places, axis=2),
    }  # fmt: skip
    kinds = {
        "ips": ope.InverseProbabilityWeighting(),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting(),
        "dm": ope.DirectMethod(),
        "dr": ope.DoublyRobust(),
        "sndr": ope.SelfNormalizedDoublyRobust(),
        "switch_dr": ope.SwitchDoublyRobust(lambda_=1.5),
        "dr_os": ope.DoublyRobustWithShrinkage(lambda_=10.0),
        "sub_gaussian_dr": ope.SubGaussianDoublyRobust(lambda_=0.1),
    }
    return {n: float(k.estimate_policy_value(**arguments)) for n, k in kinds.items()}


def _where_not(
    reward: Float64,
    action: NDArray[np.int64],
    position: NDArray[np.int64],
    logging: Float64,
    target: Float64,
    rows: Rows,
) -> None:
    """Cases in which OBP's answer misleads, beside ours."""
    from obp import ope

    print("\nWhere OBP's answer misleads")
    places = int(position.max()) + 1
    common = {"reward": reward, "action": action, "pscore": logging, "position": position}
    interval = ope.SelfNormalizedInverseProbabilityWeighting().estimate_interval(
        **common, action_dist=np.repeat(target[:, :, None], places, axis=2),
        n_bootstrap_samples=200, random_state=1,
    )  # fmt: skip
    low, high = (interval[k] for k in interval if k.startswith("95.0%"))
    found = UNTUNED["snips"](rows)
    mine = None if found is None else Estimate.of(found)
    assert mine is not None
    print(f"SNIPS interval, normaliser taken as fixed: {low:.5f} to {high:.5f}; "
          f"ours {mine.low:.5f} to {mine.high:.5f}")  # fmt: skip
    never = np.zeros_like(target)
    never[:, int(action.max())] = 1.0
    kept = action != action.max()
    half = np.zeros_like(target)
    half[:, [0, int(action.max())]] = 0.5
    cut = {k: v[kept] for k, v in common.items()}
    for name, dist in (("half the target's mass on a never-logged item", half),
                       ("all of it", never)):  # fmt: skip
        value = ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(
            **cut, action_dist=np.repeat(dist[kept][:, :, None], places, axis=2)
        )
        weight = dist[kept, action[kept]] / logging[kept]
        print(f"{name}: OBP's SNIPS {value:.5f}; ours: mean weight {weight.mean():.2f} of 1, "
              f"{100 * dist[0, int(action.max())]:.0f} % unsupported, unusable")  # fmt: skip
