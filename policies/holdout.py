"""Leave-last-out: what a policy may train on, and the events that it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from policies.errors import PolicyError
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.interactions import interactions
from simulator.requests import Int32, Int64, Signal


@dataclass(frozen=True)
class HeldOut:
    """The last positive event of each person who has at least two.

    Attributes:
        user: int32[n], dense user index, ascending.
        video: int32[n], the video.
        time_ms: int64[n]; nothing of that person at or after it is in the training part.
    """

    user: Int32
    video: Int32
    time_ms: Int64

    def __len__(self) -> int:
        return len(self.user)


def held_out(dataset: Dataset, signal: Signal) -> HeldOut:
    """The last event of each person with two or more.

    Raises:
        PolicyError: nobody has two.
    """
    events = interactions(dataset, signal)
    known = events.video >= 0
    user, video, time_ms = events.user[known], events.video[known], events.time_ms[known]
    people, first, count = np.unique(user, return_index=True, return_counts=True)
    last = first + count - 1
    # Two events need two times: one page's worth of likes cannot be split into past and future.
    enough = (count >= 2) & (time_ms[first] < time_ms[last])
    if not enough.any():
        raise PolicyError(
            f"nobody in {dataset.path} has two {signal} videos: nothing can be held out.",
            f"Look at it: abtest data describe {dataset.path}",
        )
    return HeldOut(people[enough], video[last[enough]], time_ms[last[enough]])


def training_part(dataset: Dataset, test: HeldOut, target: Path) -> Dataset:
    """The dataset without anything that a held-out person did at or after the held-out event.

    Args:
        dataset: The whole log.
        test: What is held out.
        target: Directory to create, or one made before from the same arguments.
    """
    if target.is_dir():
        return Dataset.open(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    cut = pl.LazyFrame({"user_id": dataset.user_ids()[test.user], "_cut": test.time_ms})
    info = dataset.info
    with DatasetWriter(
        target,
        name=f"{info.name}, last events held out",
        source=info.source,
        licence=info.licence,
        language=info.language,
    ) as writer:
        for table in info.rows:
            rows = dataset.scan(table)
            if table in ("impressions", "comment_events"):
                rows = (
                    rows.join(cut, on="user_id", how="left", maintain_order="left")
                    .filter(pl.col("_cut").is_null() | (pl.col("time_ms") < pl.col("_cut")))
                    .drop("_cut")
                )
            writer.append(table, rows.collect())
    return Dataset.open(target)


def in_rank(target: NDArray[np.float32], scores: NDArray[np.float32]) -> Int64:
    """int64[n]: rank of a target from 0; whatever scores the same counts as better.

    The pessimistic rule: a constant score earns nothing.

    Args:
        target: float32[n], the target's score.
        scores: float32[n, C], scores of all others; -inf for those that do not compete.
    """
    return np.asarray((scores >= target[:, None]).sum(axis=1), dtype=np.int64)
