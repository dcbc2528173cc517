"""Read what published experiments say about how metrics move together."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PublishedElasticity:
    """How two metrics moved together over published launches: d log a / d log b.

    Attributes:
        name: ``a/b``, see `simulator.calibration.ladder.elasticities`.
        median, low, high: Over experiments; the outer ones are quartiles.
        role: "fitted" or "held out".
    """

    name: str
    median: float
    low: float
    high: float
    role: str

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles."""
        return (self.high - self.low) / 2.0


@functools.cache
def published_elasticities() -> tuple[PublishedElasticity, ...]:
    """All elasticities, in the order of ``evidence.toml``."""
    text = Path(__file__).with_name("evidence.toml").read_text(encoding="utf-8")
    return tuple(PublishedElasticity(**row) for row in tomllib.loads(text)["elasticity"])
