"""Describe comments by what everybody sees: likes, likes beside the section's top, length, age."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.logs.catalogue import UNKNOWN_TIME, Catalogue
from simulator.requests import Int64

Float32 = NDArray[np.float32]

DAY_MS = 86_400_000.0
STATIC = 5
"""Facts that do not change with time: see `static_facts`."""
AGES = 2
"""Facts of a comment's age: see `age_facts`."""


def static_facts(catalogue: Catalogue, texts: list[str]) -> Float32:
    """float32[M, 5]: log likes, log likes less those of the section's top, log replies, log length.

    The fifth is 1 for a comment without text.

    Args:
        catalogue: Comments by section, the most liked first.
        texts: Of all comments.
    """
    likes = np.log1p(np.maximum(catalogue.comment_likes, 0).astype(np.float64))
    top = np.zeros(catalogue.n_videos)
    np.maximum.at(top, catalogue.comment_video, likes)
    length = np.array([len(text) for text in texts], dtype=np.float64)
    columns = (
        likes,
        likes - top[catalogue.comment_video],
        np.log1p(np.maximum(catalogue.comment_replies, 0)),
        np.log1p(length),
        length == 0,
    )
    return np.stack(columns, axis=1).astype(np.float32)


def age_facts(written_ms: Int64, now_ms: Int64) -> Float32:
    """float32[..., 2]: log of a comment's age in days, and whether its time is unknown.

    Args:
        written_ms: int64[...], `UNKNOWN_TIME` where nobody knows.
        now_ms: int64, broadcast to it.
    """
    unknown = written_ms == UNKNOWN_TIME
    days = np.where(unknown, 0.0, (now_ms - np.where(unknown, 0, written_ms)) / DAY_MS)
    age = np.where(unknown, 0.0, np.log1p(np.maximum(days, 0.0)))
    return np.stack([age, unknown], axis=-1).astype(np.float32)
