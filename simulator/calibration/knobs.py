"""List the parameters that are fitted, and what each of them moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.world.config import WorldConfig


@dataclass(frozen=True)
class Knob:
    """One fitted parameter.

    Attributes:
        parameter: Field of `WorldConfig`.
        moves: Beginnings of the names of the figures that it moves by itself. Everything moves a
            little with everything, as a session that goes on longer shows other videos; those
            derivatives are mostly noise and are taken to be zero. Where they are not, the next
            step sees what they did.
        step: Change by which its effect is measured; also its natural scale.
        relative: Whether the parameter is fitted on the log scale.
        low, high: Bounds of the parameter.
    """

    parameter: str
    moves: tuple[str, ...]
    step: float
    relative: bool = False
    low: float = -20.0
    high: float = 20.0

    def read(self, config: WorldConfig) -> float:
        """The parameter in units of its step."""
        value = float(getattr(config, self.parameter))
        return float(np.log(value)) / self.step if self.relative else value / self.step

    def write(self, z: float) -> float:
        """The parameter from units of its step, six decimals."""
        value = float(np.exp(z * self.step)) if self.relative else z * self.step
        return round(value, 6)

    def bounds(self) -> tuple[float, float]:
        """The bounds in units of the step."""
        low, high = self.low, self.high
        if self.relative:
            low, high = np.log(max(low, 1e-9)), np.log(high)
        return float(low) / self.step, float(high) / self.step


_PLAYS = (
    "paired_videos.", "contrast.play", "contrast.open", "joint.long", "watch_ratio",
    "play_of_liked",
)  # fmt: skip

KNOBS = (
    Knob("click_base",
         ("click_rate.", "click_rate_of_users.p", "click_rate_of_videos", "session_length",
          "paired_videos.", "contrast.play"),
         0.15),
    Knob("click_person_sigma", ("click_rate_of_users.",), 0.15, low=0.05, high=3.0),
    Knob("click_volume", ("click_rate_of_users.", "click_rate."), 0.1, low=-2.0, high=2.0),
    Knob("click_quality",
         ("click_rate_of_videos", "click_rate.standard", "exposure.gini"),
         0.15, low=0.0, high=2.0),
    Knob("grid_share", ("tab.share_of_0", "click_rate.standard"), 0.1, True, 0.01, 0.9),
    Knob("grid_click", ("tab.click_rate_of_0", "click_rate.standard"), 0.2, low=-6.0, high=2.0),
    Knob("platform_noise",
         ("click_rate.standard", "click_rate_of_users.p", "tab.click_rate_of_0", "exposure.gini",
          "session_length", "paired_videos.", "contrast."),
         0.2, True, 0.02, 20.0),
    Knob("platform_noise_volume", ("click_rate_of_users.", "click_rate.", "paired_videos."),
         0.15, low=-1.0, high=2.0),
    Knob("platform_random_quality", ("paired_videos.", "click_rate.random", "click_rate_of_videos"),
         0.15, low=-1.0, high=1.0),
    Knob("platform_random_share", ("random_share",), 0.1, True, 0.001, 0.1),
    Knob("popularity_sigma", ("exposure.gini",), 0.25, low=0.2, high=3.0),
    Knob("play_skip_seconds", ("play_of_random",), 0.1, True, 0.2, 6.0),
    Knob("play_full_base",
         _PLAYS,
         0.25, low=-8.0, high=4.0),
    Knob("play_full_relevance",
         _PLAYS,
         0.2, low=0.0, high=2.5),
    Knob("play_full_duration",
         _PLAYS,
         0.15, low=0.0, high=3.0),
    Knob("play_patience", ("paired_videos.", "play_of_liked"), 0.2, True, 20.0, 600.0),
    Knob("play_share",
         _PLAYS,
         0.15, True, 0.2, 8.0),
    Knob("play_share_relevance",
         _PLAYS,
         0.1, low=0.0, high=2.0),
    Knob("play_replay", ("paired_videos.play", "play_of_liked"), 0.2, True, 0.02, 2.0),
    Knob("like_base", ("rate.like", "open_rate_of_users", "rate.follow", "rate.comment"),
         0.2, low=-16.0, high=0.0),
    Knob("like_relevance", ("contrast.like", "rate.like", "contrast.follow", "contrast.write"),
         0.15, low=0.0, high=3.0),
    Knob("like_click",
         ("rate.like", "joint.click_given_like", "play_of_liked", "watch_ratio", "open_rate.liked"),
         0.25, low=-1.0, high=6.0),
    Knob("like_duration", ("rate.like", "watch_ratio", "play_of_liked"), 0.1, low=0.0, high=2.0),
    Knob("follow_rate", ("rate.follow",), 0.2, True, 1e-6, 0.05),
    Knob("follow_like", ("rate.follow", "joint.like_given_follow"), 0.2, True, 1.0, 500.0),
    Knob("follow_relevance", ("rate.follow", "contrast.follow", "joint.like_given_follow"),
         0.15, low=-1.0, high=3.0),
    Knob("forward_rate", ("rate.forward",), 0.2, True, 1e-6, 0.05),
    Knob("hate_rate", ("rate.hate",), 0.2, True, 1e-6, 0.05),
    Knob("hate_relevance", ("rate.hate", "contrast.hate", "joint.click_given_hate"),
         0.1, low=0.0, high=3.0),
    Knob("hate_click", ("rate.hate", "joint.click_given_hate"), 0.4, low=-0.9, high=20.0),
    Knob("profile_rate", ("paired_videos.profile",), 0.2, True, 1e-4, 0.2),
    Knob("profile_relevance", ("paired_videos.profile", "contrast.profile"),
         0.1, low=-1.0, high=3.0),
    Knob("write_rate", ("rate.comment", "written_given_open"), 0.2, True, 1e-4, 0.2),
    Knob("write_like", ("rate.comment", "written_given_open"), 0.2, True, 1.0, 100.0),
    Knob("write_skip", ("rate.comment", "joint.click_given_comment"), 0.3, True, 0.001, 1.0),
    Knob("write_relevance", ("contrast.write", "rate.comment", "ladder.model.comments/watch"),
         0.2, low=0.0, high=3.0),
    Knob("write_seconds", ("stay.p50_if_written",), 0.2, True, 0.1, 60.0),
    Knob("open_base", ("open_rate", "rate.comment"), 0.25, low=-18.0, high=2.0),
    Knob("open_relevance", ("open_rate", "rate.comment", "contrast.open", "contrast.write",
          "ladder.model.comments/watch"),
         0.2, low=0.0, high=4.0),
    Knob("open_click", ("open_rate.", "contrast.open", "contrast.write"), 0.25, low=-2.0, high=4.0),
    Knob("open_play", ("open_rate.", "contrast.open", "contrast.write"), 0.2, low=0.0, high=3.0),
    Knob("open_like", ("open_rate.liked", "open_rate_of_users"), 0.2, low=-3.0, high=3.0),
    Knob("open_person_sigma", ("open_rate_of_users", "open_rate."), 0.15, low=0.1, high=3.0),
    Knob("open_seconds", ("stay.",), 0.15, True, 0.1, 5.0),
    Knob("dwell_base", ("stay.",), 0.2, low=-4.0, high=4.0),
    Knob("dwell_open_sigma", ("stay.",), 0.1, low=0.05, high=1.5),
    Knob("read_base", ("stay.", "comment_touches"), 0.25, low=-2.0, high=5.0),
    Knob("comment_like_base", ("comment_touches",), 0.2, low=-10.0, high=0.0),
    Knob("session_refund", ("session_length", "ladder.model.stay/watch"), 0.08, low=0.0, high=0.95),
    Knob("session_seconds", ("session_length", "gap."), 0.1, True, 60.0, 20000.0),
    Knob("session_person_sigma",
         ("exposures_of_users", "session_length", "click_rate_of_users.spearman"),
         0.1, low=0.0, high=2.0),
    Knob("visits_per_day", ("sessions_per_day", "gap.30"), 0.1, True, 0.5, 40.0),
    Knob("visits_absence_response", ("ladder.model.active_days/stay",), 0.3, True, 0.1, 30.0),
    Knob("visits_soon", ("sessions_per_day", "gap.30", "session_length"), 0.2, True, 0.01, 0.95),
    Knob("pause_share", ("gap.", "session_length"), 0.2, True, 0.001, 0.9),
    Knob("pause_minutes", ("gap.",), 0.2, True, 0.5, 25.0),
)  # fmt: skip
