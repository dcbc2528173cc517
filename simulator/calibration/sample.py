"""Simulate the people that every evaluation of a fit looks at: their log and its contrasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from simulator.calendar import DAY_MS
from simulator.calibration.contrasts import ExposureContrast
from simulator.calibration.experiments import CENTRAL, LINES
from simulator.calibration.ladder import elasticity, live_ladder, quality_ladder
from simulator.comment_sections import CommentSections
from simulator.feed import Feed
from simulator.logs.measures import LogTables, Measures, measure
from simulator.recorder import Recorder
from simulator.requests import HistoryState
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldPopulation, WorldResponse
from simulator.retrieval import Retrieval
from simulator.world.config import WorldConfig
from simulator.world.world import World

_BATCH = 1_024


@dataclass(frozen=True)
class Sample:
    """Who is simulated in every evaluation.

    Attributes:
        seed: Of the first world and of all its draws.
        worlds: How many worlds are simulated, of this seed and the next ones; figures are means
            over them, so that a fit holds for more than one.
        users, days: Size of each world's log.
        ladder_users, ladder_days: Size of each world's twin run of the ladder; 0 people for none.
        contrasts: Whether ratios of standard to random exposure are measured; they take a third of
            the time.
    """

    seed: int = 1
    worlds: int = 1
    users: int = 800
    days: int = 4
    ladder_users: int = 0
    ladder_days: int = 2
    contrasts: bool = True

    def evidence(self, config: WorldConfig) -> Measures:
        """Statistics of the log, contrasts as ``contrast.*``, elasticities as ``ladder.*``."""
        found = [self._evidence(config, self.seed + number) for number in range(self.worlds)]
        names = dict.fromkeys(name for one in found for name in one)
        return {name: _mean([one.get(name) for one in found]) for name in names}

    def _evidence(self, config: WorldConfig, seed: int) -> Measures:
        """The same of one world."""
        log, ratios = self._live(config, seed)
        found = measure(log)
        if self.contrasts:
            found |= {f"contrast.{name}": ratio for name, ratio in ratios.items()}
        if self.ladder_users:
            rungs = live_ladder(
                World.create(config, seed),
                {name: rung for name, rung in quality_ladder(config).items() if name in CENTRAL},
                users=self.ladder_users,
                days=self.ladder_days,
                seed=seed,
            )
            found |= {
                f"ladder.{line.name}": elasticity(rungs, line.first, line.second)
                for line in LINES
                if line.axis == "model"
            }
        return found

    def log(self, config: WorldConfig) -> LogTables:
        """The log that the platform's own ranker would write in the first world, in memory."""
        return self._live(config, self.seed)[0]

    def _live(self, config: WorldConfig, seed: int) -> tuple[LogTables, dict[str, float]]:
        world = World.create(config, seed)
        catalogue = world.catalogue()
        group = np.arange(self.users, dtype=np.int32)
        recorder = Recorder(catalogue)
        feed = Feed(
            catalogue,
            WorldResponse(world).population(group),
            group,
            seed=seed,
            start_ms=config.start_ms,
            end_ms=config.start_ms + self.days * DAY_MS,
            history=HistoryState(self.users),
            retrieval=Retrieval(catalogue, world.popularity()),
            recorder=recorder,
            batch=_BATCH,
        )
        platform = PlatformRanker(world, group)
        people = feed.population
        assert isinstance(people, WorldPopulation)
        listed = CommentSections(catalogue, feed.settings.comment_limit)
        pool = np.zeros(len(world.videos.quality), dtype=np.bool_)
        pool[world.videos.pool] = True
        contrast = ExposureContrast(pool)
        while (requests := feed.video_requests()) is not None:
            slates = platform.slates(requests, feed.settings.page_size)
            if self.contrasts:
                contrast.expect(
                    people,
                    requests.row.astype(np.int64),
                    requests.time_ms,
                    requests.key,
                    slates,
                    listed.previews(slates.videos, requests.time_ms),
                )
            sections = feed.show(slates)
            if sections is not None:
                feed.show_comments(platform.comments(sections))
        tables = dict(recorder.drain())
        tables |= {"users": world.users_frame(group), "videos": _videos(world)}
        return LogTables({k: frame.lazy() for k, frame in tables.items()}), contrast.ratios()


def _videos(world: World) -> pl.DataFrame:
    """What is measured of the videos table; its texts would take as long as a small log."""
    videos = world.videos
    return pl.DataFrame(
        {
            "video_id": np.arange(len(videos.quality), dtype=np.int64),
            "author_id": videos.author.astype(np.int64),
            "duration_ms": videos.duration_ms,
        }
    )


def _mean(values: list[float | None]) -> float | None:
    """Mean over the worlds in which there is a figure."""
    there = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(there)) if there else None
