"""Can the numbers be trusted? Checks that come before any verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from reports import formats
from reports.plan import AnalysisPlan
from reports.results import HealthCheck
from reports.statistics.balance import carry_over, covariate_balance
from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Moments
from reports.statistics.srm import sample_ratio_p_value
from reports.user_table import UserTable, covariates, matrix

SRM_ALPHA = 0.0005
BALANCE_ALPHA = 0.001


def health_checks(
    table: UserTable,
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


def _split(table: UserTable, design: str, planned: Mapping[str, float] | None) -> HealthCheck:
    counts = [len(table.rows(arm)) for arm in table.arms]
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


def _duplicates(table: UserTable, design: str) -> HealthCheck:
    doubled = table.repeated_days()
    crossing = 0
    if design != "twin":
        users = table.during["user_id"]
        crossing = len(users) - users.n_unique()
    if doubled or crossing:
        what = f"{doubled:,} repeated user-days" if doubled else f"{crossing:,} users in two arms"
        return HealthCheck("users", "Users", "fail", f"{what}: the table is not one row per user")
    return HealthCheck(
        "users",
        "Users",
        "pass",
        f"each user{'-day' if table.has_days else ''} once, each user in one arm",
    )


def _balance(table: UserTable, design: str) -> HealthCheck:
    """One test of all covariates together; the detail names the one that stands out."""
    if design == "twin" or not table.has_pre:
        return HealthCheck("balance", "Balance before", "not run", _no_past(design))
    known = table.before.drop("arm", "user_id")
    values = [c.to_numpy().astype(np.float64) for c in known]
    columns = np.column_stack(values) if values else np.zeros((table.before.height, 0))
    try:
        result = covariate_balance([Moments.of(columns[table.rows(arm)]) for arm in table.arms])
    except StatisticsError as error:
        return HealthCheck("balance", "Balance before", "not run", _said(error))
    found = zip(known.columns, result.covariates, strict=True)
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


def _carry_over(table: UserTable, plan: AnalysisPlan, design: str) -> HealthCheck:
    """Whether the primary metric differed before the start, and how much of that goes on."""
    chosen = plan.metric(plan.primary)
    if design == "twin" or not table.has_pre:
        return HealthCheck("carry_over", "Carry-over", "not run", _no_past(design))
    if not {*chosen.numerator, *chosen.denominator} <= set(table.before.columns):
        reason = f"'{chosen.name}' is not known from before"
        return HealthCheck("carry_over", "Carry-over", "not run", reason)
    past = covariates(table.before, chosen, ())
    columns = np.concatenate([matrix(table.during, chosen, table.days), past], axis=1)
    before = (2, 3 if chosen.denominator else None)
    try:
        control, *others = (Moments.of(columns[table.rows(arm)]) for arm in table.arms)
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


def _silent(table: UserTable, plan: AnalysisPlan) -> list[HealthCheck]:
    silent: list[str] = []
    for name in (plan.primary, *plan.guardrails, *plan.secondary):
        chosen = plan.metric(name)
        total = sum(float(np.abs(table.during[c].to_numpy()).sum()) for c in chosen.numerator)
        if total == 0.0:
            silent.append(name)
    if not silent:
        return [HealthCheck("silent", "Metrics", "pass", "every metric occurs")]
    users = table.during["user_id"].n_unique()
    return [
        HealthCheck(
            "silent",
            "Metrics",
            "warn",
            f"'{name}' is 0 for all {users:,} users; no lift computed",
        )
        for name in silent
    ]


def _outliers(table: UserTable, plan: AnalysisPlan) -> HealthCheck:
    chosen = plan.metric(plan.primary)
    values = sum(table.during[c].to_numpy() for c in chosen.numerator)
    total = float(np.sum(values))
    if total <= 0 or len(np.atleast_1d(values)) < 100:
        return HealthCheck("outliers", "Outliers", "not run", "too few users")
    ordered = np.sort(np.asarray(values))
    share = float(ordered[-max(1, len(ordered) // 100) :].sum() / total)
    status: Literal["pass", "warn"] = "warn" if share > 0.3 else "pass"
    return HealthCheck(
        "outliers",
        "Outliers",
        status,
        f"the top 1 % of users hold {formats.percent(share, signed=False)} of all "
        f"{chosen.label.lower()}",
    )
