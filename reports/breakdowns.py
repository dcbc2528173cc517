"""The primary metric taken apart: by day, by segment, and over users."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from reports.estimation import Design, Estimated, estimate
from reports.plan import AnalysisPlan, Metric
from reports.results import ArmDistribution, DailyLift, Estimate, SegmentLift
from reports.statistics.errors import StatisticsError
from reports.statistics.lift import Comparison, Interval
from reports.statistics.multiplicity import adjusted_confidence, holm
from reports.user_table import SEGMENT, UserTable, matrix

SMALLEST_SEGMENT = 50
"""Users per arm below which a segment is left out."""


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

    def lift(sums: pl.DataFrame, days: int) -> Estimate | None:
        try:
            found = estimate(table, sums, chosen, days, pair, design, plan)
            relative = found.compare(plan.confidence).relative
        except StatisticsError:
            return None
        return None if relative is None else scaled(relative)

    return tuple(
        DailyLift(day, lift(table.until(day, True), 1), lift(table.until(day, False), day + 1))
        for day in range(table.days)
    )


def segment_lifts(
    table: UserTable, plan: AnalysisPlan, pair: tuple[str, str], design: Design
) -> tuple[SegmentLift, ...]:
    """Every level of every segment, Holm-corrected together.

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
    return tuple(lifts)


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
