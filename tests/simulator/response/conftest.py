"""A small log with known mechanics, and a response fitted to it once per test session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.response.learned import LearnedResponse

START_MS = 1_649_347_200_000
PEOPLE, VIDEOS, DAYS = 60, 50, 6


def toy_impressions(seed: int = 0, people: int = PEOPLE) -> pl.DataFrame:
    """Clicks depend on person and video, likes on clicks, hates on nothing, follows never occur."""
    random = np.random.default_rng(seed)
    taste, appeal = random.normal(0, 1.2, people), random.normal(0, 1.2, VIDEOS)
    duration = random.choice([5_000, 12_000, 40_000], VIDEOS)
    rows = []
    for person in range(people):
        for day in range(DAYS):
            for session in range(int(random.integers(1, 4))):
                time = START_MS + day * 86_400_000 + session * 21_600_000
                time += int(random.integers(0, 3_600_000))
                for place in range(int(random.geometric(0.12))):
                    time += 30_000
                    rows.append(
                        (person, int(random.integers(VIDEOS)), 10 * day + session, time, place)
                    )
    user, video, session, time, _ = (np.array(c) for c in zip(*rows, strict=True))
    n = len(user)
    click = random.random(n) < expit(taste[user] + appeal[video])
    opened = click & (random.random(n) < 0.4)
    stay = np.where(opened, np.exp(random.normal(8.5, 0.8, n)), 0).astype(np.int64)
    play = np.where(click, 7_500 + random.exponential(9_000, n), random.uniform(0, 6_900, n))
    return pl.DataFrame(
        {
            "user_id": user * 3 + 100,
            "video_id": video * 2 + 7,
            "session_id": session,
            "time_ms": time,
            "is_click": click.astype(np.int8),
            "is_like": (click & (random.random(n) < 0.3)).astype(np.int8),
            "is_follow": np.zeros(n, np.int8),
            "is_hate": (random.random(n) < 0.1).astype(np.int8),
            "long_view": (click & (play > 15_000)).astype(np.int8),
            "play_time_ms": play.astype(np.int64) + stay,
            "duration_ms": duration[video],
            "comment_stay_time": stay,
        }
    )


def write(path: Path, impressions: pl.DataFrame, **tables: pl.DataFrame) -> Dataset:
    with DatasetWriter(path, name="toy", source="test", licence="none") as writer:
        writer.append("impressions", impressions)
        writer.append("users", impressions.select("user_id").unique().sort("user_id"))
        writer.append("videos", impressions.select("video_id").unique().sort("video_id"))
        for name, frame in tables.items():
            writer.append(name, frame)
    return Dataset.open(path)


@pytest.fixture(scope="session")
def write_dataset() -> Callable[..., Dataset]:
    return write


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("toy") / "log", toy_impressions())


@pytest.fixture(scope="session")
def fitted(toy: Dataset) -> LearnedResponse:
    return LearnedResponse.fit(toy, seed=3)
