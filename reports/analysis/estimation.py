"""Estimate one metric in two arms, for comparison at any confidence level."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports.analysis.rates import Rates
from reports.plan import AnalysisPlan, Metric
from reports.statistics.adjustment import adjusted_estimates, select_covariates
from reports.statistics.checks.tails import (
    Spread,
    TailRisk,
    linear_parts,
    tail_risk,
    tail_risk_of_pairs,
)
from reports.statistics.distributions.capping import Cap, cap_pooled, estimates_at_cap
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate, estimate_arms
from reports.statistics.lift import Comparison, compare
from reports.statistics.margins import HarmTest, Scale, harm_test
from reports.statistics.moments import Float, Moments
from reports.statistics.rates import Rate
from reports.users.metric_columns import (
    Group,
    Look,
    MetricColumns,
    during,
    group_caps,
    group_rows,
)
from reports.users.reductions import merged
from reports.users.table import Users, UserTable, matrix

Design = Literal["online", "twin", "observed"]
Pair = tuple[Float, Float]
Cells = dict[Hashable, Moments]


@dataclass(frozen=True)
class Estimated:
    """Both arms of one metric.

    Attributes:
        arms: Control and treatment.
        covariance: Between the two.
        paired: Whether they are the same people.
        moments: Of ``read``'s columns, per arm.
        rates: Events and users per arm, and the factor from a rate to the metric, where the score
            method is used.
        read: Starts reading the users anew: float64[users, 2 + k] per part and arm, numerator and
            denominator after capping, and the covariates that were adjusted for.
    """

    arms: tuple[ArmEstimate, ArmEstimate]
    covariance: float
    paired: bool
    moments: tuple[Moments, Moments]
    read: Callable[[], Iterator[Pair]]
    rates: Rates | None = None

    def tail_risk(self, confidence: float, scale: Scale = "relative") -> TailRisk | None:
        """Whether the tails are too heavy for the number of users; None for the score method.

        Args:
            confidence: Of the intervals.
            scale: Whether a lift is reported beside the difference.
        """
        if self.rates is not None:
            return None
        if self.paired:
            return tail_risk_of_pairs(self._spreads[0], confidence=confidence)
        value = self.arms[0].adjusted
        lift = self.arms[1].adjusted / value - 1.0 if value and scale == "relative" else 0.0
        return tail_risk(*self._spreads, lift=lift, confidence=confidence)

    @functools.cached_property
    def _spreads(self) -> tuple[Spread, Spread]:
        """Of each arm's linearised values; of the differences, twice, if paired."""
        found = [Spread.of([]), Spread.of([])]
        parts = linear_parts(self.moments)
        for columns in self.read():
            linear = [part.of(own) for part, own in zip(parts, columns, strict=True)]
            if self.paired:
                linear = [linear[1] - linear[0]] * 2
            found = [s.merge(Spread.of(own)) for s, own in zip(found, linear, strict=True)]
        return found[0], found[1]

    def compare(self, confidence: float) -> Comparison:
        """Treatment against control."""
        if self.rates is not None:
            return self.rates.compare(confidence)
        return compare(
            *self.arms, confidence=confidence, covariance=self.covariance, paired=self.paired
        )

    def harm(
        self, margin: float, direction: Literal["up", "down"], scale: Scale, confidence: float
    ) -> HarmTest:
        """Whether the treatment is worse by less, or by more, than a margin."""
        if self.rates is not None:
            return self.rates.harm(margin, direction, scale)
        return harm_test(
            *self.arms,
            margin=margin,
            direction=direction,
            scale=scale,
            confidence=confidence,
            covariance=self.covariance,
            paired=self.paired,
        )


def estimate(
    users: Users,
    look: Look,
    chosen: Metric,
    days: int,
    pair: tuple[str, str],
    design: Design,
    plan: AnalysisPlan,
) -> Estimated:
    """Estimate one metric in two arms.

    Args:
        users: Of the experiment.
        look: Which days.
        chosen: The metric.
        days: Their number.
        pair: Control and treatment.
        design: Twin arms are paired; others are adjusted for the time before and for strata.
        plan: Covariates and strata.

    Raises:
        StatisticsError: it cannot be estimated.
    """
    if design == "twin":
        # The two rows of a person belong together: such a table is never cut.
        (whole,) = users.parts()
        return _paired(matrix(look(whole), chosen, days), whole, chosen, pair)
    known = plan.covariates if users.has_pre else None
    columns = MetricColumns(look, days, chosen, known, linear=plan.ratio_covariate == "linear")
    sizes: dict[Group, int] = {None: sum(users.size(arm) for arm in pair)}
    found = _Study(users, columns.limited(users), pair, plan, None, sizes).estimated()[None]
    if isinstance(found, StatisticsError):
        raise found
    return found


