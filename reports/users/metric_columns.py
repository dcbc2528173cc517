"""Compute a metric's columns part by part, and the caps that all users decide."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from reports.plan import Metric
from reports.statistics.distributions.capping import Cap, checked_cap
from reports.statistics.distributions.quantiles import needed_ranks, quantile_of_ranks
from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float
from reports.users.reductions import Columns, quantiles, total, values_at
from reports.users.table import AT_RISK, Rows, Users, UserTable, covariates, matrix

Look = Callable[[UserTable], pl.DataFrame]
"""Sums of a part's users, in their order: of all experiment days, or of some."""

Group = str | None
"""Level of a segment; None for all users."""


def during(part: UserTable) -> pl.DataFrame:
    """All experiment days."""
    return part.during


def look_at(day: int, *, only: bool) -> Look:
    """One experiment day, or all up to and including it."""
    return lambda part: part.until(day, only)


@dataclass(frozen=True)
class MetricColumns:
    """What a metric is computed from.

    Attributes:
        look: The days.
        days: Their number.
        chosen: The metric.
        others: Covariates beside the metric's own; None for no covariates at all.
        limits: float64[k], what the covariates of a capped metric are capped at.
        linear: Whether a ratio's own covariate is one column, linearised.
        ratio: Of all users before the start, if it is.
    """

    look: Look
    days: int
    chosen: Metric
    others: tuple[str, ...] | None
    limits: Float | None = None
    linear: bool = False
    ratio: float | None = None

    def values(self, part: UserTable) -> Float:
        """float64[users, 2]: numerator and denominator, not capped."""
        return matrix(self.look(part), self.chosen, self.days)

    def known(self, part: UserTable) -> Float:
        """float64[users, k]: covariates."""
        if self.others is None:
            return np.zeros((part.during.height, 0))
        known = covariates(part.before, self.chosen, self.others, self.ratio)
        return known if self.limits is None else np.minimum(known, self.limits)

    def of(self, part: UserTable) -> Float:
        """float64[users, 2 + k]: ``values`` and ``known``."""
        return np.concatenate([self.values(part), self.known(part)], axis=1)

    def at_risk(self, users: Users) -> bool:
        """Whether users have days at risk of their own."""
        return not self.chosen.denominator and any(
            AT_RISK in part.during.columns for part in users.parts()
        )

    def limited(self, users: Users) -> MetricColumns:
        """With what all users decide: limits of a capped metric's covariates, a ratio's slope."""
        if self.chosen.denominator:
            return self.linearised(users)
        cap = self.chosen.cap
        if cap is None:
            return self
        width = next(self.known(part).shape[1] for part in users.parts())
        if width == 0:
            return self
        everybody = sum(users.size(arm) for arm in users.arms)
        each = [(_column(self.known, k), everybody, (cap,)) for k in range(width)]
        return replace(self, limits=np.array(quantiles(users, each))[:, 0])

    def linearised(self, users: Users) -> MetricColumns:
        """With the ratio of all users before the start, if the covariate is one column."""
        if not self.linear or self.others is None or not self.chosen.denominator:
            return self
        return replace(self, ratio=self._ratio_before(users))

    def _ratio_before(self, users: Users) -> float | None:
        """None where numerator or denominator is not known from before."""
        own = {*self.chosen.numerator, *self.chosen.denominator}
        if not own <= set(users.known):
            return None
        x, y = total(users, lambda part: covariates(part.before, self.chosen, ()).sum(axis=0))
        return float(x / y) if y else None


def group_rows(
    part: UserTable, pair: Sequence[str], segment: str | None, groups: Sequence[Group]
) -> Iterator[tuple[Group, list[Rows]]]:
    """Positions of the users of each arm, per group."""
    rows = [part.rows(arm) for arm in pair]
    if segment is None:
        yield None, rows
        return
    labels = part.levels(segment)
    for level in groups:
        inside = (labels == level).to_numpy()
        yield level, [own[inside[own]] for own in rows]


def group_caps(
    users: Users,
    columns: MetricColumns,
    pair: Sequence[str],
    segment: str | None,
    sizes: dict[Group, int],
) -> dict[Group, Cap | StatisticsError]:
    """The cap of each group, from the users of both arms; or why there is none.

    Args:
        users: Of the experiment.
        columns: Of a capped metric.
        pair: Control and treatment.
        segment: Whose levels are the groups; None for a single group of all.
        sizes: Users of both arms in every group.
    """
    quantile = columns.chosen.cap
    assert quantile is not None
    found: dict[Group, Cap | StatisticsError] = {}
    ranks: dict[Group, list[int]] = {}
    for group, size in sizes.items():
        try:
            ranks[group] = [1, *needed_ranks(size, quantile)]
        except StatisticsError as error:
            found[group] = error
    groups = list(ranks)

    def numerators(group: Group) -> Columns:
        def pooled(part: UserTable) -> Float:
            ((_, rows),) = group_rows(part, pair, segment, [group])
            return np.asarray(columns.values(part)[np.concatenate(rows), 0])

        return pooled

    def share(group: Group, value: float) -> float:
        own = numerators(group)
        return float(total(users, lambda part: float((own(part) <= value).sum()))) / sizes[group]

    each = values_at(users, [numerators(g) for g in groups], [ranks[g] for g in groups])
    for group, values in zip(groups, each, strict=True):
        known = dict(zip(ranks[group], values, strict=True))
        at_ranks = quantile_of_ranks(sizes[group], quantile, functools.partial(_picked, known))
        try:
            found[group] = checked_cap(at_ranks, known[1], functools.partial(share, group))
        except StatisticsError as error:
            found[group] = error
    return found


def _picked(known: dict[int, float], ranks: Sequence[int]) -> list[float]:
    return [known[rank] for rank in ranks]


def _column(columns: Columns, k: int) -> Columns:
    return lambda part: columns(part)[:, k]
