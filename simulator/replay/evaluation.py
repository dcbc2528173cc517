"""Put logged rows and target probabilities together into overlaps and metric results."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from simulator.progress import Meter
from simulator.replay.diagnostics import LEAST_USERS, overlap
from simulator.replay.estimators.names import ASSUMES
from simulator.replay.further.intervals import other_intervals
from simulator.replay.further.values import further_values
from simulator.replay.interval_method import BOOTSTRAP, STUDENT, Intervals
from simulator.replay.logged import LoggedRows
from simulator.replay.metrics import GUARDRAILS, METRICS
from simulator.replay.models.crossfit import CrossFit
from simulator.replay.result import UNUSABLE, MetricResult, Overlap, SegmentResult
from simulator.replay.summary import compare, recommended
from simulator.replay.target.pages import cumulative_products
from simulator.replay.target.targets import Target
from simulator.replay.valuation import CommentStage, Measured, Valued, Weighted, value


def weighted_rows(
    logged: LoggedRows,
    target: Target | None,
    section: CommentStage | None,
    cluster: NDArray[np.integer],
) -> Weighted:
    """What estimators need of one policy; None for a stage that is as logged."""
    n = len(logged)
    ones = np.ones(n)
    page = page_moment = None
    marginal = None if target is None else target.marginal
    known = marginal is not None and not bool(np.isnan(marginal).any())
    if target is not None and logged.kind == "decisions":
        page = cumulative_products(target.probability / logged.propensity, logged.page)
        page_moment = cumulative_products(target.second_moment, logged.page)
    return Weighted(
        user=cluster,
        n_users=int(cluster.max()) + 1,
        target=ones if target is None else target.probability,
        logging=ones if target is None else logged.propensity,
        second_moment=ones if target is None else target.second_moment,
        page=page,
        page_moment=page_moment,
        comments=section,
        uniform=logged.uniform and target is not None,
        expected={} if target is None else target.expected,
        marginal=marginal if known else None,
        marginal_moment=None if not known or target is None else target.marginal_moment,
        no_marginal=_no_marginal(logged, target),
        largest=1.0 if target is None else largest_weight(logged),
    )


def largest_weight(logged: LoggedRows) -> float | None:
    """The largest weight that the log's probabilities allow any policy; None where unknown."""
    if logged.logging is not None:
        return float(1.0 / logged.logging[logged.logging > 0].min())
    return float(logged.sizes().max()) if logged.uniform else None


def _no_marginal(logged: LoggedRows, target: Target | None) -> str:
    if logged.section is not None:
        return "comments have no category"
    if target is None:
        return "videos stay as logged"
    if target.marginal is None and logged.kind != "given":
        return "the log's videos have no category"
    return "the log does not tell the other candidates' chances"


def unseen_share(shown: NDArray[np.integer]) -> float:
    """Share of random exposure that would have been on videos that the log happens not to show.

    The pool is what happened to be shown: videos of it that never were are unseen. Their share of
    the exposure is about that of videos shown once (Good, Biometrika 1953).
    """
    return float((np.bincount(shown) == 1).sum()) / len(shown)


def policy_overlap(
    name: str, policy: Weighted, target: Target | None, logged: LoggedRows
) -> Overlap:
    """How much of the log speaks about a policy."""
    unsupported = np.zeros(len(logged)) if target is None else target.unsupported
    if target is not None and logged.kind == "random pool":
        unsupported = np.full(len(logged), unseen_share(logged.shown))
    comments = None
    if policy.comments is not None:
        moment = float((policy.second_moment * policy.comments.second_moment).mean())
        comments = len(logged) / moment if moment > 0 else 0.0
    return overlap(
        name, policy.weight, policy.second_moment, unsupported, policy.user, policy.n_users,
        comments,
    )  # fmt: skip


