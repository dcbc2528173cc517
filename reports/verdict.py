"""The decision and its sentence."""

from __future__ import annotations

from collections.abc import Sequence

from reports import formats
from reports.plan import AnalysisPlan
from reports.results import HealthCheck, MetricComparison, Verdict

ABSURD_LIFT = 0.5
"""A lift beyond this asks for an explanation before a celebration (Twyman's law)."""


def judge(
    primary: MetricComparison,
    guardrails: Sequence[MetricComparison],
    plan: AnalysisPlan,
    health: Sequence[HealthCheck],
    simulated: bool,
    treatment: str,
    control: str,
) -> Verdict:
    """The verdict on one treatment.

    The rule, in order: a failed health check means no verdict; no data means no verdict; a lift
    beyond 50 % is suspicious; not significant is not clear; significant and at least the minimum
    effect is better or worse, unless a guardrail is broken (then worse); significant but smaller
    than the minimum effect is not clear.
    """
    failed = [check for check in health if check.status == "fail"]
    if failed:
        return Verdict("no verdict", f"No verdict: {failed[0].detail}.", failed[0].detail)
    if primary.absolute is None or primary.p_value is None:
        reason = primary.warnings[0] if primary.warnings else "the primary metric has no data"
        return Verdict("no verdict", f"No verdict: {reason}", reason)
    what = f"{'simulated ' if simulated else ''}{primary.label[0].lower()}{primary.label[1:]}"
    numbers = f"{what} {_effect(primary)}"
    relative = primary.relative.value if primary.relative else 0.0
    if abs(relative) > ABSURD_LIFT:
        reason = f"a lift of {formats.percent(relative)} is more likely a mistake than a success"
        return Verdict("suspicious", f"Suspicious: {numbers}.", reason)
    if primary.outcome == "not clear":
        reason = (
            "the interval includes no change; the test could detect "
            f"{_detectable(primary.detectable_effect)} (80 % power)"
        )
        return Verdict("not clear", f"Not clear: {numbers}.", reason)
    if abs(relative) < plan.min_effect:
        reason = (
            f"significant, but smaller than the minimum effect of {formats.share(plan.min_effect)}"
        )
        return Verdict("not clear", f"Not clear: {numbers}.", reason)
    broken = [g for g in guardrails if g.outcome == "margin broken"]
    if primary.outcome == "better" and broken:
        margin = formats.share(broken[0].margin or 0.0)
        reason = f"guardrail '{broken[0].label}' is worse than its margin of {margin}"
        return Verdict("worse", f"Worse: {numbers}, but a guardrail is broken.", reason)
    word = "Better" if primary.outcome == "better" else "Worse"
    unsure = [g.label for g in guardrails if g.outcome == "not clear"]
    reason = (
        f"{treatment} against {control}: significant and beyond {formats.share(plan.min_effect)}"
    )
    if unsure:
        reason += f"; guardrail not settled: {', '.join(unsure)}"
    return Verdict("better" if word == "Better" else "worse", f"{word}: {numbers}.", reason)


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
