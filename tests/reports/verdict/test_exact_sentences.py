"""The whole sentence, decision and reason of every way to come out, word by word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.results import Estimate
from tests.reports.verdict.test_decision import judged, row

UP = Estimate(0.05, 0.02, 0.08)
SMALL = Estimate(0.005, 0.001, 0.015)
DOWN = Estimate(-0.05, -0.08, -0.02)


def test_a_failed_check_speaks_alone() -> None:
    said = judged(row("time", "better", UP), ("margin broken",), ("fail",))
    assert said.sentence == "No verdict: detail 0."
    assert said.decision == (
        "Decision: none before the cause is found and mended (check 'Check 0')."
    )
    assert said.why == ""


def test_an_absurd_lift_asks_for_the_mistake() -> None:
    said = judged(row("time", "better", Estimate(0.9, 0.7, 1.1)))
    assert said.sentence.startswith("Suspicious: simulated time +90.0 % (95 % CI +70.0 to +110.0 %")
    assert said.decision == "Decision: none; look for the mistake first."
    assert said.why == "Why: a lift of +90.0 % is more likely a mistake than a success."


def test_no_data_has_nothing_to_compare() -> None:
    said = judged(row("time", "no data", None))
    assert said.sentence == "No verdict: 'Time' has no data."
    assert said.decision == "Decision: none, as there is nothing to compare."
    assert said.why == ""


def test_a_control_of_zero_is_named_as_the_cause() -> None:
    said = judged(row("time", "better", None))
    assert said.sentence == "No verdict: simulated time +0.500 s (95 % CI +0.100 to +0.900 s)."
    assert said.decision == (
        "Decision: none, because the control has no 'Time' to compare a minimum effect with."
    )


@pytest.mark.parametrize(
    ("outcome", "lead"),
    [("not clear", "As expected of an A/A test"), ("better", "False alarm of an A/A test")],
)
def test_the_same_policy_is_named_in_the_sentence(outcome: str, lead: str) -> None:
    said = judged(row("time", outcome, UP), ("margin broken",), same_policy=True)
    assert said.sentence == f"{lead}: simulated time +5.0 % (95 % CI +2.0 to +8.0 %; +0.500 s)."
    assert said.decision == "Decision: nothing to decide, because both arms run the same policy."


@pytest.mark.parametrize(
    ("outcome", "effect", "sentence", "why"),
    [
        ("better", UP, "Better: simulated time +5.0 % (95 % CI +2.0 to +8.0 %; +0.500 s).", ""),
        ("worse", DOWN, "Worse: simulated time -5.0 % (95 % CI -8.0 to -2.0 %; +0.500 s).",
         "Why: guardrail 'Guard0' is not settled."),
        ("better", SMALL, "Not clear: simulated time +0.5 % (95 % CI +0.1 to +1.5 %; +0.500 s).",
         "Why: the lift is significant, but smaller than the minimum effect of 1 %; guardrail "
         "'Guard0' is not settled."),
        ("not clear", SMALL, "Not clear: simulated time +0.5 % (95 % CI +0.1 to +1.5 %; +0.500 s).",
         ""),
    ],
)  # fmt: skip
def test_an_open_guardrail_is_named_once(
    outcome: str, effect: Estimate, sentence: str, why: str
) -> None:
    """In the decision where it is the cause, in the reason of other decisions about a change."""
    said = judged(row("time", outcome, effect), ("not clear",))
    assert said.sentence == sentence
    told = f"{said.decision} {said.why}"
    assert told.count("'Guard0'") == (1 if outcome != "not clear" else 0)
    if said.verdict.cause == "below minimum":
        assert said.why == "Why: guardrail 'Guard0' is not settled."
    else:
        assert said.why == why


def test_a_small_difference_is_called_a_difference() -> None:
    metric = replace(
        row("time", "worse", None), scale="absolute", absolute=Estimate(-0.05, -0.2, -0.01)
    )
    said = judged(metric)
    assert said.why == (
        "Why: the difference is significant, but smaller than the minimum effect of 1 %."
    )


def test_shipping_says_what_became_of_the_guardrails() -> None:
    said = judged(row("time", "better", UP), ("within margin",), ("warn",))
    assert said.decision == (
        "Decision: ship, because 'Time' is better by at least 1 % and every guardrail is within "
        "its margin; look first at the warning of: 'Check 0'."
    )
    alone = judged(row("time", "better", UP))
    assert alone.decision == (
        "Decision: ship, because 'Time' is better by at least 1 % and there is no guardrail."
    )


def test_better_by_at_least_the_minimum_is_said_only_where_the_whole_interval_is() -> None:
    """By the rule the estimate must reach the minimum effect; its lower bound may be below it."""
    wide = judged(row("time", "better", Estimate(0.05, 0.009, 0.09)))
    assert wide.verdict.decision == "ship"
    assert wide.decision == (
        "Decision: ship, because 'Time' is better (estimated at 1 % or more) and there is no "
        "guardrail."
    )
    at = judged(row("time", "better", Estimate(0.05, 0.01, 0.09)))
    assert "better by at least 1 %" in at.decision
    fall = replace(row("time", "better", Estimate(-0.05, -0.09, -0.009)), direction="down")
    assert "(estimated at 1 % or more)" in judged(fall).decision


def test_the_smaller_arm_is_the_one_that_is_too_small() -> None:
    few = row("time", "better", UP, users=5_000)
    few = replace(few, treatment=replace(few.treatment, users=29))
    assert judged(few).decision == (
        "Decision: keep running, because an arm has 29 users, fewer than 100."
    )
