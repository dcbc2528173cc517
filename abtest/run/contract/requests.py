"""Make requests to put to a policy: random candidates, sections, parts and permutations of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from simulator.logs.dataset import Dataset
from simulator.randomness import mix, purpose_key
from simulator.requests import SIGNALS, CommentRequests, HistoryState, VideoRequests

PEOPLE = 64
_CANDIDATES = 40
_COMMENTS = 16
_POOL = 20_000


def video_requests(
    dataset: Dataset,
    history: HistoryState,
    users: Any,
    time_ms: int | None = None,
    *,
    seed: int = 3,
) -> VideoRequests:
    """Requests with random candidates, one per row of a history state."""
    n_videos = dataset.catalogue().n_videos
    span = dataset.info.time_span_ms
    rows = np.arange(len(users), dtype=np.int32)
    width = min(_CANDIDATES, n_videos)
    rng = np.random.default_rng(seed)
    # Of a large inventory a part: a row of random numbers per person would be gigabytes.
    pool = np.arange(n_videos)
    if n_videos > _POOL:
        pool = rng.choice(n_videos, _POOL, replace=False)
    order = pool[np.argsort(rng.random((len(users), len(pool))), axis=1)]
    return VideoRequests(
        row=rows,
        user=np.asarray(users, dtype=np.int32),
        time_ms=np.full(len(users), time_ms or (span[1] if span else 0), dtype=np.int64),
        key=mix(purpose_key(0, "check.request"), rows),
        candidates=order[:, :width].astype(np.int32),
        history=history.view(rows),
    )


def comment_requests(
    dataset: Dataset, history: HistoryState, requests: VideoRequests
) -> CommentRequests | None:
    """Sections of each request's first candidate that has comments; None without comments."""
    catalogue = dataset.catalogue()
    if catalogue.n_comments == 0:
        return None
    commented = np.flatnonzero(np.diff(catalogue.comment_offsets) > 0)
    video = commented[np.arange(len(requests.row)) % len(commented)].astype(np.int32)
    return CommentRequests(
        row=requests.row,
        user=requests.user,
        time_ms=requests.time_ms,
        key=requests.key,
        video=video,
        candidates=catalogue.comments_of(video, _COMMENTS),
        history=history.view(requests.row),
    )


def with_candidates(requests: VideoRequests, candidates: Any) -> VideoRequests:
    """The same requests with other candidates."""
    return dataclasses.replace(requests, candidates=candidates)


def fingerprint(requests: VideoRequests | CommentRequests) -> tuple[bytes, ...]:
    """All bytes that a policy is given."""
    arrays = [value for value in vars(requests).values() if isinstance(value, np.ndarray)]
    histories = tuple(requests.history.videos(s).tobytes() for s in SIGNALS)
    return (*[a.tobytes() for a in arrays], *histories, requests.history.comments().tobytes())
