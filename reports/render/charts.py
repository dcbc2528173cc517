"""The charts of the lift report, as inline SVG.

Every chart has a name and a description in words, and says by shape, sign and word what it says
by colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from reports import formats
from reports.render import svg
from reports.results import ArmDistribution, DailyLift, Estimate, MetricComparison

ROW_WIDTH, ROW_HEIGHT = 220, 28
_INSET = 10.0


def row_axis(domain: svg.Domain, identity: str) -> Markup:
    """The scale above a column of `row_bar`s."""
    scale = svg.Scale(*domain, _INSET, ROW_WIDTH - _INSET)
    body = []
    for tick in domain.ticks(4):
        x = scale.at(tick)
        anchor = "start" if x < 20 else "end" if x > ROW_WIDTH - 20 else "middle"
        body.append(svg.line(x, 18, x, 22, "grid"))
        body.append(svg.text(x, 13, svg.tick_percent(tick), anchor=anchor))
    return svg.frame(body, width=ROW_WIDTH, height=22, identity=identity, title="Scale of the bars")


def row_bar(
    estimate: Estimate | None, outcome: str, domain: svg.Domain, identity: str, title: str
) -> Markup:
    """One lift and its interval on an axis that all rows of a table share."""
    scale = svg.Scale(*domain, _INSET, ROW_WIDTH - _INSET)
    body = [svg.line(scale.at(t), 0, scale.at(t), ROW_HEIGHT, "grid") for t in domain.ticks(4)]
    body.append(svg.line(scale.at(0.0), 0, scale.at(0.0), ROW_HEIGHT, "zero"))
    drawn = svg.usable(estimate)
    if drawn is not None:
        body += svg.error_bar(scale, ROW_HEIGHT / 2, drawn, outcome, 5.0)
    words = f"{title}: {formats.lift(estimate)}, interval {formats.interval(estimate)}, {outcome}"
    return svg.frame(body, width=ROW_WIDTH, height=ROW_HEIGHT, identity=identity, title=words)


def lift_chart(metric: MetricComparison, identity: str) -> Markup:
    """One metric's relative lift, its interval and, for guardrails, its margin."""
    drawn = svg.usable(metric.relative)
    if drawn is None:
        return Markup("")
    width, height, middle = 720, 104, 48.0
    margin = None
    if metric.margin is not None:
        size = metric.margin
        if metric.margin_scale == "absolute":
            size /= abs(metric.control.compared[0])
        margin = -size if metric.direction == "up" else size
    domain = svg.lift_domain([drawn], [] if margin is None else [margin])
    scale = svg.Scale(*domain, 16.0, width - 16.0)
    body = []
    for tick in domain.ticks(7):
        body.append(svg.line(scale.at(tick), 22, scale.at(tick), 76, "grid"))
        body.append(svg.text(scale.at(tick), 94, svg.tick_percent(tick)))
    body.append(svg.line(scale.at(0.0), 22, scale.at(0.0), 76, "zero"))
    left, right = ("worse", "better") if metric.direction == "up" else ("better", "worse")
    zero = scale.at(0.0)
    body += _beside_zero(zero, width, left, right)
    if margin is not None:
        x = scale.at(margin)
        body.append(svg.line(x, 22, x, 76, "margin"))
        body.append(svg.text(x, 14, f"margin {svg.tick_percent(margin)}", anchor=_anchor(x, width)))
    body += svg.error_bar(scale, middle, drawn, metric.outcome, 9.0)
    interval = formats.interval(metric.relative)
    desc = (
        f"Relative lift {formats.lift(metric.relative)}, "
        f"{formats.confidence(metric.confidence)} interval {interval}: {metric.outcome}."
    )
    if margin is not None:
        desc += f" The margin is at {svg.tick_percent(margin)}."
    title = f"{metric.label}: lift and interval"
    return svg.frame(body, width=width, height=height, identity=identity, title=title, desc=desc)


