"""Compute the world's exact probabilities for the candidates on offer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.comment_sections import CommentSections
from simulator.gym.episodes import Episodes
from simulator.requests import Int32

Truth = dict[str, NDArray[np.float32]]
"""``click``, ``like``, ``open``, ``long_view``: probabilities; ``play_seconds``: expected play time
without comments; ``comment_seconds``: expected stay with the comments in the platform's order. All
are given that the slot is reached and nothing else happens on the page first."""


def exact(episodes: Episodes, candidates: Int32) -> Truth:
    """float32[N, C] each; NaN where there is no candidate.

    Args:
        episodes: The people as they are now.
        candidates: int32[N, C], -1 padded.
    """
    names = ("click", "like", "open", "long_view", "play_seconds", "comment_seconds")
    truth = {name: np.full(candidates.shape, np.nan, dtype=np.float32) for name in names}
    requests = episodes.requests
    if requests is None:
        return truth
    world = episodes.scene.world
    rows = requests.row.astype(np.int64)
    offered = candidates[rows]
    real = offered >= 0
    videos = np.maximum(offered, 0)
    sections = CommentSections(world.catalogue(), episodes.feed.settings.comment_limit)
    found = episodes.population.expectations(
        rows,
        videos,
        sections.previews(videos, requests.time_ms),
        episodes.population.in_grid(rows, requests.key),
        requests.time_ms,
    )
    at, column = np.nonzero(real)
    listed = sections.candidates(offered[at, column], requests.time_ms[at])
    stay = np.zeros(offered.shape, dtype=np.float32)
    stay[at, column] = episodes.population.expected_stay_seconds(rows[at], listed)
    values = {**vars(found), "comment_seconds": found.open * stay}
    for name in names:
        truth[name][rows] = np.where(real, values[name], np.float32(np.nan))
    return truth
