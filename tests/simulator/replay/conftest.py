"""Small logs held in memory, so that coverage can be checked over hundreds of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset, DatasetInfo


class MemoryDataset(Dataset):
    def __init__(self, impressions: pl.DataFrame, n_videos: int) -> None:
        self._frames = {
            "impressions": impressions,
            "users": impressions.select("user_id").unique().sort("user_id"),
            "videos": pl.DataFrame({"video_id": np.arange(n_videos)}),
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
        self._built = Catalogue.build(np.arange(n_videos))

    def scan(self, table: str) -> pl.LazyFrame:
        return self._frames[table].lazy()

    def catalogue(self) -> Catalogue:
        return self._built


@pytest.fixture
def memory_dataset() -> Callable[[pl.DataFrame, int], Dataset]:
    return MemoryDataset
