"""Write what a lift does under other assumptions: sentences of the verdict, rows of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports import formats
from reports.results import (
    ArmComparison,
    AssumptionFinding,
    AssumptionGrid,
    Estimate,
    ExperimentResult,
    RangeFinding,
    Sensitivity,
)

_THROUGHOUT: dict[RangeFinding, str] = {
    "better everywhere": "Better",
    "worse everywhere": "Worse",
    "unclear everywhere": "Not clear",
}
"""Findings that hold at every value, and how a sentence about them starts."""


@dataclass(frozen=True)
class AssumedRow:
    """One value of one assumption, as text.

    Attributes:
        label: The assumption, in words.
        value: As it is written, the world's own marked.
        control: The metric in the control arm, with its unit.
        effect, interval: Of the treatment.
        outcome: Code of the outcome.
    """

    label: str
    value: str
    control: str
    effect: str
    interval: str
    outcome: str


def sensitivity(result: ExperimentResult, comparison: ArmComparison) -> str:
    """What the verdict says of the assumptions; empty where none was varied."""
    record = result.assumptions
    if record is None or comparison.verdict.cause in ("check failed", "same policy", "no data"):
        return ""
    pairs = [(grid, found) for grid in record.grids if (found := finding(grid, comparison))]
    if not pairs:
        return ""
    said = [_alone(*pairs[0])] if len(pairs) == 1 else _together(record, pairs)
    return " ".join([*said, *_broken(record, comparison)])


def finding(grid: AssumptionGrid, comparison: ArmComparison) -> AssumptionFinding | None:
    """What was found about one treatment; None if nothing could be."""
    found = next((f for f in grid.findings if f.treatment == comparison.treatment), None)
    return None if found is None or found.code == "no data" else found


def by_spread(record: Sensitivity, comparison: ArmComparison) -> list[AssumptionGrid]:
    """The assumptions on which one treatment's lift rests, most first, as in a tornado."""
    pairs = [(grid, finding(grid, comparison)) for grid in record.grids]
    known = [(grid, found) for grid, found in pairs if found is not None]
    return [grid for grid, found in sorted(known, key=lambda pair: -_spread(pair[1]))]


def assumed_rows(
    record: Sensitivity, grid: AssumptionGrid, comparison: ArmComparison
) -> list[AssumedRow]:
    """A row per value of one assumption, for one treatment."""
    found = [
        (point, lift)
        for point in grid.points
        for lift in point.lifts
        if lift.treatment == comparison.treatment
    ]
    controls = formats.numbers([point.control for point, _ in found])
    suffix = formats.unit_suffix(record.unit)
    return [
        AssumedRow(
            grid.label,
            formats.trimmed(point.value) + (" (this world)" if point.value == grid.base else ""),
            control if control == formats.MISSING else control + suffix,
            assumed_effect(record, lift.effect),
            assumed_interval(record, lift.effect),
            lift.outcome,
        )
        for (point, lift), control in zip(found, controls, strict=True)
    ]


def assumed_effect(record: Sensitivity, effect: Estimate | None) -> str:
    """A lift, or a difference with its unit where effects are absolute."""
    if record.scale == "absolute":
        return formats.difference(effect, record.unit)
    return formats.lift(effect)


def assumed_interval(record: Sensitivity, effect: Estimate | None) -> str:
    """The bounds of `assumed_effect`."""
    if record.scale == "absolute":
        return formats.absolute_interval(effect, record.unit)
    return formats.interval(effect)


def how_assumed(record: Sensitivity) -> str:
    """How the assumed worlds were tried, and with which policies."""
    days = f"{record.days} day{'s' if record.days > 1 else ''}"
    people = f"{formats.count(record.users)} people"
    lead = (
        f"One assumption is varied at a time. In every assumed world the same {people} live {days} "
        "through every arm (twin design, same seeds). Each "
        f"{formats.confidence(record.confidence)} interval stands by itself. "
    )
    if record.retrained:
        return lead + "Policies were trained on the log of each assumed world."
    free = [grid.label for grid in record.grids if not grid.in_log]
    if len(free) == len(record.grids):
        return lead + "The log that policies are trained on does not depend on what was varied."
    but = f" (it does not depend on the {', the '.join(free)})" if free else ""
    return (
        f"{lead}Policies are as trained on the log of this world{but}: people respond otherwise "
        "than it says. --assume-retrain trains on the log of each assumed world."
    )


