"""Write every sentence of verdicts, checks and metrics: the only English about results.

The terminal table, the HTML report and the Markdown summary say the same because they ask here.
"""

from reports.verdict.words.checks import Chip, check_label, check_sentence, chips, oracles
from reports.verdict.words.metrics import (
    Warn,
    detectable,
    family,
    guardrail,
    harm,
    margin,
    novelty,
    of_role,
    preference,
    true_effect,
    two_part,
    warnings,
)
from reports.verdict.words.segments import (
    interactions,
    segment_level,
    segment_order,
    segment_outcome,
    segment_variable,
)
from reports.verdict.words.summary import (
    adjusted,
    adjustment_note,
    checks_line,
    factor_line,
    factor_outcome,
    factor_parts,
    factor_values,
    overview,
    people,
    totals,
    trade_offs,
)
from reports.verdict.words.verdicts import decision, sentence, why

__all__ = [
    "Chip",
    "Warn",
    "adjusted",
    "adjustment_note",
    "check_label",
    "check_sentence",
    "checks_line",
    "chips",
    "decision",
    "detectable",
    "factor_line",
    "factor_outcome",
    "factor_parts",
    "factor_values",
    "family",
    "guardrail",
    "harm",
    "interactions",
    "margin",
    "novelty",
    "of_role",
    "oracles",
    "overview",
    "people",
    "preference",
    "segment_level",
    "segment_order",
    "segment_outcome",
    "segment_variable",
    "sentence",
    "totals",
    "trade_offs",
    "true_effect",
    "two_part",
    "warnings",
    "why",
]