def metric_results(
    logged: LoggedRows,
    weighted: Mapping[str, Weighted],
    overlaps: Mapping[str, Overlap],
    models: Mapping[str, CrossFit],
    wanted: list[str],
    main: str,
    treatments: tuple[str, ...],
    control: str,
    interval: Intervals,
    meter: Meter | None = None,
    more: tuple[str, ...] = (),
) -> list[MetricResult]:
    """Every metric of every treatment by every estimator.

    Args:
        logged: The rows.
        weighted: Per policy.
        overlaps: Per policy.
        models: Reward models, per metric.
        wanted: Names of the metrics.
        main: The primary one.
        treatments: Policies to be compared with the control.
        control: The policy that they are compared with.
        interval: How intervals are computed; bootstrap draws are spent on the primary metric
            and on what is read first.
        meter: Told the metrics that are estimated, and parts of one: half of it is done when all
            policies are valued, the rest when they are compared.
        more: Estimators beside the usual ones, out of `simulator.replay.estimators.names.MORE`.
    """
    results = []
    valued: dict[str, dict[str, dict[str, Valued]]] = {}
    refused: dict[str, dict[str, str]] = {}
    for name in wanted:
        shown = models[name].of_shown(logged.shown) if name in models else None
        measured = Measured.of(name, logged.outcomes, shown)
        valued[name], refused[name] = {}, {}
        for policy, own in weighted.items():
            found = value(measured, own)
            if more:
                further, why = further_values(measured, own, more)
                found |= further
                refused[name] = why | refused[name]
            valued[name][policy] = found
            if meter is not None:
                meter.add(0.5 / len(weighted))
    for treatment in treatments:
        for name in wanted:
            metric = METRICS[name]
            first = recommended(valued[name][treatment])
            outcome = metric.values(logged.outcomes)
            outcome = outcome[~np.isnan(outcome)]
            estimates = {
                estimator: compare(
                    valued[name][treatment][estimator],
                    valued[name][control][estimator],
                    [overlaps[treatment], overlaps[control]],
                    outcome,
                    share=metric.unit == "share",
                    amount=metric.unit == "ms",
                    same=treatment == control,
                    interval=interval
                    if name == main or estimator == first or interval.method != BOOTSTRAP
                    else STUDENT,
                )
                for estimator in valued[name][treatment]
                if estimator in valued[name][control]
            }
            results.append(
                MetricResult(
                    name=name,
                    treatment=treatment,
                    label=metric.label,
                    unit=metric.unit,
                    role="primary"
                    if name == main
                    else ("guardrail" if name in GUARDRAILS else "secondary"),
                    direction=metric.direction,
                    rows=len(outcome),
                    logged_mean=float(outcome.mean()),
                    recommended=recommended(estimates),
                    estimates=estimates,
                    assumes={n: ASSUMES[n] for n in estimates} if more else {},
                    left_out={n: w for n, w in refused[name].items() if n not in estimates},
                    intervals=other_intervals(
                        valued[name][treatment],
                        valued[name][control],
                        [n for n, one in estimates.items() if one.verdict != UNUSABLE],
                        [weighted[treatment], weighted[control]],
                        logged,
                        metric,
                    )
                    if more and name == main and treatment != control
                    else [],
                )
            )
            if meter is not None:
                meter.add(0.5 / len(treatments))
    return results


def segment_results(
    logged: LoggedRows,
    weighted: Mapping[str, Weighted],
    overlaps: Mapping[str, Overlap],
    models: Mapping[str, CrossFit],
    primary: list[MetricResult],
    control: str,
    segments: Mapping[str, NDArray[np.str_]],
    interval: Intervals = STUDENT,
    meter: Meter | None = None,
) -> list[SegmentResult]:
    """The primary metric of every treatment in every level of every segment.

    Args:
        logged: The rows.
        weighted: Per policy.
        overlaps: Per policy, of all people.
        models: Reward models, per metric.
        primary: Results of the primary metric, one per treatment.
        control: The policy that they are compared with.
        segments: Level of every user of the log, str[users] by dense index, per segment. Levels of
            fewer than 20 people with replayed rows are left out.
        interval: How intervals are computed.
        meter: Told the segments that are done.
    """
    results = []
    for segment, levels in segments.items():
        of_row = levels[logged.user]
        for level in np.unique(of_row):
            own = of_row == level
            users = len(np.unique(logged.user[own]))
            if users < LEAST_USERS:
                continue
            for whole in primary:
                metric, name = METRICS[whole.name], whole.recommended
                outcome = metric.values(logged.outcomes)
                known = own & ~np.isnan(outcome)
                shown = None
                if whole.name in models:
                    shown = models[whole.name].of_shown(logged.shown)
                measured = Measured(whole.name, logged.outcomes, known, shown)
                valued = {p: value(measured, weighted[p]) for p in (whole.treatment, control)}
                if not all(name in v for v in valued.values()):
                    continue
                found = compare(
                    valued[whole.treatment][name],
                    valued[control][name],
                    [overlaps[whole.treatment], overlaps[control]],
                    outcome[known],
                    share=metric.unit == "share",
                    amount=metric.unit == "ms",
                    same=whole.treatment == control,
                    interval=interval,
                )
                results.append(SegmentResult(whole.treatment, segment, str(level), users, found))
        if meter is not None:
            meter.add(1)
    return results
