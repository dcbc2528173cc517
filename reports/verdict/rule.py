"""What to do after an experiment: one decision for every result, and the rule it follows."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from reports import formats
from reports.results import Decision, HealthCheck, MetricComparison

ABSURD_LIFT = 0.5
"""A lift beyond this asks for an explanation before a celebration (Twyman's law)."""


class RuleError(Exception):
    """A decision rule that does not exist."""


@dataclass(frozen=True)
class DecisionRule:
    """What shipping takes besides a significant improvement and no failed check.

    Attributes:
        guardrails: "proven": every guardrail's interval must rule out harm beyond its margin.
            "not-broken": it is enough that no guardrail is shown to be worse than its margin.
        effect: "estimate": the lift itself must reach the minimum effect.
            "interval": the whole interval must lie beyond it.
    """

    guardrails: Literal["proven", "not-broken"] = "proven"
    effect: Literal["estimate", "interval"] = "estimate"


def parse_rule(texts: Iterable[str]) -> DecisionRule:
    """The rule from ``NAME=CHOICE`` texts, as ``guardrails=not-broken``.

    Raises:
        RuleError: no such name or choice; says which there are.
    """
    choices = {k: get_args(kind) for k, kind in get_type_hints(DecisionRule).items()}
    chosen: dict[str, str] = {}
    for text in texts:
        name, _, choice = (part.strip() for part in text.partition("="))
        if name not in choices:
            close = difflib.get_close_matches(name, choices, n=1)
            guess = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(choices)}."
            raise RuleError(f"no decision rule is called '{name}'. {guess}")
        if choice not in choices[name]:
            options = " or ".join(f"{name}={c}" for c in choices[name])
            raise RuleError(f"the decision rule '{text}' is not {options}.")
        chosen[name] = choice
    return dataclasses.replace(DecisionRule(), **chosen)  # type: ignore[arg-type]


def broken(guardrails: Sequence[MetricComparison]) -> list[MetricComparison]:
    """Guardrails that are worse than their margins."""
    return [g for g in guardrails if g.outcome == "margin broken"]


def decide(
    primary: MetricComparison,
    guardrails: Sequence[MetricComparison],
    health: Sequence[HealthCheck],
    *,
    min_effect: float,
    rule: DecisionRule,
) -> tuple[Decision, str]:
    """The decision and its cause, which starts in lower case and has no full stop.

    The first that applies: (1) a failed check, a primary metric without data or lift, or an
    absurd lift: no verdict; (2) a broken guardrail: do not ship; (3) the primary is worse, or its
    whole interval is below the minimum effect: do not ship; (4) no significant improvement of the
    minimum effect: keep running; (5) by ``rule``, an interval that reaches below the minimum
    effect or a guardrail that is not settled: keep running; (6) ship.
    """
    failed = [check for check in health if check.status == "fail"]
    if failed:
        return "no verdict", f"the check '{failed[0].label}' failed"
    if primary.absolute is None or primary.p_value is None:
        return "no verdict", f"the primary metric '{primary.label}' has no data"
    benefit, low, high = _benefit(primary)
    if primary.relative is None and primary.outcome != "not clear":
        return (
            "no verdict",
            f"the control has no '{primary.label}' to compare a minimum effect with",
        )
    if abs(benefit) > ABSURD_LIFT:
        lift = formats.percent(primary.relative.value if primary.relative else None)
        return "no verdict", f"a lift of {lift} in '{primary.label}' asks for the mistake first"
    harmed = broken(guardrails)
    if harmed:
        return "do not ship", _broken_words(harmed)
    wanted = formats.share(min_effect)
    if primary.outcome == "worse" and (high is None or -benefit >= min_effect):
        return "do not ship", f"'{primary.label}' is worse"
    if high is not None and high < min_effect:
        return (
            "do not ship",
            f"even the good end of the interval of '{primary.label}' is below the minimum effect "
            f"of {wanted}",
        )
    if primary.outcome != "better":
        return "keep running", _unclear_words(primary)
    if benefit < min_effect:
        return (
            "keep running",
            f"'{primary.label}' is better, but by less than the minimum effect of {wanted}, which "
            "the interval still includes",
        )
    if rule.effect == "interval" and (low is None or low < min_effect):
        return (
            "keep running",
            f"the interval of '{primary.label}' reaches below the minimum effect of {wanted}",
        )
    unsettled = [g.label for g in guardrails if g.outcome != "within margin"]
    if unsettled and rule.guardrails == "proven":
        return "keep running", f"{_guardrail_names(unsettled)} not settled"
    cause = f"'{primary.label}' is better by at least {wanted}"
    if not guardrails:
        cause += " and there is no guardrail"
    elif unsettled:
        cause += f" and no guardrail is broken ({_guardrail_names(unsettled)} not settled)"
    else:
        cause += " and every guardrail is within its margin"
    warned = [check.label for check in health if check.status == "warn"]
    if warned:
        cause += f"; look first at the warning of: {', '.join(warned)}"
    return "ship", cause


def _benefit(primary: MetricComparison) -> tuple[float, float | None, float | None]:
    """Relative lift and its bounds, turned so that more is better; 0 where unknown."""
    relative = primary.relative
    if relative is None:
        return 0.0, None, None
    if primary.direction == "up":
        return relative.value, relative.low, relative.high
    low, high = relative.low, relative.high
    return -relative.value, None if high is None else -high, None if low is None else -low


def _unclear_words(primary: MetricComparison) -> str:
    known = formats.known(primary.detectable_effect)
    reach = (
        f"; it can detect +/-{formats.percent(primary.detectable_effect, signed=False)}"
        if known
        else ""
    )
    return f"the test cannot tell yet whether '{primary.label}' moves{reach}"


def _broken_words(harmed: Sequence[MetricComparison]) -> str:
    parts = [f"'{g.label}' is worse than its margin of {formats.share(g.margin or 0.0)}"
             for g in harmed]  # fmt: skip
    return f"guardrail {' and '.join(parts)}"


def _guardrail_names(labels: Sequence[str]) -> str:
    names = ", ".join(f"'{label}'" for label in labels)
    return f"guardrail {names} is" if len(labels) == 1 else f"guardrails {names} are"
