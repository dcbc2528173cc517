"""Estimate what other rankers would have earned on the log that there is, simulating nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.progress import Meter, Report
from simulator.replay import identification as identify
from simulator.replay.asked import check_asked, listed_metrics, wanted_metrics
from simulator.replay.decisions import (
    comment_decisions,
    declared_pool,
    has_decisions,
    video_decisions,
)
from simulator.replay.diagnostics import shortfalls
from simulator.replay.eligible import Pool, Rows, logged_rows
from simulator.replay.estimators.names import asked_for
from simulator.replay.evaluation import metric_results, segment_results
from simulator.replay.growth import growth
from simulator.replay.interval_method import LIKELIHOOD, STUDENT, Intervals
from simulator.replay.logged import LoggedRows
from simulator.replay.metrics import METRICS, PRIMARY
from simulator.replay.models.crossfit import FOLDS, CrossFit, row_weights
from simulator.replay.models.regression import Regressor
from simulator.replay.quantiles import quantile_results, times_of
from simulator.replay.result import (
    CAUTION,
    UNUSABLE,
    USABLE,
    Growth,
    MetricResult,
    QuantileResult,
    ReplayResult,
)
from simulator.replay.target.comment_stage import comment_models, comment_stages
from simulator.replay.target.target_policy import TargetPolicy
from simulator.replay.target.targets import CommentScorer, Predict, Scorer, Target, targets
from simulator.replay.valuation import CommentStage, comment_column
from simulator.replay.weighed_log import Question, WeighedLog

Float64 = NDArray[np.float64]
Make = Callable[[Float64], Regressor]

_FITTING, _SCORED = 0.5, 0.9
"""Shares of the time by which reward models are fitted and rows are scored, about."""


def replay(
    dataset: Dataset,
    scorers: Mapping[str, Scorer],
    *,
    treatment: str | Sequence[str],
    control: str,
    comment_scorers: Mapping[str, CommentScorer] | None = None,
    ranks: Mapping[str, tuple[str, ...]] | None = None,
    stage: str = "auto",
    metrics: Sequence[str] | None = None,
    primary: str | None = None,
    target: TargetPolicy | None = None,
    comment_target: TargetPolicy | None = None,
    top_share: float | None = None,
    propensity_column: str = "propensity",
    rows: Rows = "auto",
    pool: Pool = "auto",
    since_ms: int | None = None,
    model: Make | None = None,
    conservative: bool = False,
    interval: Intervals = STUDENT,
    seed: int = 0,
    segments: Mapping[str, NDArray[np.str_]] | None = None,
    quantiles: Sequence[float] = (),
    estimators: Sequence[str] = (),
    report: Report | None = None,
) -> ReplayResult:
    """Estimate per-impression metrics under target policies, and their differences.

    Each used impression has candidates and the probability with which the log's policy showed what
    it showed. A ranker stands for the policy that `run` deploys (`TargetPolicy`); an impression's
    weight is the ranker's probability of the shown video over the logging one. What is estimated is
    the mean outcome of an impression if its own video (and, where comment orders are identified,
    its comment list) had been chosen by the ranker and everything before it had been as logged. It
    is per impression, not per user-day: how many impressions a person sees does not move.

    Args:
        dataset: A log with decisions, random exposure, or propensities with candidates.
        scorers: Functions of a batch of video requests, by policy name.
        treatment: Key of ``scorers``, or several.
        control: Another, or the same for an A/A comparison.
        comment_scorers: The same for comment sections; a policy without one keeps the platform's
            order.
        ranks: By policy, what it ranks; default: videos, and comments if it has a comment scorer.
        stage: ``"auto"`` (what the policies rank and the log identifies), ``"videos"`` or
            ``"comments"``: the other stage stays as logged.
        metrics: Names out of `METRICS`; default: all that the log has.
        primary: Name of the primary metric; default: comment watch time if there is one.
        target: How video scores become choices.
        comment_target: The same for comments; default: the best first.
        top_share: Short for ``TargetPolicy(top_share=...)``.
        propensity_column: Impressions column with logging probabilities.
        rows: See `logged_rows`; ignored where the log holds decisions, unless ``"random"``.
        pool: See `logged_rows`.
        since_ms: Only impressions at or after this time are used; histories hold earlier ones.
        model: Gives a fresh regressor for an outcome; None for no doubly robust estimators.
        conservative: Short for ``Intervals("likelihood")``.
        interval: How intervals are computed.
        seed: Of request keys.
        segments: Per segment the level of every user, in the order of ``dataset.user_ids()``.
        quantiles: Shares in (0, 1); of every metric in ms, these quantiles are compared too.
        estimators: Beside the usual ones, see `simulator.replay.estimators.names`.
        report: Told the share that is done: folds of models, rows scored, metrics estimated.

    Raises:
        DataError: the log cannot be replayed, or an option is wrong.
        ScorerError: a scorer broke its contract.
    """
    treatments = (treatment,) if isinstance(treatment, str) else tuple(treatment)
    target = target or TargetPolicy(top_share=top_share)
    more = asked_for(estimators)
    interval = Intervals(LIKELIHOOD) if conservative else interval
    check_asked(dataset, scorers, treatments, control, metrics, primary, rows, pool, stage)
    names = list(dict.fromkeys((*treatments, control)))
    orders = dict(comment_scorers or {})
    ranks = ranks or {n: ("videos", *(("comments",) if n in orders else ())) for n in names}
    table = identify.identification(dataset, propensity_column)
    if pool == "auto" and declared_pool(dataset) == "all":
        pool = "all"
    if pool == "all":
        table[0] = identify.Identified("videos", True, "propensities over all videos")
    changed, notes = identify.stages_to_change(table, {n: ranks[n] for n in names}, stage)
    if has_decisions(dataset, "videos") and rows != "random" and pool == "auto":
        logged = video_decisions(dataset, since_ms)
    else:
        logged = logged_rows(
            dataset, propensity_column=propensity_column, rows=rows, pool=pool, since_ms=since_ms
        )
    listed = listed_metrics(dataset, metrics, changed)
    wanted = wanted_metrics(
        logged, metrics, changed, treatments, control, ranks, notes, bool(listed)
    )
    every = [*wanted, *listed]
    times = times_of(every, quantiles)
    main = primary if primary in every else PRIMARY if PRIMARY in every else every[0]
    if primary is not None and primary not in every:
        raise DataError(f"the primary metric '{primary}' cannot be replayed from this log.",
                        f"Choose one of {', '.join(every)}.")  # fmt: skip
    question = Question(treatments, control, main, interval, tuple(quantiles), more)
    comments = comment_decisions(dataset, since_ms) if "comments" in changed else None
    scoring = len(logged) if "videos" in changed else 0
    scoring += 0 if comments is None else len(comments)
    fits = len(wanted) * FOLDS if model is not None and "videos" in changed else 0
    fitted = _FITTING if fits else 0.0
    fit_meter = Meter(report, fits, last=fitted)
    score_meter = Meter(report, scoring, first=fitted, last=_SCORED)
    value_meter = Meter(report, len(every) + len(segments or {}), first=_SCORED)
    models = _models(dataset, logged, wanted, model, fit_meter) if fits else {}
    chosen: dict[str, Target] = {}
    if "videos" in changed:
        predict: dict[str, Predict] = {name: fit.predict for name, fit in models.items()}
        chosen = targets(
            dataset, logged, {n: scorers[n] for n in names}, target, seed=seed, models=predict,
            meter=score_meter, feature=_categories(dataset, more),
        )  # fmt: skip
    sections: dict[str, CommentStage] = {}
    places: WeighedLog | None = None
    if comments is not None:
        chances, below = _comment_targets(
            dataset, comments, {n: orders.get(n, _as_given) for n in names},
            comment_target or TargetPolicy(), wanted, model, question, seed, score_meter,
        )  # fmt: skip
        sections = comment_stages(logged, comments, chances, below, bool(more))
        if listed:
            places = WeighedLog.of(comments, chances, chances)
        notes += [f"comment decisions {k.replace('_', ' ')}: {v:,}"
                  for k, v in comments.accounting.items() if v and "without" in k]  # fmt: skip
    impressions = WeighedLog.of(logged, names, chosen, sections, models)
    found = _estimated(impressions, wanted, places, listed, times, question, value_meter)
    primaries = [m for m in found.metrics if m.name == main and m.name in wanted]
    split = segment_results(impressions, primaries, segments or {}, question, value_meter)
    value_meter.end()
    warnings = [*logged.warnings, *notes]
    warnings += shortfalls(
        list(impressions.overlaps.values()), logged.kind, target.temperature, target.top_share
    )
    if control in treatments:
        warnings.append(f"both policies are '{control}': the difference is 0 by construction.")
    mains = [m.best.verdict for m in found.metrics if m.name == main]
    sizes = logged.sizes()
    return ReplayResult(
        treatments=treatments,
        control=control,
        identification=table,
        stages=tuple(s for s in ("videos", "comments") if s in changed),
        rows=logged.accounting,
        eligible=logged.kind,
        eligible_size=(int(sizes.min()), int(sizes.max())),
        uniform=logged.uniform,
        overlap=dict(impressions.overlaps),
        comment_overlap={} if places is None else dict(places.overlaps),
        metrics=found.metrics,
        verdict=next(v for v in (UNUSABLE, CAUTION, USABLE) if v in mains),
        warnings=warnings,
        definition=_definition(logged, changed, target, interval),
        segments=split,
        growth=found.growth,
        quantiles=found.quantiles,
    )


class _Found(NamedTuple):
    """Estimates of both stages, treatment by treatment."""

    metrics: list[MetricResult]
    quantiles: list[QuantileResult]
    growth: Growth


def _estimated(
    impressions: WeighedLog,
    wanted: list[str],
    places: WeighedLog | None,
    listed: list[str],
    times: list[str],
    question: Question,
    meter: Meter,
) -> _Found:
    """Estimate the metrics of impressions, and those of places in sections, if there are any.

    Args:
        impressions: The logged impressions.
        wanted: Their metrics.
        places: Comments that were seen: what one place of a section is worth, those above it as
            shown. None without.
        listed: Their metrics.
        times: Metrics of either with quantiles.
        question: What is asked.
        meter: Told the metrics that are estimated.
    """
    metrics: list[MetricResult] = []
    quantiles: list[QuantileResult] = []
    of_places: list[str] = []
    if places is not None:
        outcomes = places.logged.outcomes
        of_places = [
            name
            for name in listed
            if METRICS[name].column in outcomes
            and np.nan_to_num(outcomes[METRICS[name].column]).any()
        ]
    for log, names in ((impressions, wanted), (places, of_places)):
        if log is not None:
            metrics += metric_results(log, names, question, meter)
            own = [name for name in times if name in names]
            quantiles += quantile_results(log, own, question)
    about = places if places is not None and question.primary in of_places else impressions
    return _Found(
        [m for t in question.treatments for m in metrics if m.treatment == t],
        [q for t in question.treatments for q in quantiles if q.treatment == t],
        growth(about, question),
    )


def _comment_targets(
    dataset: Dataset,
    comments: LoggedRows,
    scored: Mapping[str, CommentScorer],
    target: TargetPolicy,
    wanted: list[str],
    model: Make | None,
    question: Question,
    seed: int,
    meter: Meter,
) -> tuple[dict[str, Target], dict[str, CrossFit]]:
    """What each policy would have chosen among comments, and reward models of single comments."""
    below: dict[str, CrossFit] = {}
    if model is not None and "cascade_dr" in question.more:
        valuing = {comment_column(METRICS[name]) for name in wanted if METRICS[name].comments}
        below = comment_models(dataset, comments, sorted(valuing), model)
    chances = targets(
        dataset, comments, scored, target, seed=seed, meter=meter,
        models={column: fit.predict for column, fit in below.items()},
        places=bool(question.more) and target == TargetPolicy(),
    )  # fmt: skip
    return chances, below


def _categories(dataset: Dataset, more: tuple[str, ...]) -> NDArray[np.int64] | None:
    """Codes of the videos' categories from 0; None if they are not needed or not known."""
    category = dataset.catalogue().category.astype(np.int64) + 1
    return category if "marginalised_ips" in more and category.any() else None


