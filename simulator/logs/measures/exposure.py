"""Measure how unevenly videos are shown and clicked, and how long they are."""

from __future__ import annotations

import numpy as np
import polars as pl

from simulator.logs.measures.tables import LogTables, Measures, gini, quantiles

_TOP = (1, 10, 20)
_ENOUGH_ROWS = 50


def exposure(log: LogTables) -> Measures:
    """Concentration over standard and random rows, and over standard rows of the pool."""
    rows = log.impressions()
    pool = log.pool()
    found: Measures = {}
    for name, part in (
        ("exposure", rows.filter(~pl.col("random"))),
        ("random_exposure", rows.filter(pl.col("random"))),
        ("pool_exposure", rows.filter(~pl.col("random")).join(pool, on="video_id", how="semi")),
    ):
        counts = part.group_by("video_id").agg(pl.len()).collect(engine="streaming")["len"]
        shown = np.sort(counts.to_numpy().astype(np.float64))
        if len(shown) == 0:
            continue
        found[f"{name}.gini"] = gini(shown)
        for percent in _TOP:
            top = max(1, round(len(shown) * percent / 100))
            found[f"{name}.top_{percent}pct"] = float(shown[-top:].sum() / shown.sum())
    clicks = (
        rows.filter(pl.col("random"))
        .group_by("video_id")
        .agg(pl.len().alias("n"), pl.col("is_click").cast(pl.Float64).mean().alias("rate"))
        .filter(pl.col("n") >= _ENOUGH_ROWS)
        .collect(engine="streaming")
    )
    found.update(quantiles("click_rate_of_videos", clicks["rate"], (50, 90)))
    if log.has_column("videos", "duration_ms"):
        shown_at_random = log.scan("videos").join(pool, on="video_id", how="semi")
        seconds = shown_at_random.select(pl.col("duration_ms") / 1000.0).collect()["duration_ms"]
        found.update(quantiles("pool_duration", seconds, (10, 25, 50, 75, 90)))
    return found
