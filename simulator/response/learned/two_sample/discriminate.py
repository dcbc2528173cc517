"""Test whether two samples of sessions are alike: how well a classifier tells them apart.

The classifier two-sample test (Lopez-Paz & Oquab, ICLR 2017), which Sim4Rec (Duan et al., SIGIR
2023) applies to simulated users. The area under the ROC curve is .5 if nothing tells the samples
apart and 1 if everything does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from simulator.randomness import purpose_key, uniform
from simulator.response.learned.two_sample.boosting import BoostedTrees

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FOLDS = 5
LEAST_USERS = 20
_Z = 1.959963984540054
_TOLD = 5


def discriminate(
    real: Float64,
    simulated: Float64,
    real_user: Int64,
    simulated_user: Int64,
    names: Sequence[str],
    *,
    seed: int,
) -> dict[str, Any]:
    """How well gradient boosting tells two samples apart, cross-validated by user.

    All sessions of a user, real and simulated, are in one of five folds; each fold is scored by a
    classifier that saw only the other folds. The order of the rows does not matter.

    Args:
        real: float64[n, k], a row of finite features per session.
        simulated: float64[m, k].
        real_user: int64[n].
        simulated_user: int64[m].
        names: Of the k features.
        seed: Of the folds.

    Returns:
        ``auc`` with the limits ``low`` and ``high`` of its 95 % interval, which counts users, not
        sessions (Obuchowski, Biometrics 53, 1997); ``sessions`` (real, simulated), ``users``; and
        ``features``: the five that alone differ most, each with its own ``auc`` and means. Only
        ``problem`` where there are too few users.
    """
    users = np.unique(np.concatenate([real_user, simulated_user]))
    if len(users) < LEAST_USERS:
        return {"problem": f"{len(users)} people: too few to tell ({LEAST_USERS} are needed)"}
    x = np.concatenate([real, simulated])
    user = np.concatenate([real_user, simulated_user])
    label = np.arange(len(x)) < len(real)
    order = np.lexsort((*x.T, label, user))
    x, user, label = x[order], user[order], label[order]
    draw = uniform(purpose_key(seed, "response.learned.two_sample"), users)
    fold_of = np.argsort(np.argsort(draw, kind="stable"), kind="stable") % FOLDS
    fold = fold_of[np.searchsorted(users, user)]
    score = np.zeros(len(x))
    for number in range(FOLDS):
        held = fold == number
        score[held] = BoostedTrees().fit(x[~held], label[~held]).score(x[held])
    area, error = clustered_auc(label, score, user, fold)
    return {
        "auc": round(area, 4),
        "low": round(max(area - _Z * error, 0.0), 4),
        "high": round(min(area + _Z * error, 1.0), 4),
        "sessions": {"real": len(real), "simulated": len(simulated)},
        "users": len(users),
        "features": _alone(x, label, names),
    }


def clustered_auc(
    label: NDArray[np.bool_], score: Float64, user: Int64, stratum: Int64
) -> tuple[float, float]:
    """(area under the ROC curve, standard error), comparisons within strata only.

    Scores of different classifiers are on different scales: rows are compared with those of their
    own stratum, and strata count by their number of pairs. The standard error is that of a sum
    over independent users of what each adds to the estimate.

    Args:
        label: bool[n].
        score: float64[n].
        user: int64[n]; all rows of a user are in one stratum.
        stratum: int64[n].
    """
    wins, pairs, parts = 0.0, 0.0, []
    for number in np.unique(stratum):
        rows = np.flatnonzero(stratum == number)
        positive, value = label[rows], score[rows]
        n, m = int(positive.sum()), int((~positive).sum())
        if n == 0 or m == 0:
            continue
        overall = rankdata(value)
        own = np.where(positive, *(_ranks_within(value, positive == c) for c in (True, False)))
        # The share of the other class that a row is on the right side of.
        won = np.where(positive, (overall - own) / m, 1.0 - (overall - own) / n)
        area = float(won[positive].mean())
        wins, pairs = wins + area * n * m, pairs + n * m
        # Each class averages to the area: a row adds its distance from it.
        parts.append((rows, (won - area) * np.where(positive, m, n)))
    if pairs == 0.0:
        return 0.5, 0.5
    rows = np.concatenate([r for r, _ in parts])
    added = np.concatenate([a for _, a in parts]) / pairs
    _, cluster = np.unique(user[rows], return_inverse=True)
    sums = np.bincount(cluster, added)
    count = len(sums)
    return wins / pairs, float(np.sqrt((sums**2).sum() * count / max(count - 1, 1)))


def _ranks_within(value: Float64, chosen: NDArray[np.bool_]) -> Float64:
    """Ranks among the chosen rows; 0 elsewhere."""
    ranks = np.zeros(len(value))
    ranks[chosen] = rankdata(value[chosen])
    return ranks


def _alone(x: Float64, label: NDArray[np.bool_], names: Sequence[str]) -> list[dict[str, Any]]:
    """The features that tell most by themselves, the strongest first."""
    found: list[dict[str, Any]] = []
    everyone = np.zeros(len(x), dtype=np.int64)
    for column, name in enumerate(names):
        area, _ = clustered_auc(label, x[:, column], np.arange(len(x)), everyone)
        found.append(
            {
                "name": name,
                "auc": round(max(area, 1.0 - area), 4),
                "real": round(float(x[label, column].mean()), 4),
                "simulated": round(float(x[~label, column].mean()), 4),
            }
        )
    return sorted(found, key=lambda row: (-row["auc"], row["name"]))[:_TOLD]
