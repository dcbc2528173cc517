"""Break the primary metric down by day, by segment, into two factors and over users."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from reports.analysis.estimation import Design, Estimated, estimate, estimate_levels
from reports.analysis.split_checks import level_sizes
from reports.plan import AnalysisPlan, Metric
from reports.results import (
    ArmDistribution,
    ArmValue,
    Band,
    DailyLift,
    Estimate,
    FactorLift,
    Novelty,
    Scale,
    SegmentInteraction,
    SegmentLift,
    TwoPartLift,
)
from reports.statistics.errors import StatisticsError
from reports.statistics.heterogeneity import (
    Interaction,
    interaction_test,
    interactions_adjusted,
)
from reports.statistics.lift import Comparison, Interval, difference_error
from reports.statistics.moments import Float, Moments
from reports.statistics.multiplicity import adjusted_confidence, holm
from reports.statistics.novelty import effect_trend
from reports.statistics.sequential.confidence_sequences import (
    SequentialComparison,
    confidence_sequence,
)
from reports.statistics.sequential.mixtures import EffectMixture
from reports.statistics.two_part import Part, two_part, two_part_moments
from reports.users.metric_columns import Group, Look, MetricColumns, during, look_at
from reports.users.reductions import Columns, arm_moments, merged, quantiles, total
from reports.users.table import Users, UserTable, matrix

SMALLEST_SEGMENT = 50
"""Users per arm below which a segment is left out."""

ZERO_INFLATED = 0.05
"""Share of users at zero from which a metric is shown in two parts."""


QUANTILES = (0.1, 0.5, 0.9, 0.99)
"""Of a user's values, shown beside their distribution."""


def scaled(interval: Interval, factor: float = 1.0) -> Estimate:
    """An interval as a record, in the shown unit."""
    low, high = interval.low, interval.high
    return Estimate(
        interval.value * factor,
        None if low is None else low * factor,
        None if high is None else high * factor,
    )


def daily_lifts(
    table: Users, plan: AnalysisPlan, pair: tuple[str, str], design: Design, scale: Scale
) -> tuple[DailyLift, ...]:
    """Each day alone and all days so far; nothing for a table without days.

    Args:
        table: Users.
        plan: Whose primary metric.
        pair: Control and treatment.
        design: Of the experiment.
        scale: Of the metric's effect; differences in any case if a control is below zero.
    """
    if not table.has_days:
        return ()
    chosen = plan.metric(plan.primary)

    def seen_at(look: Look, days: int) -> tuple[Estimated, Comparison] | None:
        try:
            found = estimate(table, look, chosen, days, pair, design, plan)
            return found, found.compare(plan.confidence)
        except StatisticsError:
            return None

    # Days that occur, which need not follow each other: the last look is the whole experiment.
    alone = [seen_at(look_at(day, only=True), 1) for day in table.calendar]
    so_far = [
        seen_at(look_at(day, only=False), number)
        for number, day in enumerate(table.calendar, start=1)
    ]
    scale = _scale_of(scale, [seen[0] for seen in (*alone, *so_far) if seen])
    found = always_valid([seen[0] for seen in so_far if seen], plan.confidence)
    bounds = [_effect(one, scale, chosen) for one in found]
    bands = iter([None if one is None else Band(one.low, one.high) for one in bounds])
    return tuple(
        DailyLift(
            day,
            _effect(one[1], scale, chosen) if one else None,
            _effect(cumulated[1], scale, chosen) if cumulated else None,
            next(bands) if cumulated else None,
            scale,
        )
        for day, one, cumulated in zip(table.calendar, alone, so_far, strict=True)
    )


def _scale_of(wanted: Scale, found: Sequence[Estimated]) -> Scale:
    """The scale on which all effects can be read: a control below zero turns the sign of a lift."""
    below = any(one.arms[0].adjusted < 0.0 for one in found)
    return "absolute" if below else wanted


