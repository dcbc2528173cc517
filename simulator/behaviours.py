"""List what people can do with a video: where each behaviour is logged, counted and measured.

The one table of behaviours. The log format, the feed's turn, the recorder, the outcome table, the
gym's rewards, the importers, replay's metrics and the application's metrics are read from it. A
flag added here is drawn by a response that puts it into `simulator.response.base.Watched.flags`;
everything else follows from its row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["flag", "time", "visit", "comment"]


@dataclass(frozen=True)
class MetricDefinition:
    """A metric of the outcome table; fields as in `reports.plan.Metric`.

    Attributes:
        name: For the command line and results.json.
        label: For people.
        unit: What the shown value is in.
        numerator: Outcome columns that are added up.
        denominator: Outcome columns of a ratio, or empty for a mean per user-day.
        scale: Multiplies the numerator before it is shown (0.001 for ms to s).
        direction: Whether more is better.
        percent: Whether a value is shown as a percentage.
    """

    name: str
    label: str
    unit: str
    numerator: tuple[str, ...]
    denominator: tuple[str, ...] = ()
    scale: float = 1.0
    direction: Literal["up", "down"] = "up"
    percent: bool = False


@dataclass(frozen=True)
class Behaviour:
    """One thing that people do.

    Attributes:
        name: Key of `Watched.flags` for a flag.
        kind: "flag": happens or not at each slot, a 0/1 column of impressions. "time": ms at each
            slot. "visit": happened where the time in ``column`` is above 0. "comment": happens or
            not to each comment of an opened section, a 0/1 column of comment events.
        column: Column of the log.
        doc: What it is, for the log format.
        outcome: Column of the outcome table that adds it up, or None if it is only logged.
        required: Whether a log without the column is refused.
        reward: Name of the gym's reward, or None.
        metrics: Metrics of the outcome table that are about it.
        replay: Name and label of replay's mean per impression, or None.
    """

    name: str
    kind: Kind
    column: str
    doc: str
    outcome: str | None = None
    required: bool = False
    reward: str | None = None
    metrics: tuple[MetricDefinition, ...] = ()
    replay: tuple[str, str] | None = None


def _rate(name: str, label: str, outcome: str) -> MetricDefinition:
    return MetricDefinition(name, label, "%", (outcome,), ("impressions",), percent=True)


def _seconds(name: str, label: str, outcome: str) -> MetricDefinition:
    return MetricDefinition(name, label, "s per user-day", (outcome,), scale=0.001)


BEHAVIOURS = (
    Behaviour(
        "click", "flag", "is_click",
        "valid play: > 7 s, or to the end if the video is shorter",
        outcome="clicks", required=True, reward="clicks",
        metrics=(_rate("click_rate", "Click rate", "clicks"),),
        replay=("click_rate", "Click rate"),
    ),
    Behaviour(
        "long_view", "flag", "long_view",
        "play >= duration if that is <= 18 s, else play >= 18 s",
        outcome="long_views", reward="long_views",
        metrics=(_rate("long_view_rate", "Long-view rate", "long_views"),),
        replay=("long_view_rate", "Long-view rate"),
    ),
    Behaviour(
        "play", "time", "play_time_ms", "play time; keeps running while comments are open",
        outcome="play_time_ms", required=True, reward="play_seconds",
        metrics=(_seconds("play_time", "Play time", "play_time_ms"),),
        replay=("play_time_ms", "Play time per impression"),
    ),
    Behaviour(
        "like", "flag", "is_like", "liked",
        outcome="likes", reward="likes",
        metrics=(MetricDefinition("likes", "Likes", "per user-day", ("likes",)),),
        replay=("like_rate", "Like rate"),
    ),
    Behaviour("follow", "flag", "is_follow", "followed the author",
              outcome="follows", reward="follows"),
    Behaviour("comment", "flag", "is_comment", "wrote a comment",
              outcome="comments_written", reward="comments_written"),
    Behaviour("forward", "flag", "is_forward", "forwarded",
              outcome="forwards", reward="forwards"),
    Behaviour(
        "collect", "flag", "is_collect", "collected",
        outcome="collects", reward="collects",
        metrics=(MetricDefinition("collects", "Collects", "per user-day", ("collects",)),),
        replay=("collect_rate", "Collect rate"),
    ),
    Behaviour(
        "hate", "flag", "is_hate", "asked for less of this",
        outcome="hates", reward="hates",
        metrics=(
            MetricDefinition("hates", "Hates", "per user-day", ("hates",), direction="down"),
        ),
        replay=("hate_rate", "Hate rate"),
    ),
    Behaviour("profile", "flag", "is_profile_enter", "entered the author's profile"),
    Behaviour("profile_stay", "time", "profile_stay_time", "stay on the author's profile"),
    Behaviour(
        "open", "visit", "comment_stay_time", "opened the comment section",
        outcome="comment_opens", reward="comment_opens",
        metrics=(_rate("comment_open_rate", "Comment open rate", "comment_opens"),),
        replay=("comment_open_rate", "Comment-open rate"),
    ),
    Behaviour(
        "stay", "time", "comment_stay_time", "stay in the comment section; 0 = not opened",
        outcome="comment_watch_time_ms", reward="comment_seconds",
        metrics=(
            _seconds("comment_watch_time", "Comment watch time", "comment_watch_time_ms"),
            MetricDefinition("stay_per_open", "Comment stay per open", "s",
                             ("comment_watch_time_ms",), ("comment_opens",), scale=0.001),
        ),
        replay=("comment_stay_ms", "Comment watch time per impression"),
    ),
    Behaviour(
        "comment_like", "comment", "is_like", "liked the comment",
        outcome="comment_likes", required=True,
        metrics=(
            MetricDefinition("comment_interactions", "Comment likes and replies", "per user-day",
                             ("comment_likes", "comment_replies")),
        ),
    ),
    Behaviour("comment_reply", "comment", "is_reply", "replied to the comment",
              outcome="comment_replies", required=True),
    Behaviour("comment_shown", "comment", "is_shown", "scrolled into view",
              outcome="comments_shown"),
)  # fmt: skip

VISIT_OUTCOMES = ("active", "returned", "sessions", "session_time_ms", "impressions")
"""Columns of the outcome table that are about a person's day, not about a video."""

