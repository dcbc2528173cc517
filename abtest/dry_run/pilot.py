"""Learn what varies between people before anything is trained: from a few simulated, or a log.

On the built-in world some people live through the burn-in and the first days under the platform's
own ranker, in memory. Of a log, its own last days are taken. Only the variance is used.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from abtest.config import RunConfig
from reports.users.rows import EVERYBODY
from simulator.calendar import DAY_MS, china_day
from simulator.feed import Feed, FeedSettings
from simulator.log_outcomes import user_days_of_log
from simulator.logs.dataset import Dataset
from simulator.loop import drive
from simulator.requests import HistoryState
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world import World

PEOPLE = 512
_MOST_DAYS = 2
"""Experiment days of the pilot: two tell the scatter between days, more cost time."""


def outcomes_of_world(config: RunConfig, world: World) -> pl.DataFrame:
    """A row per (user_id, arm, day) of a few people under the platform's own ranker.

    Args:
        config: Burn-in, days and seed of the experiment.
        world: Where they live.
    """
    users = np.arange(config.log_users, config.log_users + PEOPLE, dtype=np.int32)
    catalogue = world.catalogue()
    start_ms = world.config.start_ms + config.burn_in_days * DAY_MS
    feed = Feed(
        catalogue,
        WorldResponse(world).population(users),
        users,
        seed=config.seed,
        start_ms=world.config.start_ms,
        end_ms=start_ms + min(config.days, _MOST_DAYS) * DAY_MS,
        history=HistoryState(len(users)),
        retrieval=Retrieval(catalogue, world.popularity()),
        settings=FeedSettings(),
        recorder=None,
    )
    feed.set_policy_label("platform")
    drive(feed, PlatformRanker(world, users))
    frame = feed.outcomes.to_frame(users.astype(np.int64))
    return _labelled(frame, china_day(start_ms)).filter(pl.col("day") < config.days)


def outcomes_of_log(config: RunConfig, dataset: Dataset) -> pl.DataFrame:
    """A row per (user_id, arm, day) of a log; its last days stand for the experiment."""
    frame = user_days_of_log(dataset, dataset.user_ids())
    days = frame["day"].cast(pl.Int64)
    first, last = (int(days.sort()[i]) for i in (0, -1))
    taken = min(config.days, max((last - first + 1) // 2, 1))
    return _labelled(frame, last - taken + 1)


def _labelled(frame: pl.DataFrame, first_day: int) -> pl.DataFrame:
    return frame.with_columns(
        (pl.col("day") - first_day).cast(pl.Int32), pl.lit(EVERYBODY).alias("arm")
    )
