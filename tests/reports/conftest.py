"""A small synthetic experiment, analysed once."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from abtest.results.factors import with_factors
from abtest.results.metrics import platform_metrics
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan
from reports.results import ExperimentResult

QUALITY: dict[str, Any] = {
    "rows": {"in_log": 9000, "training": 7650, "calibration": 675, "test": 675},
    "people": 300,
    "split": "last 7.5 % of each person's impressions are the test",
    "epochs": 4,
    "best_epoch": 3,
    "sessions": "from session_id",
    "play_time_follows_label_rules": 0.9991,
    "binary": {
        "click": {
            "learned": True,
            "rows": 675,
            "observed_rate": 0.41,
            "predicted_rate": 0.4,
            "auc": 0.7312,
            "calibration_error": 0.0123,
            "brier": 0.2,
            "brier_base_rate": 0.24,
        },
        "hate": {"learned": False, "constant_probability": 0.0001},
    },
    "quantiles": {
        "comment_stay_ms_of_opened": {
            "rows": 100,
            "p50": {
                "observed": 9000,
                "predicted": 8800,
                "pinball": 3000.5,
                "pinball_constant": 3500.1,
                "share_below": 0.49,
            },
        }
    },
}


def make_outcomes(
    seed: int, arms: dict[str, float], *, users: int = 600, days: int = 3, twin: bool = False
) -> pl.DataFrame:
    """User-days with a multiplicative effect on comment watch time per arm."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, (arm, effect) in enumerate(arms.items()):
        first = 0 if twin else number * users
        taste = rng.gamma(2.0, 1.0, users)
        for day in range(-2, days):
            lift = effect if day >= 0 else 1.0
            impressions = rng.poisson(40 * taste) + 1
            opens = rng.binomial(impressions, 0.1)
            frames.append(
                pl.DataFrame(
                    {
                        "user_id": np.arange(first, first + users),
                        "arm": [arm] * users,
                        "day": np.full(users, day),
                        "active": np.ones(users),
                        "returned": rng.binomial(1, 0.8, users).astype(float),
                        "sessions": rng.poisson(3.0, users).astype(float),
                        "impressions": impressions.astype(float),
                        "clicks": rng.binomial(impressions, 0.4).astype(float),
                        "long_views": rng.binomial(impressions, 0.3).astype(float),
                        "play_time_ms": rng.gamma(2.0, 9000.0, users) * impressions,
                        "likes": rng.poisson(0.6, users).astype(float),
                        "follows": rng.poisson(0.1, users).astype(float),
                        "comments_written": rng.poisson(0.05, users).astype(float),
                        "forwards": rng.poisson(0.05, users).astype(float),
                        "hates": rng.poisson(0.4, users).astype(float),
                        "comment_opens": opens.astype(float),
                        "comment_watch_time_ms": lift * rng.gamma(2.0, 4000.0, users) * opens,
                        "comment_likes": rng.poisson(0.3, users).astype(float),
                        "comment_replies": np.zeros(users),
                        "comments_shown": 8.0 * opens,
                        "segment_activity": np.where(taste > 1.5, "heavy", "light").tolist(),
                    }
                )
            )
    return pl.concat(frames)


def make_result(
    seed: int = 1,
    arms: dict[str, float] | None = None,
    *,
    design: Any = "online",
    context: dict[str, Any] | None = None,
    users: int = 600,
    simulated: bool = True,
) -> ExperimentResult:
    """An analysed synthetic experiment; the first arm is the control."""
    chosen = arms or {"sasrec": 1.0, "lsvcr": 1.25}
    names = list(chosen)
    return analyze(
        make_outcomes(seed, chosen, users=users, twin=design == "twin"),
        with_factors(AnalysisPlan(metrics=platform_metrics())),
        control=names[0],
        treatments=names[1:],
        design=design,
        simulated=simulated,
        context=context or {},
    )


@pytest.fixture(scope="session")
def context() -> dict[str, Any]:
    return {
        "command": "abtest run --treatment lsvcr --control sasrec --seed 7",
        "configuration": 'control = "sasrec"\n',
        "design": "online",
        "users": 1200,
        "days": 3,
        "seed": 7,
        "training_seed": 11,
        "data": {"name": "demo", "content_hash": "a1f3c0ffee", "rows": {"impressions": 9000}},
        "policies": {
            "sasrec": {"policy": "sasrec", "weights": "sasrec-1", "epochs": 5, "ndcg@10": 0.1234},
            "lsvcr": {"policy": "lsvcr", "weights": "lsvcr-2", "stages": [{"loss": 0.5}]},
        },
        "environment": {
            "kind": "built-in world",
            "world": {"preset": "small"},
            "fidelity": [
                {
                    "label": "Click rate",
                    "role": "fitted",
                    "simulated": 0.41,
                    "published": 0.4,
                    "ratio": 1.025,
                    "verdict": "close",
                }
            ],
        },
        "versions": {"abtest": "0.1.0", "numpy": "2.4.0"},
    }


@pytest.fixture(scope="session")
def result(context: dict[str, Any]) -> ExperimentResult:
    return make_result(context=context)


@pytest.fixture(scope="session")
def quality() -> dict[str, Any]:
    return QUALITY
