"""Draw the lift day by day: of each day alone, and of all days so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from reports import formats
from reports.render import svg
from reports.results import DailyLift, Estimate

_LEFT = 78.0
"""Room for the labels of the axis, also where small paper or screens make them larger."""


def daily_chart(
    daily: Sequence[DailyLift], identity: str, *, cumulative: bool, unit: str = ""
) -> Markup:
    """Lift by day: of each day alone, or of all days up to it.

    Both charts of one experiment share their scale.

    Args:
        daily: Days; all on one scale.
        identity: Unique in the document.
        cumulative: All days up to each.
        unit: Of the metric, for differences.
    """
    so_far = [d.banded or d.cumulative for d in daily]
    drawn = so_far if cumulative else [d.lift for d in daily]
    lifts = [(d.day, svg.usable(e)) for d, e in zip(daily, drawn, strict=True)]
    shown = [(day, e) for day, e in lifts if e is not None]
    if not shown:
        return Markup("")
    width, height, top, bottom = 460, 240, 16.0, 200.0
    of = daily[0].scale
    label = svg.tick_of(of)
    domain = svg.lift_domain([*(d.lift for d in daily), *so_far])
    ys = svg.Scale(*domain, bottom, top)
    first, last = daily[0].day, daily[-1].day
    xs = svg.Scale(first - 0.5, last + 0.5, _LEFT, width - 12.0)
    body = []
    for tick in domain.ticks(5):
        body.append(svg.line(_LEFT, ys.at(tick), width - 12, ys.at(tick), "grid"))
        body.append(svg.text(_LEFT - 8, ys.at(tick) + 4, label(tick), anchor="end"))
    body.append(svg.line(_LEFT, ys.at(0.0), width - 12, ys.at(0.0), "zero"))
    every = max(1, math.ceil((last - first + 1) / 12))
    days = range(first, last + 1, every)
    body += [svg.text(xs.at(day), bottom + 18, str(day + 1)) for day in days]
    body.append(svg.text((_LEFT + width - 12) / 2, bottom + 36, "day"))
    body += _daily_band(shown, xs, ys) if cumulative else _daily_bars(shown, xs, ys)
    what = "all days so far" if cumulative else "each day alone"
    final_day, final = shown[-1]
    desc = (
        f"On day {final_day + 1}: {formats.effect(final, of, unit)}, interval "
        f"{formats.effect_interval(final, of, unit)}. "
        "All numbers are in the table below."
    )
    return svg.frame(
        body,
        width=width,
        height=height,
        identity=identity,
        title=f"{'Difference' if of == 'absolute' else 'Relative lift'}, {what}",
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
