"""Measure the fitted model on impressions that neither training nor calibration used."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.randomness import normal, purpose_key, uniform
from simulator.requests import Int64
from simulator.response.learned import metrics
from simulator.response.learned.chain import Chain, play_state
from simulator.response.learned.features import Float64, Impressions
from simulator.response.learned.heads import CLICK, END, OPEN, OUTCOMES
from simulator.response.learned.parts.split import TEST, TRAIN, some_rows
from simulator.response.learned.playtime import duration_group
from simulator.response.learned.tensors import Entities
from simulator.response.learned.training import Fitted, row_outputs

_DRAWS = 100
_LEVELS = (0.1, 0.5, 0.9)
_SEGMENT_ROWS = 100
"""Test rows that a segment needs to be told by itself."""


def evaluate(fitted: Fitted, log: Impressions, entities: Entities, *, seed: int) -> dict[str, Any]:
    """Held-out quality as a JSON-serialisable dictionary.

    Every figure is about the sampled chain as the simulation uses it: outcomes earlier in the
    chain are drawn, not given. Keys: ``rows``, ``split``, ``binary`` (one entry per outcome with
    auc, calibration_error, brier, brier_base_rate, observed_rate, predicted_rate, rows),
    ``quantiles`` (play time; comment stay of opened sections) and ``segments``: click rate and
    quantiles per activity level of people, where the log knows several.
    """
    rows = some_rows(fitted.part == TEST)
    report: dict[str, Any] = {
        "rows": {
            "in_log": log.rows_in_log,
            "training": int((fitted.part == TRAIN).sum()),
            "calibration": int(((fitted.part != TRAIN) & (fitted.part != TEST)).sum()),
            "test": len(rows),
        },
        "people": len(np.unique(log.user)),
        "split": "last 7.5 % of each person's impressions are the test, the 7.5 % before them "
        "calibrate",
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "sessions": "from session_id" if log.sessions_given else "cut at gaps of 30 minutes",
        "play_time_follows_label_rules": round(fitted.play.conformity, 4),
        "binary": {},
        "quantiles": {},
    }
    if len(rows) == 0:
        return report
    outputs = row_outputs(fitted.predictor, log, fitted.before, rows)
    simulated = _simulate(fitted, outputs, entities.duration_ms[log.video[rows]], rows, seed)
    for head, name in enumerate(OUTCOMES):
        if not np.isnan(fitted.chain.calibration.fixed[head]):
            report["binary"][name] = {
                "learned": False,
                "constant_probability": round(float(simulated.probability[:, head].mean()), 6),
            }
            continue
        known = log.outcomes[rows, head] >= 0
        seen = log.outcomes[:, head][(fitted.part == TRAIN) & (log.outcomes[:, head] >= 0)]
        if known.any():
            report["binary"][name] = _binary(
                log.outcomes[rows, head][known], simulated.probability[known, head], seen
            )
    learn = fitted.part == TRAIN
    played = log.play_ms + np.maximum(log.stay_ms, 0)
    taught = _Times(played[learn & (log.play_ms >= 0)], log.stay_ms[learn & (log.stay_ms > 0)])
    everyone = np.ones(len(rows), dtype=np.bool_)
    report["quantiles"] = _times(log, rows, simulated, everyone, taught)
    report["segments"] = {}
    level = entities.users.level[log.user[rows]]
    names = ["unknown", *entities.users.level_names]
    found = [code for code in np.unique(level) if (level == code).sum() >= _SEGMENT_ROWS]
    for code in found if len(found) > 1 else []:
        inside = level == code
        report["segments"][names[code]] = {
            "rows": int(inside.sum()),
            "people": len(np.unique(log.user[rows][inside])),
            "click": {
                "observed": round(float(log.outcomes[rows, CLICK][inside].mean()), 5),
                "predicted": round(float(simulated.probability[inside, CLICK].mean()), 5),
            },
            **_times(log, rows, simulated, inside, taught),
        }
    return report


class _Times(NamedTuple):
    """What training saw: int64 ms each, play times and stays in opened sections."""

    play: NDArray[np.int64]
    stay: NDArray[np.int64]


def _times(
    log: Impressions, rows: Int64, simulated: _Simulated, inside: NDArray[np.bool_], taught: _Times
) -> dict[str, Any]:
    """Quantiles of play time and of comment stay, of some of the test rows."""
    logged = (log.play_ms + np.maximum(log.stay_ms, 0))[rows]
    known = (log.play_ms[rows] >= 0) & inside
    opened = (log.stay_ms[rows] > 0) & inside
    return {
        "play_time_ms": _quantiles(logged[known], simulated.play[known], None, taught.play),
        "comment_stay_ms_of_opened": _quantiles(
            log.stay_ms[rows][opened],
            simulated.stay[opened],
            simulated.open_weight[opened],
            taught.stay,
        ),
    }


class _Simulated:
    """Draws for R test rows: probabilities [R, outcomes], times [R, draws]."""

    def __init__(self, rows: int) -> None:
        self.probability = np.zeros((rows, len(OUTCOMES)))
        self.play = np.zeros((rows, _DRAWS))
        self.stay = np.zeros((rows, _DRAWS))
        self.open_weight = np.zeros((rows, _DRAWS))


def _simulate(
    fitted: Fitted, outputs: Float64, duration: NDArray[np.int64], rows: Any, seed: int
) -> _Simulated:
    result = _Simulated(len(rows))
    chain: Chain = fitted.chain
    key = purpose_key(seed, "response.learned.quality")
    cell = duration_group(duration)
    for draw in range(_DRAWS):

        def noise(head: int, draw: int = draw) -> Float64:
            return uniform(key, rows, draw, head)

        drawn, used = chain.walk(outputs, noise)
        used.append(chain.probability(outputs, drawn, END))
        result.probability += np.stack(used, axis=1) / _DRAWS
        mean, scale = chain.location(outputs, drawn, 0)
        play = fitted.play.draw(
            mean + scale * normal(key, rows, draw, 100), play_state(drawn), duration
        )
        # Stay times are judged given that the section was opened: force it, weight by its chance.
        as_opened = drawn.copy()
        as_opened[:, OPEN] = 1
        result.open_weight[:, draw] = used[OPEN]
        mean, scale = chain.location(outputs, as_opened, 1)
        stay = fitted.stay.value(mean + scale * normal(key, rows, draw, 101), cell)
        result.stay[:, draw] = stay
        result.play[:, draw] = play + np.where(drawn[:, OPEN] == 1, stay, 0)
    return result


def _binary(
    label: NDArray[np.int8], probability: Float64, training_label: NDArray[np.int8]
) -> dict[str, Any]:
    area = metrics.auc(label, probability)
    return {
        "learned": True,
        "rows": len(label),
        "observed_rate": round(float(label.mean()), 5),
        "predicted_rate": round(float(probability.mean()), 5),
        "auc": None if area is None else round(area, 4),
        "calibration_error": round(metrics.calibration_error(label, probability), 4),
        "brier": round(metrics.brier(label, probability), 5),
        "brier_base_rate": round(metrics.brier(label, float(training_label.mean())), 5),
    }


def _quantiles(
    value: NDArray[np.int64], draws: Float64, weight: Float64 | None, training: NDArray[np.int64]
) -> dict[str, Any]:
    if len(value) == 0 or len(training) == 0:
        return {"rows": len(value)}
    report: dict[str, Any] = {"rows": len(value)}
    order = np.argsort(draws, axis=1)
    ordered = np.take_along_axis(draws, order, axis=1)
    weights = np.ones_like(draws) if weight is None else np.take_along_axis(weight, order, axis=1)
    share = np.cumsum(weights, axis=1) / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    pooled = np.argsort(draws, axis=None)
    pooled_weight = (np.ones_like(draws) if weight is None else weight).ravel()[pooled]
    pooled_share = np.cumsum(pooled_weight) / pooled_weight.sum()
    for level in _LEVELS:
        place = np.minimum((share < level).sum(axis=1), draws.shape[1] - 1)
        predicted = ordered[np.arange(len(value)), place]
        at = min(int(np.searchsorted(pooled_share, level)), draws.size - 1)
        report[f"p{round(100 * level)}"] = {
            "observed": round(float(np.quantile(value, level))),
            "predicted": round(float(draws.ravel()[pooled][at])),
            "pinball": round(metrics.pinball(value, predicted, level), 1),
            "pinball_constant": round(
                metrics.pinball(value, float(np.quantile(training, level)), level), 1
            ),
            "share_below": round(float(np.mean(value <= predicted)), 4),
        }
    return report
