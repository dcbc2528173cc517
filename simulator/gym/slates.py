"""Turn an action into a page: picks become distinct videos, scores an order of comments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.requests import CommentRequests, Int32

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class AgentPage:
    """Pages of B people.

    Attributes:
        videos: int32[B, S], distinct, -1 only where there are too few candidates.
        scores: float32[B, S, K] of the comments under each slot's video, NaN for videos that the
            agent did not pick; None if it scores none.
    """

    videos: Int32
    scores: Float32 | None


def repair(candidates: Int32, slate: NDArray[np.integer], scores: Float32 | None) -> AgentPage:
    """Drop repeated and empty picks, close up, fill with the first candidates not on the slate.

    Args:
        candidates: int32[B, C], -1 padded at the end of a row.
        slate: int[B, S], positions among the candidates.
        scores: float32[B, S, K] or None; they move with their picks.
    """
    slots = slate.shape[1]
    place = np.broadcast_to(np.arange(candidates.shape[1]) + slots, candidates.shape).copy()
    at = np.arange(len(candidates))
    # Last slot first, so that of repeated picks the first one stands.
    for slot in range(slots - 1, -1, -1):
        place[at, slate[:, slot]] = slot
    place[candidates < 0] = slots + candidates.shape[1]
    order = np.argsort(place, axis=1, kind="stable")[:, :slots]
    videos = np.take_along_axis(candidates, order, axis=1)
    if scores is None:
        return AgentPage(videos, None)
    source = np.take_along_axis(place, order, axis=1)
    picked = source < slots
    moved = np.take_along_axis(scores, np.where(picked, source, 0)[..., None], axis=1)
    return AgentPage(videos, np.where(picked[..., None], moved, np.float32(np.nan)))


def comment_order(sections: CommentRequests, rows: Int32, page: AgentPage) -> Int32:
    """int32[R, M]: scored comments best first, then the others in the platform's order.

    Args:
        sections: The sections that were opened.
        rows: int32[B], ascending rows of the people of ``page``.
        page: What they were shown.
    """
    comments = sections.candidates
    if page.scores is None:
        return comments
    at = np.searchsorted(rows, sections.row)
    slot = np.argmax(page.videos[at] == sections.video[:, None], axis=1)
    known = min(page.scores.shape[2], comments.shape[1])
    score = np.full(comments.shape, -np.inf, dtype=np.float32)
    given = page.scores[at, slot, :known]
    score[:, :known] = np.where(np.isnan(given), -np.inf, given)
    score[comments < 0] = -np.inf
    order = np.argsort(-score, axis=1, kind="stable")
    return np.take_along_axis(comments, order, axis=1)
