"""Read logged decisions: every place of a page or a comment section with all its candidates."""

from __future__ import annotations

import numpy as np
import polars as pl

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.replay.logged import LoggedRows, Stage, outcome_arrays, padded_lists
from simulator.replay.metrics import OUTCOME_COLUMNS
from simulator.requests import Int32, Int64

TABLES: dict[Stage, str] = {"videos": "video_decisions", "comments": "comment_decisions"}
_OF_ONE_COMMENT = {
    "comment_stay_time": "dwell_ms",
    "comment_likes": "is_like",
    "comment_replies": "is_reply",
}
"""What an outcome of an impression sums up over the comments of its section."""
_SUM_ERROR = 1e-3
"""How far float32 probabilities may be from adding up to 1."""


def has_decisions(dataset: Dataset, stage: Stage) -> bool:
    """Whether the log holds decisions of a stage."""
    table = TABLES[stage]
    return dataset.has(table) and dataset.info.rows.get(table, 0) > 0


def share_left_to_chance(dataset: Dataset, stage: Stage) -> float | None:
    """Exploration share that dataset.json declares for a stage; None where it says nothing."""
    declared = (dataset.info.randomisation or {}).get(stage)
    if not isinstance(declared, dict):
        return None
    if declared.get("mechanism") == "none":
        return 0.0
    share = declared.get("share")
    return float(share) if isinstance(share, int | float) else None


def declared_pool(dataset: Dataset) -> str | None:
    """What dataset.json declares the shown videos were drawn from; None where it says nothing."""
    declared = (dataset.info.randomisation or {}).get("videos")
    pool = declared.get("pool") if isinstance(declared, dict) else None
    return pool if isinstance(pool, str) else None


def first_decision(dataset: Dataset) -> int | None:
    """Time of the first decision of either stage, Unix ms; None without any."""
    times = [
        dataset.scan(table).select(pl.col("time_ms").min()).collect().item()
        for stage, table in TABLES.items()
        if has_decisions(dataset, stage)
    ]
    return int(min(times)) if times else None


def video_decisions(dataset: Dataset, since_ms: int | None = None) -> LoggedRows:
    """The slots of all pages from a time on, with the outcomes of their impressions.

    Raises:
        DataError: no decision can be used.
    """
    frame = _scan(dataset, "videos", since_ms)
    keys = ["user_id", "request_id", "position"]
    available = [c for c in OUTCOME_COLUMNS if dataset.has_column("impressions", c)]
    impressions = dataset.scan("impressions").select(*keys, *available)
    frame = frame.join(impressions, on=keys, how="left", maintain_order="left")
    likes = _comment_sums(dataset)
    if likes is not None:
        keys = ["user_id", "time_ms", "video_id"]
        frame = frame.join(likes, on=keys, how="left", maintain_order="left")
        frame = frame.with_columns(pl.col("comment_likes", "comment_replies").fill_null(0))
    return _rows(dataset, frame.collect(), "videos")


def comment_decisions(dataset: Dataset, since_ms: int | None = None) -> LoggedRows:
    """The comments seen in all sections from a time on; ``request`` leads to the impression.

    Raises:
        DataError: no decision can be used.
    """
    frame = _scan(dataset, "comments", since_ms)
    if dataset.has("comment_events"):
        keys = ["user_id", "time_ms", "video_id", "position"]
        events = dataset.scan("comment_events")
        have = events.collect_schema().names()
        columns = [
            pl.col(column).cast(pl.Float64).alias(name)
            for name, column in _OF_ONE_COMMENT.items()
            if column in have
        ]
        if "position" in have:
            events = events.select(*keys, *columns).unique(keys, keep="first", maintain_order=True)
            frame = frame.join(events, on=keys, how="left", maintain_order="left")
    return _rows(dataset, frame.collect(), "comments")


def _scan(dataset: Dataset, stage: Stage, since_ms: int | None) -> pl.LazyFrame:
    frame = dataset.scan(TABLES[stage])
    if since_ms is not None:
        frame = frame.filter(pl.col("time_ms") >= since_ms)
    keys = ["user_id", "time_ms", "request_id"]
    keys += ["video_id", "position"] if stage == "comments" else ["position"]
    return frame.sort(keys, maintain_order=True)


def _comment_sums(dataset: Dataset) -> pl.LazyFrame | None:
    """Likes and replies per section, to be joined to its impression."""
    if not dataset.has("comment_events"):
        return None
    return (
        dataset.scan("comment_events")
        .group_by("user_id", "time_ms", "video_id")
        .agg(
            pl.col("is_like").sum().cast(pl.Float64).alias("comment_likes"),
            pl.col("is_reply").sum().cast(pl.Float64).alias("comment_replies"),
        )
    )


