"""What was found, in one sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from reports import formats
from reports.plan import AnalysisPlan
from reports.results import HealthCheck, MetricComparison, Verdict, VerdictState
from reports.verdict.rule import ABSURD_LIFT, broken, decide


def judge(
    primary: MetricComparison,
    guardrails: Sequence[MetricComparison],
    plan: AnalysisPlan,
    health: Sequence[HealthCheck],
    simulated: bool,
    treatment: str,
    control: str,
) -> Verdict:
    """The verdict on one treatment and the decision (`reports.verdict.rule.decide`).

    The state, in order: a failed health check means no verdict; no data means no verdict; a lift
    beyond 50 % is suspicious; not significant is not clear; significant and at least the minimum
    effect is better or worse, unless a guardrail is broken (then worse); significant but smaller
    than the minimum effect is not clear. A broken guardrail is named in the sentence whatever the
    state, except after a failed check: then nothing in the table is evidence.
    """
    decision, cause = decide(
        primary, guardrails, health, min_effect=plan.min_effect, rule=plan.rule
    )
    failed = [check for check in health if check.status == "fail"]
    if failed:
        detail = failed[0].detail
        return Verdict("no verdict", f"No verdict: {detail}.", detail, decision, cause)
    state, subject, reason = _finding(primary, guardrails, plan, simulated, treatment, control)
    sentence = f"{state.capitalize()}: {subject}{_harm(primary, guardrails)}."
    return Verdict(state, sentence, reason, decision, cause)


def _finding(
    primary: MetricComparison,
    guardrails: Sequence[MetricComparison],
    plan: AnalysisPlan,
    simulated: bool,
    treatment: str,
    control: str,
) -> tuple[VerdictState, str, str]:
    """The state, what it is about with the numbers, and the reason; no full stops."""
    if primary.absolute is None or primary.p_value is None:
        reason = primary.warnings[0] if primary.warnings else "the primary metric has no data"
        reason = reason.rstrip(".")
        return "no verdict", reason, reason
    what = f"{'simulated ' if simulated else ''}{primary.label[0].lower()}{primary.label[1:]}"
    numbers = f"{what} {_effect(primary)}"
    if primary.relative is None and primary.outcome != "not clear":
        return "no verdict", numbers, "the control is zero: there is no relative lift"
    relative = primary.relative.value if primary.relative else 0.0
    if abs(relative) > ABSURD_LIFT:
        lift = formats.percent(relative)
        return "suspicious", numbers, f"a lift of {lift} is more likely a mistake than a success"
    if primary.outcome == "not clear":
        reason = (
            "the interval includes no change; the test could detect "
            f"{_detectable(primary.detectable_effect)} (80 % power)"
        )
        return "not clear", numbers, reason
    wanted = formats.share(plan.min_effect)
    if abs(relative) < plan.min_effect:
        return "not clear", numbers, f"significant, but smaller than the minimum effect of {wanted}"
    harmed = broken(guardrails)
    if primary.outcome == "better" and harmed:
        margin = formats.share(harmed[0].margin or 0.0)
        reason = f"guardrail '{harmed[0].label}' is worse than its margin of {margin}"
        return "worse", numbers, reason
    reason = f"{treatment} against {control}: significant and beyond {wanted}"
    unsure = [g.label for g in guardrails if g.outcome == "not clear"]
    if unsure:
        reason += f"; guardrail not settled: {', '.join(unsure)}"
    return "better" if primary.outcome == "better" else "worse", numbers, reason


def _harm(primary: MetricComparison, guardrails: Sequence[MetricComparison]) -> str:
    """What the first sentence says of broken guardrails."""
    harmed = broken(guardrails)
    if not harmed:
        return ""
    names = ", ".join(f"'{g.label}' ({formats.lift(g.relative)})" for g in harmed)
    noun = "guardrail" if len(harmed) == 1 else "guardrails"
    verb = "is" if len(harmed) == 1 else "are"
    joint = "but" if primary.outcome == "better" else "and"
    return f", {joint} {noun} {names} {verb} broken"


def _effect(primary: MetricComparison) -> str:
    assert primary.absolute is not None
    absolute = f"{primary.absolute.value:+.3g} {primary.unit}"
    relative = primary.relative
    if relative is None or relative.low is None or relative.high is None:
        return absolute
    return (
        f"{formats.percent(relative.value)} ({formats.confidence(primary.confidence)} CI "
        f"{formats.percent(relative.low)} to {formats.percent(relative.high)}; {absolute})"
    )


def _detectable(effect: float | None) -> str:
    if effect is None:
        return "an unknown effect"
    return f"a change of +/-{formats.percent(effect, signed=False)}"
