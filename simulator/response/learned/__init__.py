"""How people respond, learned from a log instead of a built-in world."""

from simulator.response.learned.response import LearnedResponse, code_version

__all__ = ["LearnedResponse", "code_version"]
