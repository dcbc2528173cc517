"""Draw how a metric is distributed over users, per arm."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from reports import formats
from reports.render import svg
from reports.results import ArmDistribution


def distribution_chart(
    arms: Sequence[ArmDistribution], unit: str, identity: str, width: int = 720
) -> Markup:
    """Share of users by value on a logarithmic axis, and the share at zero beside it.

    Args:
        arms: Control first; all with the same edges.
        unit: Of the values.
        identity: Unique in the document.
        width: In pixels.
    """
    numbers = [v for a in arms for v in (*a.edges, *a.shares, a.zero_share)]
    drawable = bool(arms) and len(arms[0].edges) > 1 and arms[0].edges[0] > 0
    if not drawable or not all(math.isfinite(v) for v in numbers):
        return Markup("")
    height, top, bottom = 280, 34.0, 216.0
    left = 154.0
    edges = arms[0].edges
    highest = max((max(a.shares, default=0.0) for a in arms), default=0.0) or 1.0
    ys = svg.Scale(0.0, 1.1 * highest, bottom, top)
    xs = svg.Scale(math.log10(edges[0]), math.log10(edges[-1]), left, width - 16.0)
    body = [svg.line(left, bottom, width - 16, bottom, "zero")]
    for tick in svg.Domain(0.0, 1.1 * highest).ticks(4)[1:]:
        body.append(svg.line(left, ys.at(tick), width - 16, ys.at(tick), "grid"))
        body.append(svg.text(left - 8, ys.at(tick) + 4, f"{100 * tick:.4g} %", anchor="end"))
    for value in _log_ticks(edges[0], edges[-1], few=width < 500):
        x = xs.at(math.log10(value))
        body.append(svg.line(x, bottom, x, bottom + 5, "zero"))
        body.append(svg.text(x, bottom + 20, formats.number(value, decimals=_places(value))))
    body.append(svg.text((left + width) / 2, bottom + 42, f"{unit}, logarithmic"))
    zeros = max((a.zero_share for a in arms), default=0.0)
    zero_scale = svg.Scale(0.0, 1.1 * max(zeros, 0.1), bottom, top)
    for number, (arm, style) in enumerate(zip(arms, ("control", "treatment"), strict=False)):
        body.append(svg.path(_outline(arm, xs, ys, bottom), f"series {style}"))
        x = 16.0 + 40.0 * number
        y = zero_scale.at(arm.zero_share)
        corners = [(x, bottom), (x, y), (x + 32, y), (x + 32, bottom)]
        body.append(svg.path(corners, f"bar {style}", closed=True))
        # The two words lean away from each other, so that they do not meet when they grow.
        edge, anchor = (x, "start") if number else (x + 32, "end")
        share = formats.percent(arm.zero_share, signed=False)
        body.append(svg.text(edge, y - 6, share, anchor=anchor))
    body.append(svg.line(12, bottom, 92, bottom, "zero"))
    body.append(svg.text(52, bottom + 20, "at zero"))
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


def _log_ticks(low: float, high: float, *, few: bool) -> list[float]:
    """Powers of ten in the range, with their doubles and halves if there are few of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1.0, 2.0, 5.0) if len(powers) <= 3 and not few else (1.0,)
    every = max(1, len(powers) // (4 if few else 8))
    values = [f * 10.0**k for k in list(powers)[::every] for f in factors]
    return [v for v in values if low <= v <= high]


def _places(value: float) -> int:
    return max(0, -math.floor(math.log10(value)))
