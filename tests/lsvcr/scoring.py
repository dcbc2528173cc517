"""Score everybody's requests with an LSVCR policy, and settings that train in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lsvcr.policy import LSVCR
from lsvcr.task import Task
from policies.base import Scores
from simulator.logs.dataset import Dataset

Ask = Callable[[Dataset], Any]


VIDEOS = np.arange(60, dtype=np.int32)


FRESH = np.array([14, 29, 44, 59])


# Stage 2 alone; stage 1 has tests of its own.
LEARNING: dict[str, Any] = {
    "variant": "paper",
    "alignment": "none",
    "epochs": 12,
    "epoch_steps": 1,
    "patience": 12,
    "dropout": 0.1,
}


def sections(dataset: Dataset, videos: Any) -> Any:
    return dataset.catalogue().comments_of(np.asarray(videos), 16)


def scores_of(policy: LSVCR, dataset: Dataset, asking: Ask) -> tuple[Scores, Scores | None]:
    """Everybody's scores of all videos, and of the section under one video each."""
    asked = asking(dataset)
    policy.reset(len(asked.users))
    watched = (asked.users * 7 % 60).astype(np.int32)
    return (
        policy.score_videos(asked.videos(VIDEOS)),
        policy.score_comments(asked.comments(watched, sections(dataset, watched))),
    )


TASKS: tuple[Task, ...] = ("video", "comment")


QUICK: dict[str, Any] = {
    "variant": "paper",
    "alignment": "none",
    "epochs": 1,
    "epoch_steps": 1,
    "dim": 16,
    "feed_forward": 32,
}
