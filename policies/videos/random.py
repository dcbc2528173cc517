"""Rank in uniformly random order: the floor under every other policy.

No paper. Held to chance: of C candidates, it puts the right one among the first k in k / C cases.
"""

from __future__ import annotations

from policies.base import Policy, Scores
from simulator.randomness import mix, quick_uniform
from simulator.requests import VideoRequests

_PURPOSE = 8_117


class RandomPolicy(Policy):
    """Uniformly random order of the candidates; comments as the platform orders them."""

    def score_videos(self, requests: VideoRequests) -> Scores:
        """A draw per (request, video)."""
        key = mix(requests.key, _PURPOSE)
        return quick_uniform(key[:, None], requests.candidates)
