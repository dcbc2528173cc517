"""Fit the world's parameters to published marginals, automatically and from a seed.

Stochastic approximation (Robbins & Monro, 1951) on paired coordinates: each fitted parameter has
one target that it moves most; every round simulates the platform's own ranker and moves each
parameter against the log ratio of its target. People, noise and inventory are the same in every
round, so the objective is smooth. Nothing here knows any other ranker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from simulator.feed import Feed
from simulator.outcomes import DAY_MS
from simulator.recorder import Recorder
from simulator.requests import HistoryState
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world.config import WorldConfig
from simulator.world.world import World


@dataclass(frozen=True)
class Knob:
    """One fitted parameter.

    Attributes:
        parameter: Field of `WorldConfig`.
        target: Name of the statistic (a key of `measure`).
        published: Its published value.
        source: Entry of the published statistics.
        gain: Change of the parameter per unit of log(published / simulated).
        relative: Whether the change multiplies (exp) instead of adds.
        low, high: Bounds of the parameter.
    """

    parameter: str
    target: str
    published: float
    source: str
    gain: float
    relative: bool = False
    low: float = -20.0
    high: float = 20.0


KNOBS = (
    Knob("click_base", "click_random", 0.176158, "ctr.random", 1.2),
    Knob("platform_noise", "click_standard", 0.378718, "ctr.standard", -2.0, True, 0.02, 20.0),
    Knob("play_full_base", "play_standard", 19.695739, "effect.paired_videos", 2.0),
    Knob("play_full_taste", "play_contrast", 19.695739 / 7.75229, "effect.paired_videos", 2.5,
         low=0.0, high=3.0),
    Knob("play_share", "long_view_standard", 0.276481, "effect.paired_videos", -1.5, True,
         low=0.2, high=8.0),
    Knob("like_base", "like", 0.018478, "rate.pure_standard", 1.0),
    Knob("follow_rate", "follow", 0.001074, "rate.pure_standard", 1.0, True),
    Knob("forward_rate", "forward", 0.000962, "rate.pure_standard", 1.0, True),
    Knob("hate_rate", "hate", 0.000494, "rate.pure_standard", 1.0, True),
    Knob("write_rate", "write", 0.002546, "rate.pure_standard", 1.0, True),
    Knob("open_base", "open", 0.133951, "comment.open_rate", 1.3),
    Knob("open_like", "open_liked", 0.260098, "comment.open_rate.liked", 1.0, low=-3.0, high=3.0),
    Knob("read_base", "stay_mean", 9.8804, "comment.stay_time.liked_opened", 0.8,
         low=-2.0, high=4.0),
    Knob("dwell_base", "stay_median", 5.828, "comment.stay_time.liked_opened", 0.8),
    Knob("comment_like_base", "touch", 0.062536, "comment.interactions_per_open", 1.0),
    Knob("session_seconds", "session_length", 78.658, "session.length", 1.0, True, 1.0, 1e6),
    Knob("visits_per_day", "sessions_per_day", 4.844, "session.per_user", 1.2, True, 0.1, 100.0),
)  # fmt: skip


def measure(config: WorldConfig, seed: int, users: int, days: int) -> dict[str, float]:
    """Marginals of a log that the platform's own ranker would write."""
    world = World.create(config, seed)
    catalogue = world.catalogue()
    group = np.arange(users, dtype=np.int32)
    recorder = Recorder(catalogue)
    feed = Feed(
        catalogue,
        WorldResponse(world).population(group),
        group,
        seed=seed,
        start_ms=config.start_ms,
        end_ms=config.start_ms + days * DAY_MS,
        history=HistoryState(users),
        retrieval=Retrieval(catalogue, world.popularity()),
        recorder=recorder,
    )
    platform = PlatformRanker(world, group)
    while (requests := feed.video_requests()) is not None:
        sections = feed.show(platform.slates(requests, feed.settings.page_size))
        if sections is not None:
            feed.show_comments(platform.comments(sections))
    rows = dict(recorder.drain())["impressions"]
    outcomes = feed.outcomes.to_frame(group.astype(np.int64)).sum().to_dicts()[0]
    standard = rows.filter(pl.col("is_rand") == 0)
    random = rows.filter(pl.col("is_rand") == 1)
    opened = rows.filter(pl.col("comment_stay_time") > 0)
    liked = rows.filter(pl.col("is_like") == 1)
    play_standard = _mean(standard, "play_time_ms") / 1000.0
    touched = outcomes["comment_likes"] + outcomes["comment_replies"]
    stay = opened["comment_stay_time"].to_numpy() / 1000.0
    return {
        "click_random": _mean(random, "is_click"),
        "click_standard": _mean(standard, "is_click"),
        "play_standard": play_standard,
        "play_contrast": play_standard / (_mean(random, "play_time_ms") / 1000.0),
        "long_view_standard": _mean(standard, "long_view"),
        "like": _mean(standard, "is_like"),
        "follow": _mean(standard, "is_follow"),
        "forward": _mean(standard, "is_forward"),
        "hate": _mean(standard, "is_hate"),
        "write": _mean(standard, "is_comment"),
        "open": opened.height / rows.height,
        "open_liked": float((liked["comment_stay_time"].to_numpy() > 0).mean()),
        "stay_mean": float(stay.mean()),
        "stay_median": float(np.median(stay)),
        "touch": float(touched / outcomes["comment_opens"]),
        "session_length": float(outcomes["impressions"] / outcomes["sessions"]),
        "sessions_per_day": float(outcomes["sessions"] / users / days),
    }


def _mean(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].to_numpy().mean()) if frame.height else 0.0


def calibrate(
    config: WorldConfig,
    *,
    seed: int = 1,
    users: int = 1_200,
    days: int = 3,
    rounds: int = 14,
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> WorldConfig:
    """The configuration with every knob moved to its target.

    Args:
        config: Where to start.
        seed: Of the world and of all draws.
        users: People simulated per round.
        days: Days simulated per round.
        rounds: Number of rounds; the step shrinks over them.
        report: Called after every round with the measured statistics.
    """
    for number in range(rounds):
        measured = measure(config, seed, users, days)
        if report is not None:
            report(number, measured)
        step = 1.0 / (1.0 + 0.15 * number)
        changes: dict[str, Any] = {}
        for knob in KNOBS:
            ratio = np.log(knob.published / max(measured[knob.target], 1e-9))
            move = step * knob.gain * float(np.clip(ratio, -1.0, 1.0))
            value = float(getattr(config, knob.parameter))
            value = value * float(np.exp(move)) if knob.relative else value + move
            changes[knob.parameter] = round(float(np.clip(value, knob.low, knob.high)), 6)
        config = dataclasses.replace(config, **changes)
    return config
