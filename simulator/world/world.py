"""Build a world from a few numbers: its inventory and where its people come from."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.logs.catalogue import Catalogue
from simulator.randomness import purpose_key, uniform
from simulator.requests import Int32
from simulator.world.config import WorldConfig
from simulator.world.items import (
    N_STYLES,
    N_TOPICS,
    Comments,
    Videos,
    make_comments,
    make_videos,
    taste_map,
    topic_vectors,
)
from simulator.world.people import N_CIRCLES, People, make_people, users_frame
from simulator.world.texts import captions, comment_texts
from simulator.world.vocabulary import vocabulary

WORLD_VERSION = 7
_TAB = 17 << 16


class World:
    """The built-in world, a pure function of its parameters and one seed.

    Args:
        config: Parameters.
        seed: Which of the worlds with these parameters.
    """

    def __init__(self, config: WorldConfig, seed: int) -> None:
        self.config = config
        self.seed = seed

    @classmethod
    def create(
        cls,
        preset: str | WorldConfig = "default",
        seed: int = 1,
        language: str | None = None,
    ) -> World:
        """A world from a preset's name or from parameters, and perhaps in another language.

        Raises:
            DataError: no such preset or language.
        """
        config = preset if isinstance(preset, WorldConfig) else WorldConfig.preset(preset)
        if language is not None:
            config = WorldConfig.from_dict({**dataclasses.asdict(config), "language": language})
        return cls(config, seed)

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> World:
        """Rebuild the identical world from `spec`.

        Raises:
            DataError: the specification is of another version of the world.
        """
        if spec.get("world_version") != WORLD_VERSION:
            raise DataError(
                f"the log comes from world version {spec.get('world_version')}, "
                f"this program has {WORLD_VERSION}.",
                "Make it again: abtest data synth DATASET",
            )
        return cls(WorldConfig.from_dict(spec["config"]), int(spec["seed"]))

    def spec(self) -> dict[str, Any]:
        """Everything needed to rebuild the world, JSON-serialisable."""
        return {
            "world_version": WORLD_VERSION,
            "seed": self.seed,
            "config": dataclasses.asdict(self.config),
        }

    @cached_property
    def topics(self) -> NDArray[np.float32]:
        """float32[24, 16]: topic vectors."""
        return topic_vectors(self.config, self.seed)

    @cached_property
    def videos(self) -> Videos:
        """All videos."""
        return make_videos(self.config, self.seed)

    @cached_property
    def comments(self) -> Comments:
        """All comments."""
        return make_comments(self.config, self.seed, self.videos)

    @cached_property
    def comment_traits(self) -> NDArray[np.float32]:
        """float32[M, 10]: style, appeal and slowness of each comment, read together.

        Slowness is what its length and its video's duration add to the log of the seconds on it.
        """
        c, comments = self.config, self.comments
        slow = c.dwell_length * np.log(comments.length * np.float32(1 / 15))
        of_video = c.dwell_duration * np.log(self.videos.duration_ms / 30_000.0)
        slow += np.repeat(of_video, np.diff(comments.offsets))
        return np.column_stack([comments.style, comments.appeal, slow]).astype(np.float32)

    @cached_property
    def taste_map(self) -> NDArray[np.float32]:
        """float32[16, 8]: maps a unit taste vector to unit-variance comment taste."""
        return taste_map(self.config, self.seed)

    @cached_property
    def circle_taste(self) -> NDArray[np.float32]:
        """float32[6, 24, 8]: how each circle's taste in comments departs from its own by topic.

        Its variance, ``comment_taste_strength^2 comment_taste_topics``, makes up for what people's
        own taste lacks, so that matches vary as much as without.
        """
        c = self.config
        random = np.random.Generator(np.random.Philox(int(purpose_key(self.seed, "world.circles"))))
        drawn = random.normal(size=(N_CIRCLES, N_TOPICS, N_STYLES))
        scale = c.comment_taste_strength * np.sqrt(c.comment_taste_topics)
        return np.asarray(scale * drawn, dtype=np.float32)

    @cached_property
    def comment_topic(self) -> NDArray[np.int16]:
        """int16[M]: the topic of each comment's video."""
        return np.repeat(self.videos.topic, np.diff(self.comments.offsets))

    @cached_property
    def affinity_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of taste . video over random people and videos."""
        people = self.people(np.arange(2_000, dtype=np.int32))
        step = max(1, len(self.videos.quality) // 2_000)
        affinity = people.taste @ self.videos.vector[::step].T
        return float(affinity.mean()), float(affinity.std())

    @cached_property
    def talk(self) -> NDArray[np.float32]:
        """float32[V]: what each video itself adds to the log-odds of opening its comments."""
        c = self.config
        counts = np.diff(self.comments.offsets)
        talk = c.open_comments * np.log(np.maximum(counts, 1) / c.comments_median)
        talk += c.open_discussability * self.videos.discussability
        return np.where(counts > 0, talk, -30.0).astype(np.float32)

    @cached_property
    def relevance_scale(self) -> float:
        """What turns the log-odds of taste and quality into relevance of unit variance."""
        return float(1.0 / max(np.hypot(self.config.click_taste, self.config.click_quality), 1e-9))

    def people(self, users: Int32) -> People:
        """The people with these indices."""
        users = np.asarray(users, dtype=np.int32)
        return make_people(self.config, self.seed, self.topics, self.taste_map, users)

    def in_grid(
        self, key: NDArray[np.uint64], share: NDArray[np.floating[Any]]
    ) -> NDArray[np.bool_]:
        """bool[B]: whether the pages with these request keys are of the two-column tab.

        Args:
            key: uint64[B].
            share: float[B], the share of such pages of the people who asked (`People.grid`).
        """
        return np.asarray(uniform(key, _TAB) < share)

    def popularity(self) -> NDArray[np.float32]:
        """float32[V]: what the platform's counters say, before the log starts."""
        return self.videos.popularity

    def catalogue(self) -> Catalogue:
        """The inventory as rankers may know it."""
        return self._catalogue

    @cached_property
    def _catalogue(self) -> Catalogue:
        videos, comments = self.videos, self.comments
        # Category and author codes follow the same rules as a catalogue read from a log.
        topics = vocabulary(self.config.language).topic_names
        names = sorted({topics[t] for t in np.unique(videos.topic)})
        code = np.array([names.index(n) if n in names else -1 for n in topics])
        _, author = np.unique(videos.author, return_inverse=True)
        return Catalogue.build(
            np.arange(len(videos.quality)),
            author=author,
            category=code[videos.topic],
            category_names=names,
            duration_ms=videos.duration_ms,
            upload_ms=videos.upload_ms,
            comment_offsets=comments.offsets,
            comment_likes=comments.likes,
            comment_replies=comments.replies,
            comment_time_ms=comments.time_ms,
        )

    def videos_frame(self) -> pl.DataFrame:
        """The ``videos`` table."""
        videos = self.videos
        names = pl.Series(vocabulary(self.config.language).topic_names).gather(videos.topic)
        return pl.DataFrame(
            {
                "video_id": np.arange(len(videos.quality), dtype=np.int64),
                "author_id": videos.author.astype(np.int64),
                "category": names,
                "tags": pl.Series(names).reshape((len(names), 1)).arr.to_list(),
                "caption": captions(videos, self.seed, self.config.language),
                "duration_ms": videos.duration_ms,
                "upload_time_ms": videos.upload_ms,
                "video_type": pl.repeat("NORMAL", len(names), eager=True),
                "comment_count": np.diff(self.comments.offsets),
            }
        )

    def comments_frame(self) -> pl.DataFrame:
        """The ``comments`` table."""
        comments = self.comments
        video = np.repeat(np.arange(len(self.videos.quality)), np.diff(comments.offsets))
        return pl.DataFrame(
            {
                "comment_id": np.arange(len(comments.appeal), dtype=np.int64),
                "video_id": video.astype(np.int64),
                "text": comment_texts(self.videos, comments, self.seed, self.config.language),
                "like_count": comments.likes.astype(np.int64),
                "reply_count": comments.replies.astype(np.int64),
                "time_ms": comments.time_ms,
            }
        )

    def users_frame(self, users: Int32) -> pl.DataFrame:
        """The ``users`` table for these people."""
        return users_frame(self.config, self.seed, np.asarray(users, dtype=np.int32))
