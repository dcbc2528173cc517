"""From per-user outcomes to an analysed experiment.

The unit is the user: whatever a user did on all experiment days is one observation. What the user
did before the experiment is the covariate. One statistic per comparison gives the p value and both
intervals; corrections are applied to all of them alike.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reports.calibration import calibration_check
from reports.health import health_checks
from reports.plan import AnalysisPlan, Metric, metric
from reports.results import (
    ArmComparison,
    ArmDistribution,
    ArmValue,
    DailyLift,
    Estimate,
    ExperimentResult,
    HealthCheck,
    MetricComparison,
    SegmentLift,
)
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate, estimate_arms
from reports.statistics.lift import Comparison, Interval, compare, detectable_effect
from reports.statistics.moments import Moments
from reports.statistics.multiplicity import adjusted_confidence, holm
from reports.verdict import judge

SCHEMA_VERSION = 1
Design = Literal["online", "twin", "observed"]
Float = NDArray[np.float64]


def analyze(
    outcomes: pl.DataFrame,
    plan: AnalysisPlan,
    *,
    control: str,
    treatments: Sequence[str],
    design: Design = "online",
    planned_split: Mapping[str, float] | None = None,
    title: str = "",
    simulated: bool = True,
    context: Mapping[str, Any] | None = None,
) -> ExperimentResult:
    """Analyse an experiment.

    Args:
        outcomes: One row per (user_id, arm, day): ``day`` counts from the first experiment day,
            days before it are negative. Outcome columns are sums of that day. Users without any
            row do not exist: give silent users a row of zeros. Columns ``segment_*`` are text.
        plan: What is tested.
        control: Arm name.
        treatments: Arm names.
        design: "twin" if every user is in every arm (paired analysis).
        planned_split: Share of users per arm; equal if None. Not checked in twin designs.
        title: Of the report.
        simulated: Whether these are simulated users.
        context: Facts for the report.

    Raises:
        StatisticsError: an arm is missing, or has fewer than two users.
    """
    arms = [control, *treatments]
    table = UserTable(outcomes, arms)
    health = health_checks(table, plan, design, planned_split)
    health.append(calibration_check(table, plan, design))
    broken = any(check.name == "srm" and check.status == "fail" for check in health)
    comparisons = tuple(
        _compare_arms(table, plan, control, treatment, design, health, simulated)
        for treatment in treatments
    )
    warnings = [c.detail for c in health if c.status == "warn"]
    if broken:
        warnings = []
    return ExperimentResult(
        schema_version=SCHEMA_VERSION,
        title=title or f"{', '.join(treatments)} against {control}",
        simulated=simulated,
        design=design,
        comparisons=comparisons,
        health=tuple(health),
        warnings=tuple(warnings),
        context=dict(context or {}),
    )


class UserTable:
    """Per-user sums of an outcome table, before and during the experiment.

    Attributes:
        arms: Arm names, control first.
        days: Number of experiment days.
        frame: The outcome table.
    """

    def __init__(self, frame: pl.DataFrame, arms: Sequence[str]) -> None:
        # Sums of floats depend on their order: the same rows give the same bytes in any order.
        self.frame = frame.sort("arm", "user_id", "day")
        self.arms = list(arms)
        present = set(frame["arm"].unique().to_list())
        for arm in arms:
            if arm not in present:
                raise StatisticsError(f"arm '{arm}' has no users.", f"Arms: {sorted(present)}.")
        self.days = max(frame.filter(pl.col("day") >= 0)["day"].n_unique(), 1)
        self.has_pre = bool((frame["day"] < 0).any())

    @functools.cached_property
    def columns(self) -> list[str]:
        """Outcome columns."""
        skip = {"user_id", "arm", "day"}
        return [c for c in self.frame.columns if c not in skip and not c.startswith("segment_")]

    @functools.cached_property
    def during(self) -> pl.DataFrame:
        """One row per (arm, user): sums over experiment days."""
        return self._sums(pl.col("day") >= 0)

    @functools.cached_property
    def before(self) -> pl.DataFrame:
        """The same users in the same order: sums over the days before."""
        return self._sums(pl.col("day") < 0)

    def until(self, day: int, only: bool) -> pl.DataFrame:
        """Sums of one experiment day, or of all up to and including it."""
        wanted = pl.col("day") == day if only else (pl.col("day") >= 0) & (pl.col("day") <= day)
        return self._sums(wanted)

    def _sums(self, wanted: pl.Expr) -> pl.DataFrame:
        values = [
            pl.when(wanted).then(pl.col(c)).otherwise(0.0).sum().alias(c) for c in self.columns
        ]
        return self.frame.group_by("arm", "user_id").agg(values).sort("arm", "user_id")

    @functools.cached_property
    def segments(self) -> pl.DataFrame:
        """One row per (arm, user) in the same order: the segment columns."""
        names = [c for c in self.frame.columns if c.startswith("segment_")]
        picked = [pl.col(name).first() for name in names]
        return self.frame.group_by("arm", "user_id").agg(picked).sort("arm", "user_id")

    def rows(self, arm: str) -> NDArray[np.intp]:
        """Positions of one arm's users."""
        return np.flatnonzero((self.during["arm"] == arm).to_numpy())


