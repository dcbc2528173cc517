"""Simulate people who respond as the fitted model says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.randomness import normal, purpose_key, uniform
from simulator.requests import Int32, Int64
from simulator.response.base import Finished, Population, Read, Watched
from simulator.response.learned.carried import CarriedState
from simulator.response.learned.chain import Chain, play_state
from simulator.response.learned.comments import CommentModel
from simulator.response.learned.features import context_features, place_feature
from simulator.response.learned.heads import (
    COLUMNS,
    END,
    OPEN,
    OUTCOMES,
    PROFILE,
)
from simulator.response.learned.network import Predictor
from simulator.response.learned.playtime import PlayTime, duration_group
from simulator.response.learned.quantiles import QuantileTable
from simulator.response.learned.sessions import ReturnModel

Float64 = NDArray[np.float64]
Key = NDArray[np.uint64]

_OUTCOME = purpose_key(0, "response.learned.outcome")
_PLAY = purpose_key(0, "response.learned.play")
_STAY = purpose_key(0, "response.learned.stay")
_PROFILE_STAY = purpose_key(0, "response.learned.profile_stay")
_END = purpose_key(0, "response.learned.end")
_RETURN = purpose_key(0, "response.learned.return")

_LEAST_END = 0.001
"""Sessions end some day even where the log has hardly an example of it."""


@dataclass(frozen=True)
class LearnedBehaviour:
    """Everything that was fitted and does not change during a simulation.

    Attributes:
        predictor, chain, play, stay, profile_stay, returns, comments: The fitted parts.
        duration_ms: int64[V], 0 unknown.
        overhead_ms: Time between impressions of a session that is not play time.
    """

    predictor: Predictor
    chain: Chain
    play: PlayTime
    stay: QuantileTable
    profile_stay: QuantileTable
    returns: ReturnModel
    comments: CommentModel
    duration_ms: Int64
    overhead_ms: float


class LearnedPopulation(Population):
    """The people of one group.

    Args:
        behaviour: The fitted model, shared by all groups.
        users: int32[G], dense user index per row.
        carried: State of these rows at the end of the log; taken over, not copied.
    """

    def __init__(self, behaviour: LearnedBehaviour, users: Int32, carried: CarriedState) -> None:
        self._behaviour = behaviour
        self._users = users
        self._carried = carried
        self._place: Int64 = np.zeros(len(users), dtype=np.int64)
        self._liked = behaviour.predictor.taste(carried.liked)
        self._hated = behaviour.predictor.taste(carried.hated)
        # What `watch` computed for the page that `read` and `finish` go on with, per row and slot.
        self._end_chance: Float64 = np.zeros((len(users), 0))
        self._stay_mean: Float64 = np.zeros((len(users), 0))
        self._stay_scale: Float64 = np.zeros((len(users), 0))

    def next_session(self, rows: Int64, now_ms: Int64, key: Key) -> Int64:
        """See the base class."""
        return self._behaviour.returns.next_start(self._users[rows], now_ms, uniform(key, _RETURN))

    def begin_session(self, rows: Int64, time_ms: Int64, key: Key) -> None:
        """See the base class."""
        self._place[rows] = 0

    def watch(
        self, rows: Int64, time_ms: Int64, key: Key, videos: Int32, preview: Int32
    ) -> Watched:
        """See the base class. Logs do not say which comment was previewed: it has no effect."""
        model = self._behaviour
        slot = np.arange(videos.shape[1])
        real = np.where(videos >= 0, videos, 0)
        outputs = model.predictor.outputs(
            self._users[rows],
            real,
            self._liked[rows],
            self._hated[rows],
            context_features(time_ms),
            place_feature(self._place[rows][:, None] + slot),
        )
        at = key[:, None]
        drawn, _ = model.chain.walk(outputs, lambda head: uniform(at, _OUTCOME, head, slot))
        duration = model.duration_ms[real]
        mean, scale = model.chain.location(outputs, drawn, 0)
        play = model.play.draw(mean + scale * normal(at, _PLAY, slot), play_state(drawn), duration)
        as_opened = drawn.copy()
        as_opened[..., OPEN] = 1
        mean, scale = model.chain.location(outputs, as_opened, 1)
        self._remember(rows, model.chain.probability(outputs, drawn, END), mean, scale)
        profile_stay = model.profile_stay.value(
            normal(at, _PROFILE_STAY, slot), np.zeros(videos.shape, dtype=np.int64)
        )
        flag = drawn.astype(bool)
        return Watched(
            play_ms=play,
            flags={name: flag[..., OUTCOMES.index(name)] for name in COLUMNS},
            profile_stay_ms=np.where(flag[..., PROFILE], np.rint(profile_stay), 0).astype(np.int64),
            opened=flag[..., OPEN],
        )

    def read(self, rows: Int64, key: Key, slot: Int64, videos: Int32, comments: Int32) -> Read:
        """See the base class; a row without listed comments (all -1) still has a stay."""
        model = self._behaviour
        score = self._stay_mean[rows, slot] + self._stay_scale[rows, slot] * normal(
            key, _STAY, slot
        )
        stay = model.stay.value(score, duration_group(model.duration_ms[videos]))
        stay_ms = np.maximum(np.rint(stay).astype(np.int64), 1)
        return model.comments.read(self._users[rows], key, slot, comments, stay_ms)

    def finish(
        self, rows: Int64, key: Key, videos: Int32, watched: Watched, stay_ms: Int64
    ) -> Finished:
        """See the base class."""
        valid = videos >= 0
        slot = np.arange(videos.shape[1])
        chance = np.maximum(self._end_chance[rows][:, : videos.shape[1]], _LEAST_END)
        ends = (uniform(key[:, None], _END, slot) < chance) & valid
        stopped_before: Int64 = np.cumsum(ends, axis=1) - ends
        reached = (stopped_before == 0) & valid
        reached[:, 0] = True
        play = watched.play_ms + stay_ms
        spent = np.where(reached, play + round(self._behaviour.overhead_ms), 0)
        self._take_in(rows, videos, watched, reached)
        return Finished(
            reached=reached,
            play_ms=play,
            elapsed_ms=np.maximum(spent.sum(axis=1), 1),
            # Somebody with nothing left to be shown leaves.
            left=np.asarray(ends.any(axis=1) | ~valid.any(axis=1)),
        )

    def copy(self) -> LearnedPopulation:
        """See the base class."""
        other = LearnedPopulation.__new__(LearnedPopulation)
        other._behaviour, other._users = self._behaviour, self._users
        other._carried = self._carried.copy()
        for name in ("_place", "_liked", "_hated", "_end_chance", "_stay_mean", "_stay_scale"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def _remember(self, rows: Int64, end: Float64, mean: Float64, scale: Float64) -> None:
        if self._end_chance.shape[1] < end.shape[1]:
            shape = (len(self._users), end.shape[1])
            self._end_chance = np.zeros(shape)
            self._stay_mean = np.zeros(shape)
            self._stay_scale = np.zeros(shape)
        width = end.shape[1]
        self._end_chance[rows, :width] = end
        self._stay_mean[rows, :width] = mean
        self._stay_scale[rows, :width] = scale

    def _take_in(
        self, rows: Int64, videos: Int32, watched: Watched, reached: NDArray[np.bool_]
    ) -> None:
        """Move the carried state past the impressions that were reached."""
        liked, hated = watched.flags["like"], watched.flags["hate"]
        for slot in range(videos.shape[1]):
            got = reached[:, slot] & (videos[:, slot] >= 0)
            self._carried.update(rows[got], videos[got, slot], liked[got, slot], hated[got, slot])
        self._place[rows] += reached.sum(axis=1)
        for taste, ring, happened in (
            (self._liked, self._carried.liked, liked),
            (self._hated, self._carried.hated, hated),
        ):
            changed = rows[(happened & reached).any(axis=1)]
            taste[changed] = self._behaviour.predictor.taste(ring[changed])
