"""Make visits out of touches, for logs that do not say which comments were seen.

A comment that a person liked or replied to counts 1, up to 20 others among the most liked of its
section count 0. Nobody knows whether those were seen, and what is touched is not what is read
longest: the summary of a training says that it was done.
"""

from __future__ import annotations

import numpy as np

from policies.comments.value.visits import Visits, held_people
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import histories_before
from simulator.logs.interactions import interactions
from simulator.logs.reads import SeenComments
from simulator.randomness import purpose_key, uniform

OTHERS = 20
_SECTION = 64
# The logarithms of these dwells in seconds are 1 and 0.
_TOUCHED_MS, _LEFT_MS = round(1_000 * np.e), 1_000


def touched_visits(dataset: Dataset, most: int, seed: int) -> Visits | None:
    """Visits with a touched comment; None where the log names none.

    Args:
        dataset: A log with comments.
        most: Comments of all visits together, roughly.
        seed: Of the draws.
    """
    events = interactions(dataset, "discussed")
    if events.comments is None:
        return None
    key = purpose_key(seed, "comment value.touches")
    usable = np.flatnonzero((events.video >= 0) & (events.comments >= 0).any(axis=1))
    chosen = np.sort(usable[np.argsort(uniform(key, usable), kind="stable")][: most // OTHERS])
    if len(chosen) == 0:
        return None
    catalogue = dataset.catalogue()
    own = events.comments[chosen]
    time_ms = events.time_ms[chosen] if events.begun_ms is None else events.begun_ms[chosen]
    section = catalogue.comments_of(events.video[chosen], _SECTION)
    written = catalogue.comment_time_ms[np.maximum(section, 0)] <= time_ms[:, None]
    other = (section >= 0) & written & ~(section[:, :, None] == own[:, None, :]).any(axis=2)
    draw = np.where(other, uniform(key, chosen[:, None], section), 2.0)
    order = np.argsort(draw, axis=1, kind="stable")[:, :OTHERS]
    others = np.take_along_axis(np.where(other, section, -1), order, axis=1)
    comment = np.concatenate([own, others], axis=1).astype(np.int32)
    row, column = np.nonzero(comment >= 0)
    touched = column < own.shape[1]
    seen = SeenComments(
        user=events.user[chosen][row],
        video=events.video[chosen][row],
        comment=comment[row, column],
        time_ms=time_ms[row],
        visit=row,
        # Where a comment stood is unknown: all stood at the same place.
        rank=np.zeros(len(row), dtype=np.int64),
        dwell_ms=np.where(touched, _TOUCHED_MS, _LEFT_MS),
        touched=touched,
        last=np.append(row[1:] != row[:-1], True),
    )
    user = events.user[chosen]
    held = held_people(len(dataset.user_ids()), seed)[user]
    return Visits(seen, user, held, histories_before(dataset, None, user, time_ms))
