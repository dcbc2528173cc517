"""Compare estimators of slates with OBP's on slates made of the rows of an Open Bandit campaign."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.lib.open_bandit import Campaign, Line, _of
from simulator.replay.estimators.linear import Linear
from simulator.replay.estimators.pseudo_inverse import independent_weights
from simulator.replay.estimators.slates import (
    LoggedSlates,
    cascade_dr,
    independent,
    position_based,
    reward_interaction,
    self_normalised_mean,
    slate_mean,
    standard,
)

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def slate_rows(data: Campaign) -> tuple[Int64, Int64]:
    """(rows, slates): the sample names no slates, so the k-th rows of all positions form one."""
    places = [np.flatnonzero(data.position == k) for k in range(data.places)]
    slates = min(len(p) for p in places)
    rows = np.stack([p[:slates] for p in places], axis=1).ravel()
    return rows, np.repeat(np.arange(slates), data.places)


def cascade_arguments(
    slate: Int64,
    action: Int64,
    reward: Float64,
    position: Int64,
    logging: Float64,
    target: Float64,
    modelled: Float64,
    choice: Float64,
) -> dict[str, Any]:
    """OBP's arguments of all slate estimators, rows in the given order.

    Args:
        slate: int64[N].
        action: int64[N].
        reward: float64[N].
        position: int64[N], from 0.
        logging: float64[N], probability given the slots above.
        target: float64[N], the same under the target policy.
        modelled: float64[N, items], value from the slot on of every item.
        choice: float64[N, items], the target's probabilities in this slot.
    """
    order = np.lexsort((position, slate))
    places = int(position.max()) + 1
    down = {}
    for name, chance in (("logging", logging), ("target", target)):
        table = np.cumprod(chance[order].reshape(-1, places), axis=1)
        back = np.empty(len(order))
        back[order] = table.ravel()
        whole = np.empty(len(order))
        whole[order] = np.repeat(table[:, -1], places)
        down[name] = (back, whole)
    return {
        "slate_id": slate, "action": action, "reward": reward, "position": position,
        "pscore": down["logging"][1], "evaluation_policy_pscore": down["target"][1],
        "pscore_item_position": logging, "evaluation_policy_pscore_item_position": target,
        "pscore_cascade": down["logging"][0], "evaluation_policy_pscore_cascade": down["target"][0],
        "q_hat": modelled.ravel(), "evaluation_policy_action_dist": choice.ravel(),
    }  # fmt: skip


def slate_lines(data: Campaign) -> list[Line]:
    """Estimators of whole slates; value per slate."""
    rows, slate = slate_rows(data)
    action, position = data.action[rows], data.position[rows]
    reward, logging = data.reward[rows], data.logging[rows]
    n_slates = int(slate.max()) + 1
    target = data.target[action]
    # Value from a slot on: what is left of the slate times the items' model.
    modelled = data.model[None, :] * (data.places - position)[:, None]
    choice = np.tile(data.target, (len(rows), 1))
    known = cascade_arguments(slate, action, reward, position, logging, target, modelled, choice)
    of_shown = modelled[np.arange(len(rows)), action]
    expected = (modelled * choice).sum(axis=1)
    slates = LoggedSlates(slate, n_slates, position, reward, target / logging, of_shown, expected)
    users = np.arange(n_slates)

    def mean(values: Float64) -> Linear | None:
        return slate_mean(values, users, n_slates)

    def normalised(weight: Float64) -> Linear | None:
        return self_normalised_mean(slates, weight, users, n_slates)

    seen = data.table.mean(axis=0)[action]
    sums = slates.per_slate(slates.ratio)
    additive = independent_weights(sums, np.full(n_slates, data.places))
    size = {"len_list": data.places}
    return [
        Line("standard", "SlateStandardIPS", lambda: mean(standard(slates)),
             _of("SlateStandardIPS", known, **size)),
        Line("independent", "SlateIndependentIPS", lambda: mean(independent(slates)),
             _of("SlateIndependentIPS", known, **size)),
        Line("reward_interaction", "SlateRewardInteractionIPS",
             lambda: mean(reward_interaction(slates)),
             _of("SlateRewardInteractionIPS", known, **size)),
        Line("cascade_dr", "SlateCascadeDoublyRobust", lambda: mean(cascade_dr(slates)),
             _of("SlateCascadeDoublyRobust", known, n_unique_action=data.items, **size)),
        Line("sn. standard", "SelfNormalizedSlateStandardIPS",
             lambda: normalised(slates.whole()[slate]),
             _of("SelfNormalizedSlateStandardIPS", known, **size)),
        Line("sn. independent", "SelfNormalizedSlateIndependentIPS",
             lambda: normalised(slates.ratio),
             _of("SelfNormalizedSlateIndependentIPS", known, **size)),
        Line("sn. interaction", "SelfNormalizedSlateRewardInteractionIPS",
             lambda: normalised(slates.cumulative()),
             _of("SelfNormalizedSlateRewardInteractionIPS", known, **size)),
        Line("pseudo_inverse", "", lambda: mean(additive * slates.per_slate(reward)),
             note="OBP has none"),
        Line("position_based", "",
             lambda: mean(position_based(reward, slate, n_slates, target, seen)),
             note="OBP has none"),
    ]  # fmt: skip