def _alone(grid: AssumptionGrid, found: AssumptionFinding) -> str:
    return f"{_over(grid, found)}; {evidence_of(grid)}."


def _over(grid: AssumptionGrid, found: AssumptionFinding) -> str:
    """What one treatment's lift does over the values of one assumption; no full stop."""
    values = [point.value for point in grid.points]
    lead = _THROUGHOUT.get(found.code)
    if lead is not None:
        each = "any" if found.code == "unclear everywhere" else "every"
        return f"{lead} for {each} assumed {grid.label} {_where(values, values)}"
    parts = [
        f"{word} {_where(chosen, values)}"
        for word, chosen in (
            ("better", found.better),
            ("worse", found.worse),
            ("not clear", found.unclear),
        )
        if chosen
    ]
    return f"Depends on the {grid.label}: {', '.join(parts)}"


def _together(
    record: Sensitivity, pairs: Sequence[tuple[AssumptionGrid, AssumptionFinding]]
) -> list[str]:
    """Several assumptions: what holds throughout, what does not, and what moves the lift most."""
    said = []
    for code, lead in _THROUGHOUT.items():
        labels = [grid.label for grid, found in pairs if found.code == code]
        if labels:
            counted = f"{len(labels)} of the {len(pairs)} assumptions varied"
            if len(labels) == len(pairs):
                counted = f"each of the {len(pairs)} assumptions varied"
            said.append(f"{lead} over the whole range of {counted}.")
    said += [f"{_over(g, f)}." for g, f in pairs if f.code not in _THROUGHOUT]
    grid, most = max(pairs, key=lambda pair: _spread(pair[1]))
    if most.low is not None and most.high is not None and _spread(most) > 0.0:
        said.append(
            f"The lift rests most on the {grid.label} ({_bounds(record, most.low, most.high)}); "
            f"{evidence_of(grid)}."
        )
    return said


def _spread(found: AssumptionFinding) -> float:
    return 0.0 if found.low is None or found.high is None else found.high - found.low


def _bounds(record: Sensitivity, low: float, high: float) -> str:
    if record.scale == "absolute":
        ends = [formats.number(value, signed=True) for value in (low, high)]
        return f"{ends[0]} to {ends[1]}{formats.unit_suffix(record.unit)}"
    ends = formats.percents([low, high])
    return f"{ends[0].removesuffix(' %')} to {ends[1]}"


def evidence_of(grid: AssumptionGrid) -> str:
    """What the world's own value rests on; goes after a semicolon."""
    own = formats.trimmed(grid.base)
    return {
        "none": "no published evidence tells its value",
        "fitted": f"this world's value, {own}, is fitted to published figures",
        "set": f"this world's value, {own}, was set by reasoning",
    }[grid.evidence]


def _where(chosen: Sequence[float], values: Sequence[float]) -> str:
    """Some of the ascending values in words: "at 0.2", "from 0.5 to 2", "at 0.2 and 2"."""
    first, last = values.index(chosen[0]), values.index(chosen[-1])
    if len(chosen) > 1 and last - first + 1 == len(chosen):
        return f"from {formats.trimmed(chosen[0])} to {formats.trimmed(chosen[-1])}"
    shown = [formats.trimmed(value) for value in chosen]
    return f"at {shown[0]}" if len(shown) == 1 else f"at {', '.join(shown[:-1])} and {shown[-1]}"


def _broken(record: Sensitivity, comparison: ArmComparison) -> list[str]:
    """Guardrails that another assumption breaks."""
    where: dict[str, list[str]] = {}
    for grid in record.grids:
        for point in grid.points:
            for lift in point.lifts:
                if lift.treatment == comparison.treatment and point.value != grid.base:
                    for label in lift.broken:
                        at = f"{grid.label} {formats.trimmed(point.value)}"
                        where.setdefault(label, []).append(at)
    return [f"Guardrail '{label}' is broken at {', '.join(at)}." for label, at in where.items()]