def estimate_levels(
    users: Users,
    chosen: Metric,
    pair: tuple[str, str],
    design: Design,
    plan: AnalysisPlan,
    segment: str,
    levels: dict[Group, int],
) -> dict[Group, Estimated | StatisticsError]:
    """Estimate one metric in two arms, in each level of a segment by itself.

    Args:
        users: Of the experiment.
        chosen: The metric, over all experiment days.
        pair: Control and treatment; not paired in twin designs.
        design: Twin arms are not adjusted.
        plan: Covariates and strata.
        segment: Its name.
        levels: Users of both arms in every level that is wanted.
    """
    known = plan.covariates if users.has_pre and design != "twin" else None
    linear = plan.ratio_covariate == "linear"
    columns = MetricColumns(during, users.days, chosen, known, linear=linear)
    return _Study(users, columns.limited(users), pair, plan, segment, levels).estimated()


def _paired(everyone: Float, table: UserTable, chosen: Metric, pair: tuple[str, str]) -> Estimated:
    """The same people in both arms: covariance of the two linearised metrics."""
    values = [everyone[table.rows(arm)] for arm in pair]
    if chosen.cap is not None:
        values = cap_pooled([own[:, 0] for own in values], quantile=chosen.cap).columns
    moments = [Moments.of(own) for own in values]
    control, treatment = estimate_arms(moments)
    linear = [
        (own[:, 0] - arm.value * own[:, 1]) / own[:, 1].mean()
        for own, arm in zip(values, (control, treatment), strict=True)
    ]
    covariance = float(np.cov(linear[0], linear[1])[0, 1]) / len(values[0])
    return Estimated(
        (control, treatment),
        covariance,
        True,
        (moments[0], moments[1]),
        lambda: iter([(values[0], values[1])]),
    )


