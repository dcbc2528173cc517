"""A sample of people is their part of the log, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from simulator.errors import DataError
from simulator.logs import sample, scanning
from simulator.logs.checks.sound import ensure_sound
from simulator.logs.dataset import Dataset
from simulator.logs.sample import sample_people

Make = Callable[..., Dataset]


@pytest.fixture
def log(make_dataset: Make) -> Dataset:
    n = 400
    rows = pl.DataFrame(
        {
            "user_id": [i // 10 for i in range(n)],
            "video_id": [i % 7 for i in range(n)],
            "time_ms": [1_650_000_000_000 + i for i in range(n)],
            "is_click": pl.Series([i % 2 for i in range(n)], dtype=pl.Int8),
            "play_time_ms": list(range(n)),
        }
    )
    return make_dataset(rows, comments=pl.DataFrame({"comment_id": [1, 2], "video_id": [0, 6]}))


@pytest.mark.parametrize("batch", [7, 500_000])
def test_people_come_whole_and_the_rest_stays(
    log: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(scanning, "BATCH_ROWS", batch)
    monkeypatch.setattr(sample, "BATCH_ROWS", batch)
    found = sample_people(log, tmp_path / "part", 12)
    assert len(found.user_ids()) == 12
    rows = log.scan("impressions").filter(pl.col("user_id").is_in(found.user_ids().tolist()))
    assert found.scan("impressions").collect().equals(rows.collect())
    for table in ("videos", "comments"):
        assert found.scan(table).collect().equals(log.scan(table).collect())
    ensure_sound(found)


def test_a_smaller_sample_is_part_of_a_larger_one(log: Dataset, tmp_path: Path) -> None:
    few = set(sample_people(log, tmp_path / "a", 5).user_ids().tolist())
    many = set(sample_people(log, tmp_path / "b", 20).user_ids().tolist())
    others = set(sample_people(log, tmp_path / "c", 5, seed=2).user_ids().tolist())
    assert few < many
    assert few != others
    again = sample_people(log, tmp_path / "d", 5)
    assert again.info.content_hash == Dataset.open(tmp_path / "a").info.content_hash


@pytest.mark.parametrize("users", [0, 41])
def test_impossible_sizes(log: Dataset, tmp_path: Path, users: int) -> None:
    with pytest.raises(DataError, match="has 40"):
        sample_people(log, tmp_path / "part", users)
    assert not (tmp_path / "part").exists()