def _effect(
    found: Comparison | SequentialComparison, scale: Scale, chosen: Metric
) -> Estimate | None:
    """The difference in the shown unit, or the relative lift; None where there is no lift."""
    if scale == "absolute":
        return scaled(found.absolute, 100.0 if chosen.percent else 1.0)
    return None if found.relative is None else scaled(found.relative)


def always_valid(looks: Sequence[Estimated], confidence: float) -> list[SequentialComparison]:
    """Comparisons whose bounds hold at all looks together, narrowest at the last one.

    The last look's standard error stands for the one that was planned: it tells how much is known,
    not what was found.
    """
    if not looks:
        return []
    last = looks[-1]
    planned = difference_error(*last.arms, last.covariance)
    return confidence_sequence(
        [look.arms for look in looks],
        EffectMixture.tuned(planned, alpha=1.0 - confidence),
        confidence=confidence,
        covariances=[look.covariance for look in looks],
    )


def novelty(
    table: Users,
    plan: AnalysisPlan,
    pair: tuple[str, str],
    design: Design,
    daily: Sequence[DailyLift],
) -> Novelty | None:
    """Slope of the daily lifts; None if there are fewer than two days, or a day has no lift.

    Not for twin designs, whose arms are not independent, nor for capped metrics.

    Args:
        table: Users.
        plan: Whose primary metric.
        pair: Control and treatment.
        design: Of the experiment.
        daily: Of ``daily_lifts``, for their scale.
    """
    chosen = plan.metric(plan.primary)
    if not table.has_days or table.days < 2 or design == "twin" or chosen.cap is not None:
        return None
    others = plan.covariates if table.has_pre else None
    linear = plan.ratio_covariate == "linear"
    known = MetricColumns(during, 1, chosen, others, linear=linear).linearised(table).known

    def columns(part: UserTable) -> Float:
        daily = [matrix(part.until(day, True), chosen, 1) for day in table.calendar]
        return np.column_stack([*daily, known(part)])

    try:
        control, treatment = arm_moments(table, columns, pair)
        trend = effect_trend(
            control,
            treatment,
            table.days,
            relative=daily[0].scale == "relative",
            dates=table.calendar,
            confidence=plan.confidence,
        )
    except StatisticsError:
        return None
    shown = 100.0 if chosen.percent and daily[0].scale == "absolute" else 1.0
    return Novelty(
        table.days,
        scaled(trend.slope, shown),
        shown * trend.first,
        shown * trend.last,
        trend.p_value,
        "novelty (one test)",
        plan.confidence,
        daily[0].scale,
    )


def segment_lifts(
    table: Users, plan: AnalysisPlan, pair: tuple[str, str], design: Design, scale: Scale
) -> tuple[tuple[SegmentLift, ...], tuple[SegmentInteraction, ...]]:
    """Every level of every segment, Holm-corrected together, and whether levels differ.

    Twin arms are compared without pairing: the levels of both arms need not be alike.

    Args:
        table: Users.
        plan: Whose primary metric.
        pair: Control and treatment.
        design: Of the experiment.
        scale: Of the metric's effect; differences in any case if a control is below zero.
    """
    chosen = plan.metric(plan.primary)
    within_segments = dataclasses.replace(plan, strata=())
    found: list[tuple[str, str, int, Estimated, Comparison]] = []
    for name in table.segment_names:
        sizes = level_sizes(table, name, pair)
        count = min if design == "twin" else sum  # Of people: twins are in both arms.
        levels: dict[Group, int] = {
            level: count(arms) for level, arms in sizes.items() if min(arms) >= SMALLEST_SEGMENT
        }
        tried = estimate_levels(table, chosen, pair, design, within_segments, name, levels)
        for level, estimated in tried.items():
            if isinstance(estimated, StatisticsError):
                continue
            try:
                result = estimated.compare(plan.confidence)
            except StatisticsError:
                continue
            found.append((name, str(level), levels[level], estimated, result))
    scale = _scale_of(scale, [estimated for *_, estimated, _ in found])
    adjusted = holm([result.p_value for *_, result in found])
    lifts = []
    for (name, level, users, estimated, result), p in zip(found, adjusted, strict=True):
        confidence = adjusted_confidence(result.p_value, p, len(found), plan.confidence)
        effect = _effect(estimated.compare(confidence), scale, chosen)
        relative, absolute = (effect, None) if scale == "relative" else (None, effect)
        lifts.append(SegmentLift(name, level, users, relative, p, absolute, scale))
    groups: dict[str, list[Estimated]] = {}
    for name, _, _, estimated, _ in found:
        groups.setdefault(name, []).append(estimated)
    return tuple(lifts), _interactions(groups, scale)


