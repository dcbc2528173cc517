"""Estimate the value of policies that fill pages of videos or lists of comments slot by slot.

A slate has slots 1 .. K; ``rho_k`` is the probability of what stands in slot k under the target
over that under the logging policy, both given the slots above. The value is the mean over slates of
``sum_k r_k``. The estimators differ in what they assume of the reward of slot k:

    standard             any dependence on the whole slate       weight = product of all rho
    reward interaction   on slots 1 .. k (cascade)               weight = rho_1 ... rho_k
    independent          on slot k alone                         weight = ratio of marginals
    cascade DR           as reward interaction, with a model     see `cascade_dr`

Standard: Precup, Sutton & Singh, ICML 2000. Reward interaction: McInerney et al., KDD 2020.
Independent: Li et al., KDD 2018 (item-position model). Each function returns one number per slate,
so that clustering, paired differences and a stage above (`nested`) are the caller's; rows may come
in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.replay.estimators.linear import (
    Float64,
    Linear,
    Users,
    mean,
    ratio,
    ratio_of_sums,
    user_sums,
)

Integers = NDArray[np.integer]


@dataclass(frozen=True)
class LoggedSlates:
    """One row per filled slot, in any order.

    Attributes:
        slate: int[N], number of the row's slate, 0 .. ``n_slates`` - 1.
        n_slates: How many slates; some may have no row.
        position: int[N], distinct within a slate; smaller is higher.
        reward: float64[N].
        ratio: float64[N], target over logging probability, given the slots above.
        model: float64[N], modelled sum of rewards from this slot on, of what stands there; None
            without a model.
        expected: float64[N], the model averaged over the target's choice for this slot.
    """

    slate: Integers
    n_slates: int
    position: Integers
    reward: Float64
    ratio: Float64
    model: Float64 | None = None
    expected: Float64 | None = None

    def order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(rows sorted by slate and position, rank of each sorted row within its slate from 0)."""
        order = np.lexsort((self.position, self.slate))
        sorted_slate = self.slate[order]
        number = np.arange(len(order))
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = sorted_slate[1:] != sorted_slate[:-1]
        rank = number - np.maximum.accumulate(np.where(first, number, 0))
        doubled = ~first
        doubled[1:] &= self.position[order][1:] == self.position[order][:-1]
        doubled[:1] = False
        if doubled.any():
            row = int(order[np.argmax(doubled)])
            raise ValueError(
                f"slate {self.slate[row]} has two rows at position {self.position[row]}"
            )
        return order, rank.astype(np.int64)

    def cumulative(self) -> Float64:
        """float64[N]: product of the ratios down to each row, in the rows' own order."""
        order, rank = self.order()
        running = self.ratio[order].astype(np.float64)
        for k in range(1, int(rank.max(initial=0)) + 1):
            at = np.flatnonzero(rank == k)
            running[at] *= running[at - 1]
        out = np.empty_like(running)
        out[order] = running
        return out

    def per_slate(self, values: Float64) -> Float64:
        """float64[n_slates]: sums over each slate's rows."""
        return user_sums(values, self.slate, self.n_slates)

    def whole(self) -> Float64:
        """float64[n_slates]: product of all ratios of each slate, 1 where it has none."""
        order, rank = self.order()
        cumulative = self.cumulative()[order]
        last = np.ones(len(order), dtype=np.bool_)
        last[:-1] = rank[1:] == 0
        out = np.ones(self.n_slates)
        out[self.slate[order][last]] = cumulative[last]
        return out


def standard(slates: LoggedSlates) -> Float64:
    """float64[n_slates]: whole-slate weight times summed reward."""
    return slates.whole() * slates.per_slate(slates.reward)


def reward_interaction(slates: LoggedSlates) -> Float64:
    """float64[n_slates]: each reward times the weight down to its slot."""
    return slates.per_slate(slates.cumulative() * slates.reward)


def independent(slates: LoggedSlates, marginal: Float64 | None = None) -> Float64:
    """float64[n_slates]: each reward times the weight of its slot alone.

    Args:
        slates: The slates.
        marginal: float64[N], probability of this item in this slot under the target over that under
            the logging policy, whatever stands above; the conditional ratios if None, which is the
            same where slots are filled independently.
    """
    return slates.per_slate((slates.ratio if marginal is None else marginal) * slates.reward)


def cascade_dr(slates: LoggedSlates) -> Float64:
    """float64[n_slates]: cascade doubly robust (Kiyohara et al., WSDM 2022).

    ``sum_k w_{1:k} (r_k - model_k) + w_{1:k-1} expected_k``, with w the cumulative weights. With
    ``model`` the value from the slot on, the term ``r_k + next expected - model_k`` is a temporal
    difference, and the whole is unbiased under the cascade assumption whatever the model.
    """
    if slates.model is None or slates.expected is None:
        raise ValueError("cascade DR needs a model of the value from each slot on")
    order, rank = slates.order()
    weight = slates.cumulative()
    before = np.ones(len(order))
    later = np.flatnonzero(rank > 0)
    before[order[later]] = weight[order[later - 1]]
    value = weight * (slates.reward - slates.model) + before * slates.expected
    return slates.per_slate(value)


def position_based(
    reward: Float64, slate: Integers, n_slates: int, target: Float64, logging: Float64
) -> Float64:
    """float64[n_slates]: clicks weighted by how visible each item is (position-based model).

    An item's reward is its attraction times the examination of its position; then only the item's
    expected examination matters (Li et al., KDD 2018).

    Args:
        reward: float64[N], one row per shown item.
        slate: int[N].
        n_slates: Number of slates.
        target: float64[N], ``sum_k examination_k * P(item in slot k)`` under the target policy.
        logging: float64[N], the same under the logging policy, above 0.
    """
    return user_sums(reward * target / logging, slate, n_slates)


def slate_mean(values: Float64, user: Users, n_users: int) -> Linear | None:
    """Linearise the mean over slates.

    Args:
        values: float64[n_slates], from one of the functions above.
        user: int[n_slates].
        n_users: Number of clusters.
    """
    return mean(values, user, n_users)


def self_normalised_mean(
    slates: LoggedSlates, weight: Float64, user: Users, n_users: int
) -> Linear | None:
    """Self-normalised version: at each rank the weighted mean reward, times how often it is filled.

    Args:
        slates: The slates.
        weight: float64[N], weight of each row, such as `LoggedSlates.cumulative`.
        user: int[n_slates].
        n_users: Number of clusters.

    Returns:
        The value per slate; None where a rank has no weight.
    """
    order, rank = slates.order()
    owner = np.asarray(user)[slates.slate]
    slate_count = np.bincount(user, minlength=n_users).astype(np.float64)
    total: Linear | None = None
    for k in range(int(rank.max(initial=-1)) + 1):
        at = order[rank == k]
        level = ratio(weight[at] * slates.reward[at], weight[at], owner[at], n_users)
        filled = np.bincount(owner[at], minlength=n_users).astype(np.float64)
        share = ratio_of_sums(filled, slate_count)
        if level is None or share is None:
            return None
        part = level * share
        total = part if total is None else total + part
    return total
