"""Counterfactual values of two rankers from one log, without simulating anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.behaviours import BEHAVIOURS
from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.replay.eligible import LoggedRows, Pool, Rows, logged_rows
from simulator.replay.estimators import (
    Estimate,
    Linear,
    effective_sample_size,
    ips,
    ratio,
    snips,
)
from simulator.replay.result import Comparison, MetricResult, Overlap, ReplayResult
from simulator.replay.targets import Scorer, Target, targets, top_counts
from simulator.requests import Int64

Float64 = NDArray[np.float64]

LEAST_EFFECTIVE = 50.0
LEAST_USERS = 10
_WARN_EFFECTIVE = 200.0
_WARN_TOP_USER = 0.2
_WARN_UNSUPPORTED = 0.05
TOO_LITTLE, CAUTION, OK = "too little overlap", "caution", "ok"


@dataclass(frozen=True)
class _Metric:
    label: str
    unit: str
    column: str
    positive: bool = False

    def values(self, logged: LoggedRows) -> Float64:
        raw = logged.outcomes[self.column]
        return np.where(np.isnan(raw), np.nan, raw > 0) if self.positive else raw


METRICS: dict[str, _Metric] = {
    b.replay[0]: _Metric(
        b.replay[1], "ms" if b.kind == "time" else "share", b.column, positive=b.kind == "visit"
    )
    for b in BEHAVIOURS
    if b.replay is not None
}


def replay(
    dataset: Dataset,
    scorers: dict[str, Scorer],
    *,
    treatment: str,
    control: str,
    metrics: Sequence[str] | None = None,
    top_share: float | None = None,
    propensity_column: str = "propensity",
    rows: Rows = "auto",
    pool: Pool = "auto",
    since_ms: int | None = None,
    seed: int = 0,
) -> ReplayResult:
    """Estimate per-impression metrics under two target policies, and their difference.

    Each used impression has a set E of eligible videos (its ``candidates``, or a common pool). A
    ranker stands for the policy that shows one of its best ``m = max(1, ceil(top_share * |E|))``
    videos of E with equal probability; an impression's weight is that probability over the logging
    one. Histories are those before the impression. What is estimated is the mean outcome of an
    impression if its video had been chosen by the policy and everything else, such as the rest of
    the page and the earlier impressions, had been as logged.

    Args:
        dataset: A log with uniformly random exposure or recorded propensities.
        scorers: Functions of a batch of requests, by policy name.
        treatment: Key of ``scorers``.
        control: Another, or the same for an A/A comparison.
        metrics: Names out of `METRICS`; default: all that the log has.
        top_share: See above; default 0.1 for a pool, the single best of a candidate list.
        propensity_column: Impressions column with logging probabilities.
        rows: See `logged_rows`.
        pool: See `logged_rows`.
        since_ms: Only impressions at or after this time are used; histories hold earlier ones.
        seed: Of request keys and of the order of ties.

    Raises:
        DataError: the log cannot be replayed, or an option is wrong.
        ScorerError: a scorer broke its contract.
    """
    _check(dataset, scorers, treatment, control, metrics, top_share, rows, pool)
    logged = logged_rows(
        dataset, propensity_column=propensity_column, rows=rows, pool=pool, since_ms=since_ms
    )
    sizes = logged.sizes()
    m = top_counts(sizes, top_share, logged.candidates is not None)
    wanted = {name: scorers[name] for name in dict.fromkeys((treatment, control))}
    found = targets(dataset, logged, wanted, m, seed=seed)
    cluster = np.unique(logged.user, return_inverse=True)[1]
    overlap = {name: _overlap(name, target, logged, cluster) for name, target in found.items()}
    usable = {name: o.verdict != TOO_LITTLE for name, o in overlap.items()}
    results = [
        _metric(name, logged, found, usable, treatment, control, cluster)
        for name in (metrics or METRICS)
        if METRICS[name].column in logged.outcomes
        and not np.isnan(logged.outcomes[METRICS[name].column]).all()
    ]
    verdicts = [o.verdict for o in overlap.values()] + ([CAUTION] if logged.warnings else [])
    warnings = list(logged.warnings)
    if treatment == control:
        warnings.append(f"both policies are '{treatment}': the difference is 0 by construction.")
    return ReplayResult(
        treatment=treatment,
        control=control,
        rows=logged.accounting,
        eligible=logged.kind,
        eligible_size=(int(sizes.min()), int(sizes.max())),
        chosen=(int(m.min()), int(m.max())),
        uniform=logged.uniform,
        overlap=overlap,
        metrics=results,
        verdict=next(v for v in (TOO_LITTLE, CAUTION, OK) if v in verdicts),
        warnings=warnings + [f"{o.policy}: {r}" for o in overlap.values() for r in o.reasons],
        definition=_definition(logged, m),
    )


def _check(
    dataset: Dataset,
    scorers: dict[str, Scorer],
    treatment: str,
    control: str,
    metrics: Sequence[str] | None,
    top_share: float | None,
    rows: str,
    pool: str,
) -> None:
    for name in (treatment, control):
        if name not in scorers:
            raise DataError(f"no scorer for '{name}'.", f"Given: {', '.join(scorers)}.")
    for name in metrics or ():
        if name not in METRICS:
            raise DataError(f"unknown replay metric '{name}'.", f"Known: {', '.join(METRICS)}.")
    if top_share is not None and not 0.0 < top_share <= 1.0:
        raise DataError(f"top share is {top_share}, expected a share above 0 and up to 1.", "")
    for option, value in (("rows", rows), ("pool", pool)):
        if value not in ("auto", "random", "all"):
            raise DataError(f"{option} is '{value}'.", "Choose auto, random or all.")
    if not dataset.has("impressions"):
        raise DataError(
            f"the dataset at {dataset.path} has no impressions, so there is nothing to replay.",
            "Check it: abtest data describe DIR",
        )


def _definition(logged: LoggedRows, m: Int64) -> str:
    count = f"{m.min():,}" if m.min() == m.max() else f"{m.min():,} to {m.max():,}"
    best = "its best video" if m.max() == 1 else f"one of its {count} best videos, equally likely,"
    among = {
        "candidates": "of the candidates recorded with the impression",
        "random pool": f"of the {len(logged.pool) if logged.pool is not None else 0:,} videos "
        "that were exposed at random",
        "all videos": "of all videos",
    }[logged.kind]
    return (
        f"Mean outcome of a logged impression if each policy had shown {best} {among}, "
        "everything else as logged. 95 % intervals, clustered by user."
    )


def _overlap(
    name: str, target: Target, logged: LoggedRows, cluster: NDArray[np.integer]
) -> Overlap:
    weight = target.probability / logged.propensity
    n_users = int(cluster.max()) + 1
    per_user = np.bincount(cluster, weights=weight, minlength=n_users)
    matched = weight > 0
    effective = effective_sample_size(weight)
    normaliser = ratio(weight, np.ones_like(weight), cluster, n_users)
    interval = Estimate.of(normaliser) if normaliser is not None else None
    mean, error = float(weight.mean()), interval.standard_error if interval else None
    top_user = float(per_user.max() / per_user.sum()) if matched.any() else None
    unsupported = None if np.isnan(target.unsupported) else target.unsupported
    matched_users = int((per_user > 0).sum())
    refuse, warn = [], []
    if not matched.any():
        refuse.append("not one logged impression shows a video that this policy would choose.")
    elif effective < LEAST_EFFECTIVE:
        refuse.append(
            f"the {int(matched.sum()):,} matching impressions are worth {effective:.1f} "
            f"independent ones; at least {LEAST_EFFECTIVE:.0f} are needed."
        )
    if matched.any() and matched_users < LEAST_USERS:
        refuse.append(f"they come from {matched_users} users; at least {LEAST_USERS} are needed.")
    if not refuse:
        if effective < _WARN_EFFECTIVE:
            warn.append(f"the effective sample size is only {effective:.0f}.")
        if top_user is not None and top_user > _WARN_TOP_USER:
            warn.append(f"one user holds {100 * top_user:.0f} % of all weight.")
        if unsupported is not None and unsupported > _WARN_UNSUPPORTED:
            warn.append(
                f"{100 * unsupported:.0f} % of its choices are videos that the log never shows; "
                "SNIPS and matching speak about the others only, IPS counts them as 0."
            )
        if error is not None and abs(mean - 1.0) > max(4.0 * error, 0.02):
            warn.append(
                f"weights average {mean:.2f} instead of 1: the propensities are not those of the "
                "eligible videos, or the policy chooses what the log could not show."
            )
    return Overlap(
        policy=name,
        rows=len(logged),
        users=n_users,
        matched_rows=int(matched.sum()),
        matched_users=matched_users,
        effective_sample_size=effective,
        mean_weight=mean,
        mean_weight_error=error,
        max_weight=float(weight.max()),
        top_user_share=top_user,
        unsupported_share=unsupported,
        verdict=TOO_LITTLE if refuse else CAUTION if warn else OK,
        reasons=refuse + warn,
    )


def _metric(
    name: str,
    logged: LoggedRows,
    found: dict[str, Target],
    usable: dict[str, bool],
    treatment: str,
    control: str,
    cluster: NDArray[np.integer],
) -> MetricResult:
    metric = METRICS[name]
    value = metric.values(logged)
    known = ~np.isnan(value)
    value, cluster, propensity = value[known], cluster[known], logged.propensity[known]
    n_users = int(cluster.max()) + 1
    by_policy: dict[str, dict[str, Linear | None]] = {}
    for policy, target in found.items():
        chosen = target.probability[known]
        weight = chosen / propensity
        by_policy[policy] = {}
        if logged.uniform:
            match = (chosen > 0).astype(np.float64)
            by_policy[policy]["matching"] = ratio(match * value, match, cluster, n_users)
        by_policy[policy]["ips"] = ips(weight, value, cluster, n_users)
        by_policy[policy]["snips"] = snips(weight, value, cluster, n_users)
        if not usable[policy]:
            by_policy[policy] = dict.fromkeys(by_policy[policy])
    return MetricResult(
        name=name,
        label=metric.label,
        unit=metric.unit,
        rows=int(known.sum()),
        logged_mean=float(value.mean()),
        estimates={
            estimator: _comparison(by_policy[treatment][estimator], by_policy[control][estimator])
            for estimator in by_policy[treatment]
        },
    )


def _comparison(treatment: Linear | None, control: Linear | None) -> Comparison:
    difference = relative = None
    if treatment is not None and control is not None:
        difference = Estimate.of(treatment - control)
        lift = treatment.relative_to(control)
        relative = None if lift is None else Estimate.of(lift)
    return Comparison(
        treatment=None if treatment is None else Estimate.of(treatment),
        control=None if control is None else Estimate.of(control),
        difference=difference,
        relative=relative,
    )
