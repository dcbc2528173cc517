"""Replay a log under other policies, from names and options to a result on disk."""

from abtest.replay.ask import ReplayOptions, replay_policies

__all__ = ["ReplayOptions", "replay_policies"]
