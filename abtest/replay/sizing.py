"""Estimate the memory that the replay of a log takes, before anything is trained."""

from __future__ import annotations

import polars as pl

from simulator.logs.dataset import Dataset
from simulator.replay.decisions import has_decisions

LESS_TO_REPLAY = "Import fewer days, or a part of the users, and replay that"
BYTES_OF_GIVEN = 190
"""Of an impression whose probabilities stand in the log, as measured; a policy adds 8."""
_OF_LISTED, _OF_POOL = 1_700, 700
"""Of an impression with candidates of its own, and of one over a pool, as measured."""


def memory_to_replay(dataset: Dataset, rows: str, pool: str, since_ms: int) -> tuple[int, str]:
    """Bytes that valuing rows takes, about, and which rows these are, for a message.

    Args:
        dataset: The log.
        rows: As of `simulator.replay.replay`.
        pool: Likewise.
        since_ms: What happened before is trained on and not valued.
    """
    listed = has_decisions(dataset, "videos") or dataset.has_column("impressions", "candidates")
    listed = listed and rows != "random" and pool == "auto"
    valued = pl.col("time_ms") >= since_ms
    random = dataset.has_column("impressions", "is_rand")
    if not listed and rows != "all" and pool != "all" and random:
        valued &= pl.col("is_rand") == 1
    scan = dataset.scan("impressions").select(valued.sum())
    count = int(scan.collect(engine="streaming").item())
    return count * (_OF_LISTED if listed else _OF_POOL), f"replaying {count:,} impressions"
