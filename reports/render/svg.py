"""Build inline SVG: axes, markers, frames. Colours come from the style sheet."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from reports import formats
from reports.results import Estimate
from reports.results import Scale as EffectScale

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
    body: Iterable[str],
    *,
    width: int,
    height: int,
    identity: str,
    title: str,
    desc: str = "",
    stretch: bool = False,
) -> Markup:
    """An SVG image with a name and a description for screen readers.

    Args:
        body: Elements.
        width: Of the view box.
        height: Of the view box.
        identity: Unique in the document.
        title: Its name; escaped here.
        desc: What it shows, in words; escaped here.
        stretch: Whether its width follows the page, without keeping proportions.
    """
    names = f"{identity}-t {identity}-d" if desc else f"{identity}-t"
    described = f'<desc id="{identity}-d">{escape(desc)}</desc>' if desc else ""
    across = "100%" if stretch else str(width)
    loose = ' preserveAspectRatio="none"' if stretch else ""
    return Markup(
        f'<svg role="img" aria-labelledby="{names}" viewBox="0 0 {width} {height}" '
        f'width="{across}" height="{height}"{loose}>'
        f'<title id="{identity}-t">{escape(title)}</title>'
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


_CHARACTER = 7.8
"""Width of a character of an axis label in a wide font (DejaVu Sans), in pixels."""


def tick_labels(
    ticks: Sequence[float],
    scale: Scale,
    y: float,
    width: float,
    *,
    label: Callable[[float], str] | None = None,
) -> list[str]:
    """Labels of an axis: zero, both ends, and of the others every one, every second, and so on.

    Args:
        ticks: Values, ascending.
        scale: Of the axis.
        y: Of the text.
        width: Of the image.
        label: How a value is written; as a lift if None.
    """
    write = label or tick_percent
    spans = []
    for tick in ticks:
        half = _CHARACTER * len(write(tick)) / 2.0
        x = min(max(scale.at(tick), half), width - half)
        spans.append((x - half, x, x + half))
    zero = next((i for i, tick in enumerate(ticks) if abs(tick) < 1e-12), 0)
    choices = [_labelled(spans, zero, step) for step in range(1, len(ticks) + 1)]
    apart = {round(b - a, 9) for a, b in itertools.pairwise(ticks)}
    even = len(apart) < 2
    shown = next((chosen for chosen, tight in choices if not (tight and even)), [])
    return [text(spans[i][1], y, write(ticks[i])) for i in shown]


def _labelled(
    spans: Sequence[tuple[float, float, float]], zero: int, step: int
) -> tuple[list[int], bool]:
    """Which ticks have labels if every ``step``-th from zero gets one; whether one had no room."""

    def free(number: int, others: Iterable[int]) -> bool:
        left, _, right = spans[number]
        return all(left >= spans[o][2] + 6.0 or right <= spans[o][0] - 6.0 for o in others)

    kept = [zero]
    kept += [end for end in (0, len(spans) - 1) if end not in kept and free(end, kept)]
    between: list[int] = []
    tight = False
    for number in range(zero % step, len(spans), step):
        if number not in kept and free(number, kept):
            tight = tight or not free(number, between)
            between += [number] if free(number, between) else []
    return [*kept, *between], tight


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
    """A horizontal interval with its marker; an arrow head where it leaves the axis.

    The marker lies beneath and is lower than the ends of the interval, which stay visible even
    where the interval is narrower than the marker. A value beyond the axis is a filled arrow head
    at its end.
    """
    style = f"ci {outcome.replace(' ', '-')}"
    gone = (estimate.value > scale.high) - (estimate.value < scale.low)
    parts: list[str] = [marker(scale.at(estimate.value), y, outcome, size)]
    if gone:
        edge = scale.at(estimate.value)
        head = [(edge - gone * 2 * size, y - size), (edge, y), (edge - gone * 2 * size, y + size)]
        parts = [path(head, f"mark {outcome.replace(' ', '-')}", closed=True)]
    if estimate.low is not None and estimate.high is not None:
        left, right = scale.at(estimate.low), scale.at(estimate.high)
        parts.append(line(left, y, right, y, style))
        cap = size + 4.0
        for value, x, turn in ((estimate.low, left, 1.0), (estimate.high, right, -1.0)):
            if scale.low <= value <= scale.high:
                parts.append(line(x, y - cap, x, y + cap, style))
            elif not gone or (value > scale.high) - (value < scale.low) != gone:
                tip = [(x + turn * size, y - size), (x, y), (x + turn * size, y + size)]
                parts.append(path(tip, style))
    return parts


def lift_domain(estimates: Iterable[Estimate | None], include: Iterable[float] = ()) -> Domain:
    """An axis range that shows zero and all intervals, but not all of a few very wide ones.

    Values are shown even where their intervals leave the axis, unless one would flatten the others.

    Args:
        estimates: Relative lifts with their intervals.
        include: Further values that must be visible.
    """
    shown = [e for e in map(usable, estimates) if e is not None]
    ends = [[v for v in (e.value, e.low, e.high) if v is not None] for e in shown]
    reach = sorted(max(abs(v) for v in values) for values in ends)
    limit = 3.0 * reach[3 * len(reach) // 4] if reach else 0.01
    tame = [abs(e.value) for e in shown if abs(e.value) <= 3.0 * limit]
    limit = max([limit, *tame, *(abs(v) for v in include)])
    values = [v for group in ends for v in group] + list(include)
    low = max(min([0.0, *values]), -limit)
    high = min(max([0.0, *values]), limit)
    pad = 0.03 * (high - low) or _MIN_SPAN
    low = low - pad if low < 0.0 or high <= 0.0 else low
    high = high + pad if high > 0.0 or low >= 0.0 else high
    return Domain(low, high).rounded()


class Domain(NamedTuple):
    """The range of an axis."""

    low: float
    high: float

    def step(self, wanted: int) -> float:
        """A round distance of ticks: 1, 2, 2.5 or 5 times a power of ten."""
        raw = (self.high - self.low) / max(wanted, 1)
        power = 10.0 ** math.floor(math.log10(raw))
        return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= raw * (1 - 1e-9))

    def rounded(self, wanted: int = 6) -> Domain:
        """The smallest range around this one that starts and ends at ticks."""
        found = self
        while True:
            step = found.step(wanted)
            low, high = math.floor(self.low / step + 1e-9), math.ceil(self.high / step - 1e-9)
            found = Domain(step * low, step * high)
            # A wider range may have a wider step; it ends, as each step holds the range before.
            if found.step(wanted) == step:
                return found

    def ticks(self, wanted: int = 6) -> list[float]:
        """Round values inside the range, its ends included if they are round."""
        step = self.step(wanted)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [min(max(k * step, self.low), self.high) for k in range(first, last + 1)]


def tick_of(scale: EffectScale, unit: str = "") -> Callable[[float], str]:
    """How the ticks of an axis of lifts, or of differences in a unit, are written."""
    return functools.partial(tick_amount, unit=unit) if scale == "absolute" else tick_percent


def tick_amount(value: float, unit: str = "") -> str:
    """A tick of an axis of differences: "+5 s", "0", "-2.5 points"."""
    return "0" if abs(value) < 1e-12 else f"{value:+,.4g}{formats.difference_suffix(unit)}"


def tick_percent(value: float) -> str:
    """A tick of a lift axis: "+5 %", "0", "-2.5 %"."""
    return "0" if abs(value) < 1e-12 else f"{100.0 * value:+,.4g} %"
