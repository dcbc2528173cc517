"""Build what an experiment runs in: the built-in world, or people learned from a log.

An environment makes, for any group of people, a feed that stands at the moment the experiment
starts, together with what those people did before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abtest.run.arms.candidates import candidate_stage
from abtest.run.arms.training import TrainedPolicy
from abtest.run.datasets import with_shared_catalogue
from simulator.behaviours import OUTCOMES
from simulator.calendar import DAY_MS, china_day, china_midnight_ms
from simulator.feed import Feed, FeedSettings
from simulator.log_outcomes import user_days_of_log
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import initial_history
from simulator.loop import Report, drive
from simulator.randomness import purpose_key, uniform
from simulator.recorder import Recorder
from simulator.requests import HistoryState, Int32
from simulator.response.learned import LearnedResponse
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.world import World
from simulator.world.assumptions import Value, with_assumption


@dataclass(frozen=True)
class EnvironmentSpec:
    """Enough to rebuild an environment in another process; plain values only.

    Attributes:
        kind: "world" or "learned".
        dataset: Directory of the log.
        model: Directory of the learned response (kind "learned").
        burn_in_days: Days under the platform's own ranker before the experiment (kind "world").
        seed: Seed of people's noise.
        days: Experiment days.
        candidates: The policy that proposes candidates to every arm; None for the built-in sources.
        assumed: Parameters of the world that differ from the log's (kind "world").
    """

    kind: str
    dataset: str
    model: str
    burn_in_days: int
    seed: int
    days: int
    candidates: TrainedPolicy | None = None
    assumed: tuple[tuple[str, Value], ...] = ()

    def build(self, dataset: Dataset | None = None) -> Environment:
        """The environment itself; ``dataset`` is the log, if it is open already."""
        if dataset is None:
            dataset = with_shared_catalogue(Dataset.open(Path(self.dataset)))
        if self.kind == "world":
            return BuiltInEnvironment(dataset, self)
        return LearnedEnvironment(dataset, self)


class Environment(ABC):
    """A platform, its people, and the moment at which the experiment starts."""

    dataset: Dataset
    catalogue: Catalogue
    start_ms: int
    burn_in_days: int

    @abstractmethod
    def people(self, count: int | None) -> Int32:
        """The dense indices of the people who take part."""

    @abstractmethod
    def warm_feed(
        self, users: Int32, report: Report | None = None, recorder: Recorder | None = None
    ) -> tuple[Feed, pl.DataFrame]:
        """A feed at the start of the experiment, and the people's days before it.

        The frame has one row per (user_id, day) with the outcome columns; days are negative.

        Args:
            users: int32[G], dense indices.
            report: Told how far the days before have come.
            recorder: Receives what happens in the feed from the first simulated day on.
        """

    @abstractmethod
    def user_ids(self, users: Int32) -> NDArray[np.int64]:
        """The identifiers of these people in the log."""

    @abstractmethod
    def ids_by_index(self) -> NDArray[np.int64] | None:
        """int64[N]: identifiers by dense index; None where index and identifier are the same."""

    @abstractmethod
    def user_features(self, users: Int32) -> pl.DataFrame:
        """A row per person, as in the log's table ``users``."""

    @abstractmethod
    def segments(self, users: Int32) -> pl.DataFrame:
        """``user_id`` and text columns ``segment_*`` known before the experiment."""


class BuiltInEnvironment(Environment):
    """The built-in world; people are new to the log, drawn from the same population."""

    def __init__(self, dataset: Dataset, spec: EnvironmentSpec) -> None:
        assert dataset.info.world is not None
        self.dataset = dataset
        self._spec = spec
        self.burn_in_days = spec.burn_in_days
        world = World.from_spec(dataset.info.world)
        for parameter, value in spec.assumed:
            world = World(with_assumption(world.config, parameter, value), world.seed)
        self._world = world
        self.catalogue = self._world.catalogue()
        self._response = WorldResponse(self._world)
        self._retrieval = candidate_stage(
            spec.candidates, dataset, self.catalogue, self._world.popularity()
        )
        # The log's own people, who may be others than the first ones: a run's log is a log too.
        self._log_users = int(dataset.user_ids().max(initial=-1)) + 1
        log_days = _days_of_log(dataset, self._world.config.start_ms)
        self.start_ms = self._world.config.start_ms + log_days * DAY_MS

    def people(self, count: int | None) -> Int32:
        """People after those of the log: drawn from the same population, unseen in training."""
        assert count is not None
        return np.arange(self._log_users, self._log_users + count, dtype=np.int32)

    def warm_feed(
        self, users: Int32, report: Report | None = None, recorder: Recorder | None = None
    ) -> tuple[Feed, pl.DataFrame]:
        """Let the platform's own ranker serve these people for the burn-in days."""
        burn_in_ms = self._spec.burn_in_days * DAY_MS
        feed = Feed(
            self.catalogue,
            self._response.population(users),
            users,
            seed=self._spec.seed,
            start_ms=self.start_ms - burn_in_ms,
            end_ms=self.start_ms,
            history=HistoryState(len(users)),
            retrieval=self._retrieval,
            settings=FeedSettings(),
            recorder=recorder,
        )
        feed.set_policy_label("platform")
        drive(feed, PlatformRanker(self._world, users), report)
        return feed, relative_days(feed.outcomes.to_frame(self.user_ids(users)), self.start_ms)

    def user_ids(self, users: Int32) -> NDArray[np.int64]:
        """In the built-in world a user's index is the identifier."""
        return users.astype(np.int64)

    def ids_by_index(self) -> NDArray[np.int64] | None:
        """None: a user's index is the identifier."""
        return None

    def user_features(self, users: Int32) -> pl.DataFrame:
        """What the world says of these people."""
        return self._world.users_frame(users)

    def segments(self, users: Int32) -> pl.DataFrame:
        """Segments from the world's user features."""
        return segment_columns(self.user_features(users))