def matrix(sums: pl.DataFrame, chosen: Metric, days: int) -> Float:
    """float64[users, 2]: numerator and denominator of one metric per user."""
    numerator = sums.select(pl.sum_horizontal(chosen.numerator)).to_series().to_numpy()
    numerator = numerator.astype(np.float64) * chosen.scale
    if chosen.denominator:
        denominator = sums.select(pl.sum_horizontal(chosen.denominator)).to_series().to_numpy()
        return np.stack([numerator, denominator.astype(np.float64)], axis=1)
    return np.stack([numerator / days, np.ones(len(numerator))], axis=1)


def covariates(before: pl.DataFrame, chosen: Metric) -> Float:
    """float64[users, k]: the metric's own columns, and overall activity, before the start."""
    columns = [matrix(before, chosen, 1)[:, 0]]
    if chosen.denominator:
        columns.append(matrix(before, chosen, 1)[:, 1])
    activity = ("sessions", "impressions", "comment_opens")
    columns += [before[name].to_numpy().astype(np.float64) for name in activity if name in before]
    return np.stack(columns, axis=1)


def arm_estimates(
    table: UserTable, sums: pl.DataFrame, chosen: Metric, days: int, arms: Sequence[str]
) -> list[ArmEstimate]:
    """Covariate-adjusted estimates of some arms."""
    values = matrix(sums, chosen, days)
    if table.has_pre:
        values = np.concatenate([values, covariates(table.before, chosen)], axis=1)
    return estimate_arms([Moments.of(values[table.rows(arm)]) for arm in arms])


def _pair(
    table: UserTable,
    sums: pl.DataFrame,
    chosen: Metric,
    days: int,
    arms: tuple[str, str],
    design: Design,
    confidence: float,
) -> tuple[list[ArmEstimate], Comparison]:
    if design != "twin":
        estimates = arm_estimates(table, sums, chosen, days, arms)
        return estimates, compare(estimates[0], estimates[1], confidence=confidence)
    values = matrix(sums, chosen, days)
    control, treatment = (values[table.rows(arm)] for arm in arms)
    estimates = estimate_arms([Moments.of(control), Moments.of(treatment)])
    # The same people in both arms: covariance of the two linearised metrics.
    linear = [
        (v[:, 0] - e.value * v[:, 1]) / v[:, 1].mean()
        for v, e in zip((control, treatment), estimates, strict=True)
    ]
    covariance = float(np.cov(linear[0], linear[1])[0, 1]) / len(control)
    comparison = compare(
        estimates[0], estimates[1], confidence=confidence, covariance=covariance, paired=True
    )
    return estimates, comparison


def _compare_arms(
    table: UserTable,
    plan: AnalysisPlan,
    control: str,
    treatment: str,
    design: Design,
    health: Sequence[HealthCheck],
    simulated: bool,
) -> ArmComparison:
    pair = (control, treatment)

    def single(name: str, role: Any, confidence: float) -> MetricComparison:
        return _metric_row(table, plan, metric(name), role, pair, design, confidence)

    primary = single(plan.primary, "primary", plan.confidence)
    guardrails = [single(name, "guardrail", plan.confidence) for name in plan.guardrails]
    secondary = [single(name, "secondary", plan.confidence) for name in plan.secondary]
    known = [m for m in secondary if m.p_value is not None]
    adjusted = dict(
        zip((m.metric for m in known), holm([m.p_value or 0.0 for m in known]), strict=True)
    )
    corrected = []
    for row in secondary:
        if row.metric not in adjusted or row.p_value is None:
            corrected.append(row)
            continue
        level = adjusted_confidence(row.p_value, adjusted[row.metric], len(known), plan.confidence)
        again = single(row.metric, "secondary", level)
        again = dataclasses.replace(
            again,
            p_adjusted=adjusted[row.metric],
            family=f"secondary (Holm, {len(known)} metrics)",
        )
        corrected.append(dataclasses.replace(again, outcome=_outcome(again, 1.0 - plan.confidence)))
    metrics = (primary, *guardrails, *corrected)
    return ArmComparison(
        treatment=treatment,
        control=control,
        verdict=judge(primary, guardrails, plan, health, simulated, treatment, control),
        metrics=metrics,
        daily=_daily(table, plan, pair, design),
        segments=_segments(table, plan, pair, design),
        distributions=_distributions(table, metric(plan.primary), pair),
        true_effect=primary.relative if design == "twin" else None,
    )


