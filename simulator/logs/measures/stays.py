"""Measure stays in the comment section and play times, above all of liked videos."""

from __future__ import annotations

import polars as pl

from simulator.logs.measures.tables import LogTables, Measures, quantiles, spearman

_LEVELS = (5, 10, 25, 50, 75, 90, 95, 99)


def stays(log: LogTables) -> Measures:
    """Stays in opened sections, their relation to play time and duration."""
    chosen = log.impressions().filter((pl.col("is_like") == 1) & ~pl.col("random"))
    liked = chosen.select(
        pl.col("comment_stay_time").alias("stay"),
        pl.col("play_time_ms").alias("play"),
        pl.col("duration_ms").alias("duration"),
        pl.col("is_comment").alias("written"),
    ).collect()
    everyone = log.impressions().filter(pl.col("opened")).select(pl.col("comment_stay_time").mean())
    mean = everyone.collect(engine="streaming").item()
    found: Measures = {"stay.mean_of_all": None if mean is None else mean / 1000.0}
    if liked["stay"].null_count() == liked.height:
        return found
    opened = liked.filter(pl.col("stay") > 0)
    # Sums are of whole milliseconds: those of floats would depend on the order of rows.
    stay, play = opened["stay"], opened["play"]
    found |= quantiles("stay", stay / 1000.0, _LEVELS)
    found["stay.mean"] = int(stay.sum()) / len(stay) / 1000.0 if len(stay) else None
    found["stay.share_up_to_2s"] = _number((stay <= 2_000).mean())
    for name, value in (("written", 1), ("not_written", 0)):
        part = opened.filter(pl.col("written") == value)["stay"] / 1000.0
        found[f"stay.p50_if_{name}"] = _number(part.median())
    for name, rows in (("opened", opened), ("liked", liked)):
        total = int(rows["play"].sum())
        found[f"comment_share.{name}"] = int(rows["stay"].sum()) / total if total else None
    found["comment_share.median_opened"] = _number((stay / play).median())
    for name, rows in (("opened", opened), ("liked", liked)):
        for column in ("play", "duration"):
            known = rows.select("stay", column).drop_nulls()
            found[f"stay_rank.{column}_{name}"] = spearman(
                known["stay"].to_numpy(), known[column].to_numpy()
            )
    return found


def plays(log: LogTables) -> Measures:
    """Play times of liked and of random rows; play time over duration."""
    liked = log.impressions().filter((pl.col("is_like") == 1) & ~pl.col("random"))
    random = log.impressions().filter(pl.col("random"))
    seconds = (pl.col("play_time_ms") / 1000.0).alias("play")
    ratio = (pl.col("play_time_ms") / pl.col("duration_ms")).alias("ratio")
    rows = liked.select(seconds, ratio).collect()
    known = rows["ratio"].drop_nulls()
    return {
        **quantiles("play_of_liked", rows["play"], _LEVELS),
        **quantiles("play_of_random", random.select(seconds).collect()["play"], _LEVELS),
        **quantiles("watch_ratio", known, _LEVELS),
        "watch_ratio.share_ge_1": _number((known >= 1.0).mean()),
    }


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
