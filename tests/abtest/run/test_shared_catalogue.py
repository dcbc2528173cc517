"""The processes of a run on a log map one catalogue; its tables are read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from abtest.run import datasets
from abtest.run.datasets import with_shared_catalogue
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset, DatasetWriter


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "cache"))
    impressions = pl.DataFrame(
        {"user_id": [1, 2], "video_id": [5, 4], "time_ms": [1, 2], "play_time_ms": [3, 4]}
    ).with_columns(pl.lit(1, dtype=pl.Int8).alias("is_click"))
    with DatasetWriter(tmp_path / "log", name="log", source="test", licence="none") as writer:
        writer.append("impressions", impressions)
        writer.append("users", pl.DataFrame({"user_id": [1, 2]}))
        writer.append("videos", pl.DataFrame({"video_id": [5, 4, 3], "duration_ms": [9, None, 7]}))
    return tmp_path / "log"


def test_the_second_process_maps_what_the_first_one_wrote(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = with_shared_catalogue(Dataset.open(log)).catalogue()

    def read_again(*tables: object) -> Catalogue:
        raise AssertionError("the tables are read again")

    monkeypatch.setattr(Catalogue, "from_frames", read_again)
    second = with_shared_catalogue(Dataset.open(log)).catalogue()
    for found in (first, second):
        assert isinstance(found.duration_ms.base, np.memmap)
        assert found.duration_ms.tolist() == [7, 0, 9]


def test_without_a_cache_every_process_has_its_own(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets, "new_directory", full)
    found = with_shared_catalogue(Dataset.open(log)).catalogue()
    assert found.video_ids.tolist() == [3, 4, 5]
