"""Building blocks for inline SVG: axes, markers, frames. Colours come from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from reports import formats
from reports.results import Estimate

_MIN_SPAN = 1e-4


class Scale(NamedTuple):
    """A linear axis from values to pixels; values outside are clipped to its ends."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Pixel position of a value."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def frame(
    body: Iterable[str], *, width: int, height: int, identity: str, title: str, desc: str = ""
) -> Markup:
    """An SVG image with a name and a description for screen readers.

    Args:
        body: Elements.
        width: Of the view box.
        height: Of the view box.
        identity: Unique in the document.
        title: Its name; escaped here.
        desc: What it shows, in words; escaped here.
    """
    names = f"{identity}-t {identity}-d" if desc else f"{identity}-t"
    described = f'<desc id="{identity}-d">{escape(desc)}</desc>' if desc else ""
    return Markup(
        f'<svg role="img" aria-labelledby="{names}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><title id="{identity}-t">{escape(title)}</title>'
        f"{described}{''.join(body)}</svg>"
    )


def usable(estimate: Estimate | None) -> Estimate | None:
    """What can be drawn: None without a finite value, and without bounds if one is not finite."""
    if estimate is None or not formats.known(estimate.value):
        return None
    if formats.known(estimate.low) and formats.known(estimate.high):
        return estimate
    return Estimate(estimate.value, None, None)


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """A straight line."""
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, content: str, *, anchor: str = "middle", style: str = "tick") -> str:
    """A text; escaped here."""
    shown = escape(formats.typographic(content))
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{shown}</text>'


def path(points: Sequence[tuple[float, float]], style: str, *, closed: bool = False) -> str:
    """A line through points, or the area inside them."""
    steps = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    return f'<path class="{style}" d="{steps}{" Z" if closed else ""}"/>'


def marker(x: float, y: float, outcome: str, size: float = 6.0) -> str:
    """The shape of an outcome, readable without colour."""
    style = f"mark {outcome.replace(' ', '-')}"
    if outcome in ("better", "worse", "margin broken"):
        tip = -1.0 if outcome == "better" else 1.0
        corners = [(x, y + tip * size), (x - size, y - tip * size), (x + size, y - tip * size)]
        return path(corners, style, closed=True)
    if outcome == "within margin":
        half = 0.8 * size
        corners = [(x - half, y - half), (x + half, y - half), (x + half, y + half)]
        return path([*corners, (x - half, y + half)], style, closed=True)
    return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{0.8 * size:.1f}"/>'


def error_bar(scale: Scale, y: float, estimate: Estimate, outcome: str, size: float) -> list[str]:
    """A horizontal interval with its marker; an arrow head where it leaves the axis."""
    style = f"ci {outcome.replace(' ', '-')}"
    parts: list[str] = []
    if estimate.low is not None and estimate.high is not None:
        left, right = scale.at(estimate.low), scale.at(estimate.high)
        parts.append(line(left, y, right, y, style))
        for value, x, turn in ((estimate.low, left, 1.0), (estimate.high, right, -1.0)):
            if scale.low <= value <= scale.high:
                parts.append(line(x, y - size, x, y + size, style))
            else:
                tip = [(x + turn * size, y - size), (x, y), (x + turn * size, y + size)]
                parts.append(path(tip, style))
    parts.append(marker(scale.at(estimate.value), y, outcome, size))
    return parts


def lift_domain(estimates: Iterable[Estimate | None], include: Iterable[float] = ()) -> Domain:
    """An axis range that shows zero and all intervals, but not all of a few very wide ones.

    Args:
        estimates: Relative lifts with their intervals.
        include: Further values that must be visible.
    """
    shown = [e for e in map(usable, estimates) if e is not None]
    ends = [[v for v in (e.value, e.low, e.high) if v is not None] for e in shown]
    reach = sorted(max(abs(v) for v in values) for values in ends)
    limit = 3.0 * reach[3 * len(reach) // 4] if reach else 0.01
    limit = max([limit, *(abs(v) for v in include)])
    values = [v for group in ends for v in group] + list(include)
    low = max(min([0.0, *values]), -limit)
    high = min(max([0.0, *values]), limit)
    pad = max(0.06 * (high - low), _MIN_SPAN)
    return Domain(low - pad, high + pad)


class Domain(NamedTuple):
    """The range of an axis."""

    low: float
    high: float

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values inside the range, at a step of 1, 2, 2.5 or 5 times a power of ten."""
        raw = (self.high - self.low) / max(wanted, 1)
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= raw * (1 - 1e-9))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [k * step for k in range(first, last + 1)]


def tick_percent(value: float) -> str:
    """A tick of a lift axis: "+5 %", "0", "-2.5 %"."""
    return "0" if abs(value) < 1e-12 else f"{100.0 * value:+.4g} %"
