"""Say which values a parameter of the world may have."""

from __future__ import annotations

SHARES = frozenset(
    {
        "popularity_quality", "comment_taste_predictable", "comment_taste_topics",
        "comment_order_effect", "grid_share", "write_skip", "comment_reply_share",
        "satisfaction_base", "session_refund", "pause_share", "visits_soon", "visits_absence",
        "platform_random_share", "platform_explore_comments", "series_share",
    }
)  # fmt: skip
_POSITIVE = frozenset(
    {
        "duration_median", "comments_median", "play_skip_seconds", "play_patience", "play_share",
        "write_seconds", "open_seconds", "session_seconds", "pause_minutes", "visits_per_day",
        "visits_person_cv", "visits_absence_days", "visits_soon_minutes", "novelty_days",
        "platform_temperature",
    }
)  # fmt: skip
_AT_LEAST_ZERO = frozenset(
    {
        "old_days", "new_days", "comment_taste_strength", "sequence_strength", "grid_seconds",
        "grid_person_sigma", "platform_random_bursts", "session_video_cost",
        "play_glance_seconds", "play_full_duration", "play_replay", "follow_rate", "follow_like",
        "forward_rate", "collect_rate", "collect_like", "hate_rate", "profile_rate", "write_rate",
        "write_like", "read_depth", "session_skip_cost", "visits_low_activity",
        "visits_absence_response", "visits_lead_minutes", "novelty_strength", "platform_noise",
    }
)  # fmt: skip
_MOST = 1e6
"""Of a number without another bound, up or down: log-odds, seconds and days are far smaller."""
_MOST_WHOLE = 50_000_000
"""Videos, authors, comments: what a machine's memory holds."""
_LATEST_MS = 4_102_444_800_000
"""The year 2100."""


def wanted_of(name: str, value: int | float, *, whole: bool) -> str:
    """What is expected of a parameter that may not have this value; empty if it may.

    Args:
        name: Field of `simulator.world.config.WorldConfig`.
        value: A number; not a number and the infinities are outside every range.
        whole: Whether the field is a whole number.
    """
    if name == "start_ms":
        return "" if 0 <= value <= _LATEST_MS else "a time in Unix ms, before the year 2100"
    low, high, words = _range(name, whole)
    good = low <= value <= high
    return "" if good and not (name in _POSITIVE and value == 0) else words


def _range(name: str, whole: bool) -> tuple[float, float, str]:
    if name in SHARES:
        return 0.0, 1.0, "a share from 0 to 1"
    if name in _POSITIVE:
        return 0.0, _MOST, f"a number above 0, up to {_MOST:,.0f}"
    if name in _AT_LEAST_ZERO or name.endswith("_sigma"):
        return 0.0, _MOST, f"a number from 0 to {_MOST:,.0f}"
    if whole:
        return 1, _MOST_WHOLE, f"a whole number from 1 to {_MOST_WHOLE:,}"
    return -_MOST, _MOST, f"a number from -{_MOST:,.0f} to {_MOST:,.0f}"
