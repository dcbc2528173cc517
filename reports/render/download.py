"""Write a result's numbers as CSV, and embed files in the report as ``data:`` addresses."""

from __future__ import annotations

import base64
import csv
import io
import math

from reports.results import Estimate, ExperimentResult, MetricComparison

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

COLUMNS = (
    "treatment",
    "control",
    "metric",
    "unit",
    "role",
    "direction",
    "simulated",
    "control_users",
    "control_value",
    "control_standard_error",
    "treatment_users",
    "treatment_value",
    "treatment_standard_error",
    "absolute",
    "absolute_low",
    "absolute_high",
    "relative",
    "relative_low",
    "relative_high",
    "confidence",
    "p_value",
    "p_adjusted",
    "family",
    "detectable_effect",
    "variance_reduction",
    "margin",
    "outcome",
    "scale",
    "margin_scale",
    "margin_p",
    "detectable_difference",
    "method",
)


def to_csv(result: ExperimentResult) -> str:
    """One row per treatment and metric; numbers in full precision, empty where there is none."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(COLUMNS)
    for comparison in result.comparisons:
        for metric in comparison.metrics:
            names = [_safe(comparison.treatment), _safe(comparison.control)]
            writer.writerow(names + _row(metric, result.simulated))
    return target.getvalue()


def data_uri(text: str, media_type: str) -> str:
    """The text as a ``data:`` address."""
    encoded = base64.b64encode(text.encode("utf-8")).decode("ascii")
    return f"data:{media_type};charset=utf-8;base64,{encoded}"


def _row(metric: MetricComparison, simulated: bool) -> list[str]:
    empty = metric.absolute is None
    values: list[str] = []
    for arm in (metric.control, metric.treatment):
        numbers = [None, None] if empty else [arm.value, arm.standard_error]
        values += [str(arm.users), *map(_number, numbers)]
    return [
        metric.metric,
        metric.unit,
        metric.role,
        metric.direction,
        "yes" if simulated else "no",
        *values,
        *_estimate(metric.absolute),
        *_estimate(metric.relative),
        _number(metric.confidence),
        _number(metric.p_value),
        _number(metric.p_adjusted),
        metric.family,
        _number(metric.detectable_effect),
        _number(metric.variance_reduction),
        _number(metric.margin),
        metric.outcome,
        metric.scale,
        metric.margin_scale,
        _number(metric.margin_p),
        _number(metric.detectable_difference),
        metric.method,
    ]


def _estimate(estimate: Estimate | None) -> list[str]:
    if estimate is None:
        return [""] * 3
    return [_number(v) for v in (estimate.value, estimate.low, estimate.high)]


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(value)


def _safe(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
