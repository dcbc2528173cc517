"""Write the short lines of the first screen: checks, trade-offs, factors, values of the arms."""

from __future__ import annotations

from collections.abc import Sequence

from reports import formats
from reports.results import (
    ArmComparison,
    ArmValue,
    ExperimentResult,
    Factor,
    FactorSplit,
    MetricComparison,
)
from reports.verdict.words.checks import Chip
from reports.verdict.words.metrics import inline, of_role

_COUNTED = (
    ("fail", "failed", "failed"),
    ("warn", "warning", "warnings"),
    ("pass", "passed", "passed"),
    ("note", "note", "notes"),
    ("not run", "not run", "not run"),
)
_MOST_NAMED = 4


def checks_line(chips: Sequence[Chip]) -> str:
    """All checks in one line: "1 warning (Outliers), 6 passed, 2 notes"."""
    parts = []
    for status, one, many in _COUNTED:
        labels = [chip.label for chip in chips if chip.status == status]
        if labels:
            named = f" ({', '.join(dict.fromkeys(labels))})" if status in ("fail", "warn") else ""
            parts.append(f"{len(labels)} {one if len(labels) == 1 else many}{named}")
    return ", ".join(parts)


def trade_offs(comparison: ArmComparison) -> str:
    """What else moved, best and worst first; empty if nothing did. Factors are named elsewhere."""
    split = comparison.factors
    told = {factor.name for factor in split.factors} if split else set()
    secondary = [
        m
        for m in of_role(comparison, "secondary")
        if m.absolute is not None and m.metric not in told
    ]
    parts = []
    for outcome in ("better", "worse"):
        moved = [m for m in secondary if m.outcome == outcome]
        moved.sort(key=lambda m: -abs(m.relative.value if m.relative else 0.0))
        if moved:
            named = [f"{inline(m.label)} {formats.shown_effect(m)}" for m in moved[:_MOST_NAMED]]
            more = len(moved) - len(named)
            named += [f"{more} more"] if more else []
            parts.append(f"{outcome}: {', '.join(named)}")
    return f"Also {'; '.join(parts)}." if parts else ""


def people(result: ExperimentResult, users: int) -> str:
    """A number of users; of pairs where everyone lived through both arms."""
    noun = "pair" if result.design == "twin" else "user"
    return f"{formats.count(users)} {noun}{'' if users == 1 else 's'}"


def totals(arm: ArmValue, metric: MetricComparison) -> str:
    """What a value is made of: "4,206,000 s / 8,128 user-days"; empty where not known."""
    if arm.total is None or arm.base is None:
        return ""
    per = metric.unit.partition("per ")[2]
    unit = "" if metric.unit == "%" else formats.unit_suffix(metric.unit)
    base = formats.number(arm.base, decimals=0)
    over = f"{base} {per}s" if per and metric.kind == "mean" else base
    return f"{formats.whole(arm.total)}{unit} / {over}"


def adjusted(result: ExperimentResult, metric: MetricComparison) -> str:
    """How the lift was adjusted, in two or three words; empty if it was not."""
    if result.design == "twin":
        return "paired"
    pairs = [(arm.value, arm.adjusted) for arm in (metric.control, metric.treatment)]
    if all(value == other or other is None for value, other in pairs):
        return ""
    return "adjusted"


def adjustment_note(result: ExperimentResult, metric: MetricComparison) -> str:
    """Why a lift is not the quotient of the values beside it; empty where it is."""
    if adjusted(result, metric) != "adjusted":
        return ""
    return (
        "The values of the arms are raw; lifts are adjusted for what was known before the start, "
        "so they differ from the quotient of the values."
    )


def factor_parts(split: FactorSplit) -> list[str]:
    """The part of every factor and last the whole lift, with the same number of decimals."""
    return formats.percents([*(f.contribution.value for f in split.factors), split.lift])


def factor_line(split: FactorSplit) -> str:
    """Where the lift comes from, in one sentence."""
    *parts, whole = factor_parts(split)
    named = [f"{inline(f.label)} {part}" for f, part in zip(split.factors, parts, strict=True)]
    return f"Of {whole}: {', '.join(named)}."


def factor_outcome(factor: Factor) -> str:
    """Whether the interval of a factor excludes no change: "up", "down" or "not clear"."""
    low, high = factor.relative.low, factor.relative.high
    if low is None or high is None or low <= 0.0 <= high:
        return "not clear"
    return "up" if low > 0.0 else "down"


def factor_values(factor: Factor) -> list[str]:
    """The factor in each arm, with its unit."""
    values = formats.numbers([factor.control, factor.treatment])
    suffix = formats.unit_suffix(factor.unit)
    return [value if value == formats.MISSING else value + suffix for value in values]


def overview(comparison: ArmComparison) -> str:
    """A treatment's verdict in a cell of a table."""
    verdict = comparison.verdict
    if verdict.decision is None or verdict.decision == verdict.state:
        return verdict.state
    return f"{verdict.state}; {verdict.decision}"
