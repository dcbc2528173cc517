"""What is published about Kuaishou's logs, as far as a log in our format can be measured for it.

Every figure is a fact about a public data set; none is a row of it. KuaiRand: Gao et al., CIKM
2022, CC BY-SA 4.0. KuaiComt: Zhang et al., 2024. Figures of play time, duration and feedback come
from KuaiRand's Pure version, those of clicks, sessions and times of day from the 27K version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["mean", "quantile", "shape"]

_27K = "KuaiRand-27K, whole log, as tabulated in github.com/limings02/kuairand"
_PURE = "KuaiRand-Pure standard log, as counted in github.com/Applied-Machine-Learning-Lab/KuaiSim"
_PAIRED = "KuaiRand-Pure, as tabulated in github.com/Sham-Moon/KuaiRand-Analysis"
_LIKED = (
    "KuaiRand-27K, liked or hated rows, published in "
    "github.com/alessandrosocc/predict_explicit_negative_feedback_kuairand"
)
_COMT = "KuaiComt's page, lyingcs.github.io/KuaiComt.github.io"
_USERS = "KuaiRand user_features, counted over all 27,285 users"
_VIDEOS = "KuaiRand-Pure video_features_basic, counted over its 7,583 videos"


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        name: The key under which `simulator.logs.describe.measure` finds it.
        label: For people.
        value: What was published.
        unit: Of the value.
        definition: How it is counted.
        source: Who published what.
        kind: What sort of number it is.
        fitted: Whether the built-in world's parameters are fitted to it; others are held out.
    """

    name: str
    label: str
    value: float
    unit: str
    definition: str
    source: str
    kind: Kind = "mean"
    fitted: bool = False


def _quantiles(
    name: str, label: str, unit: str, definition: str, source: str, values: dict[int, float]
) -> tuple[Published, ...]:
    return tuple(
        Published(f"{name}.p{q}", f"{label}, p{q}", v, unit, definition, source, "quantile")
        for q, v in values.items()
    )


def _shares(
    name: str, label: str, definition: str, source: str, values: dict[str, float]
) -> tuple[Published, ...]:
    return tuple(
        Published(f"{name}.{level}", f"{label}: {level}", v, "share", definition, source, "shape")
        for level, v in values.items()
    )


_STANDARD, _RANDOM = "standard rows (is_rand 0)", "rows with is_rand 1"
_PER = "per impression"

