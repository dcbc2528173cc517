"""Offer the feed as a Gymnasium environment for training agents; needs the extra ``gym``.

Importing this module registers ``abtest/KuaishouFeed-v0``. See docs/environment.md.
"""

from __future__ import annotations

from simulator.errors import MissingPackage

try:
    import gymnasium
except ModuleNotFoundError as error:
    if error.name != "gymnasium":
        raise
    raise MissingPackage(
        "simulator.gym needs the package gymnasium, which is not installed.",
        "Install it: pip install 'abtest[gym]'",
    ) from None

from simulator.gym.environment import FeedEnv, FeedVectorEnv
from simulator.gym.outcome import REWARDS, PageOutcome

__all__ = ["ENVIRONMENT_ID", "REWARDS", "FeedEnv", "FeedVectorEnv", "PageOutcome"]

ENVIRONMENT_ID = "abtest/KuaishouFeed-v0"

gymnasium.register(
    id=ENVIRONMENT_ID,
    entry_point="simulator.gym.environment:FeedEnv",
    vector_entry_point="simulator.gym.environment:FeedVectorEnv",
)
