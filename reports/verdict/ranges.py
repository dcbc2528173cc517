"""Judge what a lift does over the values of an assumption, as a code and the values behind it."""

from __future__ import annotations

from collections.abc import Sequence

from reports.results import AssumedPoint, AssumptionFinding, RangeFinding


def judge_range(treatment: str, points: Sequence[AssumedPoint]) -> AssumptionFinding:
    """What one treatment's lift does over the values.

    "Better everywhere" needs no correction for the number of values: it is claimed only if every
    interval says so (an intersection-union test; Berger, Technometrics 24, 1982).

    Args:
        treatment: Name of the arm.
        points: Ascending by value.
    """
    lifts = {
        point.value: lift for point in points for lift in point.lifts if lift.treatment == treatment
    }
    where = {
        outcome: tuple(v for v, lift in lifts.items() if lift.outcome == outcome)
        for outcome in ("better", "worse")
    }
    better, worse = where["better"], where["worse"]
    unclear = tuple(v for v in lifts if v not in (*better, *worse))
    effects = [lift.effect.value for lift in lifts.values() if lift.effect is not None]
    return AssumptionFinding(
        treatment,
        _code(len(better), len(worse), len(unclear)) if effects else "no data",
        better,
        worse,
        unclear,
        min(effects, default=None),
        max(effects, default=None),
    )


def _code(better: int, worse: int, unclear: int) -> RangeFinding:
    if better and worse:
        return "changes sign"
    if better:
        return "better in part" if unclear else "better everywhere"
    if worse:
        return "worse in part" if unclear else "worse everywhere"
    return "unclear everywhere"
