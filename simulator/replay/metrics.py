"""Declare the metrics of replay: what each reads, and which stages of a page can move it.

A metric per comment seen asks what one place of a section would have earned if the policy had
chosen its comment, those above it as shown. It needs far less of a log than a whole order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulator.behaviours import BEHAVIOURS, Behaviour

Float64 = NDArray[np.float64]
Kind = Literal["share", "time", "count"]


@dataclass(frozen=True)
class ReplayMetric:
    """One metric per impression.

    Attributes:
        label: For people.
        unit: ``"share"``, ``"ms"`` or ``"count"``, per impression.
        column: Outcome column that it reads.
        positive: Whether it counts values above 0 in place of adding them up.
        direction: ``"up"`` if more is better.
        comments: Whether the order of comments can move it, once a section is open. Opening itself
            comes before any comment is seen.
        per_comment: Whether it is a mean over comments seen, not over impressions.
    """

    label: str
    unit: str
    column: str
    positive: bool = False
    direction: Literal["up", "down"] = "up"
    comments: bool = False
    per_comment: bool = False

    def values(self, outcomes: dict[str, Float64]) -> Float64:
        """float64[N] with NaN for unknown."""
        raw = outcomes[self.column]
        return np.where(np.isnan(raw), np.nan, raw > 0) if self.positive else raw


_MOVED_BY_COMMENTS = frozenset({"play", "stay"})
"""Behaviours at a slot that go on while comments are read."""


def _of(behaviour: Behaviour, name: str, label: str) -> tuple[str, ReplayMetric]:
    return name, ReplayMetric(
        label,
        "ms" if behaviour.kind == "time" else "share",
        behaviour.column,
        positive=behaviour.kind == "visit",
        direction=next((m.direction for m in behaviour.metrics), "up"),
        comments=behaviour.name in _MOVED_BY_COMMENTS,
    )


METRICS: dict[str, ReplayMetric] = {
    **dict(_of(b, *b.replay) for b in BEHAVIOURS if b.replay is not None),
    "comment_likes": ReplayMetric(
        "Comment likes per impression", "count", "comment_likes", comments=True
    ),
    "comment_replies": ReplayMetric(
        "Comment replies per impression", "count", "comment_replies", comments=True
    ),
    "comment_dwell_ms": ReplayMetric(
        "Time on a comment seen", "ms", "comment_stay_time", per_comment=True
    ),
    "comment_like_share": ReplayMetric(
        "Likes of a comment seen", "share", "comment_likes", per_comment=True
    ),
    "comment_reply_share": ReplayMetric(
        "Replies to a comment seen", "share", "comment_replies", per_comment=True
    ),
    "reward": ReplayMetric("Reward per choice", "count", "reward"),
}

OUTCOME_COLUMNS = tuple(dict.fromkeys(metric.column for metric in METRICS.values()))
PRIMARY = "comment_stay_ms"
GUARDRAILS = frozenset({"hate_rate"})
