"""Draw videos and comments: their hidden and visible qualities, texts apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.calendar import DAY_MS, HOUR_MS
from simulator.randomness import purpose_key
from simulator.requests import Int32, Int64
from simulator.world.config import WorldConfig
from simulator.world.draws import EvenDraws, IndependentDraws, even_points
from simulator.world.vocabulary import STYLE_NAMES, TOPICS_PER_GROUP

Float32 = NDArray[np.float32]

DIMENSIONS = 16
N_STYLES = len(STYLE_NAMES)
N_TOPICS = 24
_BLOCK = 16
"""Authors stand in order of how much they publish; even draws are even for each so many of them."""

# Characters of six kinds of comments in each style, and what lengthens half of the comments. No
# distribution is published; published examples have 8 to 23 characters.
_LENGTHS = np.array(
    [
        [11, 11, 12, 10, 14, 12],
        [17, 16, 15, 14, 15, 14],
        [15, 12, 10, 13, 12, 14],
        [14, 15, 12, 13, 12, 11],
        [10, 12, 14, 13, 13, 12],
        [11, 13, 14, 10, 14, 12],
        [12, 13, 14, 11, 11, 14],
        [16, 12, 16, 14, 15, 12],
    ]
)
_LENGTHENED = np.array([0, 3, 5, 4, 6, 3, 6, 4])


@dataclass(frozen=True)
class Videos:
    """Hidden and visible qualities of all videos, in index order.

    Attributes:
        vector: float32[V, 16], unit length: what the video is about.
        quality: float32[V], standard normal: how good it is, for everyone.
        discussability: float32[V], standard normal: how much there is to say about it; independent
            of quality and of duration.
        topic: int16[V].
        author: int32[V].
        duration_ms: int64[V].
        upload_ms: int64[V].
        episode: int16[V], its number in its author's series, from 1; 0 elsewhere.
        sequel: int32[V], the next episode of its series, -1 where there is none.
        popularity: float32[V], what the platform displays.
        pool: int32[P], the videos that are shown uniformly at random; long ones, as in KuaiRand.
    """

    vector: Float32
    quality: Float32
    discussability: Float32
    topic: NDArray[np.int16]
    author: Int32
    duration_ms: Int64
    upload_ms: Int64
    episode: NDArray[np.int16]
    sequel: Int32
    popularity: Float32
    pool: Int32


@dataclass(frozen=True)
class Comments:
    """Hidden and visible qualities of all comments, grouped by video, most liked first.

    Attributes:
        offsets: int64[V + 1].
        style: float32[M, 8]: how much of each style; its dominant style is what the text shows.
        dominant: int8[M].
        appeal: float32[M], standard normal: how good it is, for everyone.
        length: int16[M], characters, emoji apart; what a text has is fitted to it.
        likes, replies: int32[M].
        time_ms: int64[M].
    """

    offsets: Int64
    style: Float32
    dominant: NDArray[np.int8]
    appeal: Float32
    length: NDArray[np.int16]
    likes: Int32
    replies: Int32
    time_ms: Int64


def _generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(int(purpose_key(seed, purpose))))


# Quantile function of log(duration in seconds): KuaiRand-Pure's pool of 7,583 videos.
_POOL_DURATION = (
    np.array([0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 1.0]),
    np.log([5.0, 7.44, 10.73, 14.59, 31.95, 81.17, 148.2, 237.8, 303.5, 510.0, 1177.7]),
)


def _unit(vectors: NDArray[np.floating[Any]]) -> Float32:
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, 1e-12), dtype=np.float32)


def topic_vectors(config: WorldConfig, seed: int) -> Float32:
    """float32[24, 16]: unit vectors; topics of one group are closer to each other.

    In even worlds topics are alike in the same way, whatever the seed. How well the best videos can
    suit somebody depends on it, and with it most of what is published of a platform.
    """
    even = config.draws == "even"
    n_groups = -(-N_TOPICS // TOPICS_PER_GROUP)
    group = np.arange(N_TOPICS) // TOPICS_PER_GROUP
    random = _generator(0 if even else seed, "world.topics")
    if even:
        rest = _unit(random.normal(size=(N_TOPICS, DIMENSIONS - n_groups)))
        return _unit(np.hstack([0.6 * np.eye(n_groups)[group], 0.8 * rest]))
    groups = _unit(random.normal(size=(n_groups, DIMENSIONS)))
    own = _unit(random.normal(size=(N_TOPICS, DIMENSIONS)))
    return _unit(0.6 * groups[group] + 0.8 * own)


def taste_map(config: WorldConfig, seed: int) -> Float32:
    """float32[16, 8]: maps a unit taste vector to unit-variance comment taste."""
    draws = _draws(config, _generator(seed, "world.map"))
    return draws.map(DIMENSIONS, N_STYLES).astype(np.float32)


def _draws(
    config: WorldConfig, random: np.random.Generator, n: int = 0, dimensions: int = 0
) -> IndependentDraws:
    """How this world draws; an even one has combinations of so many qualities of n things."""
    if config.draws == "independent":
        return IndependentDraws(random)
    return EvenDraws(random, even_points(random, n, dimensions) if n else None)


def make_videos(config: WorldConfig, seed: int) -> Videos:
    """All videos, uploaded evenly over the old and the new days."""
    random = _generator(seed, "world.videos")
    n = config.n_videos
    draws = _draws(config, random, n, 6)
    centres = topic_vectors(config, seed)
    author_topic = draws.kinds(config.n_authors, N_TOPICS)
    author_offset = random.normal(size=(config.n_authors, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    productivity = np.asarray(1.0 / (np.arange(config.n_authors) + 10.0) ** 0.6, dtype=np.float64)
    author = draws.places(productivity, n)
    stray, other = draws.strays(n, 0.15, N_TOPICS)
    topic = np.where(stray, other, author_topic[author])
    noise = random.normal(size=(n, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    vector = _unit(0.8 * centres[topic] + 0.35 * author_offset[author] + 0.45 * noise)
    quality = draws.normals(n)
    span = (config.old_days + config.new_days) * DAY_MS
    upload = config.start_ms - config.old_days * DAY_MS + np.sort(random.random(n)) * span
    old = int(np.searchsorted(upload, config.start_ms))
    pool = draws.part(quality[:old], config.platform_random_pool).astype(np.int32)
    quality[pool] += config.platform_random_quality
    lengths = draws.normals(n)
    log_seconds = np.log(config.duration_median) + config.duration_sigma * lengths
    log_seconds[pool] = np.interp(draws.levels(lengths[pool]), *_POOL_DURATION)
    seconds = np.exp(np.clip(log_seconds, np.log(3.0), np.log(1_200.0)))
    luck = np.sqrt(1.0 - config.popularity_quality**2) * draws.normals(n)
    fame = config.popularity_sigma * (config.popularity_quality * quality + luck)
    number, sequel = _series(config, seed, author)
    talk = draws.going_on(_generator(seed, "world.discussability"))
    return Videos(
        vector=vector,
        quality=quality.astype(np.float32),
        discussability=_discussability(talk, config.n_authors, topic, author),
        topic=topic.astype(np.int16),
        author=author.astype(np.int32),
        duration_ms=(seconds * 1000).astype(np.int64),
        upload_ms=upload.astype(np.int64),
        episode=number.astype(np.int16),
        sequel=sequel,
        popularity=np.exp(fame).astype(np.float32),
        pool=pool,
    )


def _discussability(
    draws: IndependentDraws,
    n_authors: int,
    topic: NDArray[np.integer[Any]],
    author: NDArray[np.integer[Any]],
) -> Float32:
    """float32[V]: unit variance, of which topic and author explain a fifth each."""
    of_topic, of_author = draws.normals(N_TOPICS), draws.normals(n_authors, _BLOCK)
    own = draws.normals(len(topic))
    parts = np.sqrt(0.2) * (of_topic[topic] + of_author[author]) + np.sqrt(0.6) * own
    return np.asarray(parts, dtype=np.float32)


def _series(
    config: WorldConfig, seed: int, author: NDArray[np.integer[Any]]
) -> tuple[Int64, Int32]:
    """Numbers of episodes from 1, 0 for other videos, and the next episode's video or -1.

    Videos are in order of upload, and so are an author's episodes.
    """
    serial_author = _generator(seed, "world.series").random(config.n_authors) < config.series_share
    order = np.argsort(author, kind="stable")
    first = np.searchsorted(author[order], author[order])
    number: Int64 = np.empty(len(author), dtype=np.int64)
    number[order] = np.arange(len(author)) - first + 1
    serial = serial_author[author]
    sequel: Int32 = np.full(len(author), -1, dtype=np.int32)
    follows = author[order[1:]] == author[order[:-1]]
    sequel[order[:-1][follows]] = order[1:][follows]
    number[~serial], sequel[~serial] = 0, -1
    return number, sequel


def make_comments(config: WorldConfig, seed: int, videos: Videos) -> Comments:
    """The comments of all videos, ordered by video and likes."""
    random = _generator(seed, "world.comments")
    draws = _draws(config, random)
    n = len(videos.quality)
    centre = np.log(config.comments_median) + 0.25 * videos.quality
    centre += config.comments_discussability * videos.discussability
    counts = np.exp(centre + config.comments_sigma * draws.normals(n))
    counts = np.clip(np.round(counts), config.comments_min, config.comments_max).astype(np.int64)
    video = np.repeat(np.arange(n), counts)
    m = len(video)
    # Topics differ in how people talk under them.
    topics = topic_vectors(config, seed)
    lean = draws.leanings(topics @ taste_map(config, seed)) * 0.5
    gumbel = -np.log(-np.log(random.random((m, N_STYLES))))
    dominant = np.argmax(lean[videos.topic[video]] + gumbel, axis=1)
    style = 0.25 * random.normal(size=(m, N_STYLES)) / np.sqrt(N_STYLES)
    style[np.arange(m), dominant] += 1.0
    appeal = random.normal(size=m)
    kind = random.integers(0, _LENGTHS.shape[1], m)
    more = random.integers(0, len(_LENGTHENED), m) * (random.random(m) < 0.5)
    length = _LENGTHS[dominant, kind] + _LENGTHENED[more]
    likes = np.exp(1.0 + 1.1 * appeal + 0.5 * videos.quality[video] + 0.6 * random.normal(size=m))
    likes = np.floor(likes * 2.0).astype(np.int64)
    delay = np.exp(random.normal(2.0, 1.4, m)) * HOUR_MS
    order = np.lexsort((np.arange(m), -likes, video))
    offsets = np.zeros(n + 1, dtype=np.int64)
    offsets[1:] = np.cumsum(counts)
    return Comments(
        offsets=offsets,
        style=style[order].astype(np.float32),
        dominant=dominant[order].astype(np.int8),
        appeal=appeal[order].astype(np.float32),
        length=length[order].astype(np.int16),
        likes=likes[order].astype(np.int32),
        replies=(likes[order] * 0.08).astype(np.int32),
        time_ms=(videos.upload_ms[video] + delay)[order].astype(np.int64),
    )
