"""Draw the users that statistics libraries are timed on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

CONTROL = "control"
COLUMNS = ("revenue", "clicks", "views", "pre_revenue")
Run = Callable[[], dict[str, float]]


def write_users(path: Path, per_arm: int, seed: int = 1) -> None:
    """Users of two arms: a heavy-tailed mean, a ratio of counts, a covariate; no effect."""
    rng = np.random.default_rng(seed)
    users = 2 * per_arm
    revenue = rng.gamma(2.0, 3.0, users)
    views = rng.poisson(20, users) + 1
    pl.DataFrame(
        {
            "user_id": np.arange(users),
            "arm": np.where(rng.random(users) < 0.5, CONTROL, "treatment"),
            "revenue": revenue,
            "clicks": rng.binomial(views, 0.2),
            "views": views,
            "pre_revenue": 0.5 * revenue + rng.gamma(2.0, 3.0, users),
        }
    ).write_parquet(path, compression="snappy")


def clustered(path: Path) -> tuple[Any, Any]:
    """A million values of 250,000 users, sorted by user, as from a table of events."""
    values = pl.read_parquet(path, columns=["revenue"])["revenue"].to_numpy()[:1_000_000]
    users = np.sort(np.random.default_rng(2).integers(0, len(values) // 4, len(values)))
    scale = np.random.default_rng(3).gamma(4.0, 0.25, len(values) // 4)
    return values * scale[users], users
