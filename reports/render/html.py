"""Write the lift report: one self-contained HTML file without scripts or network addresses.

All text is escaped: names come from logs and plugins. Equal results give equal bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2

from reports import formats
from reports.render import charts, download, facts, replay, svg, templating
from reports.render.page import write_page
from reports.render.sections import Section
from reports.render.symbols import SYMBOLS
from reports.results import (
    ArmComparison,
    ArmDistribution,
    ExperimentResult,
    Factor,
    FactorLift,
    FactorSplit,
    MetricComparison,
    Role,
    Scale,
)
from reports.verdict import words


def write_html(result: ExperimentResult, path: Path, sections: Sequence[Section] = ()) -> None:
    """Write the report; an old file stays whole until the new one is.

    Args:
        result: What is reported.
        path: File to write.
        sections: What others add to it.

    Raises:
        OSError: the file cannot be written.
    """
    write_page(render_html(result, sections), path)


def render_html(result: ExperimentResult, sections: Sequence[Section] = ()) -> str:
    """The report as text, with what others add to it."""
    template = _environment().get_template("report.html.j2")
    page = template.render(
        result=result,
        chips=words.chips(result),
        environment=facts.environment(result),
        replay=replay.replay_view(result),
        sections=sections,
        policies=facts.policies(result),
        reproduction=facts.reproduction(result),
        command=_text(result, "command"),
        configuration=_text(result, "configuration"),
        json_uri=download.data_uri(result.to_json(compact=True), "application/json"),
        csv_uri=download.data_uri(download.to_csv(result), "text/csv"),
    )
    return templating.unbroken(page)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = templating.environment().overlay()
    written = (
        words.adjusted,
        words.adjustment_note,
        words.checks_line,
        words.people,
        words.totals,
        words.trade_offs,
        words.two_part,
        formats.absolute_interval,
        formats.amount,
        formats.confidence,
        formats.detectable_size,
        formats.difference,
        formats.effect,
        formats.effect_interval,
        formats.interval,
        formats.lift,
        formats.number,
        formats.p_equals,
        formats.percent,
        formats.share,
        formats.shown_effect,
        formats.shown_interval,
        words.decision,
        words.detectable,
        words.guardrail,
        words.bias,
        words.how_assumed,
        words.how_biased,
        words.inline,
        words.margin,
        words.novelty,
        words.sensitivity,
        words.sentence,
        words.true_effect,
        words.why,
    )
    environment.globals |= {function.__name__: _written(function) for function in written}
    environment.globals |= {
        "arm_values": _arm_values,
        "assumed_rows": words.assumed_rows,
        "BIAS_HEADER": words.BIAS_HEADER,
        "bias_rows": words.bias_rows,
        "by_spread": words.by_spread,
        "charts": charts,
        "common_scale": formats.common_scale,
        "corrections": _corrections,
        "count": formats.count,
        "drawn_minimum": _drawn_minimum,
        "evidence_of": words.evidence_of,
        "factor_outcome": words.factor_outcome,
        "factor_parts": _factor_parts,
        "factor_values": _factor_values,
        "family": words.family,
        "levels": _levels,
        "lift_domain": _lift_domain,
        "overview_domain": _overview_domain,
        "overview_metrics": _overview_metrics,
        "of_role": words.of_role,
        "p_value": formats.p_value,
        "part_values": _part_values,
        "preference": words.preference,
        "segment_level": words.segment_level,
        "segment_order": words.segment_order,
        "segment_outcome": words.segment_outcome,
        "segment_variable": words.segment_variable,
        "symbols": SYMBOLS,
        "uncorrected_treatments": _uncorrected_treatments,
        "warnings": words.warnings,
    }
    environment.filters["primary_of"] = _primary_of
    environment.filters["metric_of"] = _metric_of
    return environment


def _written(function: Callable[..., str | None]) -> Callable[..., str]:
    """The same words with typographic signs."""

    def written(*args: Any, **kwargs: Any) -> str:
        return formats.typographic(function(*args, **kwargs) or "")

    return written


def _arm_values(metric: MetricComparison) -> list[str]:
    if metric.absolute is None:
        return [formats.MISSING] * 2
    values = formats.arm_values((metric.control, metric.treatment), metric.unit)
    return [formats.typographic(value) for value in values]


def _factor_values(factor: Factor) -> list[str]:
    return [formats.typographic(value) for value in words.factor_values(factor)]


def _factor_parts(split: FactorSplit) -> list[str]:
    return [formats.typographic(part) for part in words.factor_parts(split)]


def _part_values(part: FactorLift, unit: str) -> list[str]:
    values = formats.arm_values((part.control, part.treatment), unit)
    return [formats.typographic(value) for value in values]


def _primary_of(comparison: ArmComparison) -> MetricComparison | None:
    return next(iter(words.of_role(comparison, "primary")), None)


def _metric_of(comparison: ArmComparison, name: str) -> MetricComparison | None:
    return next((m for m in comparison.metrics if m.metric == name), None)


def _drawn_minimum(comparison: ArmComparison, scale: Scale) -> float | None:
    """The minimum effect, where it is on the scale of what is drawn."""
    verdict = comparison.verdict
    return verdict.min_effect if verdict.min_effect_scale == scale else None


def _overview_domain(result: ExperimentResult, scale: Scale) -> svg.Domain:
    """The axis that the primary metrics of all treatments share."""
    primaries = [_primary_of(comparison) for comparison in result.comparisons]
    effects = [_drawn_minimum(c, scale) or 0.0 for c in result.comparisons]
    include = [*effects, *(-effect for effect in effects)]
    drawn = [m.on(scale) for m in primaries if m is not None]
    return svg.lift_domain(drawn, include)


def _overview_metrics(result: ExperimentResult) -> list[tuple[str, str]]:
    """Name and label of all metrics but the primary; guardrails last."""
    first = result.comparisons[0]
    roles: tuple[Role, ...] = ("secondary", "guardrail")
    return [(m.metric, m.label) for role in roles for m in words.of_role(first, role)]


def _corrections(result: ExperimentResult) -> list[str]:
    """How the metrics of each role that has any are corrected."""
    roles: tuple[tuple[Role, str], ...] = (
        ("primary", "Primary metric"),
        ("secondary", "Secondary metrics"),
    )
    found = []
    for role, name in roles:
        metrics = [m for c in result.comparisons for m in words.of_role(c, role)]
        how = words.family(metrics).replace("(", "").replace(")", "") or "uncorrected"
        if metrics:
            found.append(f"{name}: {how}.")
    return found


def _uncorrected_treatments(result: ExperimentResult) -> bool:
    return all(m.family in ("", "primary") for m in map(_primary_of, result.comparisons) if m)


def _levels(arm: ArmDistribution) -> list[str]:
    """Names of the quantiles in numeric order: "p5" before "p10"."""
    return sorted(arm.quantiles, key=lambda name: (len(name), name))


def _lift_domain(comparison: ArmComparison, *, segments: bool) -> svg.Domain:
    if segments:
        return svg.lift_domain(segment.effect for segment in comparison.segments)
    return svg.lift_domain(m.relative for m in words.of_role(comparison, "secondary"))


def _text(result: ExperimentResult, key: str) -> str:
    value = result.context.get(key)
    return value if isinstance(value, str) else ""