KUAISHOU: tuple[Published, ...] = (
    Published("click_rate.standard", "Click rate, standard", 0.378718, _PER, _STANDARD, _27K,
              fitted=True),
    Published("click_rate.random", "Click rate, random", 0.176158, _PER, _RANDOM, _27K,
              fitted=True),
    Published("play_time.standard", "Play time, standard", 19.695739, f"s {_PER}",
              f"{_STANDARD}; mean over paired videos in the source", _PAIRED, fitted=True),
    Published("play_time.random", "Play time, random", 7.75229, f"s {_PER}",
              f"{_RANDOM}; mean over paired videos in the source", _PAIRED, fitted=True),
    Published("comment_open_rate", "Comment open rate", 0.133951, _PER,
              "impressions with a stay in the comment section", _COMT, fitted=True),
    Published("comment_stay.mean", "Comment stay per open, mean", 9.8804, "s",
              "over opened sections (liked rows in the source)", _LIKED, fitted=True),
    Published("comment_stay.p50", "Comment stay per open, p50", 5.828, "s",
              "over opened sections (liked rows in the source)", _LIKED, "quantile", fitted=True),
    Published("session_length", "Impressions per session", 78.658, "impressions",
              "a gap of 30 minutes starts a session", _27K, fitted=True),
    Published("sessions_per_day", "Sessions per user-day", 4.844, "sessions",
              "sessions over users times calendar days", _27K, fitted=True),
    Published("impressions_per_day", "Impressions per user-day", 381.018, "impressions",
              "standard rows over users times calendar days", _27K),
    Published("long_view_rate.standard", "Long-view rate, standard", 0.276481, _PER,
              f"{_STANDARD}; mean over paired videos in the source", _PAIRED, fitted=True),
    Published("long_view_rate.random", "Long-view rate, random", 0.100049, _PER,
              f"{_RANDOM}; mean over paired videos in the source", _PAIRED),
    Published("complete_rate.standard", "Completion rate, standard", 0.114883, _PER,
              "play time at least the duration", _PAIRED),
    Published("complete_rate.random", "Completion rate, random", 0.039385, _PER,
              "play time at least the duration", _PAIRED),
    Published("like_rate.standard", "Like rate, standard", 0.018478, _PER, _STANDARD, _PURE,
              fitted=True),
    Published("like_rate.random", "Like rate, random", 0.005254, _PER, _RANDOM, _PAIRED),
    Published("follow_rate.standard", "Follow rate, standard", 0.001074, _PER, _STANDARD, _PURE,
              fitted=True),
    Published("forward_rate.standard", "Forward rate, standard", 0.000962, _PER, _STANDARD, _PURE,
              fitted=True),
    Published("hate_rate.standard", "Hate rate, standard", 0.000494, _PER, _STANDARD, _PURE,
              fitted=True),
    Published("comment_rate.standard", "Comments written, standard", 0.002546, _PER, _STANDARD,
              _PURE, fitted=True),
    Published("profile_rate.standard", "Profile entries, standard", 0.016838, _PER, _STANDARD,
              _PAIRED),
    Published("liked_given_click", "Liked, given a click", 0.0340, "share", _STANDARD, _PURE,
              "shape"),
    Published("clicked_given_like", "Clicked, given a like", 0.8446, "share", _STANDARD, _PURE,
              "shape"),
    Published("long_given_click", "Long view, given a click", 0.7190, "share", _STANDARD, _PURE,
              "shape"),
    Published("comment_open_rate.liked", "Comment open rate, liked rows", 0.260098, "per like",
              "liked rows", _LIKED, fitted=True),
    Published("open_given_written", "Opened, given a comment written", 0.982456, "share",
              "rows with is_comment 1", _LIKED, "shape"),
    Published("written_given_open", "Comment written, given open and liked", 0.133987, "share",
              "liked rows with an opened section", _LIKED, "shape"),
    *_quantiles("comment_stay", "Comment stay per open", "s",
                "over opened sections (liked rows in the source)", _LIKED,
                {5: 1.3948, 25: 3.038, 75: 11.733, 90: 21.6014, 95: 30.1692, 99: 62.4301}),
    *_quantiles("open_rate_of_users", "Open rate of users", "share",
                "per user over liked rows, users with at least 30", _LIKED,
                {5: 0.0201, 25: 0.1, 50: 0.1953, 75: 0.3871, 95: 0.737}),
    Published("comment_touches", "Comment likes and replies per open", 0.062536, "per open",
              "comment_events with is_like or is_reply over opened sections", _COMT, fitted=True),
    Published("comment_share_of_play", "Comment time over play time, liked rows", 0.109167,
              "share", "liked rows", _LIKED, "shape"),
    *_quantiles("click_rate_of_users", "Click rate of users", "share",
                "per user over standard rows", _27K,
                {5: 0.170397, 25: 0.326427, 50: 0.469802, 75: 0.613676, 95: 0.769144}),
    *_quantiles("duration", "Duration of videos", "s", "over the videos table", _VIDEOS,
                {10: 14.5929, 25: 31.9495, 50: 81.1705, 75: 148.2285, 90: 237.8298}),
    *_quantiles("play_time_of_liked", "Play time of liked videos", "s", "liked standard rows",
                _LIKED, {25: 4.721, 50: 11.805, 75: 27.912, 90: 56.3612}),
    Published("burst_size", "Impressions per request", 5.804, "impressions",
              "consecutive impressions less than 1 s apart", _27K),
    *_shares("gap", "Gap between requests", "gaps of at least 1 s between impressions of a user",
             _27K, {"1-10s": 0.093253, "10-60s": 0.319886, "1-5min": 0.379401,
                    "5-30min": 0.134129, "30-120min": 0.039388, ">=120min": 0.033942}),
    *_shares("hours", "Impressions from", "share of standard rows by hour, China time", _27K,
             {"0-6h": 0.09445, "6-12h": 0.22093, "12-18h": 0.30875, "18-24h": 0.37596}),
    Published("exposure_gini.standard", "Exposure Gini, standard", 0.82707, "share",
              "over videos seen at least once in standard rows", _27K, "shape"),
    Published("exposure_gini.random", "Exposure Gini, random", 0.08081, "share",
              "over videos seen at least once in random rows", _27K, "shape"),
    Published("exposure_top1.standard", "Exposure of the top 1 %", 0.441106, "share",
              "over videos seen at least once in standard rows", _27K, "shape"),
    *_shares("active", "Activity", "users by user_active_degree", _USERS,
             {"full_active": 0.6582, "high_active": 0.225692, "middle_active": 0.078175}),
    *_quantiles("follows", "People followed", "count", "over the users table", _USERS,
                {25: 50.0, 50: 155.0, 75: 430.0, 90: 1021.0}),
    *_quantiles("fans", "Followers", "count", "over the users table", _USERS,
                {25: 10.0, 50: 48.0, 75: 221.0, 90: 660.0}),
    *_quantiles("registered", "Days since registration", "days", "over the users table", _USERS,
                {25: 683.0, 50: 1188.0, 75: 1701.0, 90: 2108.0}),
)  # fmt: skip
