"""Respond as users of a log do, instead of by a built-in world."""

from simulator.response.learned.response import LearnedResponse, code_version, memory_to_learn

__all__ = ["LearnedResponse", "code_version", "memory_to_learn"]
