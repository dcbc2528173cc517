"""Measure how people differ: rates and volumes per user, and features of the users table."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl

from simulator.calendar import china_day
from simulator.logs.measures.tables import LogTables, Measures, gini, quantiles, spearman

_MANY_LIKES = 30
_RANDOM_ROWS = 10
_POOL_ROWS = 10
_COUNTS = {
    "follows": "follow_user_num", "fans": "fans_user_num", "friends": "friend_user_num",
    "registered": "register_days",
}  # fmt: skip
_CORRELATED = {
    "follow": "follow_user_num", "fans": "fans_user_num", "friend": "friend_user_num",
    "register": "register_days",
}  # fmt: skip
_FLAGS = {"live_streamers": "is_live_streamer", "video_authors": "is_video_author"}
_LEVELS = {
    "active": "user_active_degree", "follow_range": "follow_user_num_range",
    "fans_range": "fans_user_num_range", "friend_range": "friend_user_num_range",
    "register_range": "register_days_range",
}  # fmt: skip


def spread(log: LogTables) -> Measures:
    """Quantiles over users, and minutes per active user-day."""
    standard, liked = ~pl.col("random"), pl.col("is_like") == 1
    users = (
        log.impressions()
        .group_by("user_id")
        .agg(
            standard.sum().alias("n"),
            pl.col("random").sum().alias("n_random"),
            pl.col("is_click").cast(pl.Int64).filter(standard).sum().alias("clicks"),
            pl.col("opened").cast(pl.Float64).filter(standard & liked).mean().alias("open"),
            (standard & liked).sum().alias("likes"),
        )
        .sort("user_id")
        .collect(engine="streaming")
    )
    active = users.filter(pl.col("n") > 0)
    shown, clicks = (active[c].to_numpy().astype(np.float64) for c in ("n", "clicks"))
    rate = clicks / np.maximum(shown, 1.0)
    found: Measures = {
        **quantiles("click_rate_of_users", pl.Series(rate), (5, 25, 50, 75, 95)),
        "click_rate_of_users.spearman_impressions": spearman(rate, shown),
        **_over_mean("exposures_of_users", shown),
        **_over_mean("clicks_of_users", clicks),
    }
    if len(shown):
        found["exposures_of_users.gini"] = gini(np.sort(shown))
    often = users.filter(pl.col("n_random") >= _RANDOM_ROWS)["n_random"].to_numpy()
    if len(often) > 1:
        found["random_exposures_of_users.gini"] = gini(np.sort(often.astype(np.float64)))
    many = users.filter(pl.col("likes") >= _MANY_LIKES)
    found.update(quantiles("open_rate_of_users", many["open"], (5, 25, 50, 75, 95)))
    return {**found, **_pool_medians(log), **_minutes(log)}


def _over_mean(name: str, values: np.ndarray) -> Measures:
    mean = values.mean() if len(values) else 0.0
    if mean <= 0:
        return {}
    return quantiles(name, pl.Series(values / mean), (10, 50, 90))


def _pool_medians(log: LogTables) -> Measures:
    rows = log.impressions().join(log.pool(), on="video_id", how="semi")
    users = (
        rows.filter(~pl.col("random"))
        .group_by("user_id")
        .agg(
            pl.len().alias("n"),
            pl.col("is_click").cast(pl.Float64).mean().alias("click"),
            pl.col("long_view").cast(pl.Float64).mean().alias("long_view"),
        )
        .filter(pl.col("n") >= _POOL_ROWS)
        .collect(engine="streaming")
    )
    found: Measures = {}
    for name in ("click", "long_view"):
        median = users[name].median()
        found[f"users_median.{name}"] = float(median) if isinstance(median, float) else None
    pool = rows.filter(~pl.col("random")).select(pl.col("long_view").cast(pl.Float64).mean())
    found["pool_rate.long_view"] = pool.collect(engine="streaming").item()
    return found


def _minutes(log: LogTables) -> Measures:
    day = china_day(pl.col("time_ms"))
    rows = log.impressions().select(
        pl.struct("user_id", day).n_unique().alias("days"),
        pl.col("play_time_ms").sum().alias("play"),
        pl.when(pl.col("comment_stay_time").count() > 0)
        .then(pl.col("comment_stay_time").sum())
        .alias("stay"),
    )
    days, play, stay = rows.collect(engine="streaming").row(0)
    return {
        "minutes.play": play / days / 60_000.0 if days else None,
        "minutes.comments": None if stay is None or not days else stay / days / 60_000.0,
    }


def features(log: LogTables) -> Measures:
    """Marginals of the users and videos tables."""
    found: Measures = {}
    if log.has_column("videos", "duration_ms"):
        seconds = log.scan("videos").select(pl.col("duration_ms") / 1000.0).collect()
        found.update(quantiles("duration", seconds["duration_ms"], (50, 90)))
    if log.has_column("videos", "author_id"):
        known = log.scan("videos").select("author_id").drop_nulls()
        n, authors = known.select(pl.len(), pl.col("author_id").n_unique()).collect().row(0)
        found["videos_per_author"] = n / authors if authors > 1 else None
    for name, column in _COUNTS.items():
        if log.has_column("users", column):
            values = log.scan("users").select(pl.col(column).cast(pl.Float64)).collect()
            found.update(quantiles(name, values[column], (25, 50, 75, 90)))
    for name, column in _LEVELS.items():
        if log.has_column("users", column):
            level = log.scan("users").select(column).drop_nulls().collect().to_series()
            for value, fraction in level.value_counts(normalize=True).iter_rows():
                found[f"{name}.{value}"] = fraction
    for name, column in _FLAGS.items():
        if log.has_column("users", column):
            mean = log.scan("users").select(pl.col(column).cast(pl.Float64).mean()).collect().item()
            found[name] = mean
    pairs = itertools.combinations(_CORRELATED, 2)
    for first, second in pairs:
        columns = [_CORRELATED[first], _CORRELATED[second]]
        if not all(log.has_column("users", c) for c in columns):
            continue
        both = log.scan("users").select(columns).drop_nulls().collect()
        value = spearman(both[columns[0]].to_numpy(), both[columns[1]].to_numpy())
        # As published: the registration comes first, the others in the order of the table.
        name = f"{second}_{first}" if second == "register" else f"{first}_{second}"
        found[f"feature_rank.{name}"] = value
    return found
