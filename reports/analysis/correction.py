"""Correct the metrics of all treatments for the number of comparisons.

The primary metric of k treatments is one family: without a correction, of four arms that are alike
some arm is significant in 12.5 % of experiments. Secondary metrics are another. P values and the
levels of intervals are corrected together, so that an interval excludes no effect exactly if its
corrected p value is below alpha. Guardrails are not corrected: all of them must hold, so more of
them make no false "ship" likelier (an intersection-union test: Berger, Technometrics 24, 1982).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports import formats
from reports.analysis.metric_rows import MetricRow
from reports.plan import AnalysisPlan
from reports.results import MetricComparison
from reports.statistics.multiplicity import (
    adjusted_confidence,
    benjamini_hochberg,
    holm,
    selected_confidence,
)

NAMES = {"holm": "Holm", "bh": "Benjamini-Hochberg"}

Place = tuple[str, int]
"""A treatment and the number of one of its rows."""


def corrected(
    rows: Mapping[str, Sequence[MetricRow]], plan: AnalysisPlan
) -> dict[str, list[MetricComparison]]:
    """The rows of every treatment, compared at the levels that their families leave them.

    Args:
        rows: Per treatment, in the same order of metrics.
        plan: Which comparisons form a family, and the method.
    """
    found = {treatment: [row.at(plan.confidence) for row in own] for treatment, own in rows.items()}
    for name, places in _families(rows, plan):
        p_values = [p for t, i in places if (p := rows[t][i].p_value) is not None]
        adjusted = (holm if plan.correction == "holm" else benjamini_hochberg)(p_values)
        for (treatment, number), p, p_adjusted in zip(places, p_values, adjusted, strict=True):
            if plan.correction == "holm":
                level = adjusted_confidence(p, p_adjusted, len(p_values), plan.confidence)
            else:
                level = selected_confidence(p_values, confidence=plan.confidence)
            found[treatment][number] = rows[treatment][number].at(
                level, p_adjusted=p_adjusted, family=name, tests=len(p_values)
            )
    return found


def _families(
    rows: Mapping[str, Sequence[MetricRow]], plan: AnalysisPlan
) -> list[tuple[str, list[Place]]]:
    """The name of each family and the comparisons that are corrected together in it."""
    over_treatments = plan.correct in ("treatments", "both") and len(rows) > 1
    over_metrics = plan.correct in ("metrics", "both")
    tested = max(
        sum(row.role == "secondary" and row.p_value is not None for row in own)
        for own in rows.values()
    )
    families: dict[tuple[str, str, str], list[Place]] = {}
    for treatment, own in rows.items():
        for number, row in enumerate(own):
            joined = row.role == "secondary" and over_metrics
            if row.role == "guardrail" or row.p_value is None or not (joined or over_treatments):
                continue
            sizes = [formats.counted(tested, "metric")] if joined else []
            sizes += [f"{len(rows)} treatments"] if over_treatments else []
            name = f"{row.role} ({NAMES[plan.correction]}, {' x '.join(sizes)})"
            apart = ("" if over_treatments else treatment, "" if joined else row.chosen.name)
            families.setdefault((name, *apart), []).append((treatment, number))
    return [(name, places) for (name, *_), places in families.items()]