def _beside_zero(zero: float, width: int, left: str, right: str) -> list[str]:
    body = []
    if zero > 90:
        body.append(svg.text(zero - 8, 32, f"← {left}", anchor="end"))
    if width - zero > 90:
        body.append(svg.text(zero + 8, 32, f"{right} →", anchor="start"))
    return body


def _anchor(x: float, width: int) -> str:
    return "start" if x < 80 else "end" if x > width - 80 else "middle"


def daily_chart(daily: Sequence[DailyLift], identity: str, *, cumulative: bool) -> Markup:
    """Relative lift by day: of each day alone, or of all days up to it.

    Both charts of one experiment share their scale.
    """
    so_far = [d.banded or d.cumulative for d in daily]
    drawn = so_far if cumulative else [d.lift for d in daily]
    lifts = [(d.day, svg.usable(e)) for d, e in zip(daily, drawn, strict=True)]
    shown = [(day, e) for day, e in lifts if e is not None]
    if not shown:
        return Markup("")
    width, height, top, bottom = 460, 240, 16.0, 200.0
    domain = svg.lift_domain([*(d.lift for d in daily), *so_far])
    ys = svg.Scale(*domain, bottom, top)
    first, last = daily[0].day, daily[-1].day
    xs = svg.Scale(first - 0.5, last + 0.5, 64.0, width - 12.0)
    body = []
    for tick in domain.ticks(5):
        body.append(svg.line(64, ys.at(tick), width - 12, ys.at(tick), "grid"))
        body.append(svg.text(56, ys.at(tick) + 4, svg.tick_percent(tick), anchor="end"))
    body.append(svg.line(64, ys.at(0.0), width - 12, ys.at(0.0), "zero"))
    every = max(1, math.ceil((last - first + 1) / 12))
    days = range(first, last + 1, every)
    body += [svg.text(xs.at(day), bottom + 18, str(day + 1)) for day in days]
    body.append(svg.text((64 + width - 12) / 2, bottom + 36, "day"))
    body += _daily_band(shown, xs, ys) if cumulative else _daily_bars(shown, xs, ys)
    what = "all days so far" if cumulative else "each day alone"
    final_day, final = shown[-1]
    desc = (
        f"On day {final_day + 1}: {formats.lift(final)}, interval {formats.interval(final)}. "
        "All numbers are in the table below."
    )
    return svg.frame(
        body,
        width=width,
        height=height,
        identity=identity,
        title=f"Relative lift, {what}",
        desc=desc,
    )


def _daily_bars(shown: Sequence[tuple[int, Estimate]], xs: svg.Scale, ys: svg.Scale) -> list[str]:
    body = []
    for day, estimate in shown:
        x = xs.at(day)
        if estimate.low is not None and estimate.high is not None:
            body.append(svg.line(x, ys.at(estimate.low), x, ys.at(estimate.high), "ci treatment"))
        body.append(f'<circle class="dot" cx="{x:.1f}" cy="{ys.at(estimate.value):.1f}" r="4"/>')
    return body


def _daily_band(shown: Sequence[tuple[int, Estimate]], xs: svg.Scale, ys: svg.Scale) -> list[str]:
    bounded = [(day, e.low, e.high) for day, e in shown if e.low is not None and e.high is not None]
    upper = [(xs.at(day), ys.at(high)) for day, _, high in bounded]
    lower = [(xs.at(day), ys.at(low)) for day, low, _ in bounded]
    body = [svg.path([*upper, *reversed(lower)], "band", closed=True)] if len(bounded) > 1 else []
    if len(bounded) == 1:
        body.append(svg.line(*upper[0], *lower[0], "ci treatment"))
    points = [(xs.at(day), ys.at(e.value)) for day, e in shown]
    body.append(svg.path(points, "series treatment"))
    body += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    return body


