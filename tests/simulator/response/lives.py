"""Let a group of people of a small world live through pages chosen by a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from simulator.randomness import mix, purpose_key
from simulator.response.base import Finished, Watched
from simulator.response.truth import WorldPopulation, WorldResponse
from simulator.world.config import WorldConfig
from simulator.world.world import World

N, SLOTS = 400, 6


ROWS = np.arange(N, dtype=np.int64)


KEY = mix(purpose_key(2, "causes"), ROWS)


# Reading as it was before any calibration: these tests are about causes, not about rates.
SMALL = dataclasses.replace(
    WorldConfig.preset("small"), n_videos=1_500, n_authors=300, read_base=1.5, dwell_base=0.3
)


START = np.full(N, SMALL.start_ms)


DAY_MS = 86_400_000


WORLD = World.create(SMALL, 4)


def people(world: World = WORLD, **changes: float) -> WorldPopulation:
    """400 people at the start of a session, in the world or in one with other parameters."""
    if changes:
        world = World.create(dataclasses.replace(SMALL, **changes), 4)
    group = WorldResponse(world).population(ROWS.astype(np.int32))
    group.begin_session(ROWS, START, KEY)
    return group


def live(
    group: WorldPopulation,
    videos: np.ndarray,
    click: np.ndarray | bool,
    stay_ms: int = 0,
    play_ms: int = 100,
) -> Finished:
    """A page on which exactly this happens."""
    videos = np.ascontiguousarray(np.broadcast_to(videos, (N, videos.shape[-1])), dtype=np.int32)
    yes = np.ones(videos.shape, dtype=np.bool_)
    time = np.full(videos.shape, play_ms, dtype=np.int64)
    watched = Watched(
        play_ms=time,
        flags={"click": yes & click, "like": ~yes, "comment": ~yes},
        profile_stay_ms=time * 0,
        opened=yes & (stay_ms > 0),
    )
    return group.finish(ROWS, KEY, videos, watched, np.full(videos.shape, stay_ms))


def log_odds(group: WorldPopulation, videos: np.ndarray) -> np.ndarray:
    """float64[N, S]: of a click on these videos."""
    videos = np.ascontiguousarray(np.broadcast_to(videos, (N, videos.shape[-1])), dtype=np.int32)
    p = group.page(ROWS, videos).click.astype(np.float64)
    return np.log(p / (1.0 - p))


def of_topic(topic: int, count: int) -> np.ndarray:
    """Videos of a topic, by as many authors, none of them an episode."""
    videos = WORLD.videos
    found = np.flatnonzero((videos.topic == topic) & (videos.sequel < 0))
    _, first = np.unique(videos.author[found], return_index=True)
    return found[np.sort(first)][:count].astype(np.int32)


def change(group: WorldPopulation, probe: np.ndarray, happens: Callable[[], object]) -> float:
    """Mean change of the log-odds of a click on the probe by what happens."""
    before = log_odds(group, probe)
    happens()
    return float((log_odds(group, probe) - before).mean())


OFF = {"sequence_strength": 0.0}
