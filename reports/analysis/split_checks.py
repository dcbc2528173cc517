"""Check the traffic split: of all users, in every segment, and day by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from reports.results import HealthCheck
from reports.statistics.checks.srm import sample_ratio_p_value, sequential_sample_ratio
from reports.statistics.moments import Float
from reports.users.reductions import total
from reports.users.table import Users, UserTable

SRM_ALPHA = 0.0005
"""Level of the checks of the split (Fabijan et al., KDD 2019)."""

CONCENTRATIONS = (100.0, 10_000.0)
"""Of the day-by-day check: mismatches of about 10 % and of about 1 % are found soonest (corrected:
Bonferroni)."""

Status = Literal["pass", "warn", "fail", "not run"]


def coded(name: str, status: Status, code: str, **facts: Any) -> HealthCheck:
    """A check as a code of `reports.verdict.words.checks` and its facts."""
    return HealthCheck(name, "", status, code=code, facts=facts)


def split_checks(
    table: Users, design: str, planned: Mapping[str, float] | None
) -> list[HealthCheck]:
    """The split of all users, that inside the segments, and that while users join.

    A planned arm without users has broken the split, and so has an arm that nobody planned.

    Args:
        table: Users.
        design: Twin designs have nothing to split.
        planned: Share per arm; equal if None.
    """
    if design == "twin":
        counts = [table.size(arm) for arm in table.arms]
        if len(set(counts)) == 1:
            return [coded("srm", "pass", "everyone in every arm")]
        return [coded("srm", "fail", "twins missing", users=counts)]
    shares = dict(planned) if planned else dict.fromkeys(table.arms, 1.0)
    return [
        _whole(table, shares),
        *_inside_segments(table, shares),
        *_while_users_join(table, shares),
    ]


def _whole(table: Users, planned: Mapping[str, float]) -> HealthCheck:
    counts = {arm: table.size(arm) for arm in table.arms}
    counts |= {arm: 0 for arm in planned if arm not in counts}
    unplanned = [arm for arm in counts if arm not in planned]
    silent = [arm for arm, users in counts.items() if users == 0]
    facts = {
        "users": list(counts.values()),
        "planned": [planned.get(arm, 0.0) for arm in counts],
        "silent": silent,
        "unplanned": unplanned,
    }
    # Of an arm that was planned with no user at all none is possible.
    p = 0.0 if unplanned else sample_ratio_p_value(*_pairs(counts, planned))
    if silent or p < SRM_ALPHA:
        return coded("srm", "fail", "split broken", **facts, p=p)
    return coded("srm", "pass", "split as planned", **facts, p=p)


def _pairs(
    counts: Mapping[str, int], planned: Mapping[str, float]
) -> tuple[list[int], list[float]]:
    return [counts[arm] for arm in planned], [planned[arm] for arm in planned]


def _inside_segments(table: Users, planned: Mapping[str, float]) -> list[HealthCheck]:
    """The level whose split is least likely, corrected for the number of levels (Bonferroni).

    Splits that are wrong in opposite directions cancel in the whole. Arms without a plan or without
    users are left to the check of the whole.
    """
    arms = [arm for arm in table.arms if arm in planned]
    if len(arms) < 2 or not table.segment_names:
        return []
    found: list[tuple[float, str, str, list[int]]] = []
    for name in table.segment_names:
        for level, users in level_sizes(table, name, arms).items():
            p = sample_ratio_p_value(users, [planned[arm] for arm in arms])
            found.append((p, name, level, users))
    p, name, level, users = min(found)
    adjusted = min(1.0, p * len(found))
    facts = {"levels": len(found), "p": adjusted}
    if adjusted >= SRM_ALPHA:
        return [coded("srm_segments", "pass", "split as planned in segments", **facts)]
    return [
        coded(
            "srm_segments",
            "fail",
            "split broken in a segment",
            **facts,
            segment=name,
            level=level,
            users=users,
            planned=[planned[arm] for arm in arms],
            broken=sum(one * len(found) < SRM_ALPHA for one, *_ in found),
        )
    ]


def _while_users_join(table: Users, planned: Mapping[str, float]) -> list[HealthCheck]:
    """Always-valid p values of the split of all users so far, day by day.

    A split that is wrong in one direction first and in the other later looks right in the end.
    Nothing to see where all users come on the same day.
    """
    arms = [arm for arm in table.arms if arm in planned]
    if not table.has_days or table.days < 2 or len(arms) < 2:
        return []
    place = {day: number for number, day in enumerate(table.calendar)}

    def joining(part: UserTable) -> Float:
        counts = np.zeros((len(place), len(arms)))
        for arm, day, users in part.first_days().iter_rows():
            if arm in arms:
                counts[place[day], arms.index(arm)] += users
        return counts

    joined = total(table, joining)
    if (joined.sum(axis=1) > 0).sum() < 2:
        return []
    counts = np.cumsum(joined, axis=0)
    shares = [planned[arm] for arm in arms]
    tried = [sequential_sample_ratio(counts, shares, concentration=c) for c in CONCENTRATIONS]
    p_values = np.minimum(len(tried) * np.min(tried, axis=0), 1.0)
    p, days = float(p_values[-1]), len(p_values)
    if p >= SRM_ALPHA:
        return [coded("srm_days", "pass", "split as planned on all days", days=days, p=p)]
    worst = int(np.argmax(p_values < SRM_ALPHA))
    return [
        coded(
            "srm_days",
            "fail",
            "split broken on a day",
            days=days,
            p=p,
            day=table.calendar[worst],
            users=[int(n) for n in counts[worst]],
            planned=shares,
        )
    ]


def level_sizes(table: Users, segment: str, arms: Sequence[str]) -> dict[str, list[int]]:
    """Users of each arm in every level of a segment, in the order of their names."""
    found: dict[str, list[int]] = {}
    for part in table.parts():
        labels = part.levels(segment)
        for g, arm in enumerate(arms):
            counts = labels.gather(part.rows(arm)).value_counts(name="users")
            for level, users in counts.iter_rows():
                found.setdefault(level, [0] * len(arms))[g] += users
    return dict(sorted(found.items()))
