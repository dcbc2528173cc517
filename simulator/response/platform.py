"""The platform's present production ranker: who wrote the log that policies are trained on.

It stands for years of features and models: a noisy view of each person's true log-odds of a
click. Slates are drawn from a Plackett-Luce model, so every slot has a known propensity, and a
small share of slots shows a uniformly random video instead, as in KuaiRand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.randomness import mix, normal, purpose_key, uniform
from simulator.requests import CommentRequests, Int32, Slates, VideoRequests
from simulator.world.world import World


class PlatformRanker:
    """Ranks videos for one group of the world's people; leaves comments in order of likes.

    Args:
        world: The world; the ranker may look at its truth, being the world's own platform.
        users: int32[G], the group, in the feed's row order.
    """

    def __init__(self, world: World, users: Int32) -> None:
        self._world = world
        people = world.people(users)
        mean, deviation = world.affinity_moments
        self._taste = people.taste / np.float32(deviation)
        self._centre = np.float32(mean / deviation)
        self._noise_key = purpose_key(world.seed, "platform.noise")
        self._slate_key = purpose_key(world.seed, "platform.slate")

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

    def comments(self, requests: CommentRequests) -> Int32:
        """The platform's own order: most liked first."""
        return requests.candidates

    def _scores(self, requests: VideoRequests) -> NDArray[np.float64]:
        c, v = self._world.config, self._world.videos
        videos = requests.candidates
        affinity = np.einsum("bd,bsd->bs", self._taste[requests.row], v.vector[videos])
        noise = normal(self._noise_key, requests.user[:, None], videos)
        utility = c.click_taste * (affinity - self._centre) + c.click_quality * v.quality[videos]
        return np.asarray(utility + c.platform_noise * noise)

    def _with_random_slots(
        self, requests: VideoRequests, videos: Int32, key: NDArray[np.uint64]
    ) -> tuple[Int32, NDArray[np.bool_]]:
        """Show a video of the random pool in a few slots of the single-column feed, as KuaiRand."""
        pool = self._world.videos.pool
        share = self._world.config.platform_random_share
        draw = uniform(key[:, None], -1 - np.arange(videos.shape[1]))
        is_rand = (draw < share) & (videos >= 0) & ~self._world.in_grid(requests.key)[:, None]
        if len(pool) == 0 or not is_rand.any():
            return videos, np.zeros(videos.shape, dtype=np.bool_)
        # One hash decides whether the slot is random and, rescaled, which video it shows.
        pick = np.minimum(draw / share, 1.0 - 1e-9) * len(pool)
        drawn = pool[np.where(is_rand, pick, 0.0).astype(np.int64)]
        clash = (drawn[:, :, None] == videos[:, None, :]).any(axis=2)
        clash |= (drawn[:, :, None] == np.where(is_rand, drawn, -1)[:, None, :]).sum(axis=2) > 1
        is_rand &= ~clash
        return np.where(is_rand, drawn, videos), is_rand
