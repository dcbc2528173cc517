"""Write the lift report: one self-contained HTML file without scripts or network addresses.

All text is escaped: names come from logs and plugins. Equal results give equal bytes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

from reports import formats
from reports.render import charts, download, facts, svg
from reports.results import (
    ArmComparison,
    ArmDistribution,
    ExperimentResult,
    FactorLift,
    MetricComparison,
)
from reports.verdict import words

_TEMPLATES = Path(__file__).with_name("templates")

SYMBOLS = {
    "better": "▲",
    "worse": "▼",
    "not clear": "○",
    "within margin": "■",
    "margin broken": "▼",
    "no data": "–",
    "suspicious": "?",
    "as expected": "✓",
    "false alarm": "!",
    "no verdict": "✕",
    "pass": "✓",
    "warn": "!",
    "fail": "✕",
    "not run": "–",
    "note": "i",
}
"""Beside every word that is also coloured, so that neither colour nor the word is needed alone."""


def write_html(result: ExperimentResult, path: Path) -> None:
    """Write the report; an old file stays whole until the new one is.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(render_html(result), encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def render_html(result: ExperimentResult) -> str:
    """The report as text."""
    template = _environment().get_template("report.html.j2")
    return template.render(
        result=result,
        chips=words.chips(result),
        environment=facts.environment(result),
        policies=facts.policies(result),
        reproduction=facts.reproduction(result),
        command=_text(result, "command"),
        configuration=_text(result, "configuration"),
        json_uri=download.data_uri(result.to_json(compact=True), "application/json"),
        csv_uri=download.data_uri(download.to_csv(result), "text/csv"),
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = (
        formats.absolute_interval,
        formats.confidence,
        formats.detectable_size,
        formats.difference,
        formats.interval,
        formats.lift,
        formats.number,
        formats.p_equals,
        formats.percent,
        formats.shown_interval,
        words.decision,
        words.detectable,
        words.guardrail,
        words.margin,
        words.factors,
        words.novelty,
        words.sentence,
        words.true_effect,
        words.why,
    )
    environment.globals |= {function.__name__: _written(function) for function in written}
    environment.globals |= {
        "arm_values": _arm_values,
        "charts": charts,
        "count": formats.count,
        "factor_values": _factor_values,
        "family": words.family,
        "levels": _levels,
        "lift_domain": _lift_domain,
        "of_role": words.of_role,
        "p_value": formats.p_value,
        "preference": words.preference,
        "segment_outcome": words.segment_outcome,
        "symbols": SYMBOLS,
        "warnings": words.warnings,
    }
    environment.filters["typographic"] = formats.typographic
    environment.filters["plain"] = formats.plain
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


def _factor_values(factor: FactorLift, unit: str) -> list[str]:
    values = formats.arm_values((factor.control, factor.treatment), unit)
    return [formats.typographic(value) for value in values]


def _levels(arm: ArmDistribution) -> list[str]:
    """Names of the quantiles in numeric order: "p5" before "p10"."""
    return sorted(arm.quantiles, key=lambda name: (len(name), name))


def _lift_domain(comparison: ArmComparison, *, segments: bool) -> svg.Domain:
    if segments:
        return svg.lift_domain(segment.relative for segment in comparison.segments)
    return svg.lift_domain(m.relative for m in words.of_role(comparison, "secondary"))


def _text(result: ExperimentResult, key: str) -> str:
    value = result.context.get(key)
    return value if isinstance(value, str) else ""
