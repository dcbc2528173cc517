"""Check whether the numbers can be trusted, before any verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from reports import formats
from reports.plan import AnalysisPlan
from reports.results import HealthCheck
from reports.statistics.checks.balance import carry_over, covariate_balance
from reports.statistics.checks.srm import sample_ratio_p_value
from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float
from reports.users.metric_columns import MetricColumns, during
from reports.users.reductions import arm_moments, total, values_at
from reports.users.table import Users, UserTable

SRM_ALPHA = 0.0005
BALANCE_ALPHA = 0.001
MOST_HELD = 0.3
"""Share of the primary metric that the top 1 % of users may hold."""


def health_checks(
    table: Users,
    plan: AnalysisPlan,
    design: str,
    planned_split: Mapping[str, float] | None,
) -> list[HealthCheck]:
    """Traffic split, duplicate users, balance and carry-over, silent metrics, outliers."""
    checks = [_split(table, design, planned_split), _duplicates(table, design)]
    checks += [_balance(table, design), _carry_over(table, plan, design)]
    checks += _silent(table, plan)
    checks.append(_outliers(table, plan))
    return checks


def _split(table: Users, design: str, planned: Mapping[str, float] | None) -> HealthCheck:
    counts = [table.size(arm) for arm in table.arms]
    if design == "twin":
        same = len(set(counts)) == 1
        return HealthCheck(
            "srm",
            "Traffic split",
            "pass" if same else "fail",
            "every user is in every arm" if same else f"arms differ in users: {counts}",
        )
    shares = [planned[arm] if planned else 1.0 for arm in table.arms]
    p = sample_ratio_p_value(counts, shares)
    text = " vs ".join(f"{n:,}" for n in counts)
    plan_text = "/".join(f"{100 * s / sum(shares):.0f}" for s in shares)
    if p < SRM_ALPHA:
        return HealthCheck(
            "srm",
            "Traffic split",
            "fail",
            f"traffic split is broken: {text}, planned {plan_text} (p = {p:.0e}). No verdict",
        )
    return HealthCheck("srm", "Traffic split", "pass", f"{text}, planned {plan_text} (p = {p:.2f})")


def _duplicates(table: Users, design: str) -> HealthCheck:
    def counts(part: UserTable) -> Float:
        crossing = 0 if design == "twin" else part.during.height - _people(part)
        return np.array([part.repeated_days(), crossing], dtype=np.float64)

    doubled, crossing = (int(count) for count in total(table, counts))
    if doubled or crossing:
        what = f"{doubled:,} repeated user-days" if doubled else f"{crossing:,} users in two arms"
        return HealthCheck("users", "Users", "fail", f"{what}: the table is not one row per user")
    return HealthCheck(
        "users",
        "Users",
        "pass",
        f"each user{'-day' if table.has_days else ''} once, each user in one arm",
    )


def _balance(table: Users, design: str) -> HealthCheck:
    """One test of all covariates together; the detail names the one that stands out."""
    if design == "twin" or not table.has_pre:
        return HealthCheck("balance", "Balance before", "not run", _no_past(design))
    names = table.known

    def known(part: UserTable) -> Float:
        values = [part.before[name].to_numpy().astype(np.float64) for name in names]
        return np.column_stack(values) if values else np.zeros((part.before.height, 0))

    try:
        result = covariate_balance(arm_moments(table, known, table.arms))
    except StatisticsError as error:
        return HealthCheck("balance", "Balance before", "not run", _said(error))
    found = zip(names, result.covariates, strict=True)
    single = {name: one for name, one in found if one is not None}
    if result.p_value < BALANCE_ALPHA:
        worst = min(single, key=lambda name: (single[name].p_value, name))
        one = single[worst]
        return HealthCheck(
            "balance",
            "Balance before",
            "warn",
            f"the arms differed before the start (joint p = {result.p_value:.1g}), most in "
            f"'{worst}': {one.largest_difference:.2g} standard deviations "
            f"(p = {one.p_adjusted:.1g}, Holm)",
        )
    noun = "covariate" if len(single) == 1 else "covariates"
    return HealthCheck(
        "balance",
        "Balance before",
        "pass",
        f"alike before the start ({len(single)} {noun}, joint p = {result.p_value:.2f})",
    )


def _carry_over(table: Users, plan: AnalysisPlan, design: str) -> HealthCheck:
    """Whether the primary metric differed before the start, and how much of that goes on."""
    chosen = plan.metric(plan.primary)
    if design == "twin" or not table.has_pre:
        return HealthCheck("carry_over", "Carry-over", "not run", _no_past(design))
    if not {*chosen.numerator, *chosen.denominator} <= set(table.known):
        reason = f"'{chosen.name}' is not known from before"
        return HealthCheck("carry_over", "Carry-over", "not run", reason)
    columns = MetricColumns(during, table.days, chosen, ())
    before = (2, 3 if chosen.denominator else None)
    try:
        control, *others = arm_moments(table, columns.of, table.arms)
        found = [carry_over(control, other, before=before) for other in others]
    except StatisticsError as error:
        return HealthCheck("carry_over", "Carry-over", "not run", _said(error))
    worst = min(found, key=lambda one: one.before.p_value)
    p = min(1.0, worst.before.p_value * len(found))
    if p >= BALANCE_ALPHA:
        detail = f"{chosen.label.lower()} was alike before the start (p = {p:.2f})"
        return HealthCheck("carry_over", "Carry-over", "pass", detail)
    lift = worst.before.relative
    size = "" if lift is None else f" by {formats.percent(lift.value)}"
    return HealthCheck(
        "carry_over",
        "Carry-over",
        "warn",
        f"{chosen.label.lower()} differed{size} before the start (p = {p:.1g}); adjusting for it "
        f"moves the difference by {abs(worst.removed_errors):.1f} standard errors",
    )


def _no_past(design: str) -> str:
    return "the same people are in every arm" if design == "twin" else "no days before"


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
        return [HealthCheck("silent", "Metrics", "pass", "every metric occurs")]
    users = int(total(table, _people))
    return [
        HealthCheck(
            "silent",
            "Metrics",
            "warn",
            f"'{name}' is 0 for all {users:,} users; no lift computed",
        )
        for name in silent
    ]


def _people(part: UserTable) -> int:
    return part.during["user_id"].n_unique()


def _outliers(table: Users, plan: AnalysisPlan) -> HealthCheck:
    """Whether few users hold most of the primary metric.

    A metric that is 0 or 1 per user has no outliers. Of one that most users lack, the top 1 % of
    all users hold much whatever they do; a warning then also needs that the top 1 % of the users
    with a value hold too much. Values are taken without their sign.
    """
    chosen = plan.metric(plan.primary)
    name = chosen.label.lower()

    def values(part: UserTable) -> Float:
        columns = [part.during[c].to_numpy().astype(np.float64) for c in chosen.numerator]
        return np.abs(np.asarray(sum(columns), np.float64))

    def sizes(part: UserTable) -> Float:
        own = values(part)
        between = (own != 0.0) & (own != 1.0)
        return np.array([len(own), (own > 0.0).sum(), between.sum(), own.sum()], np.float64)

    users, with_value, neither, whole = total(table, sizes)
    if whole <= 0 or users < 100:
        return HealthCheck("outliers", "Outliers", "not run", "too few users")
    if neither == 0 and not chosen.denominator:
        return HealthCheck("outliers", "Outliers", "pass", f"{name} is 0 or 1 per user")
    tops = [max(1, int(n) // 100) for n in (users, with_value)]
    (least,) = values_at(table, [values], [[int(users) - top + 1 for top in tops]])

    def beyond(part: UserTable) -> Float:
        own = values(part)
        above = [own[own > limit] for limit in least]
        return np.array([[float(len(own)), float(own.sum())] for own in above])

    shares = [
        float((held + (top - count) * limit) / whole)
        for (count, held), top, limit in zip(total(table, beyond), tops, least, strict=True)
    ]
    status: Literal["pass", "warn"] = "warn" if min(shares) > MOST_HELD else "pass"
    share = formats.percent(shares[0], signed=False)
    detail = f"the top 1 % of users hold {share} of all {name}"
    return HealthCheck("outliers", "Outliers", status, detail)
