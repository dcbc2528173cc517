"""Add to a video score what the log says of a video's comment stay and clicks.

The bonus of a video is a function of the video alone: shrunk means over people of log stay and of
clicks, standardised over the log's impressions, with weights that are fixed beforehand
(docs/lsvcr.md). It is judged on impressions of people whose own events are left out of the means,
within the pages that they were shown on; what is not better is not served.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from policies.base import Scores
from policies.comments.value.visits import held_people
from policies.evaluation.dwell import DwellCorrelation, dwell_r
from simulator.logs.catalogue import lookup
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import histories_before
from simulator.logs.reads import has_seen_comments, seen_comments
from simulator.requests import Int32, Int64, VideoRequests

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

STAY, CLICK = 0.5, 0.5
"""Weights beside 1 for the video score, all standardised over the log's impressions."""
_PRIOR = 20.0
"""Impressions that count as much as knowing nothing."""
_IMPRESSIONS = 40_000
_BLOCK = 2_000


@dataclass(frozen=True)
class VideoFusion:
    """A bonus per video.

    Attributes:
        bonus: float32[V], in units of the video score.
    """

    bonus: Float32

    def add(self, own: Scores, videos: Int32) -> Scores:
        """float32[B, C]: own scores plus the bonus of videos int32[B, C]."""
        return np.asarray(own + self.bonus[videos], dtype=np.float32)


@dataclass(frozen=True)
class _Impressions:
    """Impressions sorted by person and page."""

    user: Int64
    video: Int64
    page: Int64
    time_ms: Int64
    stay_ms: Int64
    click: Float64

    def pick(self, index: NDArray[np.generic]) -> _Impressions:
        return _Impressions(**{name: value[index] for name, value in vars(self).items()})


def fit_fusion(
    dataset: Dataset, score: Callable[[VideoRequests], Scores], *, seed: int
) -> tuple[VideoFusion | None, dict[str, Any]]:
    """The bonus, where it is better on the log; and the comparison, for people.

    Args:
        dataset: The log.
        score: The video score that the bonus is added to; each call is a group of its own.
        seed: Decides who is held out.
    """
    if not dataset.has_column("impressions", "comment_stay_time"):
        return None, {"served": False, "why": "the log does not know the stay in comments"}
    shown = _impressions(dataset)
    held = held_people(len(dataset.user_ids()), seed)
    judged = _judged_pages(shown.pick(held[shown.user]))
    if len(judged.user) == 0:
        return None, {"served": False, "why": "no page with two impressions"}
    n_videos = dataset.catalogue().n_videos
    others = shown.pick(~held[shown.user])
    own = _scores(dataset, judged, score)
    spread = max(float(own.std()), 1e-9)
    fused = own + spread * _bonus(others, n_videos)[judged.video]
    person = np.unique(judged.user, return_inverse=True)[1].astype(np.int64)

    def gain(outcome_ms: Int64) -> DwellCorrelation:
        after = dwell_r(fused, outcome_ms, judged.page, person)
        return after.minus(dwell_r(own, outcome_ms, judged.page, person))

    stay = gain(judged.stay_ms + 1_000)
    click = gain(np.where(judged.click > 0, 2_718, 1_000))
    served = stay.interval[0] > 0.0 and click.interval[1] >= 0.0
    told = {
        "served": bool(served),
        "stay": [round(float(v), 4) for v in (stay.r, *stay.interval)],
        "click": [round(float(v), 4) for v in (click.r, *click.interval)],
    }
    if not served:
        return None, told
    return VideoFusion((spread * _bonus(shown, n_videos)).astype(np.float32)), told


def _impressions(dataset: Dataset) -> _Impressions:
    frame = (
        dataset.scan("impressions")
        .select("user_id", "video_id", "time_ms", "comment_stay_time", "is_click")
        .collect()
        .sort("user_id", "time_ms", maintain_order=True)
    )
    user = lookup(dataset.user_ids(), frame["user_id"].to_numpy()).astype(np.int64)
    video = dataset.catalogue().video_index(frame["video_id"].to_numpy()).astype(np.int64)
    time_ms = frame["time_ms"].to_numpy().astype(np.int64)
    new = np.append(True, (user[1:] != user[:-1]) | (time_ms[1:] != time_ms[:-1]))[: len(user)]
    known = (user >= 0) & (video >= 0)
    return _Impressions(
        user,
        video,
        np.cumsum(new),
        time_ms,
        frame["comment_stay_time"].fill_null(0).to_numpy().astype(np.int64),
        (frame["is_click"].cast(pl.Int64, strict=False).fill_null(0) == 1).to_numpy() * 1.0,
    ).pick(known)


def _judged_pages(shown: _Impressions) -> _Impressions:
    """The first impressions of held people, in whole pages of at least two."""
    _, page, size = np.unique(shown.page, return_inverse=True, return_counts=True)
    kept = shown.pick((size[page] >= 2) & (np.arange(len(page)) < _IMPRESSIONS))
    numbered = np.unique(kept.page, return_inverse=True)[1].astype(np.int64)
    return _Impressions(**{**vars(kept), "page": numbered})


def _bonus(shown: _Impressions, n_videos: int) -> Float64:
    """float64[V]: weighted sum of the standardised shrunk means of log stay and of clicks."""
    total = np.zeros(n_videos)
    count = np.bincount(shown.video, minlength=n_videos)
    for weight, value in ((STAY, np.log1p(shown.stay_ms / 1_000.0)), (CLICK, shown.click)):
        mean = float(value.mean()) if len(value) else 0.0
        summed = np.bincount(shown.video, weights=value - mean, minlength=n_videos)
        shrunk = summed / (count + _PRIOR)
        total += weight * shrunk / max(float(shrunk[shown.video].std()), 1e-9)
    return total


def _scores(
    dataset: Dataset, judged: _Impressions, score: Callable[[VideoRequests], Scores]
) -> Float64:
    """float64[n]: the video score of impressions at their moments, as deviations by page."""
    first = np.flatnonzero(np.append(True, judged.page[1:] != judged.page[:-1]))
    place = np.arange(len(judged.page)) - first[judged.page]
    user = judged.user[first].astype(np.int32)
    seen = seen_comments(dataset) if has_seen_comments(dataset) else None
    history = histories_before(dataset, seen, user, judged.time_ms[first])
    found = np.zeros(len(judged.page))
    for start in range(0, len(first), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(first)))
        at = np.flatnonzero((judged.page >= start) & (judged.page < start + len(rows)))
        line = judged.page[at] - start
        candidates = np.full((len(rows), int(place[at].max()) + 1), -1, dtype=np.int32)
        candidates[line, place[at]] = judged.video[at]
        scores = score(
            VideoRequests(
                row=np.arange(len(rows), dtype=np.int32),
                user=user[rows],
                time_ms=judged.time_ms[first[rows]],
                key=rows.astype(np.uint64),
                candidates=candidates,
                history=history.view(rows),
            )
        )
        found[at] = scores[line, place[at]]
    return found
