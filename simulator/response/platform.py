"""Rank as the platform's present production ranker does, which wrote the log.

It stands for years of features and models: a noisy view of what suits each person, and an
objective that weighs play time, clicks, likes and comments. Slates are drawn from a Plackett-Luce
model, so every slot has a known propensity, and a small share of slots shows a uniformly random
video instead, as in KuaiRand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from simulator.calendar import HOUR_MS
from simulator.randomness import mix, normal, purpose_key, uniform
from simulator.requests import CommentOrders, CommentRequests, Int32, Slates, VideoRequests
from simulator.response.playing import play_laws
from simulator.world.config import WorldConfig
from simulator.world.world import World

_SHARES = "platform.random_share"
_BURST_MS = 2 * HOUR_MS
_GOLDEN = (5.0**0.5 - 1.0) / 2.0


@dataclass(frozen=True)
class Objective:
    """What a ranker of the platform sees and wants.

    Attributes:
        noise: Standard deviation of the error in its view of each person's log-odds of a click;
            0 sees everything, infinity nothing of what suits whom.
        click, play, like, comment: Weights of the log of each predicted outcome.
    """

    noise: float
    click: float = 1.0
    play: float = 0.0
    like: float = 0.0
    comment: float = 0.0

    @classmethod
    def of(cls, config: WorldConfig) -> Objective:
        """The production ranker's."""
        c = config
        return cls(
            c.platform_noise, c.platform_click, c.platform_play, c.platform_like, c.platform_comment
        )


class PlatformRanker:
    """Ranks videos for one group of the world's people; leaves comments in order of likes.

    Args:
        world: The world; the ranker may look at its truth, being the world's own platform.
        users: int32[G], the group, in the feed's row order.
        objective: What it sees and wants; the production ranker's if None.
    """

    def __init__(self, world: World, users: Int32, objective: Objective | None = None) -> None:
        self._world = world
        self._objective = objective or Objective.of(world.config)
        people = world.people(users)
        mean, deviation = world.affinity_moments
        self._taste = people.taste / np.float32(deviation)
        self._grid = people.grid
        # Its view of people who use the platform a lot is worse or better than of others.
        growth = world.config.platform_noise_volume * people.volume.astype(np.float64)
        self._noise = self._objective.noise * np.exp(np.clip(growth, -20.0, 20.0))
        self._centre = np.float32(mean / deviation)
        self._noise_key = purpose_key(world.seed, "platform.noise")
        self._slate_key = purpose_key(world.seed, "platform.slate")
        self._burst_key = purpose_key(world.seed, "platform.random_bursts")
        self._explore_key = purpose_key(world.seed, "platform.explore_comments")
        self._merit = _merit(world, self._objective)
        c = world.config
        # Some people are shown far more random videos than others.
        shift = float(uniform(purpose_key(world.seed, _SHARES), 0))
        # Evenly spread over any run of users (Weyl 1916), so that small logs are not unlucky.
        level = np.clip((shift + _GOLDEN * users.astype(np.float64)) % 1.0, 1e-9, 1.0 - 1e-9)
        spread = np.exp(c.platform_random_sigma * ndtri(level))
        self._random_share = c.platform_random_share * np.minimum(
            spread / np.exp(0.5 * c.platform_random_sigma**2),
            0.5 / max(c.platform_random_share, 1e-9),
        )

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        """Plackett-Luce pages with conditional propensities and a few random slots."""
        c = self._world.config
        candidates = requests.candidates
        real = candidates >= 0
        score = self._scores(requests) / c.platform_temperature
        score = np.where(real, score, -np.inf)
        key = mix(self._slate_key, requests.key)
        gumbel = -np.log(-np.log(uniform(key[:, None], candidates)))
        order = np.argsort(-(score + gumbel), axis=1, kind="stable")[:, :page_size]
        videos = np.take_along_axis(candidates, order, axis=1)
        weight = np.exp(score - score.max(axis=1, keepdims=True))
        chosen = np.take_along_axis(weight, order, axis=1)
        above = np.cumsum(chosen, axis=1) - chosen
        remaining = np.maximum(weight.sum(axis=1, keepdims=True) - above, chosen)
        propensity = np.where(videos >= 0, chosen / np.maximum(remaining, 1e-30), 0.0)
        videos, is_rand = self._with_random_slots(requests, videos, key)
        equal = 1.0 / max(len(self._world.videos.pool), 1)
        propensity = np.where(is_rand, equal, propensity)
        return Slates(
            videos=videos.astype(np.int32),
            propensity=propensity.astype(np.float32),
            is_rand=is_rand,
        )

    def comments(self, requests: CommentRequests) -> Int32 | CommentOrders:
        """The platform's own order, most liked first; a random one in the exploration bucket."""
        share = self._world.config.platform_explore_comments
        listed = requests.candidates
        if share <= 0.0:
            return listed
        key = mix(self._explore_key, requests.key)
        order = listed.copy()
        at = np.flatnonzero(uniform(key, -1) < share)
        draw = np.where(listed[at] >= 0, uniform(key[at, None], listed[at]), 2.0)
        order[at] = np.take_along_axis(listed[at], np.argsort(draw, axis=1), axis=1)
        return CommentOrders(order, bucket_propensity(order, listed, share))

    def _scores(self, requests: VideoRequests) -> NDArray[np.float64]:
        """float64[B, C]: the weighted mean of log predictions, in log-odds of a click.

        Every prediction rises with the same view of what suits the person, so their weighted sum
        is that view plus what the video itself adds; see `_merit`.
        """
        c, v = self._world.config, self._world.videos
        videos = requests.candidates
        noise = self._objective.noise
        if np.isinf(noise):
            return np.zeros(videos.shape)
        affinity = np.einsum("bd,bsd->bs", self._taste[requests.row], v.vector[videos])
        view = c.click_taste * (affinity - self._centre) + c.click_quality * v.quality[videos]
        view = view + self._merit[videos]
        if noise > 0.0:
            error = normal(self._noise_key, requests.user[:, None], videos)
            view = view + self._noise[requests.row, None] * error
        return np.asarray(view)

    def _share(self, requests: VideoRequests) -> NDArray[np.float64]:
        """float64[B]: share of random slots, uneven over people and over each one's hours."""
        share = self._random_share[requests.row]
        c = self._world.config
        if c.platform_random_bursts:
            block = requests.time_ms // _BURST_MS
            level = normal(self._burst_key, requests.user, block)
            share = share * np.exp(
                c.platform_random_bursts * level - 0.5 * c.platform_random_bursts**2
            )
        return np.asarray(np.minimum(share, 0.5))

    def _with_random_slots(
        self, requests: VideoRequests, videos: Int32, key: NDArray[np.uint64]
    ) -> tuple[Int32, NDArray[np.bool_]]:
        """Show a video of the random pool in a few slots of the single-column feed, as KuaiRand."""
        pool = self._world.videos.pool
        share = self._share(requests)[:, None]
        draw = uniform(key[:, None], -1 - np.arange(videos.shape[1]))
        grid = self._world.in_grid(requests.key, self._grid[requests.row])
        is_rand = (draw < share) & (videos >= 0) & ~grid[:, None]
        if len(pool) == 0 or not is_rand.any():
            return videos, np.zeros(videos.shape, dtype=np.bool_)
        # One hash decides whether the slot is random and, rescaled, which video it shows.
        pick = np.minimum(draw / np.maximum(share, 1e-12), 1.0 - 1e-9) * len(pool)
        drawn = pool[np.where(is_rand, pick, 0.0).astype(np.int64)]
        clash = (drawn[:, :, None] == videos[:, None, :]).any(axis=2)
        clash |= (drawn[:, :, None] == np.where(is_rand, drawn, -1)[:, None, :]).sum(axis=2) > 1
        is_rand &= ~clash
        return np.where(is_rand, drawn, videos), is_rand


