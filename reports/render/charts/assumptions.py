"""Draw the lift as a function of assumptions: a line over one, a tornado over several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from reports import formats
from reports.render import svg
from reports.render.charts.lifts import ROW_HEIGHT, ROW_WIDTH
from reports.results import AssumedLift, AssumptionGrid, Estimate, Sensitivity
from reports.verdict import words

_LOGARITHMIC = 8.0
"""Positive values that differ by more than this factor stand on a logarithmic axis."""

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 252, 72.0, 14.0, 24.0, 200.0
_INSET = 10.0


def assumption_domain(record: Sensitivity, treatment: str) -> svg.Domain:
    """The axis that all assumptions of one treatment share; zero is on it."""
    return svg.lift_domain(
        lift.effect
        for grid in record.grids
        for point in grid.points
        for lift in point.lifts
        if lift.treatment == treatment
    )


def assumption_chart(
    record: Sensitivity, grid: AssumptionGrid, treatment: str, domain: svg.Domain, identity: str
) -> Markup:
    """The lift of one treatment over the values of one assumption, with intervals.

    Args:
        record: What the grid is part of.
        grid: The assumption.
        treatment: Name of the arm.
        domain: Of the lift.
        identity: Unique in the document.
    """
    found = _lifts(grid, treatment)
    shown = [(value, lift, e) for value, lift in found if (e := svg.usable(lift.effect))]
    if not shown:
        return Markup("")
    values = [point.value for point in grid.points]
    place = _placing(values)
    ys = svg.Scale(*domain, _BOTTOM, _TOP)
    ends = [place(values[0]), place(values[-1])]
    pad = 0.08 * (ends[1] - ends[0]) or 1.0
    xs = svg.Scale(ends[0] - pad, ends[1] + pad, _LEFT, _WIDTH - _RIGHT)
    label = svg.tick_of(record.scale)
    body = []
    for tick in domain.ticks(5):
        body.append(svg.line(_LEFT, ys.at(tick), _WIDTH - _RIGHT, ys.at(tick), "grid"))
        body.append(svg.text(_LEFT - 8, ys.at(tick) + 4, label(tick), anchor="end"))
    body.append(svg.line(_LEFT, ys.at(0.0), _WIDTH - _RIGHT, ys.at(0.0), "zero"))
    own = xs.at(place(grid.base))
    body.append(svg.line(own, _TOP - 6, own, _BOTTOM, "base"))
    body.append(svg.text(own, _TOP - 10, "this world", anchor=_anchor(own)))
    names = {place(value): formats.trimmed(value) for value in values}
    body += svg.tick_labels(
        [place(value) for value in values], xs, _BOTTOM + 18, _WIDTH, label=lambda t: names[t]
    )
    body.append(svg.text((_LEFT + _WIDTH - _RIGHT) / 2, _BOTTOM + 38, grid.label))
    body += _band([(xs.at(place(value)), e) for value, _, e in shown], ys)
    for value, lift, estimate in shown:
        body += _upright(xs.at(place(value)), ys, estimate, lift.outcome)
    return svg.frame(
        body,
        width=_WIDTH,
        height=_HEIGHT,
        identity=identity,
        title=f"{record.label} of {treatment}, by {grid.label}",
        desc=" ".join(
            f"At {formats.trimmed(value)}: {words.assumed_effect(record, estimate)}, interval "
            f"{words.assumed_interval(record, estimate)}, {lift.outcome}."
            for value, lift, estimate in shown
        ),
    )


def tornado_row(
    record: Sensitivity, grid: AssumptionGrid, treatment: str, domain: svg.Domain, identity: str
) -> Markup:
    """One bar of a tornado: from the smallest to the largest lift over an assumption's values.

    The lift at the smallest value of the assumption is marked above, at the largest below.
    """
    found = [(v, lift) for v, lift in _lifts(grid, treatment) if svg.usable(lift.effect)]
    if not found:
        return Markup("")
    scale = svg.Scale(*domain, _INSET, ROW_WIDTH - _INSET)
    body = [svg.line(scale.at(t), 0, scale.at(t), ROW_HEIGHT, "grid") for t in domain.ticks()]
    effects = [lift.effect.value for _, lift in found if lift.effect is not None]
    left, right = scale.at(min(effects)), scale.at(max(effects))
    top, bottom = 8.0, ROW_HEIGHT - 8.0
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    body.append(svg.path(corners, "span", closed=True))
    body.append(svg.line(scale.at(0.0), 0, scale.at(0.0), ROW_HEIGHT, "zero"))
    own = [lift.effect.value for value, lift in found if value == grid.base and lift.effect]
    body += [svg.line(scale.at(v), 0, scale.at(v), ROW_HEIGHT, "base") for v in own]
    ends = [(found[0], 7.0), (found[-1], ROW_HEIGHT - 7.0)]
    for (value, lift), y in ends:
        if value != grid.base and lift.effect is not None:
            body.append(svg.marker(scale.at(lift.effect.value), y, lift.outcome, 4.0))
    told = ", ".join(
        f"{words.assumed_effect(record, lift.effect)} at {formats.trimmed(value)} ({lift.outcome})"
        for value, lift in found
        if lift.effect is not None
    )
    return svg.frame(
        body,
        width=ROW_WIDTH,
        height=ROW_HEIGHT,
        identity=identity,
        title=f"{grid.label}: {told}",
    )


def _lifts(grid: AssumptionGrid, treatment: str) -> list[tuple[float, AssumedLift]]:
    return [(p.value, lift) for p in grid.points for lift in p.lifts if lift.treatment == treatment]


def _placing(values: Sequence[float]) -> Callable[[float], float]:
    """Where a value stands: at itself, or at its logarithm where values differ by large factors."""
    logarithmic = values[0] > 0.0 and values[-1] / values[0] > _LOGARITHMIC
    return math.log if logarithmic else float


def _band(points: Sequence[tuple[float, Estimate]], ys: svg.Scale) -> list[str]:
    bounded = [(x, e.low, e.high) for x, e in points if e.low is not None and e.high is not None]
    body = []
    if len(bounded) > 1:
        upper = [(x, ys.at(high)) for x, _, high in bounded]
        lower = [(x, ys.at(low)) for x, low, _ in bounded]
        body.append(svg.path([*upper, *reversed(lower)], "band", closed=True))
    body.append(svg.path([(x, ys.at(e.value)) for x, e in points], "series treatment"))
    return body


def _upright(x: float, ys: svg.Scale, estimate: Estimate, outcome: str) -> list[str]:
    """A vertical interval with the marker of its outcome."""
    style = f"ci {outcome.replace(' ', '-')}"
    parts = [svg.marker(x, ys.at(estimate.value), outcome, 5.0)]
    if estimate.low is not None and estimate.high is not None:
        parts.append(svg.line(x, ys.at(estimate.low), x, ys.at(estimate.high), style))
        ends = [ys.at(end) for end in (estimate.low, estimate.high) if ys.low <= end <= ys.high]
        parts += [svg.line(x - 5, y, x + 5, y, style) for y in ends]
    return parts


def _anchor(x: float) -> str:
    return "start" if x < _LEFT + 40 else "end" if x > _WIDTH - _RIGHT - 40 else "middle"
