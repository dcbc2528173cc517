"""Hold the strengths of interference between people, each with its range."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.errors import DataError

_RANGES = {
    "comment_likes": (0.0, 10.0),
    "like_herding": (0.0, 5.0),
    "supply": (0.0, 2.0),
    "people_per_video": (0.01, 1e6),
    "refresh_hours": (0.1, 24.0),
}


@dataclass(frozen=True)
class InterferenceSettings:
    """How people change the platform for others; docs/world.md has the equations.

    Attributes:
        comment_likes: Share of the likes given to comments that enter displayed likes; 0 = none.
        like_herding: Log-odds of a like per unit of the log of displayed likes over those at the
            start. 0.4: one like on a comment without any raises the chance of the next by 32 %
            (Muchnik, Aral & Taylor, Science 341, 2013).
        supply: Elasticity of what a creator publishes with the seconds that people watch of each of
            the creator's videos, over the mean of all creators; 0 = none.
        people_per_video: Size of the platform for which a group of simulated people stands. At 4
            people give as many likes a day as the comments of a day's uploads display.
        refresh_hours: Simulated hours after which the platform shows what has changed.
    """

    comment_likes: float = 1.0
    like_herding: float = 0.4
    supply: float = 0.3
    people_per_video: float = 4.0
    refresh_hours: float = 1.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> InterferenceSettings:
        """Some strengths by name; the others have their defaults.

        Raises:
            DataError: an unknown name, or a value of the wrong type or out of range.
        """
        for name, value in values.items():
            if name not in _RANGES:
                close = difflib.get_close_matches(name, _RANGES, n=1)
                hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(_RANGES)}"
                raise DataError(f"interference has no strength '{str(name)[:80]}'.", hint)
            low, high = _RANGES[name]
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not low <= value <= high:
                raise DataError(
                    f"interference.{name} is {str(value)[:80]}, expected a number from {low:g} to "
                    f"{high:,g}."
                )
        return cls(**{name: float(value) for name, value in values.items()})

    def values(self) -> dict[str, float]:
        """All strengths by name."""
        return dataclasses.asdict(self)
