"""Estimate two stages at once: a video is chosen, then comments are ordered if they are opened.

An impression has a video weight ``v``, an indicator ``o`` of having opened the comment section, and
what the section earned. Comments are only ordered after opening, so an impression that did not open
needs no comment weight: it earned 0 under every comment policy. A stage that target and logging
policy share has weight 1: it is averaged over and adds no variance. Assumptions: both stages'
probabilities are right, given everything before them, and the earlier impressions are as logged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.replay.estimators.linear import Float64, Linear, Users, mean, ratio


def nested_ips(video: Float64, section: Float64, user: Users, n_users: int) -> Linear | None:
    """``mean of v * section``: unbiased.

    Args:
        video: float64[N], video weights; ones if that stage is unchanged.
        section: float64[N], the section's weighted earnings, 0 where not opened: comment weight
            times watch time, or one of `simulator.replay.estimators.slates` per list.
        user: int[N].
        n_users: Number of clusters.
    """
    if not (video > 0).any():
        return None
    return mean(video * section, user, n_users)


def nested_snips(
    video: Float64,
    opened: NDArray[np.bool_],
    comments: Float64,
    outcome: Float64,
    user: Users,
    n_users: int,
) -> Linear | None:
    """Opening rate times earnings per opening, each self-normalised.

    ``(sum v o / sum v) * (sum v o c y / sum v o c)``, with ``c`` the comment weights.

    Args:
        video: float64[N].
        opened: bool[N].
        comments: float64[N], weight of the whole list; read only where opened.
        outcome: float64[N], read only where opened.
        user: int[N].
        n_users: Number of clusters.
    """
    rate = ratio(video * opened, video, user, n_users)
    weight = np.where(opened, video * np.where(opened, comments, 0.0), 0.0)
    earned = ratio(weight * np.where(opened, outcome, 0.0), weight, user, n_users)
    if rate is None or earned is None:
        return None
    return rate * earned


def nested_dr(
    video: Float64,
    opened: NDArray[np.bool_],
    comments: Float64,
    outcome: Float64,
    *,
    video_model: Float64,
    video_expected: Float64,
    list_model: Float64,
    list_expected: Float64,
    user: Users,
    n_users: int,
) -> Linear | None:
    """Doubly robust at both stages: ``E_v + v (o (E_c + c (y - Q_c)) - Q_v)``.

    Args:
        video: float64[N], video weights.
        opened: bool[N].
        comments: float64[N], comment weights, read only where opened.
        outcome: float64[N].
        video_model: float64[N], ``Q_v``: earnings of the shown video under the *target* comments.
        video_expected: float64[N], ``E_v``: the same averaged over the target's videos.
        list_model: float64[N], ``Q_c``: earnings of the shown list, given opening.
        list_expected: float64[N], ``E_c``: the same averaged over the target's lists.
        user: int[N].
        n_users: Number of clusters.
    """
    inner = np.where(opened, list_expected + comments * (outcome - list_model), 0.0)
    return mean(video_expected + video * (inner - video_model), user, n_users)
