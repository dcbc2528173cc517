"""Define what shipping takes: the decision rule and the limits below which nothing is decided."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

ABSURD_LIFT = 0.5
"""A lift beyond this asks for an explanation before a celebration (Twyman's law)."""

FEWEST_USERS = 100
"""Users of the smaller arm below which nothing is decided: the mean of a skewed metric is not yet
close to normal, and a single user moves it."""

WEAKEST_TEST = 0.25
"""Detectable relative effect beyond which nothing is decided: what such a test finds significant is
mostly an exaggeration (Gelman & Carlin, Perspectives on Psychological Science 9, 2014)."""


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
