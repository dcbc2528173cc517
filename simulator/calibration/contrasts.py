"""Compare the platform's own slots with random ones, by exact expectations of what happened there.

A log has few random slots and rare deeds, so counted ratios are noisy. Here the probability of
every deed at each slot that was reached stands for the deed itself, given the person's state at
that moment: the same mean, without the noise of the draw (Rao & Blackwell).
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.requests import Int64, Slates
from simulator.response.truth import WorldPopulation

CONTRASTS = {
    "play_seconds": "play_seconds",
    "long_view": "long_view",
    "like": "like",
    "follow": "follow",
    "forward": "forward",
    "profile": "profile",
    "write": "write",
    "hate": "hate",
    "open": "open",
    "click": "click",
}
"""Name of each contrast and the field of `Expectations` that it is about."""
_STRETCH = 1.2


@dataclass(frozen=True)
class PublishedContrast:
    """What is published about one deed under either kind of exposure.

    Attributes:
        name: Of the deed, see `CONTRASTS`.
        low, high: The published ratios of standard to random exposure; one of them stands for
            means over users, the other for means over videos.
        role: "fitted" or "held out".
        source: Who published it.
    """

    name: str
    low: float
    high: float
    role: str
    source: str

    def allows(self, ratio: float) -> bool:
        """Whether a ratio lies between the published ones, stretched by 20 %."""
        return self.low / _STRETCH <= ratio <= self.high * _STRETCH

    @property
    def middle(self) -> float:
        """Geometric mean of the two."""
        return float(np.sqrt(self.low * self.high))

    @property
    def tolerance(self) -> float:
        """Log distance from the middle that is still allowed."""
        return float(np.log(self.high * _STRETCH / self.middle))


@functools.cache
def published_contrasts() -> tuple[PublishedContrast, ...]:
    """All contrasts, in the order of ``evidence.toml``."""
    text = Path(__file__).with_name("evidence.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return tuple(
        PublishedContrast(source=table["sources"][row.pop("source")], **row)
        for row in table["contrast"]
    )


class ExposureContrast:
    """Sums of expectations over the slots of pool videos, standard and random ones apart.

    Args:
        pool: bool[V], the videos that are shown at random; only they are compared.
    """

    def __init__(self, pool: NDArray[np.bool_]) -> None:
        self._pool = pool
        self._sums = np.zeros((2, len(CONTRASTS)))
        self._slots = np.zeros(2)

    def expect(
        self,
        people: WorldPopulation,
        rows: Int64,
        time_ms: Int64,
        key: NDArray[np.uint64],
        slates: Slates,
        preview: NDArray[np.int32],
    ) -> None:
        """Keep what is expected of a turn's pages that show a pool video, before it happens.

        Args:
            people: In their state before the page.
            rows: int64[B], of the pages.
            time_ms: int64[B], Unix ms.
            key: uint64[B], request keys.
            slates: What will be shown.
            preview: int32[B, S], the comment under each video.
        """
        videos = slates.videos
        assert slates.is_rand is not None
        wanted = self._pool[videos] & (videos >= 0)
        page = np.flatnonzero(wanted.any(axis=1))
        if len(page) == 0:
            return
        expected = people.expectations(
            rows[page],
            videos[page],
            preview[page],
            people.in_grid(rows[page], key[page]),
            time_ms[page],
        )
        wanted = wanted[page]
        side = slates.is_rand[page][wanted].astype(np.int64)
        np.add.at(self._slots, side, 1.0)
        for number, field in enumerate(CONTRASTS.values()):
            values = getattr(expected, field)[wanted]
            self._sums[:, number] += np.bincount(side, weights=values, minlength=2)

    def ratios(self) -> dict[str, float]:
        """Expected rate per standard slot over that per random slot, by name of the contrast."""
        rates = self._sums / np.maximum(self._slots, 1.0)[:, None]
        return {
            name: float(rates[0, number] / rates[1, number]) if rates[1, number] > 0 else np.nan
            for number, name in enumerate(CONTRASTS)
        }