@dataclass(frozen=True)
class _Study:
    """One metric of two arms that are not paired, in some groups of users.

    Attributes:
        users: Of the experiment.
        columns: Of the metric.
        pair: Control and treatment.
        plan: Strata, slopes, and whether covariates are chosen.
        segment: Whose levels are the groups.
        sizes: Users of both arms per group.
    """

    users: Users
    columns: MetricColumns
    pair: tuple[str, str]
    plan: AnalysisPlan
    segment: str | None
    sizes: dict[Group, int]

    def estimated(self) -> dict[Group, Estimated | StatisticsError]:
        """Each group, or why it cannot be estimated."""
        found: dict[Group, Estimated | StatisticsError] = {}
        caps: dict[Group, Cap] = {}
        if self.columns.chosen.cap is not None and self.columns.at_risk(self.users):
            problem = StatisticsError(
                "a capped metric needs the same days of every user.",
                "Here users are at risk on days of their own.",
                "Leave the cap out.",
            )
            return dict.fromkeys(self.sizes, problem)
        if self.columns.chosen.cap is not None:
            tried = group_caps(self.users, self.columns, self.pair, self.segment, self.sizes)
            caps = {group: cap for group, cap in tried.items() if isinstance(cap, Cap)}
            found |= {g: cap for g, cap in tried.items() if isinstance(cap, StatisticsError)}
        groups = [group for group in self.sizes if group not in found]
        cells, binary = self._cells(groups, caps) if groups else ({}, set())
        for group, arms in cells.items():
            try:
                estimated = self._estimate(group, arms, caps.get(group))
                rates = self._rates(arms) if group in binary else None
                found[group] = estimated if rates is None else _of_rates(estimated, rates)
            except StatisticsError as error:
                found[group] = error
        return {group: found[group] for group in self.sizes}

    def _cells(
        self, groups: Sequence[Group], caps: dict[Group, Cap]
    ) -> tuple[dict[Group, list[Cells]], set[Group]]:
        """Moments of (numerator, denominator, covariates, beyond the cap) per arm and stratum.

        Also the groups in which every user's value is 0 or that of one event.
        """
        found: dict[Group, list[Cells]] = {group: [{}, {}] for group in groups}
        chosen = self.columns.chosen
        may_be = chosen.kind == "mean" and self.columns.days == 1 and chosen.cap is None
        binary = set(groups) if may_be else set()
        for part in self.users.parts():
            everyone = self.columns.of(part)
            strata = part.strata(self.plan.strata) if self.plan.strata else None
            for group, rows in group_rows(part, self.pair, self.segment, groups):
                for cells, own in zip(found[group], rows, strict=True):
                    values = _capped(everyone[own], caps.get(group))
                    if group in binary and not _is_binary(values, chosen.scale):
                        binary.discard(group)
                    if strata is None:
                        _add(cells, None, values)
                        continue
                    numbers, names = strata
                    for number in np.unique(numbers[own]).tolist():
                        _add(cells, names[number], values[numbers[own] == number])
        return found, binary

    def _rates(self, arms: Sequence[Cells]) -> Rates | None:
        """The arms as rates, if they are to be compared by the score method."""
        unit, method = self.columns.chosen.scale, self.plan.rates
        if method == "welch":
            return None
        whole = [merged(list(cells.values())) for cells in arms]
        control, treatment = (
            Rate(round(float(m.mean[0]) * m.users / unit), m.users) for m in whole
        )
        found = Rates(control, treatment, unit, small_sample=method != "pooled")
        return found if method != "auto" or found.rare else None

    def _estimate(self, group: Group, arms: Sequence[Cells], cap: Cap | None) -> Estimated:
        whole = [merged(list(cells.values())) for cells in arms]
        last = len(whole[0].mean) - (cap is not None)
        picked = list(range(last))
        if self.plan.select and last > 3:
            chosen = select_covariates(merged([arm.select(picked) for arm in whole]))
            picked = [0, 1, *(2 + k for k in sorted(chosen))]
        if cap is not None and not self.plan.strata:
            noisy = estimates_at_cap(cap, [arm.select([*picked, last]) for arm in whole])
            estimates, covariance = noisy.arms, noisy.covariance
        else:
            cells = [{s: m.select(picked) for s, m in arm.items()} for arm in arms]
            estimates, covariance, _ = adjusted_estimates(cells, slopes=self.plan.slopes)
        moments = [arm.select(picked) for arm in whole]
        return Estimated(
            (estimates[0], estimates[1]),
            float(covariance[0, 1]),
            False,
            (moments[0], moments[1]),
            functools.partial(self._read, group, picked, cap),
        )

    def _read(self, group: Group, picked: list[int], cap: Cap | None) -> Iterator[Pair]:
        for part in self.users.parts():
            everyone = self.columns.of(part)
            ((_, rows),) = group_rows(part, self.pair, self.segment, [group])
            control, treatment = (_capped(everyone[own], cap)[:, picked] for own in rows)
            yield control, treatment


def _of_rates(found: Estimated, rates: Rates) -> Estimated:
    """Without covariates and strata, which the score method does not take."""
    moments = [own.select([0, 1]) for own in found.moments]
    control, treatment = estimate_arms(moments)
    return dataclasses.replace(
        found,
        arms=(control, treatment),
        covariance=0.0,
        moments=(moments[0], moments[1]),
        read=lambda: ((a[:, :2], b[:, :2]) for a, b in found.read()),
        rates=rates,
    )


def _is_binary(columns: Float, unit: float) -> bool:
    """Whether every user counts once and has the event or not."""
    events = (columns[:, 0] == 0.0) | (columns[:, 0] == unit)
    return bool(events.all() and (columns[:, 1] == 1.0).all())


def _capped(columns: Float, cap: Cap | None) -> Float:
    """With the numerator capped, and, last, who is beyond the cap."""
    if cap is None:
        return columns
    beyond = columns[:, :1] > cap.value
    capped = np.minimum(columns[:, :1], cap.value)
    return np.concatenate([capped, columns[:, 1:], beyond], axis=1)


def _add(cells: Cells, stratum: Hashable, values: Float) -> None:
    own = Moments.of(values)
    cells[stratum] = cells[stratum].merge(own) if stratum in cells else own
