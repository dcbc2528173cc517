"""Draw lifts and their intervals: rows on a shared axis, one large chart, and the factors.

Every chart has a name and a description in words, and says by shape, sign and word what it says
by colour.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from markupsafe import Markup

from reports import formats
from reports.render import svg
from reports.results import Estimate, Factor, MetricComparison, Scale

ROW_WIDTH, ROW_HEIGHT = 220, 30
_INSET = 10.0
_MARK = 4.5


def row_axis(
    domain: svg.Domain, identity: str, width: int = ROW_WIDTH, of: Scale = "relative"
) -> Markup:
    """The scale above a column of `row_bar`s, labelled at zero and at both ends.

    Args:
        domain: Its range.
        identity: Unique in the document.
        width: In pixels.
        of: Lifts, or differences.
    """
    scale = svg.Scale(*domain, _INSET, width - _INSET)
    body = [svg.line(scale.at(t), 18, scale.at(t), 22, "grid") for t in domain.ticks()]
    body += svg.tick_labels(domain.ticks(), scale, 13, width, label=svg.tick_of(of))
    return svg.frame(body, width=width, height=22, identity=identity, title="Scale of the bars")


def row_bar(
    estimate: Estimate | None,
    outcome: str,
    domain: svg.Domain,
    identity: str,
    title: str,
    *,
    width: int = ROW_WIDTH,
    min_effect: float | None = None,
    of: Scale = "relative",
    said: str = "",
) -> Markup:
    """One effect and its interval on an axis that all rows of a table share.

    Args:
        estimate: What is drawn; None leaves the row empty.
        outcome: Its shape.
        domain: Range of the axis.
        identity: Unique in the document.
        title: What the effect is about.
        width: In pixels.
        min_effect: Half of the shaded band, on the axis.
        of: Lifts, or differences.
        said: Effect and interval in words; of a lift, they are made here.
    """
    scale = svg.Scale(*domain, _INSET, width - _INSET)
    body = _minimum(min_effect, scale, 0.0, ROW_HEIGHT)
    body += [svg.line(scale.at(t), 0, scale.at(t), ROW_HEIGHT, "grid") for t in domain.ticks()]
    body.append(svg.line(scale.at(0.0), 0, scale.at(0.0), ROW_HEIGHT, "zero"))
    drawn = svg.usable(estimate)
    if drawn is not None:
        body += svg.error_bar(scale, ROW_HEIGHT / 2, drawn, outcome, _MARK)
    said = said or f"{formats.lift(estimate)}, interval {formats.interval(estimate)}"
    words = f"{title}: {said}, {outcome}"
    bar = svg.frame(body, width=width, height=ROW_HEIGHT, identity=identity, title=words)
    return bar + _row_scale(domain, f"{identity}-scale", width, of)


def _row_scale(domain: svg.Domain, identity: str, width: int, of: Scale) -> Markup:
    """The labels of the axis again, below a bar: shown where the head of the table is not."""
    scale = svg.Scale(*domain, _INSET, width - _INSET)
    labels = svg.tick_labels(domain.ticks(), scale, 12, width, label=svg.tick_of(of))
    drawn = svg.frame(labels, width=width, height=16, identity=identity, title="Scale of the bar")
    return Markup('<div class="row-scale" aria-hidden="true">{}</div>').format(drawn)


def _minimum(min_effect: float | None, scale: svg.Scale, top: float, bottom: float) -> list[str]:
    """The band of changes that are smaller than the minimum effect."""
    if not min_effect:
        return []
    left, right = scale.at(-min_effect), scale.at(min_effect)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return [svg.path(corners, "minimum", closed=True)]


def lift_chart(
    metric: MetricComparison,
    identity: str,
    *,
    min_effect: float | None = None,
    width: int = 720,
) -> Markup:
    """One metric's effect and interval, its margin and the minimum effect.

    The effect is the relative lift, or the difference where the metric's scale is absolute.

    Args:
        metric: What to draw.
        identity: Unique in the document.
        min_effect: Change below which it is not worth shipping, on the metric's scale.
        width: In pixels.
    """
    absolute = metric.scale == "absolute"
    drawn = svg.usable(metric.absolute if absolute else metric.relative)
    if drawn is None:
        return Markup("")
    height, middle, top, bottom = 112, 54.0, 26.0, 82.0
    label = svg.tick_of(metric.scale, metric.unit)
    margin = None
    if metric.margin is not None:
        size = metric.margin
        if metric.margin_scale == "absolute" and not absolute:
            size /= abs(metric.control.compared[0])
        margin = -size if metric.direction == "up" else size
    include = [v for v in (margin, min_effect, min_effect and -min_effect) if v]
    domain = svg.lift_domain([drawn], include)
    scale = svg.Scale(*domain, 28.0, width - 28.0)
    body = _minimum(min_effect, scale, top, bottom)
    body += [svg.line(scale.at(t), top, scale.at(t), bottom, "grid") for t in domain.ticks()]
    body += svg.tick_labels(domain.ticks(), scale, bottom + 18, width, label=label)
    body.append(svg.line(scale.at(0.0), top, scale.at(0.0), bottom, "zero"))
    left, right = ("worse", "better") if metric.direction == "up" else ("better", "worse")
    zero = scale.at(0.0)
    if margin is not None:
        x = scale.at(margin)
        body.append(svg.line(x, top - 6, x, bottom, "margin"))
        words = f"margin {label(margin)}"
        body.append(svg.text(x, top - 10, words, anchor=_anchor(x, width)))
    else:
        body += _beside_zero(zero, width, left, right)
    body += svg.error_bar(scale, middle, drawn, metric.outcome, 7.0)
    noun = "Difference" if absolute else "Relative lift"
    desc = (
        f"{noun} {formats.shown_effect(metric)}, {formats.confidence(metric.confidence)} interval "
        f"{formats.shown_interval(metric)}: {metric.outcome}."
    )
    if margin is not None:
        desc += f" The margin is at {label(margin)}."
    if min_effect:
        size_of = formats.amount(min_effect, metric.unit) if absolute else formats.share(min_effect)
        desc += f" Shaded: changes below the minimum effect of {size_of}."
    title = f"{metric.label}: {noun.lower()} and interval"
    return svg.frame(body, width=width, height=height, identity=identity, title=title, desc=desc)


def _beside_zero(zero: float, width: int, left: str, right: str) -> list[str]:
    body = []
    if zero > 90:
        body.append(svg.text(zero - 8, 16, f"← {left}", anchor="end"))
    if width - zero > 90:
        body.append(svg.text(zero + 8, 16, f"{right} →", anchor="start"))
    return body


def _anchor(x: float, width: int) -> str:
    return "start" if x < 80 else "end" if x > width - 80 else "middle"


def factor_bars(factors: Sequence[Factor], identity: str) -> list[Markup]:
    """One bar per factor, each from where the one before ended, and last the whole lift.

    They stretch with the page, so they hold no text.
    """
    ends = [0.0]
    for factor in factors:
        ends.append(ends[-1] + factor.contribution.value)
    low, high = min(ends), max(ends)
    pad = max(0.04 * (high - low), 1e-9)
    scale = svg.Scale(low - pad, high + pad, 0.0, 100.0)
    spans = [*itertools.pairwise(ends), (0.0, ends[-1])]
    titles = [f"{factor.label}: {formats.percent(factor.contribution.value)}" for factor in factors]
    titles.append(f"Together: {formats.percent(ends[-1])}")
    bars = []
    for number, ((start, end), title) in enumerate(zip(spans, titles, strict=True)):
        left, right = sorted((scale.at(start), scale.at(end)))
        style = "step up" if end >= start else "step down"
        body = [svg.line(scale.at(0.0), 0, scale.at(0.0), 20, "zero")]
        corners = [(left, 4.0), (right, 4.0), (right, 16.0), (left, 16.0)]
        body.append(svg.path(corners, style, closed=True))
        body.append(svg.line(scale.at(end), 2, scale.at(end), 18, "edge"))
        bars.append(
            svg.frame(
                body,
                width=100,
                height=20,
                identity=f"{identity}-{number}",
                title=title,
                stretch=True,
            )
        )
    return bars
