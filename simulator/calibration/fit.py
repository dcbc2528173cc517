"""Fit the world's parameters to published evidence, automatically and from a seed.

Nonlinear least squares (`scipy.optimize.least_squares`, trust-region reflective) on the distances
of simulated to published figures, each divided by its tolerance. Three kinds of figures are fitted
together: marginals of the log, ratios of standard to random exposure, and elasticities along the
platform's own ladder of quality. Every evaluation simulates the same people with the same noise, so
the objective is smooth enough for finite differences; afterwards the derivatives follow from the
steps. Nothing here knows a policy, and only figures marked ``fitted`` are looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from simulator.calibration.evaluations import Evaluations, effort
from simulator.calibration.knobs import KNOBS, Knob
from simulator.calibration.sample import Sample
from simulator.calibration.targets import FitTarget, targets
from simulator.logs.measures import Measures
from simulator.world.config import WorldConfig

Float = NDArray[np.float64]
_SCALE = 2.0
"""Tolerances up to which the loss is quadratic; further off it grows linearly."""


def calibrate(
    config: WorldConfig,
    sample: Sample,
    *,
    rough: Sample | None = None,
    iterations: int = 30,
    evaluate: Evaluations | None = None,
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
        evaluate: Measures configurations, and may remember what it has measured before.
        report: Called after every accepted or rejected step with what it measured.
        knobs: What may move.
    """
    measure = evaluate or Evaluations()
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
            seen[z.tobytes()] = measure(sample, [configured(z)])[0]
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
        found: list[Measures] = [{} for _ in points]
        for at, who in _who_measures(knobs, rough or sample):
            for place, measured in zip(at, measure(who, [points[i] for i in at]), strict=True):
                found[place] = measured
        rows = [_residuals({**found[0], **m}, wanted) for m in found]
        return reach * np.stack([row - rows[0] for row in rows[1:]], axis=1) / moves

    bounds = np.array([knob.bounds() for knob in knobs]).T
    start = np.clip([knob.read(config) for knob in knobs], bounds[0] + 1e-6, bounds[1] - 1e-6)
    found = least_squares(
        residuals,
        start,
        jac=jacobian,
        bounds=(bounds[0], bounds[1]),
        method="trf",
        loss="soft_l1",
        f_scale=_SCALE,
        max_nfev=iterations + 1,
    )
    return configured(found.x)


def loss(distances: Sequence[float]) -> float:
    """What the fit makes least: the soft L1 loss of distances over tolerances, at most 30 each."""
    far = np.clip(distances, -30.0, 30.0) / _SCALE
    return float(_SCALE**2 * (np.sqrt(1.0 + far**2) - 1.0).sum())


def planned(sample: Sample, rough: Sample, iterations: int, knobs: Sequence[Knob] = KNOBS) -> float:
    """How much `calibrate` simulates if it takes all its steps, in days of people."""
    derivatives = sum(effort(who) * len(at) for at, who in _who_measures(knobs, rough))
    return effort(sample) * (iterations + 1) + derivatives


def _who_measures(knobs: Sequence[Knob], rough: Sample) -> list[tuple[list[int], Sample]]:
    """The start (0) and every knob (from 1 on), by who is simulated for its derivatives.

    Only a knob that moves the ladder needs to climb it, and only one that moves ratios of exposure
    needs them; the others get the start's view.
    """
    groups: dict[Sample, list[int]] = {rough: [0]}
    for number, knob in enumerate(knobs, start=1):
        ladder, contrasts = (
            any(moved.startswith(kind) for moved in knob.moves) for kind in ("ladder.", "contrast.")
        )
        who = dataclasses.replace(
            rough, ladder_users=rough.ladder_users * ladder, contrasts=contrasts
        )
        groups.setdefault(who, []).append(number)
    return [(at, who) for who, at in groups.items()]


def _residuals(found: Measures, wanted: Sequence[FitTarget]) -> Float:
    """Distances over tolerances, at most 30."""
    return np.clip([target.distance(found.get(target.name)) for target in wanted], -30.0, 30.0)
