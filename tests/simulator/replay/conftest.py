"""Small logs held in memory, so that coverage can be checked over hundreds of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset, DatasetInfo
from tests.simulator.replay.decision_log import VIDEOS, DecisionLog


class MemoryDataset(Dataset):
    def __init__(
        self, impressions: pl.DataFrame, n_videos: int, **tables: pl.DataFrame | None
    ) -> None:
        more = {name: table for name, table in tables.items() if table is not None}
        self._frames = {
            "impressions": impressions,
            "users": impressions.select("user_id").unique().sort("user_id"),
            "videos": pl.DataFrame({"video_id": np.arange(n_videos)}),
            **more,
        }
        info = DatasetInfo(
            format_version=1,
            name="memory",
            source="test",
            licence="none",
            language=None,
            rows={name: frame.height for name, frame in self._frames.items()},
            time_span_ms=None,
            content_hash="0",
            columns={name: frame.columns for name, frame in self._frames.items()},
            world=None,
            notes=[],
        )
        super().__init__(Path("memory"), info)
        offsets = np.zeros(n_videos + 1, dtype=np.int64)
        if "comments" in more:
            owner = more["comments"]["video_id"].to_numpy()
            offsets[1:] = np.cumsum(np.bincount(owner, minlength=n_videos))
        self._built = Catalogue.build(np.arange(n_videos), comment_offsets=offsets)

    def scan(self, table: str) -> pl.LazyFrame:
        return self._frames[table].lazy()

    def catalogue(self) -> Catalogue:
        return self._built


@pytest.fixture
def memory_dataset() -> Callable[[pl.DataFrame, int], Dataset]:
    return MemoryDataset


@pytest.fixture
def decision_dataset() -> Callable[[DecisionLog], Dataset]:
    def build(log: DecisionLog) -> Dataset:
        tables = {f.name: getattr(log, f.name) for f in dataclasses.fields(log)}
        return MemoryDataset(tables.pop("impressions"), VIDEOS, **tables)

    return build
