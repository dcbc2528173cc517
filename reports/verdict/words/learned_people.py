"""Say in one sentence whether people learned from a log can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

_MOSTLY = 0.5
_HARDLY, _EASILY = 0.7, 0.8
"""An area under the ROC curve below .7 discriminates poorly, from .8 on it is excellent (Hosmer,
Lemeshow & Sturdivant, Applied Logistic Regression, 2013, section 5.2.4)."""


def believable(facts: Mapping[str, Any]) -> tuple[Literal["note", "warn", "not run"], str] | None:
    """Status and sentence of the classifier two-sample test; None if these are not its facts.

    Args:
        facts: What `simulator.response.learned.two_sample` found.
    """
    if isinstance(facts.get("problem"), str):
        return "not run", f"simulated sessions were not compared with the log's: {facts['problem']}"
    area = _area(facts)
    if area is None:
        return None
    auc, low, _ = area
    shown = _shown(area)
    status: Literal["note", "warn"] = "note" if low <= 0.5 or auc < _HARDLY else "warn"
    if low <= 0.5:
        told = "cannot tell"
        advice = "nothing here speaks against believing it"
    elif auc < _HARDLY:
        told = "hardly tells"
        advice = "believe the direction of lifts, and their size with reserve"
    elif auc < _EASILY:
        told = "often tells"
        advice = "believe the direction of lifts, not their size"
    else:
        told = "easily tells"
        advice = "do not decide by it"
    pauses = facts.get("with_pauses")
    paused = _area(pauses) if isinstance(pauses, Mapping) else None
    rest = ""
    if paused is not None:
        rest = f"; with the pauses between videos, which are simplified: {_shown(paused)}"
    sentence = (
        f"a classifier {told} simulated sessions from the log's (AUC {shown}{rest}): {advice}"
    )
    return status, sentence


def unsupported(facts: Mapping[str, Any]) -> list[str]:
    """A sentence per arm that shows mostly what the log hardly ever showed.

    Args:
        facts: What `abtest.run.arms.support` found.
    """
    shares = facts.get("shares")
    return [
        f"{arm} shows mostly what the log hardly shows: {100 * share:.0f} % of its first pages are "
        f"videos with fewer than {facts.get('times')} impressions there, and how people respond to "
        "those is a guess"
        for arm, share in sorted(shares.items() if isinstance(shares, Mapping) else [])
        if isinstance(share, float) and share > _MOSTLY
    ]


def _area(facts: Mapping[str, Any]) -> tuple[float, float, float] | None:
    values = [facts.get(name) for name in ("auc", "low", "high")]
    if not all(isinstance(v, float) for v in values):
        return None
    auc, low, high = (float(v) for v in values if v is not None)
    return auc, low, high


def _shown(area: tuple[float, float, float]) -> str:
    auc, low, high = (f"{value:.2f}" for value in area)
    return f"{auc}, {low} to {high}"
