"""Write every sentence of verdicts, checks and metrics: the only English about results.

The terminal table, the HTML report and the Markdown summary say the same because they ask here.
"""

from reports.verdict.words.checks import Chip, check_label, check_sentence, chips, oracles
from reports.verdict.words.metrics import (
    Warn,
    detectable,
    factors,
    family,
    guardrail,
    harm,
    interactions,
    margin,
    novelty,
    of_role,
    preference,
    segment_outcome,
    true_effect,
    warnings,
)
from reports.verdict.words.verdicts import decision, sentence, why

__all__ = [
    "Chip",
    "Warn",
    "check_label",
    "check_sentence",
    "chips",
    "decision",
    "detectable",
    "factors",
    "family",
    "guardrail",
    "harm",
    "interactions",
    "margin",
    "novelty",
    "of_role",
    "oracles",
    "preference",
    "segment_outcome",
    "sentence",
    "true_effect",
    "warnings",
    "why",
]
