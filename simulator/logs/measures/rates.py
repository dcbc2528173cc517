"""Measure shares of impressions: clicks, feedback, opened sections; by exposure and by tab."""

from __future__ import annotations

import polars as pl

from simulator.calendar import china_day
from simulator.logs.measures.tables import LogTables, Measures, row, share

_LABELS = {
    "click": "is_click", "long": "long_view", "like": "is_like", "follow": "is_follow",
    "forward": "is_forward", "hate": "is_hate", "comment": "is_comment",
}  # fmt: skip
_JOINT = (
    ("click", "like"), ("long", "click"), ("like", "follow"), ("like", "click"),
    ("click", "follow"), ("click", "forward"), ("click", "comment"), ("click", "hate"),
    ("long", "like"), ("long", "comment"), ("like", "comment"),
)  # fmt: skip
_PLAYED = ((0, 3), (3, 7), (7, 18), (18, 30), (30, 60), (60, 120), (120, None))
_ENOUGH_ROWS = 10
_PAIRED = {
    "click": pl.col("is_click"),
    "long_view": pl.col("long_view"),
    "complete": pl.col("complete"),
    "play_seconds": pl.col("play_time_ms"),
    "like": pl.col("is_like"),
    "profile": pl.col("is_profile_enter"),
}


def feedback(log: LogTables) -> Measures:
    """Rates over standard and random rows, and of one label given another."""
    standard, random = ~pl.col("random"), pl.col("random")
    day = china_day(pl.col("time_ms"))
    wanted = {
        "random_share": pl.when(random.any()).then(random.mean()),
        "click_rate.standard": share(pl.col("is_click"), standard),
        "click_rate.random": share(pl.col("is_click"), random),
        "click_rate.standard_same_days": pl.when(random.any()).then(
            share(
                pl.col("is_click"),
                standard & day.is_between(day.filter(random).min(), day.filter(random).max()),
            )
        ),
    }
    for name in ("like", "follow", "forward", "hate", "comment"):
        wanted[f"rate.{name}"] = share(pl.col(_LABELS[name]), standard)
    for of, given in _JOINT:
        among = standard & (pl.col(_LABELS[given]) == 1)
        wanted[f"joint.{of}_given_{given}"] = share(pl.col(_LABELS[of]), among)
    return row(log.impressions(), wanted)


def tabs(log: LogTables) -> Measures:
    """Clicks in the two-column tab (0) and the single-column feed (1)."""
    standard, random = ~pl.col("random"), pl.col("random")
    grid, feed = pl.col("tab") == 0, pl.col("tab") == 1
    found = row(
        log.impressions(),
        {
            "tab.share_of_0": share(grid, standard),
            "tab.click_rate_of_0": share(pl.col("is_click"), standard & grid),
            "tab.click_rate_of_1": share(pl.col("is_click"), standard & feed),
            "tab.random_click_rate_of_1": share(pl.col("is_click"), random & feed),
            "users": pl.col("user_id").filter(standard).n_unique(),
            "grid_users": pl.col("user_id").filter(standard & grid).n_unique(),
            "known": pl.col("tab").count(),
        },
    )
    users, grid_users, known = (found.pop(n) or 0 for n in ("users", "grid_users", "known"))
    found["tab.users_of_0"] = grid_users / users if users and known else None
    standard_rate, random_rate = (
        found["tab.click_rate_of_1"],
        found["tab.random_click_rate_of_1"],
    )
    if standard_rate is not None and random_rate is not None:
        found["tab.click_difference_in_1"] = standard_rate - random_rate
    return found


def opens(log: LogTables) -> Measures:
    """How often comment sections are opened, and what is done in them."""
    opened, liked = pl.col("opened"), pl.col("is_like") == 1
    standard = ~pl.col("random")
    everyone = pl.lit(True)
    wanted = {
        "open_rate.all": share(opened, everyone),
        "open_rate.random": share(opened, pl.col("random")),
        "open_rate.liked": share(opened, standard & liked),
        "open_rate.hated": share(opened, standard & (pl.col("is_hate") == 1)),
        "open_rate.written": share(opened, liked & (pl.col("is_comment") == 1)),
        "written_given_open": share(pl.col("is_comment"), opened & liked),
    }
    seconds = pl.col("play_time_ms") / 1000.0
    for low, high in _PLAYED:
        inside = (seconds > low if low else seconds >= 0) & (seconds <= (high or float("inf")))
        name = f"{low}-{high}" if high else f"{low}+"
        wanted[f"open_rate.liked_played_{name}"] = share(opened, standard & liked & inside)
    wanted["opens"] = opened.sum()
    found = row(log.impressions(), wanted)
    total = found.pop("opens")
    found["comment_touches"] = None
    if total and log.rows("comment_events"):
        touched = pl.col("is_like").cast(pl.Int64).sum() + pl.col("is_reply").cast(pl.Int64).sum()
        count = log.scan("comment_events").select(touched).collect().item()
        found["comment_touches"] = float(count) / float(total)
    return found


def paired(log: LogTables) -> Measures:
    """Means over videos, and over users, of their rates under either kind of exposure."""
    pool = log.impressions().join(log.pool(), on="video_id", how="semi")
    return {
        **_paired(pool, "video_id", "paired_videos", _ENOUGH_ROWS),
        **_paired(pool, "user_id", "paired_users", 1),
    }


def _paired(pool: pl.LazyFrame, key: str, name: str, enough: int) -> Measures:
    sides = {"standard": ~pl.col("random"), "random": pl.col("random")}
    aggregated = pool.group_by(key).agg(
        *(where.sum().alias(f"n_{side}") for side, where in sides.items()),
        *(
            value.cast(pl.Float64).filter(where).mean().alias(f"{name}.{label}_{side}")
            for label, value in _PAIRED.items()
            for side, where in sides.items()
        ),
    )
    both = aggregated.filter((pl.col("n_standard") >= enough) & (pl.col("n_random") >= enough))
    # Sums of floats depend on their order, and groups come in any: the same log, the same bytes.
    groups = both.sort(key).collect(engine="streaming")
    found: Measures = {}
    for label in _PAIRED:
        unit = 1000.0 if label == "play_seconds" else 1.0
        for side in sides:
            rates = groups[f"{name}.{label}_{side}"].drop_nulls().to_numpy()
            found[f"{name}.{label}_{side}"] = float(rates.mean()) / unit if len(rates) else None
    return found
