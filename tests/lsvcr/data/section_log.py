"""A log of comment sections: what people did in them is given, the rest is filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.logs.dataset import Dataset, DatasetWriter
from tests.lsvcr.conftest import START_MS, frame


def write_section_log(
    path: Path,
    events: dict[str, Any],
    likes: NDArray[np.int64],
    watched: list[tuple[int, int]],
    *,
    users: int,
    videos: int,
) -> Dataset:
    """A log whose videos and comments have texts; every watched video is clicked and liked.

    Args:
        path: Where it is written.
        events: Columns of ``comment_events``.
        likes: int64[M], displayed likes; each video has as many comments, in their order.
        watched: User and video of each impression.
        users, videos: Their numbers; identifiers count from 0.
    """
    comment = np.arange(len(likes))
    caption = {"video_id": np.arange(videos), "caption": [f"v{i}" for i in range(videos)]}
    about = {
        "comment_id": comment,
        "video_id": comment // (len(likes) // videos),
        "like_count": likes,
        "text": [f"text {c}" for c in comment],
    }
    size = len(watched)
    impressions = {
        "user_id": [user for user, _ in watched],
        "video_id": [video for _, video in watched],
        "time_ms": START_MS + np.arange(size),
        "is_click": [1] * size,
        "is_like": [1] * size,
        "play_time_ms": [9_000] * size,
        "duration_ms": [9_000] * size,
        "comment_stay_time": [0] * size,
    }
    tables = {
        "users": {"user_id": np.arange(users)},
        "videos": caption,
        "comments": about,
        "impressions": impressions,
        "comment_events": events,
    }
    with DatasetWriter(path, name="n", source="s", licence="l") as writer:
        for table, columns in tables.items():
            writer.append(table, frame(table, columns))
    return Dataset.open(path)
