"""Write small datasets and hash what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from simulator.logs.dataset import Dataset, DatasetWriter


def writer(path: Path, **options: Any) -> DatasetWriter:
    return DatasetWriter(path, **{"name": "n", "source": "s", "licence": "l", **options})


def videos(n: int = 3) -> pl.DataFrame:
    """With text, missing values and lists, as real tables have them."""
    return pl.DataFrame(
        {
            "video_id": np.arange(n),
            "category": [None if i % 3 == 0 else f"c{i % 2}" for i in range(n)],
            "tags": [[f"t{j}" for j in range(i % 3)] for i in range(n)],
            "caption": ["猫[捂脸]" if i % 2 else None for i in range(n)],
            "duration_ms": [None if i == 1 else 1_000 + i for i in range(n)],
        },
        schema_overrides={"tags": pl.List(pl.String), "category": pl.String, "caption": pl.String},
    )


def hash_of(path: Path, *parts: pl.DataFrame, table: str = "videos") -> str:
    with writer(path, overwrite=True) as target:
        for part in parts:
            target.append(table, part)
    return Dataset.open(path).info.content_hash


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())
