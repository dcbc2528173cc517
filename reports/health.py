"""Can the numbers be trusted? Checks that come before any verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from reports import formats
from reports.plan import AnalysisPlan
from reports.results import HealthCheck
from reports.statistics.srm import sample_ratio_p_value

if TYPE_CHECKING:
    from reports.user_table import UserTable

SRM_ALPHA = 0.0005
BALANCE_ALPHA = 0.001


def health_checks(
    table: UserTable,
    plan: AnalysisPlan,
    design: str,
    planned_split: Mapping[str, float] | None,
) -> list[HealthCheck]:
    """Traffic split, duplicate users, balance before the start, silent metrics, outliers."""
    checks = [_split(table, design, planned_split), _duplicates(table, design)]
    checks.append(_balance(table, design))
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
    if design == "twin" or not table.has_pre:
        reason = "the same people are in every arm" if design == "twin" else "no days before"
        return HealthCheck("balance", "Balance before", "not run", reason)
    worst, name = 1.0, ""
    known = table.before.drop("arm", "user_id")
    columns = [c.name for c in known if float(c.std() or 0.0) > 0]  # type: ignore[arg-type]
    for column in columns:
        values = table.before[column].to_numpy()
        groups = [values[table.rows(arm)] for arm in table.arms]
        if any(g.std() == 0 for g in groups):
            continue
        p = float(
            stats.ttest_ind(groups[0], groups[1], equal_var=False).pvalue
            if len(groups) == 2
            else stats.f_oneway(*groups).pvalue
        )
        if p < worst:
            worst, name = p, column
    worst = min(1.0, worst * max(len(columns), 1))
    if worst < BALANCE_ALPHA:
        return HealthCheck(
            "balance",
            "Balance before",
            "warn",
            f"the arms differed in '{name}' before the start (p = {worst:.1g}, corrected)",
        )
    return HealthCheck(
        "balance", "Balance before", "pass", f"alike before the start (smallest p = {worst:.2f})"
    )


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
