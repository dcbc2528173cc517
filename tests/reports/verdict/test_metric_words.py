"""What is said of one metric: its margin, the people in its lift, its name inside a sentence."""

from __future__ import annotations

from dataclasses import replace

from reports.result_parts import FactorLift, TwoPartLift
from reports.results import Estimate, HealthCheck
from reports.verdict.words import checks, metrics, summary
from tests.reports.verdict.test_decision import row
from tests.reports.verdict.test_words import GUARD, TIME, compared


def test_a_guardrail_that_is_not_clear_says_what_its_p_value_would_have_to_be() -> None:
    """p = 0.045 looks significant; of a one-sided test it is not."""
    for confidence, needed in ((0.95, "0.025"), (0.99, "0.005")):
        unclear = replace(GUARD, outcome="not clear", margin_p=0.045, confidence=confidence)
        assert metrics.guardrail(unclear) == (
            "the interval does not rule out a fall beyond 5 % (p = 0.045, one-sided; it would "
            f"take less than {needed})."
        )
    within = replace(GUARD, margin_p=0.003)
    assert metrics.guardrail(within).endswith("beyond 5 % (p = 0.003, one-sided).")


def test_the_part_of_people_in_a_lift_is_said_only_where_it_is_known() -> None:
    arm = TIME.control
    half = FactorLift(arm, arm, None, 0.5)
    known = TwoPartLift(half, half, Estimate(0.087, -0.038, 0.223), 0.95)
    assert metrics.two_part(compared(TIME, two_part=known)) == (
        "8.7 % of the lift (95 % CI -3.8 to +22.3 %) comes from more or fewer people, on the log "
        "scale."
    )
    unknown = replace(known, from_share=Estimate(-0.504, None, None))
    said = metrics.two_part(compared(TIME, two_part=unknown))
    assert said is not None and "cannot be told" in said and "50" not in said


def test_abbreviations_stay_capital_inside_sentences() -> None:
    rate = replace(row("ctr", "better", Estimate(0.1, 0.05, 0.15)), label="CTR", role="secondary")
    assert summary.trade_offs(compared(TIME, rate)).startswith("Also better: CTR ")
    assert "in CTR (80 % power)" in metrics.detectable(replace(rate, detectable_effect=0.1))
    named = HealthCheck(
        "carry_over", "", "pass", code="metric alike", facts={"metric": "CTR", "p": 0.5}
    )
    assert checks.check_sentence(named).startswith("CTR was alike")
    assert [metrics.inline(name) for name in ("Play time", "A/A", "A b", "")] == [
        "play time", "A/A", "a b", ""
    ]  # fmt: skip
