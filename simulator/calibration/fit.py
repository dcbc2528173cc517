"""Fit the world's parameters to published marginals, automatically and from a seed.

Nonlinear least squares (`scipy.optimize.least_squares`, trust-region reflective) on the log ratios
of simulated to published figures, each divided by its tolerance. Every evaluation simulates the
platform's own ranker for the same people with the same noise, so the objective is smooth enough
for finite differences; afterwards the derivatives follow from the steps. Nothing here knows any
other ranker, and only figures marked ``fitted`` in `published.toml` are looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from simulator.calibration.sample import Sample
from simulator.calibration.targets import Target, targets
from simulator.logs.measures import Measures
from simulator.world.config import WorldConfig

Float = NDArray[np.float64]
Map = Callable[[Callable[[WorldConfig], Measures], Iterable[WorldConfig]], Iterable[Measures]]
"""Like `map`; may evaluate in other processes."""



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


KNOBS = (
    Knob("click_base",
         ("click_rate.", "click_rate_of_users.p", "click_rate_of_videos", "session_length", "paired_videos.", "contrast.play"),
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
    Knob("platform_random_share", ("random_share",), 0.1, True, 0.001, 0.1),
    Knob("popularity_sigma", ("exposure.gini",), 0.25, low=0.2, high=3.0),
    Knob("play_skip_seconds", ("play_of_random",), 0.1, True, 0.2, 6.0),
    Knob("play_full_base",
         ("paired_videos.", "contrast.play", "contrast.open", "joint.long", "watch_ratio", "play_of_liked"),
         0.25, low=-8.0, high=4.0),
    Knob("play_full_relevance",
         ("paired_videos.", "contrast.play", "contrast.open", "joint.long", "watch_ratio", "play_of_liked"),
         0.2, low=0.0, high=2.5),
    Knob("play_full_duration",
         ("paired_videos.", "contrast.play", "contrast.open", "joint.long", "watch_ratio", "play_of_liked"),
         0.15, low=0.0, high=3.0),
    Knob("play_patience", ("paired_videos.", "play_of_liked"), 0.2, True, 20.0, 600.0),
    Knob("play_share",
         ("paired_videos.", "contrast.play", "contrast.open", "joint.long", "watch_ratio", "play_of_liked"),
         0.15, True, 0.2, 8.0),
    Knob("play_share_relevance",
         ("paired_videos.", "contrast.play", "contrast.open", "joint.long", "watch_ratio", "play_of_liked"),
         0.1, low=0.0, high=1.0),
    Knob("play_replay", ("paired_videos.play", "play_of_liked"), 0.2, True, 0.02, 2.0),
    Knob("like_base", ("rate.like", "open_rate_of_users", "rate.follow", "rate.comment"),
         0.2, low=-12.0, high=0.0),
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
    Knob("profile_relevance", ("paired_videos.profile", "contrast.profile"), 0.1, low=-1.0, high=3.0),
    Knob("write_rate", ("rate.comment", "written_given_open"), 0.2, True, 1e-4, 0.2),
    Knob("write_like", ("rate.comment", "written_given_open"), 0.2, True, 1.0, 100.0),
    Knob("write_skip", ("rate.comment", "joint.click_given_comment"), 0.3, True, 0.001, 1.0),
    Knob("write_seconds", ("stay.p50_if_written",), 0.2, True, 0.1, 60.0),
    Knob("open_base", ("open_rate", "rate.comment"), 0.25, low=-8.0, high=2.0),
    Knob("open_relevance", ("open_rate", "rate.comment", "contrast.open", "contrast.write"),
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
    Knob("session_seconds", ("session_length", "gap."), 0.1, True, 60.0, 20000.0),
    Knob("session_person_sigma",
         ("exposures_of_users", "session_length", "click_rate_of_users.spearman"),
         0.1, low=0.0, high=2.0),
    Knob("visits_per_day", ("sessions_per_day", "gap.30"), 0.1, True, 0.5, 40.0),
    Knob("visits_soon", ("sessions_per_day", "gap.30", "session_length"), 0.2, True, 0.01, 0.95),
    Knob("pause_share", ("gap.", "session_length"), 0.2, True, 0.001, 0.9),
    Knob("pause_minutes", ("gap.",), 0.2, True, 0.5, 25.0),
)  # fmt: skip


def calibrate(
    config: WorldConfig,
    sample: Sample,
    *,
    rough: Sample | None = None,
    iterations: int = 30,
    parallel: Map = map,
    report: Callable[[int, Measures], None] | None = None,
    knobs: Sequence[Knob] = KNOBS,
) -> WorldConfig:
    """The configuration with every knob moved to where the fitted figures agree best.

    Args:
        config: Where to start.
        sample: Who is simulated.
        rough: Who is simulated for the derivatives, which cost most; ``sample`` if None.
        iterations: Steps of the trust region, each of them one simulation; the derivatives at the
            start cost one per knob.
        parallel: Evaluates independent configurations.
        report: Called after every accepted or rejected step with what it measured.
        knobs: What may move.
    """
    wanted = [t for t in targets() if sample.ladder_users or not t.name.startswith("ladder.")]
    reach = np.array([[p.name.startswith(knob.moves) for knob in knobs] for p in wanted])
    seen: dict[bytes, Measures] = {}
    count = 0

    def configured(z: Float) -> WorldConfig:
        values: dict[str, Any] = {
            knob.parameter: knob.write(float(v)) for knob, v in zip(knobs, z, strict=True)
        }
        return dataclasses.replace(config, **values)

    def residuals(z: Float) -> Float:
        nonlocal count
        if z.tobytes() not in seen:
            seen[z.tobytes()] = next(iter(parallel(sample.evidence, [configured(z)])))
            if report is not None:
                report(count, seen[z.tobytes()])
            count += 1
        return _residuals(seen[z.tobytes()], wanted)

    last: list[tuple[Float, Float, Float]] = []

    def jacobian(z: Float) -> Float:
        """By finite differences once, then kept up to date by what the steps themselves show."""
        here = residuals(z)
        if last:
            before, there, slope = last.pop()
            change = z - before
            # Broyden's good update, Mathematics of Computation 19 (1965).
            surprise = here - there - slope @ change
            slope = slope + reach * np.outer(surprise, change) / float(change @ change)
        else:
            slope = differences(z)
        last.append((z.copy(), here, slope))
        return slope

    def differences(z: Float) -> Float:
        # One unit is one step of the knob; inwards where a bound is near.
        moves = np.where(z + 1.0 <= bounds[1], 1.0, -1.0)
        points = [configured(z), *(configured(z + change) for change in np.diag(moves))]
        found = [_residuals(m, wanted) for m in parallel((rough or sample).evidence, points)]
        return reach * np.stack([f - found[0] for f in found[1:]], axis=1) / moves

    bounds = np.array([knob.bounds() for knob in knobs]).T
    start = np.clip([knob.read(config) for knob in knobs], bounds[0] + 1e-6, bounds[1] - 1e-6)
    found = least_squares(
        residuals,
        start,
        jac=jacobian,
        bounds=(bounds[0], bounds[1]),
        method="trf",
        loss="soft_l1",
        f_scale=2.0,
        max_nfev=iterations + 1,
    )
    return configured(found.x)


def _residuals(found: Measures, wanted: Sequence[Target]) -> Float:
    """Distances over tolerances, at most 30."""
    return np.clip([target.distance(found.get(target.name)) for target in wanted], -30.0, 30.0)
