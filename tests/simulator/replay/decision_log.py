"""A small platform whose decisions are logged and whose truth is known exactly.

Pages of three slots out of six videos; sections of three comments that are read from the top. Both
are filled by the best candidate, or at random with a share. Nothing depends on earlier pages.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

VIDEOS, SLOTS, COMMENTS = 6, 3, 3
CLICK = np.linspace(0.15, 0.75, VIDEOS)
OPEN = np.array([0.6, 0.1, 0.5, 0.2, 0.4, 0.3])
DWELL = np.random.default_rng(5).uniform(1_000, 6_000, (VIDEOS, COMMENTS))
GO_ON = 0.7
LOGGED_VIDEOS = np.array([3.0, 1.0, 2.0, 6.0, 5.0, 4.0])
LOGGED_COMMENTS = np.tile([3.0, 2.0, 1.0], (VIDEOS, 1))


@dataclass(frozen=True)
class DecisionLog:
    """Frames of a dataset."""

    impressions: pl.DataFrame
    video_decisions: pl.DataFrame
    comment_decisions: pl.DataFrame
    comment_events: pl.DataFrame
    comments: pl.DataFrame


def chances(score: np.ndarray, above: list[int], share: float) -> np.ndarray:
    free = np.ones(len(score), bool)
    free[above] = False
    best = np.argmax(np.where(free, score, -np.inf))
    out = np.where(free, share / free.sum(), 0.0)
    out[best] += 1.0 - share
    return out


def make(
    seed: int,
    users: int = 200,
    pages: int = 3,
    video_share: float = 0.5,
    comment_share: float = 0.6,
) -> DecisionLog:
    random = np.random.default_rng(seed)
    impressions: list[tuple[object, ...]] = []
    videos: list[tuple[object, ...]] = []
    decisions: list[tuple[object, ...]] = []
    events: list[tuple[object, ...]] = []
    for user in range(users):
        mood = random.normal(0.0, 0.05)
        for page in range(pages):
            time = 1_000_000 * (page + 1)
            above: list[int] = []
            for slot in range(SLOTS):
                p = chances(LOGGED_VIDEOS, above, video_share)
                video = int(random.choice(VIDEOS, p=p))
                click = random.random() < CLICK[video] + mood
                stay = 0
                if random.random() < OPEN[video]:
                    order: list[int] = []
                    stay = 500
                    for rank in range(COMMENTS):
                        q = chances(LOGGED_COMMENTS[video], order, comment_share)
                        comment = int(random.choice(COMMENTS, p=q))
                        dwell = round(random.exponential(DWELL[video, comment]))
                        stay += dwell
                        key = (user, page, video, rank, time, video * COMMENTS + comment)
                        ids = [video * COMMENTS + c for c in range(COMMENTS)]
                        decisions.append((*key, ids, list(q)))
                        events.append((user, video, key[-1], time, rank, dwell, 0, 0))
                        order.append(comment)
                        if random.random() > GO_ON:
                            break
                impressions.append((user, video, page, slot, time, int(click), 9_000, stay))
                videos.append((user, page, slot, time, video, list(range(VIDEOS)), list(p)))
                above.append(video)
    return DecisionLog(
        pl.DataFrame(
            impressions,
            schema=["user_id", "video_id", "request_id", "position", "time_ms", "is_click",
                    "play_time_ms", "comment_stay_time"],
            orient="row",
        ),
        pl.DataFrame(
            videos,
            schema=["user_id", "request_id", "position", "time_ms", "video_id", "candidates",
                    "propensities"],
            orient="row",
        ),
        pl.DataFrame(
            decisions,
            schema=["user_id", "request_id", "video_id", "position", "time_ms", "comment_id",
                    "candidates", "propensities"],
            orient="row",
        ),
        pl.DataFrame(
            events,
            schema=["user_id", "video_id", "comment_id", "time_ms", "position", "dwell_ms",
                    "is_like", "is_reply"],
            orient="row",
        ),
        pl.DataFrame(
            {
                "comment_id": np.arange(VIDEOS * COMMENTS),
                "video_id": np.repeat(np.arange(VIDEOS), COMMENTS),
                "like_count": np.tile([9, 5, 1], VIDEOS),
            }
        ),
    )  # fmt: skip


def stay_of(video: int, score: np.ndarray, share: float) -> float:
    """Expected stay of an opened section under a comment policy, exactly."""
    total = 500.0
    for order in itertools.permutations(range(COMMENTS)):
        chance, reached = 1.0, 1.0
        for rank, comment in enumerate(order):
            chance *= chances(score, list(order[:rank]), share)[comment]
        worth = 0.0
        for comment in order:
            worth += reached * DWELL[video, comment]
            reached *= GO_ON
        total += chance * worth
    return total


def slot_truth(
    score: np.ndarray, share: float, worth: np.ndarray, video_share: float = 0.5
) -> float:
    """Mean over logged prefixes of what the target's choice for the slot is worth."""
    total = 0.0
    for slot in range(SLOTS):
        for above in itertools.permutations(range(VIDEOS), slot):
            chance = 1.0
            for rank, video in enumerate(above):
                chance *= chances(LOGGED_VIDEOS, list(above[:rank]), video_share)[video]
            total += chance * float(chances(score, list(above), share) @ worth)
    return total / SLOTS


def page_truth(score: np.ndarray, share: float, worth: np.ndarray) -> float:
    """Mean worth of a slot where the target fills the whole page."""
    total = 0.0
    for page in itertools.permutations(range(VIDEOS), SLOTS):
        chance = 1.0
        for rank, video in enumerate(page):
            chance *= chances(score, list(page[:rank]), share)[video]
        total += chance * float(worth[list(page)].mean())
    return total


def by_item(score: np.ndarray) -> Callable[[object], np.ndarray]:
    return lambda requests: score[np.maximum(requests.candidates, 0)].astype(np.float32)  # type: ignore[attr-defined]


def page_weight(video: int, video_share: float = 0.5) -> float:
    """How often a logged page shows a video."""
    worth = np.zeros(VIDEOS)
    worth[video] = SLOTS
    return slot_truth(LOGGED_VIDEOS, video_share, worth, video_share)


def place_truth(video: int, score: np.ndarray, share: float, logged_share: float = 0.6) -> float:
    """Sum over places of the chance to reach one times the target's dwell there."""
    total = 0.0
    for rank in range(COMMENTS):
        for above in itertools.permutations(range(COMMENTS), rank):
            chance = GO_ON**rank
            for place, comment in enumerate(above):
                chance *= chances(LOGGED_COMMENTS[video], list(above[:place]), logged_share)[
                    comment
                ]
            total += chance * float(chances(score, list(above), share) @ DWELL[video])
    return total