def _interactions(
    groups: dict[str, list[Estimated]], scale: Scale
) -> tuple[SegmentInteraction, ...]:
    """One test per segment variable with two levels or more, Holm-corrected over variables."""
    tests: dict[str, Interaction] = {}
    for name, levels in groups.items():
        try:
            tests[name] = interaction_test(
                [level.arms for level in levels],
                relative=scale == "relative",
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
    zeros = 0
    parts: tuple[list[Moments], list[Moments]] = ([], [])
    try:
        for columns in estimated.read():
            for arm, own in zip(parts, columns, strict=True):
                if (own[:, 1] != 1.0).any():
                    return None
                zeros += int((own[:, 0] == 0.0).sum())
                arm.append(two_part_moments(own[:, 0]))
        if zeros < ZERO_INFLATED * sum(arm.users for arm in estimated.arms):
            return None
        control, treatment = (merged(arm) for arm in parts)
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
    table: Users, chosen: Metric, pair: tuple[str, str]
) -> tuple[ArmDistribution, ...]:
    """Values over users per arm, before any capping, in the shown unit.

    Where a value is below zero there are quantiles only: the bins are on a logarithmic axis.
    """
    shown = 100.0 if chosen.percent else 1.0

    def values(part: UserTable) -> Float:
        columns = matrix(part.during, chosen, table.days)
        return shown * columns[:, 0] / np.maximum(columns[:, 1], 1e-12)

    def positive(part: UserTable) -> Float:
        own = values(part)
        return own[own > 0]

    def of_arm(arm: str) -> Columns:
        return lambda part: values(part)[part.rows(arm)]

    def signs(part: UserTable) -> Float:
        own = values(part)
        return np.array([(own > 0).sum(), (own < 0).sum()], np.float64)

    above, below = (int(count) for count in total(table, signs))
    if above == below == 0:
        return ()
    asked: list[tuple[Columns, int, Sequence[float]]] = [
        (of_arm(arm), table.size(arm), QUANTILES) for arm in pair
    ]
    edges = np.zeros(0)
    if below:
        levels = quantiles(table, asked)
    else:
        (low, high), *levels = quantiles(table, [(positive, above, (0.001, 0.999)), *asked])
        edges = np.geomspace(max(low, 1e-9), max(high, low * 1.01, 1e-8), 25)

    def counts(part: UserTable) -> Float:
        """Users at zero and in each bin, per arm."""
        own = [values(part)[part.rows(arm)] for arm in pair]
        binned = [_binned(x[x > 0], edges) for x in own]
        return np.array([[(x == 0).sum(), *bins] for x, bins in zip(own, binned, strict=True)])

    result = []
    for arm, (zero, *bins), known in zip(pair, total(table, counts), levels, strict=True):
        users = table.size(arm)
        named = {f"p{int(100 * q)}": value for q, value in zip(QUANTILES, known, strict=True)}
        shares = tuple((np.array(bins) / users).tolist())
        result.append(ArmDistribution(arm, zero / users, tuple(edges.tolist()), shares, named))
    return tuple(result)


def _binned(values: Float, edges: Float) -> Float:
    """Users per bin; those beyond the ends are in the outermost bins."""
    if len(edges) == 0:
        return np.zeros(0)
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].astype(np.float64)
