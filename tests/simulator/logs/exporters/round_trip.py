"""Say what each format carries, and compare a dataset with what comes back of it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from simulator.logs.dataset import Dataset
from simulator.logs.exporters import export_logs
from simulator.logs.importers import import_logs
from simulator.logs.schema import TABLES

DAY_MS, CHINA_MS = 86_400_000, 8 * 3_600_000


START_MS = 1_650_000_000_000


_LABELS = ["is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"]


_TIMES = ["play_time_ms", "duration_ms", "profile_stay_time", "comment_stay_time"]


CARRIED: dict[str, dict[str, list[str]]] = {
    "kuairand": {
        "impressions": [
            "user_id", "video_id", "time_ms", *_LABELS, *_TIMES, "is_profile_enter", "is_rand",
            "tab", "date", "hourmin",
        ],
        "users": [c.name for c in TABLES["users"].columns],
        "videos": [
            "video_id", "author_id", "video_type", "upload_time_ms", "duration_ms", "tags",
            "caption", "category",
        ],
    },
    "kuaicomt": {
        "impressions": [
            "user_id", "video_id", "time_ms", *_LABELS, "is_collect", *_TIMES, "hourmin",
        ],
        "comment_events": ["user_id", "video_id", "comment_id", "time_ms", "is_like", "is_reply"],
        "users": [
            "user_id", "user_active_degree", "is_live_streamer", "follow_user_num",
            "follow_user_num_range", "fans_user_num", "fans_user_num_range",
            "friend_user_num_range", "register_days",
        ],
        "videos": [
            "video_id", "author_id", "video_type", "upload_time_ms", "caption", "duration_ms",
            "category",
        ],
        "comments": ["comment_id", "video_id", "text", "like_count", "reply_count"],
    },
}  # fmt: skip


LOST = {
    "kuairand": {
        "impressions": {"is_collect", "policy", "arm", "propensity"},
        "comment_events": {"the whole table"},
        "video_decisions": {"the whole table"},
        "comment_decisions": {"the whole table"},
        "users": set(),
        "videos": {"comment_count"},
        "comments": {"the whole table"},
    },
    "kuaicomt": {
        "impressions": {
            "is_profile_enter", "is_rand", "tab", "date", "policy", "arm", "propensity",
        },
        "comment_events": {"position", "is_shown", "dwell_ms", "propensity", "policy", "arm"},
        "video_decisions": {"the whole table"},
        "comment_decisions": {"the whole table"},
        "users": {"friend_user_num", "register_days_range", "is_video_author"},
        "videos": {"comment_count"},
        "comments": {"time_ms"},
    },
}  # fmt: skip


def expected(frame: pl.DataFrame, table: str, format: str) -> pl.DataFrame:
    """What has to come back of a table, by the description of the format."""
    if table == "impressions" and format == "kuairand" and "is_rand" in frame.columns:
        frame = frame.sort(
            "user_id", "time_ms", (pl.col("is_rand") != 1).fill_null(True), maintain_order=True
        )
    if table == "comment_events":
        frame = frame.filter((pl.col("is_like") == 1) | (pl.col("is_reply") == 1))
        frame = frame.with_columns(pl.col("time_ms") // 1000 * 1000)
    if "upload_time_ms" in frame.columns:
        midnight = (pl.col("upload_time_ms") + CHINA_MS) // DAY_MS * DAY_MS - CHINA_MS
        frame = frame.with_columns(midnight)
    if table == "videos" and "tags" in frame.columns:
        first = pl.col("tags").list.first()
        if "category" not in frame.columns:
            frame = frame.with_columns(first.alias("category"))
        elif format == "kuaicomt":
            frame = frame.with_columns(pl.coalesce("category", first))
    return _comparable(frame, table, format)


def _comparable(frame: pl.DataFrame, table: str, format: str) -> pl.DataFrame:
    """Carried columns that hold anything; rows of tables without an order are sorted."""
    if table == "impressions":
        columns = [c for c in CARRIED[format][table] if c not in ("date", "hourmin")]
    else:
        columns = CARRIED[format][table]
    kept = [c for c in columns if c in frame.columns and frame[c].null_count() < frame.height]
    frame = frame.select(kept)
    return frame if table == "impressions" else frame.sort([c for c in kept if c != "tags"])


def assert_comes_back(dataset: Dataset, folder: Path, format: str) -> Dataset:
    report = export_logs(dataset, folder / "files", format=format)  # type: ignore[arg-type]
    imported = import_logs(folder / "files", folder / "back")
    assert imported.format == format
    assert all(t.rejected == 0 for t in imported.tables)
    assert imported.ignored == []
    back = Dataset.open(folder / "back")
    for table in CARRIED[format]:
        want = expected(dataset.scan(table).collect(), table, format)
        found = back.scan(table).collect()
        if want.height == 0:
            # Comments that only events mention are added.
            events = back.scan("comment_events").collect()["comment_id"].unique().to_list()
            assert found.height == (len(events) if table == "comments" else 0)
            continue
        assert_frame_equal(_comparable(found, table, format), want)
    for name in ("date", "hourmin"):
        if name in CARRIED[format]["impressions"] and dataset.has_column("impressions", name):
            given = dataset.scan("impressions").drop_nulls(name)
            rows = given.select("user_id", "video_id", "time_ms", name).collect()
            assert rows.join(
                back.scan("impressions").collect(), on=rows.columns, how="anti"
            ).is_empty()
    for table, columns in dataset.info.columns.items():
        if dataset.has(table):
            lost = LOST[format][table]
            missing = lost if "the whole table" in lost else lost & set(columns)
            assert set(report.left_out.get(table, [])) == missing
    return back