def _metric_row(
    table: UserTable,
    plan: AnalysisPlan,
    chosen: Metric,
    role: Any,
    pair: tuple[str, str],
    design: Design,
    confidence: float,
) -> MetricComparison:
    margin = plan.guardrails.get(chosen.name) if role == "guardrail" else None
    base: dict[str, Any] = {
        "metric": chosen.name,
        "label": chosen.label,
        "unit": chosen.unit,
        "kind": chosen.kind,
        "role": role,
        "direction": chosen.direction,
        "family": "guardrail (non-inferiority)" if role == "guardrail" else role,
        "confidence": confidence,
        "margin": margin,
    }
    shown = 100.0 if chosen.percent else 1.0
    try:
        estimates, result = _pair(table, table.during, chosen, table.days, pair, design, confidence)
    except StatisticsError as error:
        users = [len(table.rows(arm)) for arm in pair]
        empty = [ArmValue(arm, n, 0.0, 0.0) for arm, n in zip(pair, users, strict=True)]
        return MetricComparison(
            **base,
            control=empty[0],
            treatment=empty[1],
            absolute=None,
            relative=None,
            relative_method="none",
            p_value=None,
            p_adjusted=None,
            detectable_effect=None,
            variance_reduction=None,
            outcome="no data",
            warnings=(f"'{chosen.name}': {error.problem} {error.detail} No lift computed.",),
        )
    values = [
        ArmValue(arm, e.users, shown * e.adjusted, shown * float(np.sqrt(e.variance)))
        for arm, e in zip(pair, estimates, strict=True)
    ]
    raw = sum(e.raw_variance for e in estimates)
    kept = result.standard_error**2
    warnings = []
    if result.control_too_noisy:
        warnings.append("The control is too noisy for a bounded relative interval.")
    warnings += _tail_warning(table, chosen, pair, estimates)
    row = MetricComparison(
        **base,
        control=values[0],
        treatment=values[1],
        absolute=_scaled(result.absolute, shown),
        relative=None if result.relative is None else _scaled(result.relative, 1.0),
        relative_method="none" if result.control_too_noisy else "fieller",
        p_value=result.p_value,
        p_adjusted=result.p_value,
        detectable_effect=detectable_effect(estimates[0], result.standard_error),
        variance_reduction=max(0.0, 1.0 - kept / raw) if raw > 0 else None,
        outcome="",
        warnings=tuple(warnings),
    )
    return dataclasses.replace(row, outcome=_outcome(row, 1.0 - plan.confidence))


def _tail_warning(
    table: UserTable, chosen: Metric, pair: tuple[str, str], estimates: Sequence[ArmEstimate]
) -> list[str]:
    """Boos & Hughes-Oliver's rule (The American Statistician 54, 2000): n > 355 * skewness^2."""
    smallest = min(e.users for e in estimates)
    values = matrix(table.during, chosen, table.days)
    pooled = values[np.concatenate([table.rows(arm) for arm in pair])]
    z = pooled[:, 0] - pooled[:, 0].mean() / pooled[:, 1].mean() * pooled[:, 1]
    deviation = z.std()
    skewness = float(np.mean((z / deviation) ** 3)) if deviation > 0 else 0.0
    # With equal arms the skewness of the difference cancels; what is left decays with n.
    if smallest < 355.0 * skewness**2 / 10.0:
        return [
            f"Heavy tail (skewness {skewness:.0f}) with {smallest:,} users per arm: "
            "the interval may cover less than it says."
        ]
    return []


def _scaled(interval: Interval, factor: float) -> Estimate:
    low, high = interval.low, interval.high
    return Estimate(
        interval.value * factor,
        None if low is None else low * factor,
        None if high is None else high * factor,
    )


