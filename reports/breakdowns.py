"""The primary metric taken apart: by day, by segment, in two factors, and over users."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl

from reports.estimation import Design, Estimated, estimate
from reports.plan import AnalysisPlan, Metric
from reports.results import (
    ArmDistribution,
    ArmValue,
    Band,
    DailyLift,
    Estimate,
    FactorLift,
    Novelty,
    SegmentInteraction,
    SegmentLift,
    TwoPartLift,
)
from reports.statistics.confidence_sequences import confidence_sequence
from reports.statistics.errors import StatisticsError
from reports.statistics.heterogeneity import (
    Interaction,
    interaction_test,
    interactions_adjusted,
)
from reports.statistics.lift import Comparison, Interval, difference_error
from reports.statistics.mixtures import EffectMixture
from reports.statistics.multiplicity import adjusted_confidence, holm
from reports.statistics.novelty import daily_moments, effect_trend
from reports.statistics.two_part import Part, two_part, two_part_moments
from reports.user_table import SEGMENT, UserTable, covariates, matrix

SMALLEST_SEGMENT = 50
"""Users per arm below which a segment is left out."""

ZERO_INFLATED = 0.05
"""Share of users at zero from which a metric is shown in two parts."""


def scaled(interval: Interval, factor: float = 1.0) -> Estimate:
    """An interval as a record, in the shown unit."""
    low, high = interval.low, interval.high
    return Estimate(
        interval.value * factor,
        None if low is None else low * factor,
        None if high is None else high * factor,
    )


def daily_lifts(
    table: UserTable, plan: AnalysisPlan, pair: tuple[str, str], design: Design
) -> tuple[DailyLift, ...]:
    """Each day alone and all days so far; nothing for a table without days."""
    if not table.has_days:
        return ()
    chosen = plan.metric(plan.primary)

    def look(sums: pl.DataFrame, days: int) -> tuple[Estimated, Estimate | None] | None:
        try:
            found = estimate(table, sums, chosen, days, pair, design, plan)
            relative = found.compare(plan.confidence).relative
        except StatisticsError:
            return None
        return found, None if relative is None else scaled(relative)

    alone = [look(table.until(day, True), 1) for day in range(table.days)]
    so_far = [look(table.until(day, False), day + 1) for day in range(table.days)]
    found = always_valid([seen[0] for seen in so_far if seen], plan.confidence)
    bands = iter([None if one is None else Band(one.low, one.high) for one in found])
    return tuple(
        DailyLift(
            day,
            one[1] if one else None,
            cumulated[1] if cumulated else None,
            next(bands) if cumulated else None,
        )
        for day, (one, cumulated) in enumerate(zip(alone, so_far, strict=True))
    )


def always_valid(looks: Sequence[Estimated], confidence: float) -> list[Estimate | None]:
    """Relative lifts whose bounds hold at all looks together, narrowest at the last one.

    The last look's standard error stands for the one that was planned: it tells how much is known,
    not what was found.
    """
    if not looks:
        return []
    last = looks[-1]
    planned = difference_error(*last.arms, last.covariance)
    found = confidence_sequence(
        [look.arms for look in looks],
        EffectMixture.tuned(planned, alpha=1.0 - confidence),
        confidence=confidence,
        covariances=[look.covariance for look in looks],
    )
    return [None if one.relative is None else scaled(one.relative) for one in found]


def novelty(
    table: UserTable, plan: AnalysisPlan, pair: tuple[str, str], design: Design
) -> Novelty | None:
    """Slope of the daily lifts; None if there are fewer than two days, or a day has no lift.

    Not for twin designs, whose arms are not independent, nor for capped metrics.
    """
    chosen = plan.metric(plan.primary)
    if not table.has_days or table.days < 2 or design == "twin" or chosen.cap is not None:
        return None
    daily = [matrix(table.until(day, True), chosen, 1) for day in range(table.days)]
    numerators = np.column_stack([own[:, 0] for own in daily])
    denominators = np.column_stack([own[:, 1] for own in daily])
    known = np.zeros((len(numerators), 0))
    if table.has_pre:
        known = covariates(table.before, chosen, plan.covariates)
    rows = [table.rows(arm) for arm in pair]
    try:
        control, treatment = (
            daily_moments(numerators[own], denominators[own], known[own]) for own in rows
        )
        trend = effect_trend(control, treatment, table.days, confidence=plan.confidence)
    except StatisticsError:
        return None
    return Novelty(
        table.days,
        scaled(trend.slope),
        trend.first,
        trend.last,
        trend.p_value,
        "novelty (one test)",
        plan.confidence,
    )


def segment_lifts(
    table: UserTable, plan: AnalysisPlan, pair: tuple[str, str], design: Design
) -> tuple[tuple[SegmentLift, ...], tuple[SegmentInteraction, ...]]:
    """Every level of every segment, Holm-corrected together, and whether levels differ.

    Twin arms are compared without pairing: the levels of both arms need not be alike.
    """
    chosen = plan.metric(plan.primary)
    within_segments = dataclasses.replace(plan, strata=())
    found: list[tuple[str, str, int, Estimated, Comparison]] = []
    rows = [table.rows(arm) for arm in pair]
    for name in [c for c in table.segments.columns if c.startswith(SEGMENT)]:
        labels = table.segments[name].cast(pl.String).fill_null("unknown").to_numpy()
        for level in sorted(set(labels.tolist())):
            inside = labels == level
            sizes = [int(inside[own].sum()) for own in rows]
            if min(sizes) < SMALLEST_SEGMENT:
                continue
            try:
                estimated = estimate(
                    table, table.during, chosen, table.days, pair, design, within_segments, inside
                )
                result = estimated.compare(plan.confidence)
            except StatisticsError:
                continue
            found.append((name.removeprefix(SEGMENT), level, sum(sizes), estimated, result))
    adjusted = holm([result.p_value for *_, result in found])
    lifts = []
    for (name, level, users, estimated, result), p in zip(found, adjusted, strict=True):
        confidence = adjusted_confidence(result.p_value, p, len(found), plan.confidence)
        relative = estimated.compare(confidence).relative
        shown = None if relative is None else scaled(relative)
        lifts.append(SegmentLift(name, level, users, shown, p))
    groups: dict[str, list[Estimated]] = {}
    for name, _, _, estimated, _ in found:
        groups.setdefault(name, []).append(estimated)
    return tuple(lifts), _interactions(groups)


def _interactions(groups: dict[str, list[Estimated]]) -> tuple[SegmentInteraction, ...]:
    """One test per segment variable with two levels or more, Holm-corrected over variables."""
    tests: dict[str, Interaction] = {}
    for name, levels in groups.items():
        try:
            tests[name] = interaction_test(
                [level.arms for level in levels],
                covariances=[level.covariance for level in levels],
            )
        except StatisticsError:
            continue
    noun = "variable" if len(tests) == 1 else "variables"
    family = f"interactions (Holm, {len(tests)} segment {noun})"
    adjusted = interactions_adjusted(tests)
    return tuple(
        SegmentInteraction(
            name,
            len(groups[name]),
            test.statistic,
            test.degrees_of_freedom,
            test.p_value,
            adjusted[name],
            family,
        )
        for name, test in tests.items()
    )


def two_parts(
    estimated: Estimated | None, chosen: Metric, pair: tuple[str, str], confidence: float
) -> TwoPartLift | None:
    """A mean with many zeros as share of users above zero times mean per such user.

    None for other metrics, for twin designs (the arms are not independent), and where a factor
    cannot be compared.
    """
    if estimated is None or estimated.paired or chosen.denominator:
        return None
    values = [own[:, 0] for own in estimated.columns]
    zeros = sum(int((own == 0.0).sum()) for own in values)
    if zeros < ZERO_INFLATED * sum(len(own) for own in values):
        return None
    try:
        control, treatment = (two_part_moments(own) for own in values)
        found = two_part(control, treatment, confidence=confidence)
    except StatisticsError:
        return None
    shown = 100.0 if chosen.percent else 1.0
    return TwoPartLift(
        _factor(found.share, pair, 100.0),
        _factor(found.intensity, pair, shown),
        scaled(found.from_share),
        confidence,
    )


def _factor(part: Part, pair: tuple[str, str], shown: float) -> FactorLift:
    control, treatment = (
        ArmValue(arm, e.users, shown * e.value, shown * float(np.sqrt(e.variance)))
        for arm, e in zip(pair, (part.control, part.treatment), strict=True)
    )
    relative = part.comparison.relative
    shown_lift = None if relative is None else scaled(relative)
    return FactorLift(control, treatment, shown_lift, part.comparison.p_value)


def distributions(
    table: UserTable, chosen: Metric, pair: tuple[str, str]
) -> tuple[ArmDistribution, ...]:
    """Values over users per arm, before any capping."""
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
