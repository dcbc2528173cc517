"""Define the error of the statistics module."""

from __future__ import annotations


class StatisticsError(Exception):
    """What cannot be computed, why, and what to do.

    Attributes:
        problem: What cannot be computed.
        detail: Why.
        hint: What to do.
    """

    def __init__(self, problem: str, detail: str = "", hint: str = "") -> None:
        super().__init__(" ".join(part for part in (problem, detail, hint) if part))
        self.problem = problem
        self.detail = detail
        self.hint = hint