def _rows(dataset: Dataset, frame: pl.DataFrame, stage: Stage) -> LoggedRows:
    catalogue = dataset.catalogue()
    item = "video_id" if stage == "videos" else "comment_id"
    index = catalogue.video_index if stage == "videos" else catalogue.comment_index
    n = frame.height
    shown = np.asarray(index(frame[item].to_numpy()), dtype=np.int32)
    row, place, identifiers, chances = padded_lists(frame["candidates"], frame["propensities"])
    assert chances is not None
    if len(chances) != len(identifiers):
        raise DataError(
            f"{TABLES[stage]}: candidates and propensities differ in length.",
            f"Check it: abtest data check {dataset.path}",
        )
    width = int(place.max(initial=0)) + 1
    candidates = np.full((n, width), -1, dtype=np.int32)
    logging = np.zeros((n, width), dtype=np.float32)
    candidates[row, place] = np.asarray(index(identifiers), dtype=np.int32)
    logging[row, place] = chances
    is_shown = (candidates == shown[:, None]) & (shown >= 0)[:, None]
    propensity = np.where(is_shown, logging, 0.0).max(axis=1, initial=0.0).astype(np.float64)
    sums = logging.sum(axis=1, dtype=np.float64)
    users = dataset.user_ids()
    person = np.clip(np.searchsorted(users, frame["user_id"].to_numpy()), 0, len(users) - 1)
    stranger = users[person] != frame["user_id"].to_numpy()
    improper = (np.abs(sums - 1.0) > _SUM_ERROR) | (propensity <= 0)
    # A list with an item that the catalogue lacks cannot be scored: its mass would be lost.
    unknown = np.zeros(n, dtype=bool)
    unknown[row[candidates[row, place] < 0]] = True
    keep = ~stranger & ~improper & ~unknown
    accounting = {
        "decisions_in_log": int(dataset.info.rows.get(TABLES[stage], n)),
        "before_the_replayed_part": int(dataset.info.rows.get(TABLES[stage], n)) - n,
        "user_unknown": int(stranger.sum()),
        "candidate_unknown": int((unknown & ~stranger).sum()),
        "without_valid_propensities": int((improper & ~unknown & ~stranger).sum()),
        "used": int(keep.sum()),
    }
    # One unusable place makes what stands below it on the page unknown as well.
    page = _pages(frame, stage)
    spoilt = np.zeros(int(page.max(initial=-1)) + 1, dtype=bool)
    spoilt[page[~keep]] = True
    whole = keep & ~spoilt[page]
    if not whole.any():
        reasons = ", ".join(f"{k.replace('_', ' ')}: {v:,}" for k, v in accounting.items() if v)
        raise DataError(
            f"no decision of table {TABLES[stage]} can be replayed ({reasons}).",
            f"Check it: abtest data check {dataset.path}",
        )
    accounting["on_a_page_with_such_a_row"] = int((keep & ~whole).sum())
    accounting["used"] = int(whole.sum())
    kept = frame.filter(pl.Series(whole))
    free = logging[whole] > 0
    equal = 1.0 / np.maximum(free.sum(axis=1), 1)
    section = None
    if stage == "comments":
        section = np.asarray(catalogue.video_index(kept["video_id"].to_numpy()), dtype=np.int32)
    return LoggedRows(
        user=person[whole].astype(np.int32),
        shown=shown[whole],
        time_ms=kept["time_ms"].to_numpy().astype(np.int64),
        page=np.unique(page[whole], return_inverse=True)[1].astype(np.int64),
        position=kept["position"].to_numpy().astype(np.int64),
        propensity=propensity[whole],
        candidates=candidates[whole],
        logging=logging[whole],
        pool=None,
        uniform=bool(np.allclose(propensity[whole], equal, rtol=1e-3)),
        outcomes=outcome_arrays(kept),
        accounting=accounting,
        kind="decisions",
        warnings=[],
        section=section,
        request=kept["request_id"].to_numpy().astype(np.int64),
    )


def _pages(frame: pl.DataFrame, stage: Stage) -> Int64:
    """int64[N]: number of the page of each row; rows are sorted."""
    keys = ["user_id", "request_id"] + (["video_id"] if stage == "comments" else [])
    if frame.height == 0:
        return np.empty(0, dtype=np.int64)
    changed = np.zeros(frame.height, dtype=bool)
    for key in keys:
        column = frame[key].to_numpy()
        changed[1:] |= column[1:] != column[:-1]
    return np.cumsum(changed).astype(np.int64)


def impression_of(videos: LoggedRows, comments: LoggedRows) -> Int32:
    """int32[P]: the row of ``videos`` under which each comment section was opened, -1 if unknown.

    P is the number of sections of ``comments``. Two impressions of one video on one page lead to
    the first.
    """
    assert videos.request is not None and comments.request is not None
    assert comments.section is not None
    first = np.flatnonzero(np.diff(comments.page, prepend=-1))
    left = pl.DataFrame(
        {
            "user": comments.user[first],
            "request": comments.request[first],
            "video": comments.section[first],
        }
    )
    right = pl.DataFrame(
        {
            "user": videos.user,
            "request": videos.request,
            "video": videos.shown,
            "row": np.arange(len(videos), dtype=np.int32),
        }
    ).unique(["user", "request", "video"], keep="first", maintain_order=True)
    found = left.join(right, on=["user", "request", "video"], how="left", maintain_order="left")
    return found["row"].fill_null(-1).to_numpy().astype(np.int32)
