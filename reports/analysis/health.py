"""Check, before any verdict, whether the numbers can be trusted.

Every check is a code and its numbers; `reports.verdict.words.checks` has the sentences.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reports.analysis.split_checks import Status, coded, split_checks
from reports.plan import AnalysisPlan
from reports.results import HealthCheck
from reports.statistics.checks.balance import carry_over, covariate_balance
from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float
from reports.users.metric_columns import MetricColumns, during
from reports.users.reductions import arm_moments, total, values_at
from reports.users.table import Users, UserTable

BALANCE_ALPHA = 0.001
MOST_HELD = 0.3
"""Share of the primary metric that the top 1 % of users may hold without a warning."""


def health_checks(
    table: Users,
    plan: AnalysisPlan,
    design: str,
    planned_split: Mapping[str, float] | None,
) -> list[HealthCheck]:
    """Traffic split, duplicate users, balance and carry-over, silent metrics, outliers."""
    checks = [*split_checks(table, design, planned_split), _duplicates(table, design)]
    checks += [_balance(table, design), _carry_over(table, plan, design)]
    checks += _silent(table, plan)
    checks.append(_outliers(table, plan))
    return checks


def _duplicates(table: Users, design: str) -> HealthCheck:
    def counts(part: UserTable) -> Float:
        crossing = 0 if design == "twin" else part.during.height - _people(part)
        return np.array([part.repeated_days(), crossing], dtype=np.float64)

    doubled, crossing = (int(count) for count in total(table, counts))
    if doubled:
        return coded("users", "fail", "user-days repeated", rows=doubled)
    if crossing:
        return coded("users", "fail", "users in two arms", users=crossing)
    if design == "twin":
        return coded("users", "pass", "user-days of pairs unique")
    return coded("users", "pass", "user-days unique" if table.has_days else "users unique")


def _balance(table: Users, design: str) -> HealthCheck:
    """One test of all covariates together; the facts name the one that stands out."""
    if design == "twin" or not table.has_pre:
        return _no_past("balance", design)
    names = table.known

    def known(part: UserTable) -> Float:
        values = [part.before[name].to_numpy().astype(np.float64) for name in names]
        return np.column_stack(values) if values else np.zeros((part.before.height, 0))

    try:
        result = covariate_balance(arm_moments(table, known, table.arms))
    except StatisticsError as error:
        return coded("balance", "not run", "cannot be computed", problem=_said(error))
    found = zip(names, result.covariates, strict=True)
    single = {name: one for name, one in found if one is not None}
    if result.p_value < BALANCE_ALPHA:
        worst = min(single, key=lambda name: (single[name].p_value, name))
        one = single[worst]
        return coded(
            "balance",
            "warn",
            "covariates differ",
            p=result.p_value,
            worst=worst,
            distance=one.largest_difference,
            worst_p=one.p_adjusted,
        )
    return coded("balance", "pass", "covariates alike", covariates=len(single), p=result.p_value)


def _carry_over(table: Users, plan: AnalysisPlan, design: str) -> HealthCheck:
    """Whether the primary metric differed before the start, and how much of that goes on."""
    chosen = plan.metric(plan.primary)
    if design == "twin" or not table.has_pre:
        return _no_past("carry_over", design)
    if not {*chosen.numerator, *chosen.denominator} <= set(table.known):
        return coded("carry_over", "not run", "metric not known before", metric=chosen.name)
    columns = MetricColumns(during, table.days, chosen, ())
    before = (2, 3 if chosen.denominator else None)
    try:
        control, *others = arm_moments(table, columns.of, table.arms)
        found = [carry_over(control, other, before=before) for other in others]
    except StatisticsError as error:
        return coded("carry_over", "not run", "cannot be computed", problem=_said(error))
    worst = min(found, key=lambda one: one.before.p_value)
    p = min(1.0, worst.before.p_value * len(found))
    if p >= BALANCE_ALPHA:
        return coded("carry_over", "pass", "metric alike", metric=chosen.label, p=p)
    lift = worst.before.relative
    return coded(
        "carry_over",
        "warn",
        "metric differed",
        metric=chosen.label,
        lift=None if lift is None else lift.value,
        p=p,
        moved=worst.removed_errors,
    )


def _no_past(name: str, design: str) -> HealthCheck:
    return coded(name, "not run", "same people" if design == "twin" else "no past")


def _said(error: StatisticsError) -> str:
    return f"{error.problem} {error.detail}".strip().rstrip(".")


def _silent(table: Users, plan: AnalysisPlan) -> list[HealthCheck]:
    names = (plan.primary, *plan.guardrails, *plan.secondary)
    numerators = [plan.metric(name).numerator for name in names]

    def sizes(part: UserTable) -> Float:
        return np.array(
            [sum(float(np.abs(part.during[c].to_numpy()).sum()) for c in own) for own in numerators]
        )

    silent = [name for name, size in zip(names, total(table, sizes), strict=True) if size == 0.0]
    if not silent:
        return [coded("silent", "pass", "every metric occurs")]
    users = int(total(table, _people))
    return [coded("silent", "warn", "metric silent", metric=name, users=users) for name in silent]


def _people(part: UserTable) -> int:
    return part.during["user_id"].n_unique()


def _outliers(table: Users, plan: AnalysisPlan) -> HealthCheck:
    """Whether few users hold most of the primary metric.

    A metric that is 0 or 1 per user has no outliers. Of one that most users lack, the top 1 % of
    all users hold much whatever they do; a warning then also needs that the top 1 % of the users
    with a value hold too much. Values are taken without their sign.
    """
    chosen = plan.metric(plan.primary)

    def values(part: UserTable) -> Float:
        columns = [part.during[c].to_numpy().astype(np.float64) for c in chosen.numerator]
        return np.abs(np.asarray(sum(columns), np.float64))

    def sizes(part: UserTable) -> Float:
        own = values(part)
        between = (own != 0.0) & (own != 1.0)
        return np.array([len(own), (own > 0.0).sum(), between.sum(), own.sum()], np.float64)

    users, with_value, neither, whole = total(table, sizes)
    if whole <= 0:
        return coded("outliers", "not run", "nobody has a value", metric=chosen.label)
    if users < 100:
        return coded("outliers", "not run", "too few users")
    if neither == 0 and not chosen.denominator:
        return coded("outliers", "pass", "zero or one", metric=chosen.label)
    tops = [max(1, int(n) // 100) for n in (users, with_value)]
    (least,) = values_at(table, [values], [[int(users) - top + 1 for top in tops]])

    def beyond(part: UserTable) -> Float:
        own = values(part)
        above = [own[own > limit] for limit in least]
        return np.array([[float(len(held)), float(held.sum())] for held in above])

    shares = [
        float((held + (top - count) * limit) / whole)
        for (count, held), top, limit in zip(total(table, beyond), tops, least, strict=True)
    ]
    status: Status = "warn" if min(shares) > MOST_HELD else "pass"
    return coded("outliers", status, "top share", share=shares[0], metric=chosen.label)