def _as_given(_: object) -> None:
    """The platform's own order of comments."""
    return


def _models(
    dataset: Dataset, logged: LoggedRows, wanted: list[str], make: Make | None, meter: Meter
) -> dict[str, CrossFit]:
    if make is None:
        return {}
    catalogue = dataset.catalogue()
    duration = np.log1p(np.maximum(catalogue.duration_ms, 0).astype(np.float64))
    position = logged.position.astype(np.float64)
    fitted = {}
    for name in wanted:
        outcome = METRICS[name].values(logged.outcomes)
        fitted[name] = CrossFit(
            logged.user,
            logged.shown,
            catalogue.n_videos,
            outcome,
            weight=row_weights(logged.propensity),
            context=position[:, None],
            group=catalogue.category,
            item_features=duration[:, None],
            make=make,
            meter=meter,
        )
    return fitted


def _definition(
    logged: LoggedRows, changed: frozenset[str], target: TargetPolicy, interval: Intervals
) -> str:
    among = {
        "decisions": "of the slot's candidates",
        "candidates": "of the candidates recorded with the impression",
        "random pool": f"of the {len(logged.pool) if logged.pool is not None else 0:,} videos "
        "that were exposed at random",
        "all videos": "of all videos",
    }[logged.kind]
    parts = []
    if "videos" in changed:
        parts.append(f"each policy had shown {target.describe(among)}")
    if "comments" in changed:
        parts.append("each opened section had stood in the policy's order")
    rest = {1: "the other stage and everything before it as logged"}.get(
        len(changed), "everything before it as logged"
    )
    return (
        f"Mean outcome of a logged impression if {' and '.join(parts)}, {rest}. "
        f"Per impression, not per user-day. {interval.describe()}"
    )
