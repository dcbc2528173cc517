"""Small hand-made logs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from simulator.logs.dataset import Dataset, DatasetWriter


def _beside(part: str) -> Path:
    """A folder of inputs beside the project, wherever a checkout of it is."""
    around = (parent / "shared" / "data" / part for parent in Path(__file__).parents)
    return next((path for path in around if path.is_dir()), Path("absent"))


REAL, FIELD = _beside("kuairand"), _beside("field")


@pytest.fixture
def real_files() -> Path:
    if not REAL.is_dir():
        pytest.skip("no real KuaiRand files beside the project (../shared/data/kuairand)")
    return REAL


@pytest.fixture
def field_files() -> Path:
    if not FIELD.is_dir():
        pytest.skip("no field inputs beside the project (../shared/data/field)")
    return FIELD


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """Write tables given as frames; users and videos follow from impressions if left out."""

    def make(impressions: pl.DataFrame, name: str = "made", **tables: pl.DataFrame) -> Dataset:
        tables.setdefault("users", impressions.select("user_id").unique().sort("user_id"))
        tables.setdefault("videos", impressions.select("video_id").unique().sort("video_id"))
        with DatasetWriter(tmp_path / name, name=name, source="test", licence="none") as writer:
            writer.append("impressions", impressions)
            for table, frame in tables.items():
                writer.append(table, frame)
        return Dataset.open(tmp_path / name)

    return make


def impressions(**columns: list[int | None]) -> pl.DataFrame:
    """An impressions table; required columns that are left out are filled in."""
    n = len(next(iter(columns.values())))
    defaults: dict[str, list[int | None]] = {
        "user_id": [1] * n,
        "video_id": list(range(n)),
        "time_ms": [1_650_000_000_000 + 60_000 * i for i in range(n)],
        "is_click": [0] * n,
        "play_time_ms": [1_000] * n,
    }
    labels = ("is_click", "is_like", "is_hate", "is_comment", "is_rand", "long_view")
    types = {**dict.fromkeys(labels, pl.Int8), "tab": pl.Int16}
    return pl.DataFrame(
        [
            pl.Series(name, values, dtype=types.get(name, pl.Int64))
            for name, values in {**defaults, **columns}.items()
        ]
    )


@pytest.fixture(scope="module")
def world_log(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A day of 40 people in the built-in world."""
    from abtest.console import Console
    from abtest.run.datasets import synthesise

    path = tmp_path_factory.mktemp("world") / "log"
    synthesise(path, preset="small", seed=1, users=40, days=1, console=Console())
    return Dataset.open(path)
