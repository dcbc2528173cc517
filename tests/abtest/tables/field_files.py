"""Find the reported inputs, write small tables and read the JSON of `abtest analyze`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

ABOVE = Path(__file__).parents[3:]


def reported(name: str) -> Path:
    """One of the inputs, in a folder beside the project or above it."""
    for folder in ABOVE:
        path = folder / "shared" / "data" / "field" / name
        if path.is_file():
            return path
    pytest.skip(f"the reported input {name} is not here")


def table(path: Path, **columns: Any) -> Path:
    pl.DataFrame(columns).write_csv(path)
    return path


def arms(users: int, names: tuple[str, ...] = ("control", "new")) -> list[str]:
    return [names[i % len(names)] for i in range(users)]


def first(document: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document)["comparisons"][0]["metrics"][0]
    return found


def check(document: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in json.loads(document)["health"] if c["name"] == name)
    return found


def users(count: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "user_id": np.arange(count),
            "arm": arms(count),
            "x": rng.normal(10.0, 2.0, count).round(6),
            "pre_x": pl.Series(rng.normal(10.0, 2.0, count).round(6)).set(
                pl.Series(np.arange(count) % 9 == 0), None
            ),
        }
    )


def lift(result: Any) -> dict[str, Any]:
    assert result.code == 0, result.err
    found: dict[str, Any] = first(result.out)["absolute"]
    return found


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path