def distribution_chart(arms: Sequence[ArmDistribution], unit: str, identity: str) -> Markup:
    """Share of users by value on a logarithmic axis, and the share at zero beside it.

    Args:
        arms: Control first; all with the same edges.
        unit: Of the values.
        identity: Unique in the document.
    """
    numbers = [v for a in arms for v in (*a.edges, *a.shares, a.zero_share)]
    drawable = bool(arms) and len(arms[0].edges) > 1 and arms[0].edges[0] > 0
    if not drawable or not all(math.isfinite(v) for v in numbers):
        return Markup("")
    width, height, top, bottom, left = 720, 280, 34.0, 216.0, 150.0
    edges = arms[0].edges
    highest = max((max(a.shares, default=0.0) for a in arms), default=0.0) or 1.0
    ys = svg.Scale(0.0, 1.1 * highest, bottom, top)
    xs = svg.Scale(math.log10(edges[0]), math.log10(edges[-1]), left, width - 16.0)
    body = [svg.line(left, bottom, width - 16, bottom, "zero")]
    for tick in svg.Domain(0.0, 1.1 * highest).ticks(4)[1:]:
        body.append(svg.line(left, ys.at(tick), width - 16, ys.at(tick), "grid"))
        body.append(svg.text(left - 8, ys.at(tick) + 4, f"{100 * tick:.4g} %", anchor="end"))
    for value in _log_ticks(edges[0], edges[-1]):
        x = xs.at(math.log10(value))
        body.append(svg.line(x, bottom, x, bottom + 5, "zero"))
        body.append(svg.text(x, bottom + 20, formats.number(value, decimals=_places(value))))
    body.append(svg.text((left + width) / 2, bottom + 42, f"{unit}, logarithmic"))
    zeros = max((a.zero_share for a in arms), default=0.0)
    zero_scale = svg.Scale(0.0, 1.1 * max(zeros, 0.1), bottom, top)
    for number, (arm, style) in enumerate(zip(arms, ("control", "treatment"), strict=False)):
        body.append(svg.path(_outline(arm, xs, ys, bottom), f"series {style}"))
        x = 4.0 + 40.0 * number
        y = zero_scale.at(arm.zero_share)
        corners = [(x, bottom), (x, y), (x + 32, y), (x + 32, bottom)]
        body.append(svg.path(corners, f"bar {style}", closed=True))
        # The two words lean away from each other, so that they do not meet when they grow.
        edge, anchor = (x, "start") if number else (x + 32, "end")
        share = formats.percent(arm.zero_share, signed=False)
        body.append(svg.text(edge, y - 6, share, anchor=anchor))
    body.append(svg.line(0, bottom, 80, bottom, "zero"))
    body.append(svg.text(40, bottom + 20, "at zero"))
    body.append(svg.text(left, 14, "share of users", anchor="start"))
    desc = "; ".join(
        f"{a.arm}: {formats.percent(a.zero_share, signed=False)} of users at zero, "
        f"median {formats.number(a.quantiles.get('p50'))}"
        for a in arms
    )
    title = "Share of users by value, per arm"
    return svg.frame(body, width=width, height=height, identity=identity, title=title, desc=desc)


def _outline(
    arm: ArmDistribution, xs: svg.Scale, ys: svg.Scale, bottom: float
) -> list[tuple[float, float]]:
    points = [(xs.start, bottom)]
    for low, high, share in zip(arm.edges, arm.edges[1:], arm.shares, strict=False):
        y = ys.at(share)
        points += [(xs.at(math.log10(low)), y), (xs.at(math.log10(high)), y)]
    return [*points, (xs.end, bottom)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten in the range, with their doubles and halves if there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1.0, 2.0, 5.0) if len(powers) <= 3 else (1.0,)
    every = max(1, len(powers) // 8)
    values = [f * 10.0**k for k in list(powers)[::every] for f in factors]
    return [v for v in values if low <= v <= high]


def _places(value: float) -> int:
    return max(0, -math.floor(math.log10(value)))
