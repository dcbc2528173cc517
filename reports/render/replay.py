"""Prepare what a replay adds to the report: what the log identifies, overlap, estimators.

The numbers come from ``context["replay"]`` of results.json, which may come from elsewhere: what is
not as expected is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from reports import formats
from reports.render import charts, svg
from reports.render.facts import Table
from reports.render.growth import Growth, growth_views
from reports.results import Estimate, ExperimentResult

_BINS = ("0", "¼", "½", "1", "2", "4", "8", "16", "32", "64", "more")
_IN = {"share": ", in %", "ms": ", in seconds"}
_WIDTH, _HEIGHT, _LEFT, _BASE = 460, 136, 62, 96


@dataclass(frozen=True)
class Row:
    """One estimator: its name, values, lift as a bar, and what its verdict rests on."""

    name: str
    recommended: bool
    control: str
    treatment: str
    lift: str
    interval: str
    bar: Markup
    worth: str
    verdict: str
    reasons: str
    assumes: str


@dataclass(frozen=True)
class Forest:
    """The primary metric of one treatment by every estimator, the one to read first on top."""

    treatment: str
    label: str
    axis: Markup
    rows: tuple[Row, ...]
    left_out: Table
    intervals: Table


@dataclass(frozen=True)
class Weights:
    """Importance weights of one policy: a chart and the numbers it shows."""

    policy: str
    chart: Markup
    words: str


@dataclass(frozen=True)
class ReplayView:
    """Everything that the template shows."""

    definition: str
    identification: Table
    overlap: Table
    weights: tuple[Weights, ...]
    forests: tuple[Forest, ...]
    growth: tuple[Growth, ...]
    quantiles: Table


def replay_view(result: ExperimentResult) -> ReplayView | None:
    """The view of a replay; None for results that are none."""
    found = result.context.get("replay")
    if not isinstance(found, Mapping):
        return None
    overlaps = [o for o in _mappings(found.get("overlap")) if isinstance(o.get("policy"), str)]
    return ReplayView(
        definition=str(found.get("definition", "")),
        identification=Table(
            "What the log identifies",
            ("stage", "identified", "why", "way out"),
            tuple(
                (
                    str(line.get("subject", "")),
                    "yes" if line.get("identified") is True else "no",
                    str(line.get("why", "")),
                    str(line.get("way_out", "")) or "–",
                )
                for line in _mappings(found.get("identification"))
            ),
        ),
        overlap=_overlap(overlaps),
        weights=tuple(_weights(o, i) for i, o in enumerate(overlaps) if _shares(o)),
        forests=tuple(_forests(found)),
        growth=growth_views(result),
        quantiles=_quantiles(found),
    )


def _overlap(overlaps: list[Mapping[str, Any]]) -> Table:
    rows = []
    for found in overlaps:
        reasons = found.get("reasons")
        rows.append(
            (
                str(found["policy"]),
                _count(found.get("rows")),
                _count(found.get("matched_rows")),
                _count(found.get("expected_effective")),
                _count(found.get("effective_sample_size")),
                _number(found.get("mean_weight"), 3),
                _percent(found.get("unsupported_share")),
                str(found.get("verdict", "")),
                "; ".join(map(str, reasons)) if isinstance(reasons, list) and reasons else "–",
            )
        )
    return Table(
        "How much of the log speaks about each policy",
        ("policy", "rows", "matched", "worth by design", "worth as drawn", "mean weight",
         "not in the log", "verdict", "because"),
        tuple(rows),
    )  # fmt: skip


def _quantiles(found: Mapping[str, Any]) -> Table:
    rows = []
    for one in _mappings(found.get("quantiles")):
        gap, reasons, share = _estimate(one.get("difference")), one.get("reasons"), one.get("share")
        label = str(one.get("label", one.get("metric", ""))).removesuffix(" per impression")
        verdict = str(one.get("verdict", ""))
        if isinstance(reasons, list) and reasons:
            verdict += f": {'; '.join(map(str, reasons))}"
        place = _finite(share)
        rows.append(
            (
                label + ("" if place is None else f", p{100 * place:.4g}"),
                str(one.get("treatment", "")),
                _seconds(_estimate(one.get("control"))),
                _seconds(_estimate(one.get("treated"))),
                _seconds(gap, signed=True),
                _bounds(gap),
                verdict,
            )
        )
    return Table(
        "Quantiles of times per impression, in seconds",
        ("time", "policy", "control", "policy's", "change", "95 % interval", "verdict"),
        tuple(rows),
    )


def _seconds(found: Estimate | None, *, signed: bool = False) -> str:
    if found is None:
        return formats.MISSING
    return f"{found.value / 1000:+.2f}" if signed else f"{found.value / 1000:.2f}"


def _bounds(found: Estimate | None) -> str:
    """A bound that the log does not give is "any"."""
    if found is None:
        return formats.MISSING
    bounds = (found.low, found.high)
    return " to ".join("any" if b is None else f"{b / 1000:+.2f}" for b in bounds)


def _shares(found: Mapping[str, Any]) -> bool:
    both = (found.get("rows_by_weight"), found.get("weight_by_weight"))
    return all(
        isinstance(b, list) and len(b) == len(_BINS) and all(_finite(x) is not None for x in b)
        for b in both
    )


def _weights(found: Mapping[str, Any], number: int) -> Weights:
    """Bars of the shares of rows, a mark at the share of all weight."""
    policy = str(found["policy"])
    rows = [float(x) for x in found["rows_by_weight"]]
    amounts = [float(x) for x in found["weight_by_weight"]]
    top = max([*rows, *amounts, 1e-9])
    step = (_WIDTH - _LEFT) / len(_BINS)
    body = [svg.line(_LEFT, _BASE, _WIDTH, _BASE, "grid")]
    for i, (row, amount) in enumerate(zip(rows, amounts, strict=True)):
        left, right = _LEFT + i * step + 2, _LEFT + (i + 1) * step - 2
        height, level = 84 * min(row / top, 1.0), _BASE - 84 * min(amount / top, 1.0)
        corners = [(left, _BASE), (left, _BASE - height), (right, _BASE - height), (right, _BASE)]
        body.append(svg.path(corners, "bar treatment", closed=True))
        if amount > 0:
            body.append(svg.line(left - 1, level, right + 1, level, "ci"))
        body.append(svg.text((left + right) / 2, _BASE + 14, _BINS[i]))
    body.append(svg.text(_LEFT - 2, 14, formats.percent(top, signed=False), anchor="end"))
    body.append(svg.text(_WIDTH / 2, _BASE + 34, "weight of a row, up to"))
    words = (
        f"{policy}: {_percent(rows[0])} of the rows have weight 0; the heaviest row weighs "
        f"{_number(found.get('max_weight'), 1)}; weights above 16 hold "
        f"{_percent(sum(amounts[8:]))} of all weight"
    )
    chart = svg.frame(
        body, width=_WIDTH, height=_HEIGHT, identity=f"replay-w{number}",
        title=f"Weights of {policy}", desc=words,
    )  # fmt: skip
    return Weights(policy, chart, words)


def _forests(found: Mapping[str, Any]) -> Iterator[Forest]:
    for number, metric in enumerate(_mappings(found.get("metrics"))):
        estimates = metric.get("estimates")
        if metric.get("role") != "primary" or not isinstance(estimates, Mapping):
            continue
        first = str(metric.get("recommended", ""))
        order = sorted(estimates, key=lambda name: name != first)
        known = {n: _shown(estimates[n]) for n in order if isinstance(estimates[n], Mapping)}
        lifts = {n: _estimate(e.get("relative")) for n, e in known.items()}
        domain = svg.lift_domain(lifts.values())
        share = metric.get("unit") == "share"
        assumes = _mapping(metric.get("assumes"))
        rows = []
        for i, (name, one) in enumerate(known.items()):
            verdict = str(one.get("verdict", ""))
            shape = verdict if verdict in ("usable", "caution") else "unusable"
            reasons = one.get("reasons")
            identity = f"replay-f{number}-{i}"
            rows.append(
                Row(
                    name,
                    name == first,
                    _value(one.get("control"), share, metric.get("unit")),
                    _value(one.get("treatment"), share, metric.get("unit")),
                    formats.lift(lifts[name]),
                    formats.interval(lifts[name]),
                    charts.row_bar(lifts[name], shape, domain, identity, name, width=320),
                    _count(one.get("effective")),
                    verdict,
                    "; ".join(map(str, reasons)) if isinstance(reasons, list) else "",
                    str(assumes.get(name, "")),
                )
            )  # fmt: skip
        yield Forest(
            str(metric.get("treatment", "")),
            str(metric.get("label", "")),
            charts.row_axis(domain, f"replay-axis{number}", 320),
            tuple(rows),
            Table(
                "Estimators that this log does not allow",
                ("estimator", "why"),
                tuple((n, str(why)) for n, why in _mapping(metric.get("left_out")).items()),
            ),
            _intervals(metric),
        )


def _intervals(metric: Mapping[str, Any]) -> Table:
    """Intervals by other methods; the reason where one does not apply."""
    unit = metric.get("unit")
    scale, places = {"share": (100.0, 2), "ms": (0.001, 3)}.get(str(unit), (1.0, 4))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in _mappings(metric.get("intervals")):
        found = _estimate(one.get("found"))
        words = str(one.get("why", "")) or formats.MISSING
        if found is not None:
            bounds = (found.low, found.high)
            words = " to ".join("any" if b is None else f"{scale * b:.{places}f}" for b in bounds)
        own = rows.setdefault((str(one.get("estimator", "")), str(one.get("of", ""))), {})
        own[str(one.get("method", ""))] = words
    return Table(
        f"95 % intervals by other methods{_IN.get(str(unit), '')}",
        ("estimator", "of", "bootstrap over users", "empirical Bernstein"),
        tuple(
            (*key, *(own.get(method, formats.MISSING) for method in ("bootstrap", "bernstein")))
            for key, own in rows.items()
        ),
    )


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _shown(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """An estimate without its figures where it is unusable."""
    if found.get("verdict") != "unusable":
        return found
    return {k: v for k, v in found.items() if k not in ("control", "treatment", "relative")}


def _mappings(values: object) -> list[Mapping[str, Any]]:
    items = values.values() if isinstance(values, Mapping) else values
    if not isinstance(items, list | type({}.values())):
        return []
    return [item for item in items if isinstance(item, Mapping)]


def _estimate(found: object) -> Estimate | None:
    if not isinstance(found, Mapping) or (value := _finite(found.get("value"))) is None:
        return None
    return Estimate(value, _finite(found.get("low")), _finite(found.get("high")))


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if formats.known(float(value)) else None


def _value(found: object, share: bool, unit: object) -> str:
    value = _finite(found.get("value")) if isinstance(found, Mapping) else None
    if value is None:
        return formats.MISSING
    if share:
        return formats.percent(value, signed=False)
    return f"{value / 1000:.3f} s" if unit == "ms" else f"{value:.4g}"


def _count(value: object) -> str:
    found = _finite(value)
    return formats.MISSING if found is None else f"{found:,.0f}"


def _number(value: object, places: int) -> str:
    found = _finite(value)
    return formats.MISSING if found is None else f"{found:.{places}f}"


def _percent(value: object) -> str:
    found = _finite(value)
    return formats.MISSING if found is None else formats.percent(found, signed=False)