def bucket_propensity(order: Int32, listed: Int32, share: float) -> NDArray[np.float32]:
    """float32[R, M]: probability of each comment at its rank, given the ranks above; 0 at padding.

    A section is in the exploration bucket with probability ``share``; all orders are equally likely
    there, and ``listed`` is certain elsewhere. Which of the two it was shows in the ranks above:
    while they are as listed, both are possible.

    Args:
        order: int32[R, M], as displayed, -1 padded at the end.
        listed: int32[R, M], the same comments in the platform's own order.
        share: Of sections in the bucket.
    """
    real = order >= 0
    left = np.maximum(real.sum(axis=1, keepdims=True) - np.arange(order.shape[1]), 1)
    first = np.ones((len(order), 1))
    # Probability of the ranks down to each one, by either way.
    random = share * np.cumprod(np.where(real, 1.0 / left, 1.0), axis=1)
    own = (1.0 - share) * np.cumprod(np.where(real, order == listed, 1.0), axis=1)
    above = np.hstack([first, (random + own)[:, :-1]])
    return np.where(real, (random + own) / above, 0.0).astype(np.float32)


def _merit(world: World, objective: Objective) -> NDArray[np.float32]:
    """float32[V]: what an objective adds to each video's view, in log-odds of a click.

    The score is ``sum of weight_k log(prediction_k)``, as platforms of short videos commonly fuse
    predictions. To first order the log of each prediction is a slope in the person's relevance
    plus something of the video's own: expected seconds of a click for play time, its duration's
    part for likes, its talk for comments. Divided by the sum of the slopes, the first is the view
    itself.
    """
    c = world.config
    scale = world.relevance_scale
    seconds = (world.videos.duration_ms / 1000.0).astype(np.float32)
    shortest, room, full, share = play_laws(c, seconds, np.zeros_like(seconds))
    held = full * seconds * (1.0 + c.play_replay) + (1.0 - full) * (shortest + room / (1.0 + share))
    hold = np.log(held)
    log_duration = np.log(seconds / 30.0)
    slope = objective.click + objective.play
    slope += scale * (objective.like * c.like_relevance + objective.comment * c.open_relevance)
    own = objective.play * (hold - hold.mean()) - objective.like * c.like_duration * log_duration
    own = own + objective.comment * np.maximum(world.talk, -5.0)
    return np.asarray(own / max(slope, 1e-6), dtype=np.float32)
