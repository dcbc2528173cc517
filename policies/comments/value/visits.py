"""Collect the visits that the comment value learns from, with what was known at each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.evaluation.seen_visits import first_of_visits
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import histories_before
from simulator.logs.interactions import rank_in_run
from simulator.logs.reads import SeenComments
from simulator.randomness import purpose_key, uniform
from simulator.requests import HistoryState, Int32

_HELD = 0.2


@dataclass(frozen=True)
class Visits:
    """Some visits, the comments seen in them, and the histories before them.

    Attributes:
        seen: Their comments; ``visit`` counts these visits from 0.
        user: int32[V], dense.
        held: bool[V], whether the person is held out of fitting.
        history: Row v is what was known before visit v.
    """

    seen: SeenComments
    user: Int32
    held: NDArray[np.bool_]
    history: HistoryState

    def __len__(self) -> int:
        return len(self.user)

    def enough(self) -> bool:
        """Whether people on both sides of the split saw comments."""
        return bool(self.held.any() and (~self.held).any())


def held_people(n_users: int, seed: int) -> NDArray[np.bool_]:
    """bool[U]: one person in five, who decide between models and do not fit them."""
    people = np.arange(n_users)
    return np.asarray(uniform(purpose_key(seed, "comment value.held"), people) < _HELD)


def sample_visits(dataset: Dataset, seen: SeenComments, most: int, seed: int) -> Visits:
    """Visits in which at least two comments were seen, at most so many, drawn by a hash.

    Args:
        dataset: The log.
        seen: All its seen comments.
        most: Comments of all visits together, roughly.
        seed: Of the draw.
    """
    first = first_of_visits(seen.visit)
    size = np.diff(np.append(first, len(seen)))
    eligible = np.flatnonzero(size >= 2)
    draw = uniform(purpose_key(seed, "comment value.visits"), eligible)
    order = eligible[np.argsort(draw, kind="stable")]
    chosen = np.sort(order[np.cumsum(size[order]) <= most])
    visit = np.repeat(np.arange(len(chosen)), size[chosen])
    rows = seen.pick(first[chosen][visit] + rank_in_run(visit))
    user, time_ms = seen.user[first[chosen]], seen.time_ms[first[chosen]]
    renumbered = SeenComments(**{**vars(rows), "visit": visit})
    held = held_people(len(dataset.user_ids()), seed)
    return Visits(renumbered, user, held[user], histories_before(dataset, seen, user, time_ms))
