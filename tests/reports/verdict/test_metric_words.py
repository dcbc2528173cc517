"""What is said of one metric: its margin, the people in its lift, its name inside a sentence."""

from __future__ import annotations

from dataclasses import replace

from reports.result_parts import FactorLift, TwoPartLift
from reports.results import Estimate, FactorSplit, HealthCheck
from reports.verdict.words import checks, metrics, summary, verdicts
from tests.reports.verdict.test_decision import row
from tests.reports.verdict.test_words import GUARD, TIME, VERDICT, compared, factor, result


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


def test_a_factor_against_the_lift_is_no_reason_for_it() -> None:
    """-5.6 % is not "mostly comment stay per open (+17.2 %)", which rose."""
    for parts, reason in (
        ((-0.06, -0.016, -0.152, 0.172), "mostly c (-15.2 % of -5.6 %), against d (+17.2 %)"),
        ((0.08, -0.02, 0.04, 0.0), "mostly a (+8.0 % of +10.0 %)"),
        ((0.065, -0.06, 0.06, 0.035),
         "mostly a (+6.5 % of +10.0 %) and c (+6.0 % of +10.0 %), against b (-6.0 %)"),
    ):  # fmt: skip
        factors = tuple(factor(name, part) for name, part in zip("abcd", parts, strict=True))
        split = FactorSplit("time", sum(parts), factors, 0.95)
        found = replace(compared(TIME, factors=split), verdict=replace(VERDICT, finding="harmed"))
        assert verdicts.why(result(found), found) == f"Why: {reason}."


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
