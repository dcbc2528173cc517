"""Write a made-up log in KuaiRand's layout, of any number of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

_ROWS_OF_A_PERSON = 4_200
"""Of KuaiRand-1K and -27K: 12 thousand in a month, a third of them here."""
_PAGE = 6
_START_MS = 1_649_350_000_000
_BLOCK = 500_000


def write_log(folder: Path, rows: int, videos: int) -> Path:
    """The folder with ``log_standard_made.csv``: people one after another, pages of six.

    Args:
        folder: Created if it is not there.
        rows: Impressions.
        videos: Of the catalogue; popularity follows a power law.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    with (folder / "log_standard_made.csv").open("wb") as file:
        for first in range(0, rows, _BLOCK):
            row = np.arange(first, min(first + _BLOCK, rows))
            frame = _rows(row, videos, random)
            file.write(frame.write_csv(include_header=first == 0).encode())
    return folder


def _rows(row: np.ndarray, videos: int, random: np.random.Generator) -> pl.DataFrame:
    n = len(row)
    page = row % _ROWS_OF_A_PERSON // _PAGE
    duration = random.integers(5_000, 60_000, n)
    duration[random.random(n) < 0.05] = 0
    play = random.exponential(12_000, n).astype(np.int64)

    def rare(share: float) -> np.ndarray:
        return (random.random(n) < share).astype(np.int64)

    time = _START_MS + page * 1_700_000
    return pl.DataFrame(
        {
            "user_id": row // _ROWS_OF_A_PERSON,
            "video_id": random.zipf(1.3, n) % videos,
            "date": np.full(n, 20220408),
            "hourmin": random.integers(0, 24, n) * 100,
            "time_ms": time,
            "is_click": (play > 7_000).astype(np.int64),
            **{name: rare(share) for name, share in _RARE.items()},
            "long_view": (play > 18_000).astype(np.int64),
            "play_time_ms": play,
            "duration_ms": duration,
            "profile_stay_time": rare(0.02) * 4_000,
            "comment_stay_time": rare(0.05) * random.integers(1, 90_000, n),
            "is_profile_enter": rare(0.02),
            "is_rand": np.zeros(n, dtype=np.int64),
            "tab": random.integers(0, 3, n),
        }
    )


_RARE = {
    "is_like": 0.02,
    "is_follow": 0.002,
    "is_comment": 0.003,
    "is_forward": 0.001,
    "is_hate": 0.0003,
}
