"""Draw logs of a platform whose truth is known, for the study of replay's intervals.

Every person has a level and a taste; every page has slots that are filled by the logging ranker's
best candidate or at random with a share. Clicks, hates and opening are Bernoulli, the time in the
comment section is log-normal with a long tail. Nothing depends on earlier pages, so the value of a
target policy for a slot, given what the log shows above, is exact for each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset, DatasetInfo
from simulator.replay import TargetPolicy
from simulator.requests import VideoRequests

Float64 = NDArray[np.float64]
VIDEOS, CANDIDATES, SLOTS, PAGES, TASTES = 200, 10, 4, 5, 4
TAIL = 1.3
STAY_MS = 6_000.0


class MemoryDataset(Dataset):
    """A dataset whose tables are frames in memory."""

    def __init__(self, frames: dict[str, pl.DataFrame]) -> None:
        self._frames = frames
        info = DatasetInfo(
            format_version=1, name="study", source="study", licence="none", language=None,
            rows={n: f.height for n, f in frames.items()}, time_span_ms=None, content_hash="0",
            columns={n: f.columns for n, f in frames.items()}, world=None, notes=[],
        )  # fmt: skip
        super().__init__(Path("study"), info)
        self._built = Catalogue.build(
            np.arange(VIDEOS), category=(np.arange(VIDEOS) % TASTES).astype(np.int16)
        )

    def scan(self, table: str) -> pl.LazyFrame:
        """Give the frame."""
        return self._frames[table].lazy()

    def catalogue(self) -> Catalogue:
        """Videos without comments."""
        return self._built


@dataclass(frozen=True)
class Platform:
    """What people are like, the same in every log of a study.

    Attributes:
        quality: float64[VIDEOS].
        topic: int64[VIDEOS].
    """

    quality: Float64
    topic: NDArray[np.int64]

    @classmethod
    def new(cls) -> Platform:
        """The platform of every study: qualities by a fixed seed."""
        random = np.random.default_rng(20)
        return cls(random.normal(0, 0.6, VIDEOS), np.arange(VIDEOS) % TASTES)

    def means(
        self, level: Float64, taste: Float64, videos: NDArray[np.integer]
    ) -> dict[str, Float64]:
        """Expected outcomes of videos [B, C] for people [B] with tastes [B, TASTES]."""
        liking = np.take_along_axis(taste, self.topic[videos], axis=1)
        utility = self.quality[videos] + liking + level[:, None]
        opening = 1 / (1 + np.exp(-(-2.2 + 0.6 * utility)))
        stay = STAY_MS * np.exp(0.3 * utility)
        return {
            "click_rate": 1 / (1 + np.exp(-(-0.5 + utility))),
            "hate_rate": 1 / (1 + np.exp(-(-5.5 - 0.5 * utility))),
            "comment_open_rate": opening,
            "comment_stay_ms": opening * stay,
        }

    def draw(self, users: int, share: float, seed: int) -> Drawn:
        """A log of ``users`` people."""
        random = np.random.default_rng(seed)
        n = users * PAGES
        user = np.repeat(np.arange(users), PAGES)
        level = np.repeat(random.normal(0, 0.5, users), PAGES)
        taste = np.repeat(random.normal(0, 0.7, (users, TASTES)), PAGES, axis=0)
        candidates = np.argsort(random.random((n, VIDEOS)), axis=1)[:, :CANDIDATES]
        score = logging_score(self)[candidates]
        free = np.ones((n, CANDIDATES), dtype=bool)
        policy = TargetPolicy(explore_share=share)
        chances, chosen, frees = [], [], []
        for _ in range(SLOTS):
            p = policy.probabilities(score, free)
            at = (p.cumsum(axis=1) < random.random((n, 1))).sum(axis=1).clip(max=CANDIDATES - 1)
            chances.append(p)
            chosen.append(at)
            frees.append(free.copy())
            free[np.arange(n), at] = False
        means = self.means(level, taste, candidates)
        place = np.stack(chosen, axis=1)
        outcomes = self._outcomes(means, place, random)
        return Drawn(user, candidates, np.stack(chances, axis=1), place, outcomes, means,
                     np.stack(frees, axis=1))  # fmt: skip

    def _outcomes(
        self, means: dict[str, Float64], place: NDArray[np.int64], random: np.random.Generator
    ) -> dict[str, Float64]:
        of_shown = {k: np.take_along_axis(v, place, axis=1) for k, v in means.items()}
        opened = random.random(place.shape) < of_shown["comment_open_rate"]
        mean = of_shown["comment_stay_ms"] / of_shown["comment_open_rate"]
        stay = mean * np.exp(TAIL * random.normal(size=place.shape) - TAIL**2 / 2)
        return {
            "is_click": (random.random(place.shape) < of_shown["click_rate"]).astype(float),
            "is_hate": (random.random(place.shape) < of_shown["hate_rate"]).astype(float),
            "comment_stay_time": np.where(opened, np.maximum(stay, 1.0), 0.0),
        }


@dataclass(frozen=True)
class Drawn:
    """One log as arrays: pages [B], candidates [B, C], probabilities [B, S, C], places [B, S]."""

    user: NDArray[np.int64]
    candidates: NDArray[np.int64]
    chances: Float64
    place: NDArray[np.int64]
    outcomes: dict[str, Float64]
    means: dict[str, Float64]
    free: NDArray[np.bool_]

    def dataset(self) -> MemoryDataset:
        """The log as decisions."""
        n = len(self.user)
        page = np.arange(n) % PAGES
        shown = np.take_along_axis(self.candidates, self.place, axis=1)
        keys = pl.DataFrame(
            {
                "user_id": np.repeat(self.user, SLOTS),
                "request_id": np.repeat(page, SLOTS),
                "position": np.tile(np.arange(SLOTS), n),
                "time_ms": np.repeat((page + 1) * 1_000_000, SLOTS),
                "video_id": shown.ravel(),
            }
        )
        lists = np.repeat(self.candidates, SLOTS, axis=0)
        decisions = keys.with_columns(
            candidates=pl.Series(lists, dtype=pl.Array(pl.Int64, CANDIDATES)).cast(
                pl.List(pl.Int64)
            ),
            propensities=pl.Series(
                self.chances.reshape(-1, CANDIDATES).astype(np.float32),
                dtype=pl.Array(pl.Float32, CANDIDATES),
            ).cast(pl.List(pl.Float32)),
        )
        outcomes = {k: pl.Series(v.ravel()) for k, v in self.outcomes.items()}
        users = pl.DataFrame({"user_id": np.unique(self.user)})
        return MemoryDataset(
            {
                "impressions": keys.with_columns(**outcomes),
                "video_decisions": decisions,
                "users": users,
                "videos": pl.DataFrame({"video_id": np.arange(VIDEOS)}),
            }
        )

    def truth(self, score: Float64, policy: TargetPolicy) -> dict[str, float]:
        """Value per metric of a ranker on this log's prefixes, exactly; average many logs."""
        total = dict.fromkeys(self.means, 0.0)
        own = score[self.candidates]
        for slot in range(SLOTS):
            p = policy.probabilities(own, self.free[:, slot])
            for name, mean in self.means.items():
                total[name] += float((p * mean).sum(axis=1).mean()) / SLOTS
        return total


def logging_score(platform: Platform) -> Float64:
    """What the log's ranker believed of each video: quality with an error."""
    return platform.quality + np.random.default_rng(21).normal(0, 0.5, VIDEOS)


def target_scores(platform: Platform) -> dict[str, Float64]:
    """Rankers near to and far from the log's."""
    random = np.random.default_rng(22)
    logged = logging_score(platform)
    return {
        "near": logged + random.normal(0, 0.3, VIDEOS),
        "better": platform.quality,
        "far": -platform.quality + random.normal(0, 0.3, VIDEOS),
    }


def by_video(score: Float64) -> object:
    """A scorer."""

    def scorer(requests: VideoRequests) -> NDArray[np.float32]:
        return score[np.maximum(requests.candidates, 0)].astype(np.float32)

    return scorer
