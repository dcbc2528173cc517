"""One metric of two arms, estimated once and compared at any level of confidence."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reports.plan import AnalysisPlan, Metric
from reports.statistics.adjustment import adjusted_estimates, select_covariates
from reports.statistics.capping import Capped, cap_pooled, capped_estimates
from reports.statistics.estimates import ArmEstimate, estimate_arms
from reports.statistics.lift import Comparison, compare
from reports.statistics.moments import Float, Moments
from reports.statistics.tails import TailRisk, linearised, tail_risk, tail_risk_of_pairs
from reports.user_table import Rows, UserTable, covariates, matrix

Design = Literal["online", "twin", "observed"]


@dataclass(frozen=True)
class Estimated:
    """Both arms of one metric.

    Attributes:
        arms: Control and treatment.
        covariance: Between the two.
        paired: Whether they are the same people.
        columns: float64[users, 2 + k] per arm: numerator and denominator after capping, and the
            covariates that were adjusted for.
        capped: The cap, if there is one.
    """

    arms: tuple[ArmEstimate, ArmEstimate]
    covariance: float
    paired: bool
    columns: tuple[Float, Float]
    capped: Capped | None = None

    def tail_risk(self, confidence: float) -> TailRisk:
        """Whether the tails are too heavy for the number of users."""
        control, treatment = linearised(list(self.columns))
        if self.paired:
            return tail_risk_of_pairs(treatment - control, confidence=confidence)
        value = self.arms[0].adjusted
        lift = self.arms[1].adjusted / value - 1.0 if value else 0.0
        return tail_risk(control, treatment, lift=lift, confidence=confidence)

    def compare(self, confidence: float) -> Comparison:
        """Treatment against control."""
        return compare(
            *self.arms, confidence=confidence, covariance=self.covariance, paired=self.paired
        )


def estimate(
    table: UserTable,
    sums: pl.DataFrame,
    chosen: Metric,
    days: int,
    pair: tuple[str, str],
    design: Design,
    plan: AnalysisPlan,
    within: NDArray[np.bool_] | None = None,
) -> Estimated:
    """Estimate one metric in two arms.

    Args:
        table: The experiment.
        sums: One row per user of ``table``, in its order.
        chosen: The metric.
        days: That ``sums`` cover.
        pair: Control and treatment.
        design: Twin arms are paired; others are adjusted for the time before and for strata.
        plan: Covariates and strata.
        within: bool[users]: only these users; twin arms are then not paired.

    Raises:
        StatisticsError: it cannot be estimated.
    """
    rows = [table.rows(arm) for arm in pair]
    if within is not None:
        rows = [own[within[own]] for own in rows]
    everyone = matrix(sums, chosen, days)
    values = [everyone[own] for own in rows]
    capped = None
    if chosen.cap is not None:
        capped = cap_pooled([own[:, 0] for own in values], quantile=chosen.cap)
        values = capped.columns
    if design == "twin" and within is None:
        return _paired(values, capped)
    known = [np.zeros((len(own), 0)) for own in rows]
    if table.has_pre and design != "twin":
        known = _known(table, chosen, plan, values, rows)
    if capped is not None and not plan.strata:
        noisy = capped_estimates(capped, known)
        arms, covariance = noisy.arms, noisy.covariance
    else:
        strata = table.strata(plan.strata)
        cells = [
            _cells(np.concatenate([own, before], axis=1), None if strata is None else strata[at])
            for own, before, at in zip(values, known, rows, strict=True)
        ]
        arms, covariance, _ = adjusted_estimates(cells, slopes=plan.slopes)
    columns = [np.concatenate(both, axis=1) for both in zip(values, known, strict=True)]
    return Estimated(
        (arms[0], arms[1]), float(covariance[0, 1]), False, (columns[0], columns[1]), capped
    )


def _paired(values: Sequence[Float], capped: Capped | None) -> Estimated:
    """The same people in both arms: covariance of the two linearised metrics."""
    control, treatment = estimate_arms([Moments.of(own) for own in values])
    linear = [
        (own[:, 0] - arm.value * own[:, 1]) / own[:, 1].mean()
        for own, arm in zip(values, (control, treatment), strict=True)
    ]
    covariance = float(np.cov(linear[0], linear[1])[0, 1]) / len(values[0])
    return Estimated((control, treatment), covariance, True, (values[0], values[1]), capped)


def _known(
    table: UserTable,
    chosen: Metric,
    plan: AnalysisPlan,
    values: Sequence[Float],
    rows: Sequence[Rows],
) -> list[Float]:
    """float64[n, k] per arm: covariates, chosen without a look at who was in which arm."""
    before = covariates(table.before, chosen, plan.covariates)
    if chosen.cap is not None and before.shape[1]:
        before = np.minimum(before, np.quantile(before, chosen.cap, axis=0))
    known = [before[own] for own in rows]
    if plan.select and before.shape[1] > 1:
        both = np.concatenate([np.concatenate(values), np.concatenate(known)], axis=1)
        picked = sorted(select_covariates(Moments.of(both)))
        known = [own[:, picked] for own in known]
    return known


def _cells(columns: Float, strata: NDArray[np.intp] | None) -> Moments | dict[Hashable, Moments]:
    if strata is None:
        return Moments.of(columns)
    return {
        stratum: Moments.of(columns[strata == stratum]) for stratum in np.unique(strata).tolist()
    }
