"""What a person carries from page to page: recent moods and the last liked and hated videos.

The same code replays a log during training and lives in the simulated population, so both see the
same features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.requests import Int32, Int64
from simulator.response.learned.heads import HATE, LIKE, MOOD, OUTCOMES

Float64 = NDArray[np.float64]
Int8 = NDArray[np.int8]

KEPT = 10
_DECAY = 0.9


class CarriedState:
    """Ring buffers and moving averages for a group of people.

    Attributes:
        mood: float64[G, 5], moving averages of the `MOOD` outcomes.
        liked, hated: int32[G, KEPT], last liked (hated) videos in ring order, -1 padded.
        liked_count, hated_count: int64[G], events ever appended.
    """

    def __init__(self, n_rows: int, base_mood: Float64) -> None:
        self.mood = np.tile(np.asarray(base_mood, dtype=np.float64), (n_rows, 1))
        self.liked: Int32 = np.full((n_rows, KEPT), -1, dtype=np.int32)
        self.hated: Int32 = np.full((n_rows, KEPT), -1, dtype=np.int32)
        self.liked_count: Int64 = np.zeros(n_rows, dtype=np.int64)
        self.hated_count: Int64 = np.zeros(n_rows, dtype=np.int64)

    def update(self, rows: Int64, videos: Int32, outcomes: Int8) -> None:
        """Take in one impression per row.

        Args:
            rows: int64[B], distinct.
            videos: int32[B].
            outcomes: int8[B, len(OUTCOMES)], 0, 1 or -1 for unknown (which changes nothing).
        """
        if outcomes.shape[1] != len(OUTCOMES):
            raise ValueError("one column per outcome is needed")
        seen = outcomes[:, list(MOOD)]
        old = self.mood[rows]
        self.mood[rows] = np.where(seen >= 0, _DECAY * old + (1.0 - _DECAY) * seen, old)
        for ring, count, column in (
            (self.liked, self.liked_count, LIKE),
            (self.hated, self.hated_count, HATE),
        ):
            hit = outcomes[:, column] == 1
            chosen = rows[hit]
            ring[chosen, count[chosen] % KEPT] = videos[hit]
            count[chosen] += 1

    def copy(self) -> CarriedState:
        """An independent copy."""
        return self.take(np.arange(len(self.mood)))

    def take(self, rows: Any) -> CarriedState:
        """An independent state holding these rows, in this order (rows may repeat)."""
        other = CarriedState.__new__(CarriedState)
        other.mood = self.mood[rows].copy()
        other.liked = self.liked[rows].copy()
        other.hated = self.hated[rows].copy()
        other.liked_count = self.liked_count[rows].copy()
        other.hated_count = self.hated_count[rows].copy()
        return other


def replay_states(
    user: Int32, video: Int32, outcomes: Int8, page_start: Int64, base_mood: Float64, n_users: int
) -> tuple[CarriedState, CarriedState]:
    """The state before each impression's page, and after the last impression.

    Args:
        user: int32[N], non-decreasing; inside a user rows are in time order.
        video: int32[N].
        outcomes: int8[N, len(OUTCOMES)].
        page_start: int64[N], the row at which the impression's page starts: impressions of one
            page do not see each other.
        base_mood: float64[5], mood of somebody unknown.
        n_users: Number of people; ``user`` is below it.

    Returns:
        (states with one row per impression, final states with one row per user).
    """
    state = CarriedState(n_users, base_mood)
    before = CarriedState(len(user), base_mood)
    people, first, count = np.unique(user, return_index=True, return_counts=True)
    order = np.argsort(-count, kind="stable")
    first, count = first[order], count[order]
    members = people[order].astype(np.int64)
    for step in range(int(count[0]) if len(count) else 0):
        active = int(np.searchsorted(-count, -step, side="left"))
        rows, who = first[:active] + step, members[:active]
        before.mood[rows] = state.mood[who]
        before.liked[rows], before.hated[rows] = state.liked[who], state.hated[who]
        before.liked_count[rows] = state.liked_count[who]
        before.hated_count[rows] = state.hated_count[who]
        state.update(who, video[rows], outcomes[rows])
    return before.take(page_start), state