VISIT_METRICS = (
    MetricDefinition("sessions", "Sessions", "per user-day", ("sessions",)),
    MetricDefinition(
        "session_time", "Session time", "s per user-day", ("session_time_ms",), scale=0.001
    ),
    MetricDefinition("impressions", "Videos shown", "per user-day", ("impressions",)),
    MetricDefinition(
        "return_next_day", "Return next day", "%", ("returned",), ("active",), percent=True
    ),
)

BY_NAME = {behaviour.name: behaviour for behaviour in BEHAVIOURS}

COUNTED_FLAGS = {b.name: b.outcome for b in BEHAVIOURS if b.kind == "flag" and b.outcome}
"""Name of a flag to the outcome column that counts it."""

OUTCOMES = (*VISIT_OUTCOMES, *(b.outcome for b in BEHAVIOURS if b.outcome is not None))
"""All columns of the outcome table, in order."""

METRIC_DEFINITIONS = {
    metric.name: metric for metric in (*(m for b in BEHAVIOURS for m in b.metrics), *VISIT_METRICS)
}


def of_kind(*kinds: Kind) -> tuple[Behaviour, ...]:
    """The behaviours of these kinds, in the table's order."""
    return tuple(b for b in BEHAVIOURS if b.kind in kinds)


def flags_in_file_order() -> tuple[Behaviour, ...]:
    """The flags as published files list them: long views and profiles after the feedback."""
    return tuple(sorted(of_kind("flag"), key=lambda b: b.name in ("long_view", "profile")))
