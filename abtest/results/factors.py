"""Declare the platform's metrics as products of factors, so that a report can say why."""

from __future__ import annotations

import dataclasses

from reports.plan import AnalysisPlan, Step

_SESSIONS = Step("sessions", "Sessions", "per user-day", ("sessions",))
_VIDEOS = Step("videos_per_session", "Videos per session", "", ("impressions",))
_OPENS = Step("comment_open_rate", "Comment open rate", "%", ("comment_opens",), percent=True)

STEPS: dict[str, tuple[Step, ...]] = {
    "comment_watch_time": (
        _SESSIONS,
        _VIDEOS,
        _OPENS,
        Step("stay_per_open", "Comment stay per open", "s", ("comment_watch_time_ms",), 0.001),
    ),
    "comment_interactions": (
        _SESSIONS,
        _VIDEOS,
        _OPENS,
        Step(
            "interactions_per_open",
            "Likes and replies per open",
            "",
            ("comment_likes", "comment_replies"),
        ),
    ),
    "play_time": (
        _SESSIONS,
        _VIDEOS,
        Step("play_time_per_video", "Play time per video", "s", ("play_time_ms",), 0.001),
    ),
    "likes": (_SESSIONS, _VIDEOS, Step("like_rate", "Like rate", "%", ("likes",), percent=True)),
    "hates": (_SESSIONS, _VIDEOS, Step("hate_rate", "Hate rate", "%", ("hates",), percent=True)),
    "impressions": (_SESSIONS, _VIDEOS),
}
"""Metrics that are products: columns of `simulator.outcomes`, each over the one before."""


def with_factors(plan: AnalysisPlan) -> AnalysisPlan:
    """The plan with the factors of its primary metric, where it is a product."""
    return dataclasses.replace(plan, steps=STEPS.get(plan.primary, ()))
