"""Value orders of comments by the estimators of slates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from simulator.replay.estimators import slates
from simulator.replay.estimators.names import SLATES
from simulator.replay.estimators.pseudo_inverse import uniform_weights

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_PLACES = (
    "the log does not tell every comment's chance of every place, as one whose orders were drawn "
    "wholly at random would"
)
_TARGET = "its target draws, so the chance of every comment in every place is not summed up"
_GAP = "comments are missing above others in the log"


@dataclass(frozen=True)
class Orders:
    """The opened sections as slates of the comments that were seen, K of them in S sections.

    Attributes:
        section: int64[K], 0 .. S - 1, non-decreasing.
        impression: int64[S], the impression under which a section was opened.
        position: int64[K], place in the section, from 0.
        ratio: float64[K], target over logging probability, given the comments above.
        items: int64[K], number of comments that the section's ranker was given.
        uniform: Whether all orders were equally likely in the log.
        places: int64[K, 2], see `simulator.replay.target.marginal.places_in_order`; None for a
            target that draws.
        models: By outcome column: the modelled sum from a place on, of what stands there and
            averaged over the target's choice, float64[K] each; empty without a reward model.
    """

    section: Int64
    impression: Int64
    position: Int64
    ratio: Float64
    items: Int64
    uniform: bool
    places: Int64 | None
    models: Mapping[str, tuple[Float64, Float64]] = field(default_factory=dict)

    def slates(self, reward: Float64) -> slates.LoggedSlates:
        """The sections with a reward per comment seen, float64[K]."""
        return slates.LoggedSlates(
            self.section, len(self.impression), self.position, reward, self.ratio
        )

    def why_no_places(self) -> str:
        """Why the chance of a comment in a place is unknown; empty if it is known."""
        if not self.uniform:
            return _PLACES
        if self.places is None:
            return _TARGET
        rank = np.arange(len(self.section)) - np.searchsorted(self.section, self.section)
        return _GAP if (rank != self.position).any() else ""


def values_of_orders(
    orders: Orders, column: str, reward: Float64, wanted: tuple[str, ...]
) -> tuple[dict[str, tuple[Float64, Float64 | None]], dict[str, str]]:
    """What sections earn under the target, and why an estimator says nothing.

    Args:
        orders: The sections.
        column: Outcome column, for the reward model.
        reward: float64[K], outcome of each comment seen.
        wanted: Names of estimators.

    Returns:
        By estimator: (earnings float64[S], squared weights as drawn float64[S]); the second is None
        where the design tells what they are worth. Then reasons by estimator.
    """
    seen = orders.slates(reward)
    found: dict[str, tuple[Float64, Float64 | None]] = {}
    refused: dict[str, str] = {}
    counts = np.maximum(np.bincount(orders.section, minlength=len(orders.impression)), 1)
    why = orders.why_no_places()
    for name in SLATES:
        if name not in wanted:
            continue
        if name == "standard":
            found[name] = slates.standard(seen), None
        elif name == "interaction":
            found[name] = slates.reward_interaction(seen), None
        elif name == "independent":
            found[name] = slates.independent(seen), seen.per_slate(orders.ratio**2) / counts
        elif name == "cascade_dr":
            if column not in orders.models:
                refused[name] = "there is no reward model of comments (--reward-model none)"
                continue
            model, expected = orders.models[column]
            found[name] = slates.cascade_dr(replace(seen, model=model, expected=expected)), None
        elif why:
            refused[name] = why
        elif name == "pseudo_inverse":
            weight = pseudo_inverse_weights(orders)
            found[name] = weight * seen.per_slate(reward), weight**2
        else:
            target, logging = examinations(orders)
            value = slates.position_based(
                reward, orders.section, len(orders.impression), target, logging
            )
            found[name] = value, seen.per_slate((target / logging) ** 2) / counts
    return found, refused


def pseudo_inverse_weights(orders: Orders) -> Float64:
    """float64[S]: weights of sections drawn uniformly, the comments seen as a slate of its own."""
    assert orders.places is not None
    first, end = orders.places.T
    n = len(orders.impression)
    slots = np.bincount(orders.section, minlength=n)
    chance = 1.0 / (end - first)
    here = (first <= orders.position) & (orders.position < end)
    depth = slots[orders.section]
    inside = np.maximum(np.minimum(end, depth) - np.minimum(first, depth), 0)
    in_place = np.bincount(orders.section, weights=here * chance, minlength=n)
    anywhere = np.bincount(orders.section, weights=inside * chance / depth, minlength=n)
    items = np.zeros(n)
    items[orders.section] = orders.items
    weight = np.ones(n)
    for k in np.unique(slots):
        own = slots == k
        weight[own] = uniform_weights(in_place[own], anywhere[own], int(k), items[own])
    return weight


def examinations(orders: Orders) -> tuple[Float64, Float64]:
    """float64[K] twice: how often a comment's places are seen, under the target and in the log.

    A place is seen in the share of the sections with so many comments whose reader came so far.
    """
    assert orders.places is not None
    n = len(orders.impression)
    seen = np.bincount(orders.section, minlength=n)
    size = np.zeros(n, dtype=np.int64)
    size[orders.section] = orders.items
    at = np.arange(int(size.max(initial=0)))
    reached = (seen[:, None] > at).sum(axis=0) / np.maximum((size[:, None] > at).sum(axis=0), 1)
    below = np.concatenate([[0.0], np.cumsum(reached)])
    first, end = orders.places.T
    return (below[end] - below[first]) / (end - first), below[orders.items] / orders.items