class LearnedEnvironment(Environment):
    """People of a real log, answering as a response model learned from it says."""

    def __init__(self, dataset: Dataset, spec: EnvironmentSpec) -> None:
        self.dataset = dataset
        self._spec = spec
        self.burn_in_days = 0
        self.catalogue = dataset.catalogue()
        self._user_ids = dataset.user_ids()
        self._response = LearnedResponse.load(Path(spec.model), dataset)
        self._retrieval = candidate_stage(
            spec.candidates, dataset, self.catalogue, exposure_counts(dataset)
        )
        assert dataset.info.time_span_ms is not None
        # The experiment starts at the first midnight (UTC+8) after the log.
        last = dataset.info.time_span_ms[1]
        self.start_ms = china_midnight_ms(china_day(last) + 1)

    def people(self, count: int | None) -> Int32:
        """Everyone in the log, or ``count`` of them, drawn by the seed of the experiment."""
        everyone = np.arange(len(self._user_ids), dtype=np.int32)
        if count is None:
            return everyone
        draws = uniform(purpose_key(self._spec.seed, "abtest.people"), everyone)
        return np.sort(everyone[np.argsort(draws, kind="stable")[:count]])

    def warm_feed(
        self, users: Int32, report: Report | None = None, recorder: Recorder | None = None
    ) -> tuple[Feed, pl.DataFrame]:
        """Start from the histories and the days in the log."""
        feed = Feed(
            self.catalogue,
            self._response.population(users),
            users,
            seed=self._spec.seed,
            start_ms=self.start_ms,
            end_ms=self.start_ms,
            history=initial_history(self.dataset, users),
            retrieval=self._retrieval,
            settings=FeedSettings(),
            recorder=recorder,
        )
        before = user_days_of_log(self.dataset, self._user_ids[users])
        return feed, relative_days(before, self.start_ms)

    def user_ids(self, users: Int32) -> NDArray[np.int64]:
        """The identifiers in the log."""
        return self._user_ids[users]

    def ids_by_index(self) -> NDArray[np.int64] | None:
        """The identifiers of everyone in the log."""
        return self._user_ids

    def user_features(self, users: Int32) -> pl.DataFrame:
        """What the log says of these people."""
        ids = pl.DataFrame({"user_id": self._user_ids[users]})
        wanted = self.dataset.scan("users").join(ids.lazy(), on="user_id", how="semi")
        return ids.join(wanted.collect(engine="streaming"), on="user_id", how="left")

    def segments(self, users: Int32) -> pl.DataFrame:
        """Segments from the log's user features, as far as it has them."""
        return segment_columns(self.user_features(users))


def exposure_counts(dataset: Dataset) -> NDArray[np.float64]:
    """float64[V]: how often the log shows each video, for the candidate stage."""
    shows = dataset.scan("impressions").group_by("video_id").agg(pl.len())
    counts = shows.collect(engine="streaming")
    index = dataset.catalogue().video_index(counts["video_id"].to_numpy())
    shown = np.zeros(dataset.catalogue().n_videos)
    shown[index[index >= 0]] = counts["len"].to_numpy()[index >= 0]
    return shown


def relative_days(frame: pl.DataFrame, start_ms: int) -> pl.DataFrame:
    """Count days from the first day of the experiment (0); earlier days are negative."""
    return frame.with_columns((pl.col("day") - china_day(start_ms)).cast(pl.Int32))


def segment_columns(users: pl.DataFrame) -> pl.DataFrame:
    """The user features that make sense as segments, as text."""
    chosen = {
        "user_active_degree": "segment_activity",
        "register_days_range": "segment_registered",
        "follow_user_num_range": "segment_follows",
    }
    present = {k: v for k, v in chosen.items() if k in users.columns}
    return users.select(
        "user_id",
        *[pl.col(k).cast(pl.String).fill_null("unknown").alias(v) for k, v in present.items()],
    )


def outcome_columns() -> list[str]:
    """Names of the outcome columns, in order."""
    return list(OUTCOMES)


def _days_of_log(dataset: Dataset, start_ms: int) -> int:
    assert dataset.info.time_span_ms is not None
    last: Any = dataset.info.time_span_ms[1]
    return int(china_day(last) - china_day(start_ms)) + 1
