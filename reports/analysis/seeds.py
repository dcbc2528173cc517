"""Summarise runs that differ in their seeds only.

Every run's lift enters as a logarithm with its delta-method variance, taken from the very interval
that the run shows; the summary is `statistics.random_effects`.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from reports import formats
from reports.results import ArmComparison, Estimate, ExperimentResult, MetricComparison
from reports.statistics.errors import StatisticsError
from reports.statistics.random_effects import RandomEffects, random_effects

SEEDS = ("seed", "training_seed", "world_seed")


@dataclass(frozen=True)
class SeedSummary:
    """One treatment against its control over several runs.

    Attributes:
        treatment, control: Names of the arms.
        runs: Number of runs.
        varied: Names of the seeds that differ.
        lift: Pooled relative lift and its interval.
        prediction: The same value with the interval of one more run; no bounds with two runs.
        spread: Standard deviation of the log lift between runs, beyond sampling error.
        p_value: Of no lift on average.
        equal_p_value: Of runs that all have the same lift (Cochran's Q).
        confidence: Of both intervals.
        shared_people: Whether some runs simulated the same people.
    """

    treatment: str
    control: str
    runs: int
    varied: tuple[str, ...]
    lift: Estimate
    prediction: Estimate
    spread: float
    p_value: float
    equal_p_value: float
    confidence: float
    shared_people: bool

    def sentences(self) -> list[str]:
        """The summary in words."""
        level = formats.confidence(self.confidence)
        seeds = ", ".join(name.replace("_", " ") for name in self.varied)
        low = self.prediction.low
        another = (
            f"One more run: {formats.interval(self.prediction)} ({level} prediction interval)."
            if low is not None
            else "Two runs are too few to predict another."
        )
        lines = [
            f"{self.treatment} against {self.control}, {self.runs} runs that differ in seeds only "
            f"({seeds}), random effects: lift {formats.lift(self.lift)} ({level} CI "
            f"{formats.interval(self.lift)}), {formats.p_equals(self.p_value)}.",
            f"{another} Spread between runs: "
            f"{formats.percent(self.spread, signed=False)} (standard deviation; "
            f"{formats.p_equals(self.equal_p_value)} for equal lifts).",
        ]
        if self.shared_people:
            lines.append(
                "Some runs share their people: the interval leaves out part of the chance of who "
                "was simulated."
            )
        return lines


def differ_in_seeds_only(results: Sequence[ExperimentResult]) -> tuple[str, ...]:
    """Names of the seeds that differ; empty if anything else does, or a run is there twice."""
    settings = [_configuration(result) for result in results]
    seeds = [tuple(s.get(name) for name in SEEDS) for s in settings]
    rest = [{k: v for k, v in s.items() if k not in SEEDS} for s in settings]
    whole = all(settings) and len(settings) > 1 and len(set(seeds)) == len(seeds)
    if not whole or any(other != rest[0] for other in rest):
        return ()
    shared = [(_version(r), r.design, _data(r)) for r in results]
    if any(r.context.get("versions") is None for r in results):
        return ()
    worlds = {own[2] for own in seeds}
    # Another world is other data; the same world must be the same data.
    if any(s[:2] != shared[0][:2] for s in shared) or len({s[2] for s in shared}) > len(worlds):
        return ()
    columns = list(zip(*seeds, strict=True))
    return tuple(
        name for name, own in zip(SEEDS, columns, strict=True) if len({*map(str, own)}) > 1
    )


def seed_summaries(results: Sequence[ExperimentResult]) -> list[SeedSummary]:
    """One summary per treatment of the runs; none unless they differ in seeds only.

    A treatment whose lift is missing in some run is left out.
    """
    varied = differ_in_seeds_only(results)
    if not varied:
        return []
    people = [
        tuple(_configuration(r).get(name) for name in ("seed", "world_seed")) for r in results
    ]
    shared = len(set(people)) < len(people)
    summaries = []
    for comparison in results[0].comparisons:
        found = [_primary(result, comparison) for result in results]
        primaries = [metric for metric in found if metric is not None]
        if len(primaries) < len(results) or len({metric.metric for metric in primaries}) != 1:
            continue
        # Corrections that depend on the order of p values give runs different levels.
        confidence = max(metric.confidence for metric in primaries)
        try:
            logs = [
                _log_lift(m, r.design == "twin") for m, r in zip(primaries, results, strict=True)
            ]
            pooled = random_effects(
                [y for y, _ in logs], [v for _, v in logs], confidence=confidence
            )
        except StatisticsError:
            continue
        summaries.append(_summary(comparison, pooled, varied, shared))
    return summaries


def _summary(
    comparison: ArmComparison, pooled: RandomEffects, varied: tuple[str, ...], shared: bool
) -> SeedSummary:
    lift, prediction = (
        Estimate(*(None if x is None else math.expm1(x) for x in interval))  # type: ignore[arg-type]
        for interval in (pooled.mean, pooled.prediction)
    )
    return SeedSummary(
        comparison.treatment,
        comparison.control,
        pooled.runs,
        varied,
        lift,
        prediction,
        pooled.tau,
        pooled.p_value,
        pooled.q_p_value,
        pooled.confidence,
        shared,
    )


def _log_lift(metric: MetricComparison, paired: bool) -> tuple[float, float]:
    """Log of treatment over control, and its variance.

    The covariance of the arms is what the standard error of the difference, read from its
    interval, says beyond their own.
    """
    (a, error_a), (b, error_b) = metric.control.compared, metric.treatment.compared
    va, vb = error_a**2, error_b**2
    shown = metric.absolute
    if shown is None or shown.low is None or shown.high is None or min(a, b) <= 0.0:
        raise StatisticsError("a run has no lift on the log scale.", f"Values {a:g} and {b:g}.")
    users = (metric.control.users - 1, metric.treatment.users - 1)
    freedom = float(users[0])
    if not paired:
        freedom = (va + vb) ** 2 / (va**2 / users[0] + vb**2 / users[1])
    critical = float(stats.t.isf((1.0 - metric.confidence) / 2.0, freedom))
    error = (shown.high - shown.low) / 2.0 / critical
    covariance = (va + vb - error**2) / 2.0
    return math.log(b / a), va / a**2 + vb / b**2 - 2.0 * covariance / (a * b)


def _primary(result: ExperimentResult, like: ArmComparison) -> MetricComparison | None:
    for comparison in result.comparisons:
        if (comparison.treatment, comparison.control) == (like.treatment, like.control):
            return next((m for m in comparison.metrics if m.role == "primary"), None)
    return None


def _configuration(result: ExperimentResult) -> dict[str, Any]:
    text = result.context.get("configuration")
    try:
        return tomllib.loads(text) if isinstance(text, str) else {}
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _version(result: ExperimentResult) -> Any:
    versions = result.context.get("versions")
    return versions.get("abtest") if isinstance(versions, dict) else None


def _data(result: ExperimentResult) -> str:
    data = result.context.get("data")
    return str(data.get("content_hash")) if isinstance(data, dict) else ""
