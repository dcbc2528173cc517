"""A log in which everybody walks along one of several fixed chains of videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

import abtest  # noqa: F401  (registers lsvcr and the oracles)
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.initial_history import initial_history
from simulator.randomness import mix, purpose_key
from simulator.requests import HistoryState, VideoRequests

START_MS = 1_650_000_000_000
VIDEOS, CHAIN = 60, 12


@pytest.fixture(autouse=True, scope="module")
def _few_threads() -> None:
    # Small models gain nothing from a second thread, and lose much where cores are shared.
    torch.set_num_threads(1)


def write_log(
    path: Path,
    rows: list[tuple[int, int, int]],
    *,
    ignored: Sequence[int] = (),
    captions: Sequence[str] | None = None,
) -> Dataset:
    """A log of likes (user, video, minutes since the start); ``ignored`` videos are only shown."""
    user, video, minute = (np.array(c, dtype=np.int64) for c in zip(*rows, strict=True))
    impressions = pl.DataFrame(
        {
            "user_id": user,
            "video_id": video,
            "time_ms": START_MS + minute * 60_000,
            "is_click": (~np.isin(video, ignored)).astype(np.int8),
            "is_like": (~np.isin(video, ignored)).astype(np.int8),
            "play_time_ms": np.full(len(rows), 9_000, dtype=np.int64),
        }
    ).sort("user_id", "time_ms")
    with DatasetWriter(path, name="chains", source="test", licence="none") as writer:
        writer.append("impressions", impressions)
        writer.append("users", pl.DataFrame({"user_id": np.unique(user)}))
        videos = pl.DataFrame({"video_id": np.arange(VIDEOS)})
        if captions is not None:
            videos = videos.with_columns(pl.Series("caption", captions))
        writer.append("videos", videos)
    return Dataset.open(path)


@pytest.fixture(scope="session")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """300 people; after video v of a chain always comes v + 1, around and around."""
    rng = np.random.default_rng(1)
    rows = []
    for user in range(300):
        chain, at = rng.integers(VIDEOS // CHAIN), rng.integers(CHAIN)
        rows += [
            (user, int(chain * CHAIN + (at + step) % CHAIN), step)
            for step in range(int(rng.integers(4, 12)))
        ]
    return write_log(tmp_path_factory.mktemp("chains") / "log", rows)


@pytest.fixture
def make_requests() -> Callable[..., VideoRequests]:
    """Requests for everything, after given histories of liked videos."""

    def make(histories: list[list[int]], candidates: NDArray[np.int32] | None = None):  # type: ignore[no-untyped-def]
        state = HistoryState(len(histories))
        for row, videos in enumerate(histories):
            for video in videos:
                for signal in ("liked", "clicked"):
                    state.append(signal, np.array([row]), np.array([video], dtype=np.int32))  # type: ignore[arg-type]
        rows = np.arange(len(histories), dtype=np.int32)
        if candidates is None:
            candidates = np.tile(np.arange(VIDEOS, dtype=np.int32), (len(rows), 1))
        return VideoRequests(
            row=rows,
            user=rows,
            time_ms=np.full(len(rows), START_MS, dtype=np.int64),
            key=mix(purpose_key(0, "test"), rows),
            candidates=candidates,
            history=state.view(rows),
        )

    return make


def history_of(dataset: Dataset) -> HistoryState:
    return initial_history(dataset, np.arange(len(dataset.user_ids()), dtype=np.int32))
