"""Show how overlap and precision of a replay grow with the log: a chart, a table, a sentence.

The numbers come from ``context["replay"]["growth"]`` of results.json, which may come from
elsewhere: what is not as expected is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from reports import formats
from reports.render import svg
from reports.render.facts import Table
from reports.results import ExperimentResult

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BASE = 360, 200, 58, 348, 14, 150
_FARTHEST = 1_000.0
"""Times the log beyond which no line is drawn."""


@dataclass(frozen=True)
class Growth:
    """What nested parts of the log tell about one treatment; the chart may be empty."""

    treatment: str
    chart: Markup
    words: str
    table: Table


class _Step(NamedTuple):
    """One part: its share of the users and the smallest effect that it finds."""

    share: float
    detectable: float


def growth_views(result: ExperimentResult) -> tuple[Growth, ...]:
    """One view per treatment, in the order of the comparisons."""
    views: list[Growth] = []
    for comparison in result.comparisons:
        rows = _points(result, "overlap", comparison.treatment)
        if not rows:
            continue
        precision = _points(result, "precision", comparison.treatment)
        shown = precision if _figures(result, comparison.treatment) else []
        steps, least = _steps(shown), _minimum(result)
        views.append(
            Growth(
                comparison.treatment,
                _chart(steps, least, len(views)) if len(steps) > 1 else Markup(""),
                growth_words(result, comparison.treatment),
                _table(rows, shown),
            )
        )
    return tuple(views)


def growth_words(result: ExperimentResult, treatment: str) -> str:
    """What half of the log finds, what all of it, and how much more would find the minimum effect.

    Empty where the log gives no figure.
    """
    if not _figures(result, treatment):
        return ""
    steps, least = _steps(_points(result, "precision", treatment)), _minimum(result)
    if not steps or steps[-1].share < 1.0:
        return ""
    last = steps[-1].detectable
    half = next((s.detectable for s in steps if abs(s.share - 0.5) < 0.02), None)
    found = f"This log finds a lift of {_percent(last)} (80 % power)"
    found += f"; half of its users, {_percent(half)}. " if half is not None else ". "
    if least is None:
        return found.strip()
    if last <= least:
        return f"{found}That is enough for the minimum effect of {formats.share(least)}."
    return (
        f"{found}About {_times(last, least)} times this log would detect {formats.share(least)}, "
        "if more users are like these: precision then grows with the square root of their number."
    )


def _times(last: float, least: float) -> str:
    times = (last / least) ** 2
    return f"{times:.1f}" if times < 20 else f"{float(f'{times:.2g}'):,.0f}"


def _percent(value: float) -> str:
    return formats.percent(value, signed=False)


def _figures(result: ExperimentResult, treatment: str) -> bool:
    """Whether the primary metric of a treatment has a figure at all."""
    found = [c for c in result.comparisons if c.treatment == treatment]
    return any(m.role == "primary" and m.relative is not None for c in found for m in c.metrics)


def _points(result: ExperimentResult, kind: str, policy: str) -> list[Mapping[str, Any]]:
    found: Any = result.context
    for key in ("replay", "growth", kind, policy):
        found = found.get(key) if isinstance(found, Mapping) else None
    return [p for p in found if isinstance(p, Mapping)] if isinstance(found, list) else []


def _minimum(result: ExperimentResult) -> float | None:
    options = result.context.get("options")
    value = _finite(options.get("min_effect")) if isinstance(options, Mapping) else None
    return value if value is not None and value > 0 else None


def _steps(points: Sequence[Mapping[str, Any]]) -> list[_Step]:
    everybody = _finite(points[-1].get("users")) if points else None
    if not everybody:
        return []
    pairs = [(_finite(p.get("users")), _finite(p.get("detectable"))) for p in points]
    return [_Step(u / everybody, d) for u, d in pairs if u and d and u > 0 and d > 0]


def _chart(steps: Sequence[_Step], least: float | None, number: int) -> Markup:
    """Smallest effect against users, both on logarithmic axes: 1 / sqrt(n) is a straight line."""
    last = steps[-1]
    reach = 1.0 if least is None else min(max((last.detectable / least) ** 2, 1.0), _FARTHEST)
    effects = [s.detectable for s in steps] + ([] if least is None else [least])
    end = last.detectable / math.sqrt(reach)
    low, high = 0.85 * min(end, *effects), 1.15 * max(effects)
    far = 1.2 * max(reach, 2.0)
    xs = svg.Scale(math.log(steps[0].share * 0.9), math.log(far), _LEFT, _RIGHT)
    ys = svg.Scale(math.log(low), math.log(high), _BASE, _TOP)
    body = []
    for tick in _ticks(low, high):
        y = ys.at(math.log(tick))
        body += [svg.line(_LEFT, y, _RIGHT, y, "grid"),
                 svg.text(_LEFT - 6, y + 4, formats.share(tick), anchor="end")]  # fmt: skip
    marks = [0.25, 0.5, 1.0] if far < 8 else [1.0]
    marks += [t for t in (2.0, 4.0) if 8 > far > t]
    marks += [t for t in (10.0, 100.0, 1_000.0) if far > t]
    for tick in marks:
        if tick > 0.9 * steps[0].share:
            body.append(svg.text(xs.at(math.log(tick)), _BASE + 16, _size(tick)))
    body.append(svg.text((_LEFT + _RIGHT) / 2, _BASE + 36, "users, this log = 1"))
    if least is not None:
        y = ys.at(math.log(least))
        body.append(svg.line(_LEFT, y, _RIGHT, y, "margin"))
    points = [(xs.at(math.log(s.share)), ys.at(math.log(s.detectable))) for s in steps]
    if reach > 1.0:
        target = (xs.at(math.log(reach)), ys.at(math.log(end)))
        body.append(svg.path([points[-1], target], "series control"))
    body.append(svg.path(points, "series treatment"))
    body += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    desc = f"{_percent(steps[0].detectable)} with {_size(steps[0].share)} of the users, "
    desc += f"{_percent(last.detectable)} with all."
    if least is not None and last.detectable > least:
        desc += f" {formats.share(least)} at about {_times(last.detectable, least)} times the log."
    return svg.frame(
        body, width=_WIDTH, height=_HEIGHT, identity=f"replay-g{number}",
        title="Smallest effect found by the size of the log", desc=desc,
    )  # fmt: skip


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two amounts; powers alone where there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [m * 10.0**k for k in powers for m in (1.0, 2.0, 5.0) if low <= m * 10.0**k <= high]
    if len(found) <= 5:
        return found
    return [t for t in found if abs(math.log10(t) - round(math.log10(t))) < 1e-9]


def _size(share: float) -> str:
    return f"{share:,.3g}"


def _table(rows: Sequence[Mapping[str, Any]], precision: Sequence[Mapping[str, Any]]) -> Table:
    # The last of both is the whole log; users without a known outcome are in one of them only.
    missing: list[Mapping[str, Any]] = [{}] * len(rows)
    body = []
    for point, own in zip(rows, [*missing, *precision][-len(rows) :], strict=True):
        body.append(
            (
                _count(point.get("users")),
                _count(point.get("rows")),
                _count(point.get("matched_rows")),
                _count(point.get("expected_effective")),
                _count(point.get("effective_sample_size")),
                _share(point.get("unsupported_share")),
                _share(point.get("tail_share")),
                _share(own.get("half_width")),
                _share(own.get("detectable")),
            )
        )
    return Table(
        "What parts of the log tell, from an eighth of the users to all. Tail: weight on the "
        "heaviest 1 % of the rows. Half width: of the lift's interval",
        ("users", "rows", "matched", "by design", "as drawn", "not in log", "tail", "half width",
         "found lift"),
        tuple(body),
    )  # fmt: skip


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if formats.known(float(value)) else None


def _count(value: object) -> str:
    found = _finite(value)
    return formats.MISSING if found is None else f"{found:,.0f}"


def _share(value: object) -> str:
    found = _finite(value)
    return formats.MISSING if found is None else _percent(found)
