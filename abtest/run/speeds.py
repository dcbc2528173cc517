"""Remember how long the stages of a run take on this machine, for `abtest run --dry-run`.

A speed is seconds per unit of work: person-days of the simulation, impressions of a training log.
It is kept in the cache and never enters a result. Before the first run of a stage a typical speed
of two cores stands in (`TYPICAL`: about the parts of the six minutes that `make demo` takes).
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from abtest.files import write_text
from abtest.paths import cache_directory

TYPICAL: dict[str, float] = {
    "world": 2e-3,
    "simulate": 5e-3,
    "response": 4e-4,
    "train random": 0.0,
    "train popular": 3e-7,
    "train sasrec": 5e-5,
    "train lsvcr": 8e-5,
}
"""Seconds per unit: person-days for `world` and `simulate`, impressions for the others."""

_SMALLEST_SECONDS = 2.0
_MOST_SECONDS = 1e9


@dataclass(frozen=True)
class Speed:
    """Seconds per unit of work, and whether this machine has shown it."""

    seconds: float
    measured: bool


def speed_of(stage: str) -> Speed | None:
    """What is known of a stage; None if nothing is."""
    kept = _kept().get(stage)
    if kept is not None:
        return Speed(kept, True)
    return Speed(TYPICAL[stage], False) if stage in TYPICAL else None


def remember(stage: str, amount: float, seconds: float) -> None:
    """Keep a speed; a stage of less than two seconds says little and replaces nothing.

    Args:
        stage: ``world``, ``simulate``, ``response`` or ``train POLICY``.
        amount: Units of work that were done.
        seconds: How long they took, times the cores that worked on them.
    """
    if amount <= 0.0 or (seconds < _SMALLEST_SECONDS and speed_of(stage) is not None):
        return
    speeds = {**_kept(), stage: seconds / amount}
    # A cache that cannot be written to costs an estimate, nothing else.
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_text(_file(), json.dumps(speeds, indent=1, sort_keys=True) + "\n")


def _file() -> Path:
    return cache_directory() / "speeds.json"


def _kept() -> dict[str, float]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        str(k): float(v)
        for k, v in found.items()
        if isinstance(v, (int, float)) and 0.0 <= v < _MOST_SECONDS
    }
