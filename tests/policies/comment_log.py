"""Small random logs with comments, to be looked at event by event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from simulator.logs.dataset import Dataset, DatasetWriter

START_MS = 1_650_000_000_000
MINUTE = 60_000
VIDEOS, PER_VIDEO, PEOPLE = 20, 9, 30


def random_log(seed: int) -> dict[str, pl.DataFrame]:
    """Tables of 30 people, each with some likes and comment visits, one thing a minute.

    Videos and comments appear in the course of the log; some visits take up several comments, some
    comments again, some events share their time.
    """
    rng = np.random.default_rng(seed)
    span = 400
    impressions: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for user in range(PEOPLE):
        minutes = np.sort(rng.integers(0, span, int(rng.integers(1, 25))))
        for minute in minutes:
            video, time = int(rng.integers(VIDEOS)), START_MS + int(minute) * MINUTE
            opened = rng.random() < 0.5
            impressions.append(
                {
                    "user_id": 100 + user,
                    "video_id": 7 * video,
                    "time_ms": time,
                    "is_click": 1,
                    "is_like": int(rng.random() < 0.6),
                    "play_time_ms": 9_000,
                    "comment_stay_time": 5_000 * int(opened),
                }
            )
            if opened:
                taken = rng.choice(PER_VIDEO, int(rng.integers(1, 4)), replace=False)
                events += [
                    {
                        "user_id": 100 + user,
                        "video_id": 7 * video,
                        "comment_id": 1000 + video * PER_VIDEO + int(comment),
                        "time_ms": time + 20_000,
                        "is_like": int(rng.random() < 0.9),
                        "is_reply": 0,
                    }
                    for comment in taken
                ]
    labels = {"is_click": pl.Int8, "is_like": pl.Int8, "is_reply": pl.Int8}
    comments = pl.DataFrame(
        {
            "comment_id": 1000 + np.arange(VIDEOS * PER_VIDEO),
            "video_id": 7 * np.repeat(np.arange(VIDEOS), PER_VIDEO),
            "text": [f"text {i % 13}" for i in range(VIDEOS * PER_VIDEO)],
            "like_count": rng.integers(0, 50, VIDEOS * PER_VIDEO),
            "reply_count": np.zeros(VIDEOS * PER_VIDEO, dtype=np.int64),
            "time_ms": START_MS + MINUTE * rng.integers(-300, 300, VIDEOS * PER_VIDEO),
        }
    )
    return {
        "impressions": pl.DataFrame(impressions).cast({k: labels[k] for k in list(labels)[:2]}),
        "comment_events": pl.DataFrame(events).cast({k: labels[k] for k in list(labels)[1:]}),
        "users": pl.DataFrame({"user_id": 100 + np.arange(PEOPLE)}),
        "videos": pl.DataFrame(
            {
                "video_id": 7 * np.arange(VIDEOS),
                "upload_time_ms": START_MS + MINUTE * rng.integers(-300, 100, VIDEOS),
            }
        ),
        "comments": comments,
    }


def write(path: Path, tables: dict[str, pl.DataFrame]) -> Dataset:
    """The tables as a dataset."""
    with DatasetWriter(path, name="comments", source="test", licence="none") as writer:
        for name, frame in tables.items():
            writer.append(name, frame)
    return Dataset.open(path)
