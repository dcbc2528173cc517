"""Write a replay as plain text of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from abtest.replay.ask import Replayed, seed_spread
from abtest.tables import table
from reports.render.growth import growth_words
from reports.render.layout import text_width, wrap
from reports.results import ExperimentResult
from reports.verdict import words
from simulator.replay import Estimate, Identified, MetricResult, ReplayResult
from simulator.replay.interval_method import BERNSTEIN, BOOTSTRAP
from simulator.replay.result import UNUSABLE, USABLE, Overlap

WIDTH = 80
METHODS = (BOOTSTRAP, BERNSTEIN)


def identification_text(lines: Sequence[Identified]) -> str:
    """What the log identifies, one paragraph per line of the table."""
    out = []
    for line in lines:
        mark = "identified" if line.identified else "not identified"
        out += _wrapped(f"{line.subject:<9} {mark}: {line.why}.", "  ")
        if line.way_out:
            out += _wrapped(line.way_out, "    ", first="    ")
    return "\n".join(out)


def replay_text(replayed: Replayed, experiment: ExperimentResult) -> str:
    """The whole answer: verdict, what the log identifies, overlap, metrics, estimators."""
    result = replayed.result
    lines: list[str] = []
    for comparison in experiment.comparisons:
        lines += _heading(result, comparison.treatment)
        lines += _wrapped(words.sentence(experiment, comparison), "  ", first="  ")
        decision = words.decision(experiment, comparison)
        if decision:
            lines += _wrapped(decision, "  ", first="  ")
    lines += ["", *_body(result, experiment), *_seeds(replayed), *_warnings(result)]
    return "\n".join(lines).rstrip()


def _heading(result: ReplayResult, treatment: str) -> list[str]:
    return _wrapped(
        f"{treatment} against {result.control}, from the log alone: "
        f"{_verdict_of(result, treatment)}"
    )


def _body(result: ReplayResult, experiment: ExperimentResult) -> list[str]:
    lines = [*_wrapped(result.definition), "", "What this log identifies"]
    lines += [textwrap.indent(identification_text(result.identification), "  "), ""]
    counts = [f"{name.replace('_', ' ')} {n:,}" for name, n in result.rows.items() if n]
    lines += [*_wrapped(f"Impressions: {'; '.join(counts)}."), "", _overlap(result.overlap), ""]
    if result.comment_overlap:
        lines += ["Places of comment sections, those above as shown", ""]
        lines += [_overlap(result.comment_overlap), ""]
    for treatment in result.treatments:
        lines += [f"{treatment} against {result.control}, per impression", ""]
        lines += [_metrics(result.of(treatment)), ""]
        primary = next(m for m in result.of(treatment) if m.role == "primary")
        lines += _wrapped(
            f"{primary.label} by every estimator; {primary.recommended} is read first, by rule:"
        )
        lines += ["", _estimators(primary), "", *_further(primary)]
        if grown := growth_words(experiment, treatment):
            lines += [*_wrapped(grown), ""]
        lines += [*_quantiles(result, treatment), *_segments(result, treatment)]
    return lines


def _quantiles(result: ReplayResult, treatment: str) -> list[str]:
    mine = [q for q in result.quantiles if q.treatment == treatment]
    if not mine:
        return []
    rows, why = [], []
    for one in mine:
        name, gap = f"{one.metric} p{100 * one.share:.4g}", one.difference
        rows.append(
            (name, _seconds(one.control), _seconds(one.treated), _seconds(gap, signed=True),
             _bounds(gap), one.verdict)
        )  # fmt: skip
        if one.verdict == UNUSABLE:
            why += _wrapped(f"{name}: {'; '.join(one.reasons)}.")
    header = ("quantile, in s", "control", "treatment", "change", "95 % interval", "verdict")
    shown = table(rows, header=header, right=(1, 2, 3))
    return ["Quantiles of times", "", shown, "", *why, *([""] if why else [])]


def _seconds(estimate: Estimate | None, *, signed: bool = False) -> str:
    return "-" if estimate is None else f"{estimate.value / 1000:{'+' if signed else ''}.2f}"


def _bounds(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    bounds = (estimate.low, estimate.high)
    return " to ".join("any" if b is None else f"{b / 1000:+.2f}" for b in bounds)


def _segments(result: ReplayResult, treatment: str) -> list[str]:
    mine = [s for s in result.segments if s.treatment == treatment]
    if not mine:
        return []
    rows = []
    for one in mine:
        lift = one.found.relative if one.found.verdict != UNUSABLE else None
        rows.append(
            (one.segment, one.level[:22], f"{one.users:,}", _percent(lift), _interval(lift),
             one.found.verdict)
        )  # fmt: skip
    header = ("segment", "level", "users", "lift", "95 % interval", "verdict")
    return [
        "By segment, each interval for itself",
        "",
        table(rows, header=header, right=(2, 3)),
        "",
    ]


def _warnings(result: ReplayResult) -> list[str]:
    return [line for w in result.warnings for line in _wrapped(f"warning: {w}", "  ")]


def _verdict_of(result: ReplayResult, treatment: str) -> str:
    primary = next(m for m in result.of(treatment) if m.role == "primary")
    found = primary.best
    if found.verdict == USABLE:
        return USABLE
    return f"{found.verdict}: {'; '.join(found.reasons)}"


def _overlap(overlaps: Mapping[str, Overlap]) -> str:
    rows = []
    for found in overlaps.values():
        expected = "?" if found.expected_effective is None else f"{found.expected_effective:,.0f}"
        missing = (
            "?" if found.unsupported_share is None else f"{100 * found.unsupported_share:.0f} %"
        )
        rows.append(
            (
                found.policy[:22],
                f"{found.matched_rows:,}",
                expected,
                f"{found.effective_sample_size:,.0f}",
                f"{found.mean_weight:.2f}",
                missing,
                found.verdict,
            )
        )
    return table(
        rows,
        header=("policy", "matched", "worth, by design", "as drawn", "weight", "unseen", "overlap"),
        right=(1, 2, 3, 4, 5),
    )


def _metrics(metrics: Sequence[MetricResult]) -> str:
    rows = []
    for metric in metrics:
        found = metric.best
        shown = found.verdict != UNUSABLE
        lift = found.relative if shown else None
        rows.append(
            (
                metric.name + ("*" if metric.role == "primary" else ""),
                _value(found.control if shown else None, metric.unit),
                _value(found.treatment if shown else None, metric.unit),
                _percent(lift),
                _interval(lift),
                found.verdict,
            )
        )
    return table(
        rows,
        header=("metric", "control", "treatment", "lift", "95 % interval", "verdict"),
        right=(1, 2, 3),
    )


def _estimators(metric: MetricResult) -> str:
    order = [metric.recommended, *[n for n in metric.estimates if n != metric.recommended]]
    rows = []
    for name in order:
        found = metric.estimates[name]
        shown = found.verdict != UNUSABLE
        lift = found.relative if shown else None
        rows.append(
            (
                name,
                _value(found.control if shown else None, metric.unit),
                _value(found.treatment if shown else None, metric.unit),
                _percent(lift),
                _interval(lift),
                "-" if found.effective is None else f"{found.effective:,.0f}",
                found.verdict,
            )
        )
    return table(
        rows,
        header=("estimator", "control", "treatment", "lift", "95 % interval", "worth", "verdict"),
        right=(1, 2, 3, 5),
    )


def _further(metric: MetricResult) -> list[str]:
    """What was asked for beside the usual estimators; nothing if it was not."""
    if not metric.assumes:
        return []
    lines = ["What each assumes"]
    for name, why in metric.assumes.items():
        lines += _wrapped(f"{name}: {why}", "    ", first="  ")
    if metric.left_out:
        lines += ["", "Not from this log"]
    for name, why in metric.left_out.items():
        lines += _wrapped(f"{name}: {why}", "    ", first="  ")
    if not metric.intervals:
        return [*lines, ""]
    found = {(one.estimator, one.of, one.method): one for one in metric.intervals}
    rows = [
        (
            name,
            of,
            *(
                _value_bounds(None if one is None else one.found, metric.unit)
                for one in (found.get((name, of, method)) for method in METHODS)
            ),
        )
        for name, of in dict.fromkeys((one.estimator, one.of) for one in metric.intervals)
    ]
    lines += ["", *_wrapped("Other 95 % intervals: a bootstrap over users, empirical Bernstein")]
    lines += ["", table(rows, header=("estimator", "of", *METHODS)), ""]
    for why, names in _reasons(metric).items():
        lines += _wrapped(f"No empirical Bernstein of {', '.join(names)}: {why}.")
    return [*lines, ""]


def _reasons(metric: MetricResult) -> dict[str, list[str]]:
    """The estimators that an interval does not apply to, by reason."""
    out: dict[str, list[str]] = {}
    for one in metric.intervals:
        if one.why and one.estimator not in (names := out.setdefault(one.why, [])):
            names.append(one.estimator)
    return out


def _value_bounds(estimate: Estimate | None, unit: str) -> str:
    if estimate is None:
        return "-"
    scale, places, sign = {"share": (100.0, 2, " %"), "ms": (0.001, 3, " s")}.get(unit, (1, 4, ""))
    bounds = (estimate.low, estimate.high)
    shown = " to ".join("any" if b is None else f"{scale * b:.{places}f}" for b in bounds)
    return f"{shown}{sign}"


def _seeds(replayed: Replayed) -> list[str]:
    if len(replayed.seeds) < 2:
        return []
    lines = []
    for name in replayed.result.treatments:
        lifts = [
            f"{100 * found[name][0]:+.1f} %" for found in replayed.seeds.values() if name in found
        ]
        spread = 100 * seed_spread(replayed.seeds, name)
        lines += _wrapped(
            f"Primary lift of {name} over {len(replayed.seeds)} training seeds: "
            f"{', '.join(lifts)} (standard deviation {spread:.1f} points)."
        )
    return [*lines, ""]


def _value(estimate: Estimate | None, unit: str) -> str:
    if estimate is None:
        return "-"
    if unit == "share":
        return f"{100 * estimate.value:.2f} %"
    return f"{estimate.value / 1000:.3f} s" if unit == "ms" else f"{estimate.value:.4f}"


def _percent(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{100 * estimate.value:+.1f} %"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    low = "any" if estimate.low is None else f"{100 * estimate.low:+.1f}"
    high = "any" if estimate.high is None else f"{100 * estimate.high:+.1f}"
    return f"{low} to {high} %"


def _wrapped(text: str, indent: str = "", first: str = "") -> list[str]:
    return wrap(text, text_width(None) - 2, first, indent)
