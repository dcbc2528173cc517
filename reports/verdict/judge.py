"""Judge one treatment: state, decision and their causes, as codes and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reports.results import (
    Cause,
    Decision,
    Finding,
    HealthCheck,
    MetricComparison,
    Scale,
    Verdict,
    VerdictState,
)
from reports.verdict.rule import ABSURD_LIFT, FEWEST_USERS, WEAKEST_TEST, DecisionRule


def judge(
    primary: MetricComparison,
    guardrails: Sequence[MetricComparison],
    health: Sequence[HealthCheck],
    *,
    min_effect: float,
    rule: DecisionRule,
    same_policy: bool = False,
    min_effect_scale: Scale = "relative",
) -> Verdict:
    """Judge one treatment against the control.

    The first of these that applies decides alone, state and decision together:

    1. a failed check: no verdict;
    2. a primary metric without data: no verdict;
    3. the same policy in both arms: as expected, or a false alarm if the primary is significant;
    4. a minimum effect that is a share of a control near zero: no verdict;
    5. a lift beyond 50 %: suspicious, no verdict;
    6. fewer than 100 users in an arm, or a test that could detect no less than 25 % and the
       minimum effect: not clear, keep running.

    Then the state: not significant, or smaller than the minimum effect: not clear; otherwise
    worse, or better unless a guardrail is broken (then worse). And the decision, the first that
    applies: a broken guardrail: do not ship; worse by the minimum effect or more, or the whole
    interval below the minimum effect: do not ship; no significant improvement of the minimum
    effect: keep running; by ``rule``, an interval that reaches below the minimum effect or a
    guardrail that is not settled: keep running; ship.

    Args:
        primary: The metric that decides.
        guardrails: Metrics that must not get worse than their margins.
        health: The checks.
        min_effect: Smallest effect worth shipping, 0 or more.
        rule: What else shipping takes.
        same_policy: Whether both arms ran the same policy (an A/A test).
        min_effect_scale: Whether ``min_effect`` is a share of the control or in the metric's unit.
    """
    failed = tuple(check.name for check in health if check.status == "fail")
    warned = tuple(dict.fromkeys(check.name for check in health if check.status == "warn"))
    broken = [g for g in guardrails if g.outcome == "margin broken"]
    unsettled = [g for g in guardrails if g.outcome not in ("margin broken", "within margin")]
    wanted = _on_scale(primary, min_effect, min_effect_scale)
    alone = _alone(primary, failed, same_policy, wanted)
    if alone is not None:
        state, finding, decision, cause = alone
    else:
        state, finding = _state(primary, bool(broken), wanted)
        decision, cause = _decision(primary, bool(broken), bool(unsettled), wanted, rule)
    return Verdict(
        state,
        decision,
        finding,
        cause,
        min_effect,
        failed or warned,
        tuple(g.metric for g in broken),
        tuple(g.metric for g in unsettled),
        min_effect_scale=min_effect_scale,
    )


def _alone(
    primary: MetricComparison, failed: Sequence[str], same_policy: bool, min_effect: float
) -> tuple[VerdictState, Finding, Decision, Cause] | None:
    """What decides whatever else was found; None if nothing does."""
    if failed:
        return "no verdict", "check failed", "no verdict", "check failed"
    silent = primary.absolute is None or primary.p_value is None
    if same_policy and silent and _equal(primary):
        return "as expected", "same policy", "nothing to decide", "same policy"
    if silent:
        return "no verdict", "no data", "no verdict", "no data"
    if same_policy:
        if primary.outcome in ("better", "worse"):
            return "false alarm", "false alarm", "nothing to decide", "same policy"
        return "as expected", "same policy", "nothing to decide", "same policy"
    without_lift = primary.relative is None and primary.scale == "relative"
    if (without_lift or not math.isfinite(min_effect)) and primary.outcome != "not clear":
        return "no verdict", "no control", "no verdict", "no control"
    if abs(primary.relative.value if primary.relative else 0.0) > ABSURD_LIFT:
        return "suspicious", "absurd lift", "no verdict", "absurd lift"
    if min(primary.control.users, primary.treatment.users) < FEWEST_USERS:
        return "not clear", "too few users", "keep running", "too few users"
    detectable = primary.detectable_effect
    if detectable is not None and detectable >= max(WEAKEST_TEST, min_effect):
        return "not clear", "weak test", "keep running", "weak test"
    return None


def _equal(primary: MetricComparison) -> bool:
    """Whether something was measured and is the same in both arms."""
    return primary.control.value == primary.treatment.value != 0.0


def _state(
    primary: MetricComparison, broken: bool, min_effect: float
) -> tuple[VerdictState, Finding]:
    if primary.outcome not in ("better", "worse"):
        return "not clear", "no change"
    benefit, _, _ = _benefit(primary)
    if abs(benefit) < min_effect:
        return "not clear", "below minimum"
    if primary.outcome == "worse":
        return "worse", "harmed"
    return ("worse", "guardrail broken") if broken else ("better", "improved")


def _decision(
    primary: MetricComparison,
    broken: bool,
    unsettled: bool,
    min_effect: float,
    rule: DecisionRule,
) -> tuple[Decision, Cause]:
    if broken:
        return "do not ship", "guardrail broken"
    benefit, low, high = _benefit(primary)
    if primary.outcome == "worse" and -benefit >= min_effect:
        return "do not ship", "worse"
    if high is not None and high < min_effect:
        return "do not ship", "surely below minimum"
    if primary.outcome != "better":
        return "keep running", "not settled"
    if benefit < min_effect:
        return "keep running", "below minimum"
    if rule.effect == "interval" and (low is None or low < min_effect):
        return "keep running", "interval reaches below minimum"
    if unsettled and rule.guardrails == "proven":
        return "keep running", "guardrail not settled"
    return "ship", "better"


def surely_reached(primary: MetricComparison, min_effect: float, scale: Scale) -> bool:
    """Whether the whole interval of the primary metric reaches a minimum effect.

    Args:
        primary: The metric.
        min_effect: The minimum.
        scale: Of the minimum: a share of the control, or the metric's unit.
    """
    low = _benefit(primary)[1]
    return low is not None and low >= _on_scale(primary, min_effect, scale)


def _benefit(primary: MetricComparison) -> tuple[float, float | None, float | None]:
    """The effect and its bounds on its scale, turned so that more is better; 0 where unknown."""
    effect = primary.on(primary.scale)
    if effect is None:
        return 0.0, None, None
    if primary.direction == "up":
        return effect.value, effect.low, effect.high
    low, high = effect.low, effect.high
    return -effect.value, None if high is None else -high, None if low is None else -low


def _on_scale(primary: MetricComparison, min_effect: float, scale: Scale) -> float:
    """The minimum effect on the scale of the primary metric's effect.

    Infinite where it is a share of a control near zero (within two standard errors), or in the unit
    of a control of zero.
    """
    if primary.scale == scale or min_effect == 0.0:
        return min_effect
    value, error = primary.control.compared
    size = abs(value)
    if scale == "relative":
        return min_effect * size if size > 2.0 * error else math.inf
    return min_effect / size if size else math.inf
