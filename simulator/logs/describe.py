"""Statistics of a log, alone or beside what is published about Kuaishou's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.logs.published import KUAISHOU, Published

CLOSE = 0.15
_DAY_MS = 86_400_000
_CHINA_MS = 8 * 3_600_000
_SESSION_GAP_MS = 30 * 60_000
_MANY_LIKES = 30
_QUANTILES = (5, 10, 25, 50, 75, 90, 95, 99)
_GAPS = {"1-10s": 10_000, "10-60s": 60_000, "1-5min": 300_000, "5-30min": 1_800_000,
         "30-120min": 7_200_000}  # fmt: skip

Measures = dict[str, float | None]


@dataclass(frozen=True)
class Statistic:
    """One statistic of a log; ``value`` is None where the log cannot say."""

    name: str
    label: str
    value: float | None
    unit: str


@dataclass(frozen=True)
class Comparison:
    """One statistic beside its published value.

    Attributes:
        name, label: Identity.
        simulated, published: The log's value and the published one.
        ratio: Their quotient.
        verdict: ``"close"`` within 15 %, ``"off"``, or ``"not measured"``.
        definition, source: How it is counted, who published it.
        fitted: Whether the built-in world is fitted to it.
    """

    name: str
    label: str
    simulated: float | None
    published: float
    ratio: float | None
    verdict: str
    definition: str
    source: str
    fitted: bool


def describe(dataset: Dataset) -> list[Statistic]:
    """Counts of every table, then every statistic that has a published counterpart."""
    counts = [
        Statistic(f"rows.{table}", f"Rows in {table}", float(n), "rows")
        for table, n in dataset.info.rows.items()
    ]
    found = measure(dataset)
    return counts + [Statistic(p.name, p.label, found.get(p.name), p.unit) for p in KUAISHOU]


def compare(dataset: Dataset, against: str = "kuaishou") -> list[Comparison]:
    """Every published statistic beside the log's own.

    Raises:
        DataError: nothing is published under that name.
    """
    if against != "kuaishou":
        raise DataError(f"no published statistics of '{against}'.", "Known: kuaishou")
    found = measure(dataset)
    return [_comparison(p, found.get(p.name)) for p in KUAISHOU]


def _comparison(published: Published, value: float | None) -> Comparison:
    ratio = None if value is None or published.value == 0 else value / published.value
    verdict = "not measured"
    if ratio is not None:
        verdict = "close" if abs(ratio - 1.0) <= CLOSE else "off"
    return Comparison(
        published.name,
        published.label,
        value,
        published.value,
        ratio,
        verdict,
        published.definition,
        published.source,
        published.fitted,
    )


def measure(dataset: Dataset) -> Measures:
    """All statistics by name; None where a column is absent or there are no rows."""
    found: Measures = {}
    if dataset.info.rows.get("impressions", 0):
        rows = _impressions(dataset)
        found.update(_rates(rows))
        found.update(_stays(rows))
        found.update(_users_rates(rows))
        found.update(_times(dataset, rows))
        found.update(_exposure(rows))
        found["comment_touches"] = _touches(dataset, rows)
    found.update(_features(dataset))
    return {name: _finite(value) for name, value in found.items()}


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _impressions(dataset: Dataset) -> pl.LazyFrame:
    """The columns that are needed, absent ones null, plus what is derived from them."""
    columns = (
        "user_id", "video_id", "time_ms", "play_time_ms", "duration_ms", "comment_stay_time",
        "is_click", "long_view", "is_like", "is_follow", "is_comment", "is_forward", "is_hate",
        "is_profile_enter", "is_rand",
    )  # fmt: skip
    rows = dataset.scan("impressions").select(
        pl.col(c) if dataset.has_column("impressions", c) else pl.lit(None, pl.Int64).alias(c)
        for c in columns
    )
    return rows.with_columns(
        (pl.col("is_rand").fill_null(0) == 1).alias("random"),
        (pl.col("comment_stay_time") > 0).alias("opened"),
        (pl.col("play_time_ms") >= pl.col("duration_ms")).alias("complete"),
    )


def _rates(rows: pl.LazyFrame) -> Measures:
    standard, random = ~pl.col("random"), pl.col("random")
    liked, clicked = pl.col("is_like") == 1, pl.col("is_click") == 1

    def mean(column: str, where: pl.Expr, scale: float = 1.0) -> pl.Expr:
        return pl.col(column).cast(pl.Float64).filter(where).mean() * scale

    wanted: dict[str, pl.Expr] = {}
    rates = {
        "click_rate": "is_click", "long_view_rate": "long_view", "complete_rate": "complete",
        "like_rate": "is_like", "follow_rate": "is_follow", "forward_rate": "is_forward",
        "hate_rate": "is_hate", "comment_rate": "is_comment", "profile_rate": "is_profile_enter",
    }  # fmt: skip
    for which, where in (("standard", standard), ("random", random)):
        for name, column in rates.items():
            wanted[f"{name}.{which}"] = mean(column, where)
        wanted[f"play_time.{which}"] = mean("play_time_ms", where, 0.001)
    everyone = pl.lit(True)
    wanted |= {
        "comment_open_rate": mean("opened", everyone),
        "comment_open_rate.liked": mean("opened", liked),
        "open_given_written": mean("opened", pl.col("is_comment") == 1),
        "written_given_open": mean("is_comment", pl.col("opened") & liked),
        "liked_given_click": mean("is_like", clicked & standard),
        "clicked_given_like": mean("is_click", liked & standard),
        "long_given_click": mean("long_view", clicked & standard),
        "comment_share_of_play": pl.col("comment_stay_time").filter(liked).sum()
        / pl.when(pl.col("comment_stay_time").count() > 0)
        .then(pl.col("play_time_ms").filter(liked).sum())
        .otherwise(None),
    }
    frame = rows.select([e.alias(n) for n, e in wanted.items()]).collect(engine="streaming")
    return frame.row(0, named=True)


def _stays(rows: pl.LazyFrame) -> Measures:
    stay = pl.col("comment_stay_time").filter(pl.col("opened")) / 1000.0
    played = pl.col("play_time_ms").filter((pl.col("is_like") == 1) & ~pl.col("random")) / 1000.0
    wanted = [stay.mean().alias("comment_stay.mean")]
    for q in _QUANTILES:
        wanted.append(stay.quantile(q / 100, "linear").alias(f"comment_stay.p{q}"))
        wanted.append(played.quantile(q / 100, "linear").alias(f"play_time_of_liked.p{q}"))
    return rows.select(wanted).collect().row(0, named=True)


def _users_rates(rows: pl.LazyFrame) -> Measures:
    liked = pl.col("is_like") == 1
    users = (
        rows.group_by("user_id")
        .agg(
            pl.col("is_click").cast(pl.Float64).filter(~pl.col("random")).mean().alias("click"),
            pl.col("opened").cast(pl.Float64).filter(liked).mean().alias("open"),
            liked.sum().alias("likes"),
        )
        .collect(engine="streaming")
    )
    many = users.filter(pl.col("likes") >= _MANY_LIKES)
    return {
        **_quantiles("click_rate_of_users", users["click"]),
        **_quantiles("open_rate_of_users", many["open"]),
    }


def _times(dataset: Dataset, rows: pl.LazyFrame) -> Measures:
    """Sessions, bursts, gaps and hours of the standard rows."""
    frame = (
        rows.filter(~pl.col("random"))
        .select("user_id", "time_ms")
        .sort("user_id", "time_ms")
        .collect()
    )
    if frame.height == 0:
        return {}
    user, time = frame["user_id"].to_numpy(), frame["time_ms"].to_numpy()
    same = user[1:] == user[:-1]
    gap = (time[1:] - time[:-1])[same]
    n_users = int((~same).sum()) + 1
    sessions = n_users + int((gap > _SESSION_GAP_MS).sum())
    local = time + _CHINA_MS
    days = int(local.max() // _DAY_MS - local.min() // _DAY_MS) + 1
    people = dataset.info.rows.get("users", 0) or n_users
    found: Measures = {
        "session_length": len(time) / sessions,
        "sessions_per_day": sessions / people / days,
        "impressions_per_day": len(time) / people / days,
        "burst_size": len(time) / (n_users + int((gap >= 1_000).sum())),
    }
    waits = gap[gap >= 1_000]
    low = 1_000
    for name, high in _GAPS.items():
        inside = (waits >= low) & (waits < high)
        found[f"gap.{name}"] = float(inside.mean()) if len(waits) else None
        low = high
    found["gap.>=120min"] = float((waits >= low).mean()) if len(waits) else None
    hour = (local % _DAY_MS) // 3_600_000
    for start in (0, 6, 12, 18):
        inside = (hour >= start) & (hour < start + 6)
        found[f"hours.{start}-{start + 6}h"] = float(inside.mean())
    return found


def _exposure(rows: pl.LazyFrame) -> Measures:
    found: Measures = {}
    for which, where in (("standard", ~pl.col("random")), ("random", pl.col("random"))):
        counts = (
            rows.filter(where).group_by("video_id").agg(pl.len()).collect(engine="streaming")["len"]
        )
        shown = np.sort(counts.to_numpy().astype(np.float64))
        if len(shown) == 0:
            continue
        found[f"exposure_gini.{which}"] = gini(shown)
        top = max(1, round(len(shown) * 0.01))
        found[f"exposure_top1.{which}"] = float(shown[-top:].sum() / shown.sum())
    return found


def gini(ascending: NDArray[np.float64]) -> float:
    """Gini coefficient of positive values in ascending order."""
    n = len(ascending)
    rank = np.arange(1, n + 1)
    return float(2.0 * (rank * ascending).sum() / (n * ascending.sum()) - (n + 1) / n)


def _touches(dataset: Dataset, rows: pl.LazyFrame) -> float | None:
    if not dataset.has("comment_events"):
        return None
    touched = pl.col("is_like").cast(pl.Int64).sum() + pl.col("is_reply").cast(pl.Int64).sum()
    total = dataset.scan("comment_events").select(touched).collect().item()
    opened = rows.select(pl.col("opened").sum()).collect().item()
    return float(total) / float(opened) if opened else None


def _features(dataset: Dataset) -> Measures:
    """Marginals of the users and videos tables."""
    found: Measures = {}
    for table, column, name, scale in (
        ("users", "follow_user_num", "follows", 1.0),
        ("users", "fans_user_num", "fans", 1.0),
        ("users", "register_days", "registered", 1.0),
        ("videos", "duration_ms", "duration", 0.001),
    ):
        if dataset.has_column(table, column):
            values = dataset.scan(table).select(pl.col(column).cast(pl.Float64) * scale)
            found.update(_quantiles(name, values.collect()[column]))
    if dataset.has_column("users", "user_active_degree"):
        level = dataset.scan("users").select("user_active_degree").drop_nulls().collect()
        counts = level.to_series().value_counts(normalize=True)
        for value, share in counts.iter_rows():
            found[f"active.{value}"] = share
    return found


def _quantiles(name: str, values: pl.Series) -> Measures:
    known = values.drop_nulls().drop_nans()
    return {f"{name}.p{q}": known.quantile(q / 100, "linear") for q in _QUANTILES}