def _outcome(row: MetricComparison, alpha: float) -> str:
    if row.p_adjusted is None or row.absolute is None:
        return "no data"
    sign = 1.0 if row.direction == "up" else -1.0
    if row.margin is not None:
        # Non-inferiority: is even the harmful end of the interval inside the margin?
        if row.relative is None or row.relative.low is None or row.relative.high is None:
            return "not clear"
        harm = row.relative.low if sign > 0 else -row.relative.high
        best = row.relative.high if sign > 0 else -row.relative.low
        if harm > -row.margin:
            return "within margin"
        return "margin broken" if best < -row.margin else "not clear"
    if row.p_adjusted >= alpha:
        return "not clear"
    return "better" if sign * row.absolute.value > 0 else "worse"


def _lift(
    table: UserTable,
    sums: pl.DataFrame,
    chosen: Metric,
    days: int,
    pair: tuple[str, str],
    design: Design,
    confidence: float,
) -> Estimate | None:
    try:
        _, result = _pair(table, sums, chosen, days, pair, design, confidence)
    except StatisticsError:
        return None
    return None if result.relative is None else _scaled(result.relative, 1.0)


def _daily(
    table: UserTable, plan: AnalysisPlan, pair: tuple[str, str], design: Design
) -> tuple[DailyLift, ...]:
    chosen = metric(plan.primary)
    rows = []
    for day in range(table.days):
        alone = _lift(table, table.until(day, True), chosen, 1, pair, design, plan.confidence)
        total = _lift(
            table, table.until(day, False), chosen, day + 1, pair, design, plan.confidence
        )
        rows.append(DailyLift(day, alone, total))
    return tuple(rows)


def _segments(
    table: UserTable, plan: AnalysisPlan, pair: tuple[str, str], design: Design
) -> tuple[SegmentLift, ...]:
    chosen = metric(plan.primary)
    values = matrix(table.during, chosen, table.days)
    if table.has_pre and design != "twin":
        values = np.concatenate([values, covariates(table.before, chosen)], axis=1)
    found: list[tuple[str, str, int, list[ArmEstimate], Comparison]] = []
    names = [c for c in table.segments.columns if c.startswith("segment_")]
    rows = [table.rows(arm) for arm in pair]
    for name in names:
        labels = table.segments[name].fill_null("unknown").to_numpy()
        for level in sorted(set(labels.tolist())):
            chosen_rows = [r[labels[r] == level] for r in rows]
            if min(len(r) for r in chosen_rows) < 50:
                continue
            try:
                estimates = estimate_arms([Moments.of(values[r]) for r in chosen_rows])
                result = compare(estimates[0], estimates[1], confidence=plan.confidence)
            except StatisticsError:
                continue
            users = sum(len(r) for r in chosen_rows)
            found.append((name.removeprefix("segment_"), level, users, estimates, result))
    adjusted = holm([result.p_value for *_, result in found])
    lifts = []
    for (name, level, users, estimates, result), p in zip(found, adjusted, strict=True):
        level_of = adjusted_confidence(result.p_value, p, len(found), plan.confidence)
        again = compare(estimates[0], estimates[1], confidence=level_of)
        relative = None if again.relative is None else _scaled(again.relative, 1.0)
        lifts.append(SegmentLift(name, level, users, relative, p))
    return tuple(lifts)


def _distributions(
    table: UserTable, chosen: Metric, pair: tuple[str, str]
) -> tuple[ArmDistribution, ...]:
    values = matrix(table.during, chosen, table.days)
    per_user = values[:, 0] / np.maximum(values[:, 1], 1e-12)
    positive = per_user[per_user > 0]
    if len(positive) == 0:
        return ()
    low, high = np.quantile(positive, [0.001, 0.999])
    edges = np.geomspace(max(low, 1e-9), max(high, low * 1.01, 1e-8), 25)
    result = []
    for arm in pair:
        own = per_user[table.rows(arm)]
        shares = np.histogram(np.clip(own[own > 0], edges[0], edges[-1]), edges)[0] / len(own)
        levels = {f"p{int(100 * q)}": float(np.quantile(own, q)) for q in (0.1, 0.5, 0.9, 0.99)}
        result.append(
            ArmDistribution(
                arm, float(np.mean(own == 0)), tuple(edges.tolist()), tuple(shares.tolist()), levels
            )
        )
    return tuple(result)
