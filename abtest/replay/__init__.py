"""Replay a log under other policies, from names and options to a result on disk."""

from abtest.replay.ask import Replayed, ReplayOptions, replay_policies

__all__ = ["ReplayOptions", "Replayed", "replay_policies"]
