"""Write the verdict: its sentence, the decision and the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reports import formats
from reports.results import (
    ArmComparison,
    ExperimentResult,
    Finding,
    MetricComparison,
    Verdict,
)
from reports.verdict.judge import surely_reached
from reports.verdict.rule import FEWEST_USERS
from reports.verdict.words.checks import check_label, check_sentence
from reports.verdict.words.metrics import inline, of_role

_SETTLED: frozenset[Finding] = frozenset({"check failed", "same policy", "false alarm"})
"""Findings after which a broken guardrail is no evidence."""


def sentence(result: ExperimentResult, comparison: ArmComparison) -> str:
    """What was found, in one sentence that names every broken guardrail."""
    verdict = comparison.verdict
    if verdict.written is not None:
        return verdict.written.sentence
    if verdict.finding == "check failed":
        return f"No verdict: {_failed(result, verdict)}."
    primary = next(iter(of_role(comparison, "primary")), None)
    if primary is None:
        return "No verdict: there is no primary metric."
    if verdict.finding == "no data":
        said = primary.warnings[0].rstrip(".") if primary.warnings else _no_data(primary)
        return f"No verdict: {said}{_harm(comparison, primary)}."
    simulated = "simulated " if result.simulated else ""
    numbers = f"{simulated}{inline(primary.label)} {_effect(primary)}"
    if verdict.finding == "same policy" and primary.absolute is None:
        numbers = f"{simulated}{inline(primary.label)} is the same in both arms"
    return f"{_lead(verdict)}: {numbers}{_harm(comparison, primary)}."


def _lead(verdict: Verdict) -> str:
    if verdict.finding == "guardrail broken":
        return "Do not ship"
    if verdict.finding == "same policy":
        return "As expected of an A/A test"
    if verdict.finding == "false alarm":
        return "False alarm of an A/A test"
    return verdict.state.capitalize()


def decision(result: ExperimentResult, comparison: ArmComparison) -> str:
    """What to do and why; empty for results of versions that did not decide."""
    verdict = comparison.verdict
    if verdict.decision is None:
        return ""
    if verdict.written is not None:
        return f"Decision: {verdict.decision}, because {verdict.written.cause}."
    if verdict.decision == "no verdict":
        return _undecided(result, comparison)
    return f"Decision: {verdict.decision}, because {_cause(result, comparison)}."


def _undecided(result: ExperimentResult, comparison: ArmComparison) -> str:
    """What to do where nothing can be decided; why, unless the sentence before has said it."""
    verdict = comparison.verdict
    if verdict.finding == "check failed":
        names = _check_names(result, verdict.checks)
        return f"Decision: none before the cause is found and mended (check {names})."
    if verdict.finding == "absurd lift":
        return "Decision: none; look for the mistake first."
    if verdict.finding == "no data":
        return "Decision: none, as there is nothing to compare."
    return f"Decision: none, because {_cause(result, comparison)}."


def _cause(result: ExperimentResult, comparison: ArmComparison) -> str:
    """Why the decision; starts in lower case and has no full stop."""
    verdict = comparison.verdict
    if verdict.cause == "check failed":
        return f"the check {_check_names(result, verdict.checks[:1])} failed"
    primary = next(iter(of_role(comparison, "primary")), None)
    if primary is None:
        return "there is no primary metric"
    label = f"'{primary.label}'"
    wanted = _wanted(verdict, primary)
    # One entry per code; `test_every_code_has_words` compares with the codes of the records.
    sentences = {
        "no data": f"the primary metric {label} has no data",
        "no control": f"the control has no {label} to compare a minimum effect with",
        "absurd lift": f"a lift of {formats.lift(primary.relative)} in {label} asks for the "
        "mistake first",
        "same policy": "both arms run the same policy",
        "too few users": f"an arm has {_smallest(primary)} users, fewer than {FEWEST_USERS}",
        "weak test": f"the test could detect only {_detectable(primary)} in {label}",
        "guardrail broken": _broken(comparison),
        "worse": f"{label} is worse",
        "surely below minimum": f"even the good end of the interval of {label} is below the "
        f"minimum effect of {wanted}",
        "not settled": f"the test cannot tell yet whether {label} moves{_reach(primary)}",
        "below minimum": f"{label} is better, but by less than the minimum effect of {wanted}, "
        "which the interval still includes",
        "interval reaches below minimum": f"the interval of {label} reaches below the minimum "
        f"effect of {wanted}",
        "guardrail not settled": f"{_guardrails(comparison, verdict.unsettled)} not settled",
        "better": f"{label} is better{_by_at_least(verdict, primary)}"
        f"{_guarded(result, comparison)}",
    }
    return sentences[verdict.cause]


def why(result: ExperimentResult, comparison: ArmComparison) -> str:
    """The reason of the finding; empty where the sentence or the decision has given it."""
    verdict = comparison.verdict
    if verdict.written is not None:
        reason = verdict.written.reason
        known = not reason or reason in f"{verdict.written.sentence} {verdict.written.cause}"
        return "" if known else f"Why: {reason}."
    primary = next(iter(of_role(comparison, "primary")), None)
    if primary is None:
        return ""
    wanted = _wanted(verdict, primary)
    alpha = formats.share(1.0 - primary.confidence)
    noun = "difference" if primary.scale == "absolute" else "lift"
    reasons: dict[str, str] = {
        "absurd lift": f"a lift of {formats.lift(primary.relative)} is more likely a mistake than "
        "a success",
        "false alarm": f"nothing differs between the arms; {alpha} of such tests are significant "
        "by chance",
        "too few users": "so few users say little about the others",
        "weak test": "what so weak a test finds significant is mostly exaggerated"
        if primary.outcome in ("better", "worse")
        else "its interval holds losses and gains alike",
        "below minimum": f"the {noun} is significant, but smaller than the minimum effect of "
        f"{wanted}",
        "guardrail broken": _source(comparison),
        "improved": _source(comparison),
        "harmed": _source(comparison),
    }
    reason = reasons.get(verdict.finding, "")
    if verdict.finding == verdict.cause == "below minimum":
        reason = _source(comparison)
    if verdict.unsettled and verdict.finding in ("improved", "harmed", "below minimum"):
        unsure = f"{_guardrails(comparison, verdict.unsettled)} not settled"
        if unsure not in _cause(result, comparison):
            reason = f"{reason}; {unsure}" if reason else unsure
    return f"Why: {reason}." if reason else ""


def _source(comparison: ArmComparison) -> str:
    """The factors that make up most of the lift, largest first; empty if not known.

    Those that work against the lift are no reason for it; the largest is named if it is large.
    """
    split = comparison.factors
    if split is None or not split.lift:
        return ""
    ranked = sorted(split.factors, key=lambda f: -abs(f.contribution.value))
    causes = [f for f in ranked if f.contribution.value * split.lift > 0.0]
    if not causes:
        return ""
    if abs(causes[0].contribution.value) >= 0.7 * abs(split.lift):
        causes = causes[:1]
    against = [f for f in ranked if f.contribution.value * split.lift < 0.0]
    against = [f for f in against[:1] if abs(f.contribution.value) >= 0.5 * abs(split.lift)]
    named = [*causes[:2], *against]
    shown = formats.percents([split.lift, *(f.contribution.value for f in named)])
    parts = [
        f"{inline(f.label)} ({part} of {shown[0]})"
        for f, part in zip(causes[:2], shown[1:], strict=False)
    ]
    said = f"mostly {' and '.join(parts)}"
    return f"{said}, against {inline(against[0].label)} ({shown[-1]})" if against else said


def _failed(result: ExperimentResult, verdict: Verdict) -> str:
    failed = [c for c in result.health if c.status == "fail"]
    return check_sentence(failed[0]) if failed else _check_names(result, verdict.checks) + " failed"


def _check_names(result: ExperimentResult, names: Iterable[str]) -> str:
    labels = {check.name: check_label(check) for check in result.health}
    return ", ".join(f"'{labels.get(name, name)}'" for name in names)


def _no_data(primary: MetricComparison) -> str:
    return f"'{primary.label}' has no data"


def _effect(primary: MetricComparison) -> str:
    """Relative lift, interval and difference."""
    absolute = formats.difference(primary.absolute, primary.unit)
    per = primary.unit.partition("per ")[2]
    shown = f"{absolute} per {per}" if per else absolute
    relative = primary.relative
    if relative is None or relative.low is None or relative.high is None:
        level = formats.confidence(primary.confidence)
        bounds = formats.absolute_interval(primary.absolute, primary.unit, alone=True)
        return shown if bounds == formats.MISSING else f"{shown} ({level} CI {bounds})"
    return (
        f"{formats.lift(relative)} ({formats.confidence(primary.confidence)} CI "
        f"{formats.interval(relative)}; {shown})"
    )


def _harm(comparison: ArmComparison, primary: MetricComparison) -> str:
    """What the first sentence says of broken guardrails."""
    verdict = comparison.verdict
    harmed = [g for g in of_role(comparison, "guardrail") if g.metric in verdict.broken]
    if not harmed or verdict.finding in _SETTLED:
        return ""
    names = ", ".join(f"'{g.label}' ({formats.shown_effect(g)})" for g in harmed)
    noun, verb = ("guardrail", "is") if len(harmed) == 1 else ("guardrails", "are")
    joint = "but" if primary.outcome == "better" else "and"
    return f", {joint} {noun} {names} {verb} broken"


def _broken(comparison: ArmComparison) -> str:
    verdict = comparison.verdict
    parts = [
        f"'{g.label}' is worse than its margin of {formats.margin(g)}"
        for g in of_role(comparison, "guardrail")
        if g.metric in verdict.broken
    ]
    return f"guardrail {' and '.join(parts)}"


def _guardrails(comparison: ArmComparison, names: Sequence[str]) -> str:
    labels = {m.metric: m.label for m in comparison.metrics}
    shown = ", ".join(f"'{labels.get(name, name)}'" for name in names)
    return f"guardrail {shown} is" if len(names) == 1 else f"guardrails {shown} are"


def _by_at_least(verdict: Verdict, primary: MetricComparison) -> str:
    """The minimum effect that is reached: by the whole interval, or by the estimate alone."""
    if not verdict.min_effect:
        return ""
    if surely_reached(primary, verdict.min_effect, verdict.min_effect_scale):
        return f" by at least {_wanted(verdict, primary)}"
    return f" (estimated at {_wanted(verdict, primary)} or more)"


def _wanted(verdict: Verdict, primary: MetricComparison) -> str:
    """The minimum effect: a share of the control, or a size in the metric's unit."""
    size = verdict.min_effect or 0.0
    if verdict.min_effect_scale == "absolute":
        return formats.amount(size, primary.unit)
    return formats.share(size)


def _guarded(result: ExperimentResult, comparison: ArmComparison) -> str:
    """What shipping says of guardrails and of checks that warned."""
    verdict = comparison.verdict
    if not of_role(comparison, "guardrail"):
        said = " and there is no guardrail"
    elif verdict.unsettled:
        names = _guardrails(comparison, verdict.unsettled)
        said = f" and no guardrail is broken ({names} not settled)"
    else:
        said = " and every guardrail is within its margin"
    if verdict.checks:
        said += f"; look first at the warning of: {_check_names(result, verdict.checks)}"
    return said


def _smallest(primary: MetricComparison) -> str:
    return formats.count(min(primary.control.users, primary.treatment.users))


def _detectable(primary: MetricComparison) -> str:
    return f"±{formats.detectable_size(primary)}"


def _reach(primary: MetricComparison) -> str:
    if formats.detectable_size(primary) == formats.MISSING:
        return ""
    return f"; it can detect {_detectable(primary)}"
