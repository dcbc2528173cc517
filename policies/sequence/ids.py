"""Let rare videos share embeddings, so that a table of identifiers has a bound.

Videos without an event have nothing to learn from. They share one row, which is ranked as the mean
of the others (`policies.sequence.encoder.SequenceEncoder.serving_vectors`), and cost no time in the
softmax.

A catalogue of tens of millions of videos has a few per cent with enough events to learn from. The
others share rows by a hash of their identifiers (the hashing trick of Weinberger et al., ICML 2009;
the cut at a frequency is that of Naumov et al., "DLRM", arXiv 1906.00091, and of every production
recommender): they are ranked by what is common to their bucket, which is little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.sequence.settings import VideoHistorySettings
from policies.settings import setting
from simulator.randomness import mix, purpose_key
from simulator.requests import Int32, Int64

_KEY = purpose_key(0, "policies.sequence.ids")


@dataclass(frozen=True)
class IdTableSettings(VideoHistorySettings):
    """Which videos have an embedding of their own.

    Attributes:
        own_from: Events from which on a video has a row of its own; 0 gives every video one.
        shared_ids: Rows that the other videos with events share.
    """

    own_from: int = setting(1, at_least=0, at_most=1_000_000_000)
    shared_ids: int = setting(10_000, at_least=1, at_most=100_000_000)


def id_rows(counts: NDArray[np.integer], video_ids: Int64, own_from: int, shared: int) -> Int32:
    """int32[V]: the row of each video in a table of fewer rows; rows are numbered without gaps.

    Args:
        counts: int[V], events of each video.
        video_ids: int64[V], identifiers, which decide who shares a row.
        own_from: Events from which on a video has a row of its own, at least 1.
        shared: Number of rows that the others with events share, at most. Videos without events
            have one row together, the last.
    """
    own = counts >= max(own_from, 1)
    rare = ~own & (counts > 0)
    bucket = mix(_KEY, video_ids[rare]) % np.uint64(shared)
    buckets, place = np.unique(bucket, return_inverse=True)
    frequent = int(own.sum())
    rows = np.full(len(counts), frequent + len(buckets), dtype=np.int32)
    rows[own] = np.arange(frequent, dtype=np.int32)
    rows[rare] = frequent + place.astype(np.int32)
    return rows


def in_rows(rows: Int32 | None, videos: NDArray[np.integer]) -> NDArray[np.integer]:
    """Videos as rows of the table, in any shape; -1 stays -1. Without rows a video is its row."""
    if rows is None:
        return videos
    return np.where(videos >= 0, rows[np.maximum(videos, 0)], np.int32(-1))
