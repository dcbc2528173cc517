"""Put published experiments beside the ladders of a world: how metrics move together.

Published lifts are of launched winners, with small and noisy denominators: directions count more
than sizes. What is compared is the elasticity d log a / d log b of two metrics of one experiment,
its median and quartiles over experiments, with the same along a ladder of the world's platform.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from simulator.calibration.ladder import Rung, elasticity

Axis = Literal["model", "objective"]
Verdict = Literal["as published", "direction only", "against"]
_STRETCH = 1.5
CENTRAL = ("noise x 2", "noise x 1", "noise x 0.5", "perfect")
"""Rungs of the ladder of quality between which launches lie."""
TOWARDS_TIME = ("production", "more play time", "play time only")
"""Rungs of the ladder of objectives that lead to watch time."""


@dataclass(frozen=True)
class Experiment:
    """One published experiment.

    Attributes:
        id: Of the row.
        source, platform: Who published it, about what.
        axis: Whether the model got better or only its objective changed, to watch time.
        activity: Among whom: "all", "low", "middle" or "high".
        lifts: Per cent by metric of `simulator.calibration.ladder.METRICS`.
    """

    id: str
    source: str
    platform: str
    axis: Axis
    activity: str
    lifts: dict[str, float]


@dataclass(frozen=True)
class Line:
    """A pair of metrics, ``first`` per ``second``, along one axis; fitted or held out."""

    axis: Axis
    first: str
    second: str
    role: Literal["fitted", "held out"]

    @property
    def name(self) -> str:
        """As in `simulator.calibration.targets`."""
        return f"{self.axis}.{self.first}/{self.second}"


LINES = (
    Line("model", "stay", "watch", "fitted"),
    Line("model", "views", "watch", "held out"),
    Line("model", "comments", "watch", "fitted"),
    Line("model", "comments", "stay", "held out"),
    Line("model", "likes", "stay", "held out"),
    Line("model", "follows", "stay", "held out"),
    Line("model", "forwards", "stay", "held out"),
    Line("model", "active_days", "stay", "fitted"),
    Line("model", "dislikes", "stay", "held out"),
    Line("objective", "stay", "watch", "held out"),
    Line("objective", "views", "watch", "held out"),
    Line("objective", "likes", "watch", "held out"),
    Line("objective", "comments", "watch", "held out"),
)


@dataclass(frozen=True)
class Elasticity:
    """Published elasticities of one line.

    Attributes:
        line: Which.
        median, low, high: Over experiments; the outer ones are quartiles.
        count: Number of experiments that print both metrics.
        positive: How many of them have a positive elasticity.
    """

    line: Line
    median: float
    low: float
    high: float
    count: int
    positive: int

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, at least a fifth of the median."""
        return max((self.high - self.low) / 2.0, 0.2 * abs(self.median))

    def judge(self, found: float) -> Verdict:
        """Whether the world's elasticity is between the quartiles, half as wide again each way."""
        if not np.isfinite(found) or found * self.median <= 0.0:
            return "against"
        low, high = sorted((abs(self.low), abs(self.high)))
        inside = low / _STRETCH <= abs(found) <= high * _STRETCH
        return "as published" if inside else "direction only"


@functools.cache
def experiments() -> tuple[Experiment, ...]:
    """All experiments, in the order of ``experiments.toml``."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    return tuple(Experiment(**row) for row in tomllib.loads(text)["experiment"])


def published_elasticities(
    lines: Iterable[Line] = LINES, rows: Sequence[Experiment] | None = None
) -> tuple[Elasticity, ...]:
    """Quartiles of each line over the experiments that print both of its metrics."""
    rows = experiments() if rows is None else rows
    found = []
    for line in lines:
        values = [
            np.log1p(row.lifts[line.first] / 100.0) / np.log1p(row.lifts[line.second] / 100.0)
            for row in rows
            if row.axis == line.axis and {line.first, line.second} <= row.lifts.keys()
        ]
        low, median, high = np.percentile(values, [25, 50, 75])
        positive = sum(value > 0 for value in values)
        found.append(
            Elasticity(line, float(median), float(low), float(high), len(values), positive)
        )
    return tuple(found)


@dataclass(frozen=True)
class Reaction:
    """One published line beside the world."""

    label: str
    published: str
    simulated: float
    role: str
    verdict: Verdict


def reactions(quality: Sequence[Rung], objective: Sequence[Rung]) -> list[Reaction]:
    """Every line beside the ladders, and who responds most.

    Args:
        quality: Rungs of `quality_ladder`.
        objective: Rungs of `objective_ladder`.
    """
    rows = []
    towards_time = [r for r in objective if r.name in TOWARDS_TIME]
    for published in published_elasticities():
        line = published.line
        rungs = central(quality) if line.axis == "model" else towards_time
        found = elasticity(rungs, line.first, line.second)
        changed = "better model" if line.axis == "model" else "objective to watch time"
        rows.append(
            Reaction(
                label=f"{changed}: {_words(line.first)} per {_words(line.second)}",
                published=f"{published.median:.2f} [{published.low:.2f}, {published.high:.2f}]",
                simulated=found,
                role=line.role,
                verdict=published.judge(found),
            )
        )
    rows.append(_who_responds(quality))
    return rows


def central(quality: Sequence[Rung]) -> list[Rung]:
    """The rungs from twice the production ranker's error upwards, where launches lie."""
    return [rung for rung in quality if rung.name in CENTRAL]


def _who_responds(quality: Sequence[Rung]) -> Reaction:
    """Stay of people of low activity against those of high activity, from worst to best rung."""
    rows = {e.activity: e.lifts for e in experiments() if e.activity in ("low", "high")}
    published = rows["low"]["stay"] / rows["high"]["stay"]
    worst, best = quality[0], quality[-1]
    low, high = np.quantile(best.activity, [0.2, 0.8])
    gains = [
        np.log(best.mean("stay", people) / worst.mean("stay", people))
        for people in (best.activity <= low, best.activity >= high)
    ]
    ratio = float(gains[0] / gains[1]) if gains[1] > 0 else float("inf")
    verdict: Verdict = "as published" if ratio > 1.0 and gains[0] > 0 else "against"
    return Reaction(
        "better model: stay of people of low activity over high",
        f"{published:.1f} times",
        ratio,
        "held out",
        verdict,
    )


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def summary(rows: Sequence[Reaction]) -> dict[str, int]:
    """How many lines have the published direction and how many the published size too."""
    return {
        "lines": len(rows),
        "direction": sum(row.verdict != "against" for row in rows),
        "size": sum(row.verdict == "as published" for row in rows),
    }
