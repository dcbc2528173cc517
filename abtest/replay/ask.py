"""Replay policies by name: check what the log identifies, train, estimate, repeat over seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abtest.console import Console
from abtest.errors import RunDataError, UsageError
from abtest.replay.sizing import BYTES_OF_GIVEN, LESS_TO_REPLAY, memory_to_replay
from abtest.replay.training import PROPOSED, cut_time, train_scorers
from abtest.run.arms.candidates import check_candidates
from abtest.run.arms.places import ids_in_errors, user_id
from abtest.run.datasets import open_dataset
from abtest.run.environments import segment_columns
from policies.registry import parts_of, policy_class, ranked_by
from reports.render.methods import PER_USER_DAY
from simulator.errors import DataError
from simulator.logs.checks.needs import refuse_placeholders
from simulator.logs.dataset import Dataset
from simulator.memory import require_room
from simulator.replay import (
    METRICS,
    ReplayResult,
    TargetPolicy,
    identification,
    replay,
    replay_given,
)
from simulator.replay.decisions import has_decisions
from simulator.replay.eligible import Pool, Rows
from simulator.replay.estimators.names import asked_for
from simulator.replay.identification import Identified, stages_to_change
from simulator.replay.interval_method import STUDENT, Intervals
from simulator.replay.models.boosting import boosting
from simulator.replay.models.regression import Float64, Regressor, for_outcome

MODELS: dict[str, Callable[[Float64], Regressor] | None] = {
    "linear": for_outcome,
    "boosting": boosting,
    "none": None,
}
SAME_METRIC = {per_day: name for name, per_day in PER_USER_DAY.items()}
"""Metrics of an experiment under the name of their mean per impression."""


@dataclass(frozen=True)
class ReplayOptions:
    """What `abtest replay` was asked.

    Attributes:
        treatments, control: Policy names or ``file.py:Class``.
        data: Dataset directory, or ``demo``.
        target: How scores of videos become choices.
        comment_target: The same for comments.
        stage: ``"auto"``, ``"videos"`` or ``"comments"``.
        metrics: Names, or empty for all that the log has.
        primary: The metric that decides; None for comment watch time.
        min_effect: Smallest relative effect worth shipping.
        quantiles: Shares in (0, 1), compared for every time.
        estimators: Names beside the usual ones, or ``("all",)``.
        propensity_column: Impressions column with logging probabilities.
        rows: Which impressions are replayed.
        pool: What could have been shown, where the log does not say.
        model: Of rewards, a key of `MODELS`.
        interval: How intervals are computed.
        seed: Of the first training and of request keys.
        seeds: How many trainings.
        given: Columns of impressions with target probabilities, in place of policies.
        policies: Settings per policy, from abtest.toml.
        candidates: Policy whose proposals are ranked, where the log is over a pool of videos.
    """

    treatments: tuple[str, ...]
    control: str
    data: str = "demo"
    target: TargetPolicy = field(default_factory=TargetPolicy)
    comment_target: TargetPolicy = field(default_factory=TargetPolicy)
    stage: str = "auto"
    metrics: tuple[str, ...] = ()
    primary: str | None = None
    min_effect: float = 0.005
    quantiles: tuple[float, ...] = ()
    estimators: tuple[str, ...] = ()
    propensity_column: str = "propensity"
    rows: Rows = "auto"
    pool: Pool = "auto"
    model: str = "linear"
    interval: Intervals = STUDENT
    seed: int = 1
    seeds: int = 1
    given: tuple[str, ...] = ()
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    candidates: str | None = None


@dataclass(frozen=True)
class Replayed:
    """What came out.

    Attributes:
        result: Of the first training seed.
        dataset: The log.
        cut_ms: Training saw what happened before, replay what happened from then on.
        summaries: Facts about each policy's training.
        seeds: Training seed -> treatment -> relative lift of the primary metric, and its bounds.
    """

    result: ReplayResult
    dataset: Dataset
    cut_ms: int
    summaries: dict[str, dict[str, Any]]
    seeds: dict[int, dict[str, tuple[float, float | None, float | None]]]


def replay_policies(
    asked: ReplayOptions,
    *,
    console: Console,
    announce: Callable[[list[Identified]], None] = lambda table: None,
) -> Replayed:
    """Say what the log identifies, then train on its earlier part and replay its later part.

    Args:
        asked: The options.
        console: Progress.
        announce: Called with the identification table before anything is trained.

    Raises:
        DataError: the log does not identify what was asked.
        TooLarge: the rows to be valued take more memory than there is.
        UsageError: an option is out of range.
    """
    asked = _checked(asked)
    if asked.given:
        return _given(asked, console)
    names = tuple(dict.fromkeys((*asked.treatments, asked.control)))
    ranks = {name: ranked_by(policy_class(name)) for name in names}
    dataset = _opened(asked, console)
    if dataset.info.rows.get("impressions", 0) == 0:
        raise RunDataError(
            f"{dataset.path} has no impressions: nothing to replay.",
            f"Check it: abtest data check {dataset.path}",
        )
    table = identification(dataset, asked.propensity_column)
    if asked.pool == "all":
        table[0] = Identified("videos", True, "propensities over all videos")
    announce(table)
    if asked.candidates is not None:
        _check_stage(asked, dataset)
    stages_to_change(table, differing(ranks), asked.stage)
    cut_ms = cut_time(dataset)
    require_room(*memory_to_replay(dataset, asked.rows, asked.pool, cut_ms), LESS_TO_REPLAY)
    results: list[ReplayResult] = []
    summaries: dict[str, dict[str, Any]] = {}
    for seed in range(asked.seed, asked.seed + asked.seeds):
        trained = train_scorers(names, asked.policies, dataset, cut_ms, seed=seed, console=console,
                                candidates=asked.candidates)  # fmt: skip
        summaries = summaries or trained.summaries
        with (
            console.stage("replay", f"replaying {', '.join(names)}") as stage,
            ids_in_errors(dataset.catalogue(), partial(user_id, dataset)),
        ):
            results.append(
                replay(
                    dataset,
                    trained.videos,
                    treatment=asked.treatments,
                    control=asked.control,
                    comment_scorers=trained.comments,
                    ranks=differing(ranks),
                    stage=asked.stage,
                    metrics=asked.metrics or None,
                    primary=asked.primary,
                    quantiles=asked.quantiles,
                    estimators=asked.estimators,
                    target=asked.target,
                    comment_target=asked.comment_target,
                    propensity_column=asked.propensity_column,
                    rows=asked.rows,
                    pool=asked.pool,
                    since_ms=cut_ms,
                    model=MODELS[asked.model],
                    interval=asked.interval,
                    seed=asked.seed,
                    segments=_segments(dataset),
                    report=stage.report,
                )
            )
    if asked.candidates is not None:
        more = f" All policies rank only the {PROPOSED} videos that {asked.candidates} proposes."
        results[0] = dataclasses.replace(results[0], definition=results[0].definition + more)
    lifts = {asked.seed + i: _lifts(result) for i, result in enumerate(results)}
    return Replayed(results[0], dataset, cut_ms, summaries, lifts)


def _segments(dataset: Dataset) -> dict[str, NDArray[np.str_]]:
    """The log's own user features that reports use as segments, by dense user index."""
    if not dataset.has("users"):
        return {}
    ids = pl.DataFrame({"user_id": dataset.user_ids()})
    users = dataset.scan("users").collect().with_columns(pl.col("user_id").cast(pl.Int64))
    found = segment_columns(ids.join(users, on="user_id", how="left"))
    return {
        name.removeprefix("segment_"): found[name].to_numpy().astype(str)
        for name in found.columns
        if name != "user_id"
    }


def _check_stage(asked: ReplayOptions, dataset: Dataset) -> None:
    """Refuse a candidate stage that cannot propose, or whose proposals the log could not show."""
    assert asked.candidates is not None
    check_candidates(asked.candidates, dict(asked.policies.get(asked.candidates, {})))
    listed = has_decisions(dataset, "videos") and asked.rows != "random"
    listed = listed or dataset.has_column("impressions", "candidates")
    if listed and asked.pool == "auto":
        raise RunDataError(
            "this log tells the chances of the candidates that its own stage proposed: what "
            f"'{asked.candidates}' would propose could mostly not be shown.",
            "A log over one pool of videos identifies it: uniformly random exposure (is_rand), or "
            "propensities over all videos with --pool all.",
        )


def _opened(asked: ReplayOptions, console: Console) -> Dataset:
    """The log; refused if it does not say what was clicked."""
    dataset = open_dataset(asked.data, console)
    refuse_placeholders(dataset, "is_click")
    return dataset


def _given(asked: ReplayOptions, console: Console) -> Replayed:
    """Policies whose probabilities stand in the log: nothing is trained."""
    dataset = _opened(asked, console)
    rows = dataset.info.rows.get("impressions", 0)
    needed = rows * (BYTES_OF_GIVEN + 8 * len(asked.given))
    require_room(needed, f"replaying {rows:,} impressions", LESS_TO_REPLAY)
    with console.stage("replay", f"replaying {', '.join(asked.given)}") as stage:
        result = replay_given(
            dataset,
            asked.given,
            propensity_column=asked.propensity_column,
            metrics=asked.metrics or None,
            primary=asked.primary,
            quantiles=asked.quantiles,
            estimators=asked.estimators,
            interval=asked.interval,
            report=stage.report,
        )
    return Replayed(result, dataset, 0, {}, {asked.seed: _lifts(result)})


def differing(ranks: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """What each policy ranks, without a stage that all of them leave to one and the same part.

    ``sasrec+likes`` against ``sasrec+newest`` differ in comments only.
    """
    firsts = {(parts_of(name) or (name, ""))[0] for name in ranks}
    if len(firsts) > 1 or len(ranks) == 1 or any(parts_of(name) is None for name in ranks):
        return dict(ranks)
    return {name: tuple(stage for stage in own if stage != "videos") for name, own in ranks.items()}


def seed_spread(lifts: Mapping[int, Mapping[str, tuple[float, Any, Any]]], name: str) -> float:
    """Standard deviation over training seeds of a treatment's lift."""
    values = [found[name][0] for found in lifts.values() if name in found]
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _lifts(result: ReplayResult) -> dict[str, tuple[float, float | None, float | None]]:
    found = {}
    for metric in result.metrics:
        relative = metric.best.relative
        if metric.role == "primary" and relative is not None:
            found[metric.treatment] = (relative.value, relative.low, relative.high)
    return found


def _checked(asked: ReplayOptions) -> ReplayOptions:
    for flag, value, known in (
        ("--rows", asked.rows, ("auto", "random", "all")),
        ("--pool", asked.pool, ("auto", "random", "all")),
        ("--stage", asked.stage, ("auto", "videos", "comments")),
        ("--reward-model", asked.model, tuple(MODELS)),
    ):
        if value not in known:
            raise UsageError(f"{flag} is '{value}', expected {', '.join(known)}.")
    if asked.seeds < 1:
        raise UsageError(f"--training-seeds is {asked.seeds}, expected at least 1.")
    try:
        asked_for(asked.estimators)
    except DataError as error:
        raise UsageError(f"--estimators: {error.problem}", error.hint) from None
    for share in asked.quantiles:
        if not 0.0 < share < 1.0:
            raise UsageError(
                f"--quantiles has {share:g}, expected numbers between 0 and 1.",
                "Example: --quantiles 0.5,0.9,0.99",
            )
    if len(set(asked.treatments)) != len(asked.treatments):
        raise UsageError(f"a treatment is named twice: {', '.join(asked.treatments)}.")
    primary = SAME_METRIC.get(asked.primary or "", asked.primary)
    metrics = tuple(SAME_METRIC.get(name, name) for name in asked.metrics)
    for name in (*metrics, *([primary] if primary else [])):
        if name not in METRICS:
            raise UsageError(f"unknown metric '{name}'.", f"Known: {', '.join(METRICS)}.")
    if asked.quantiles and metrics and all(METRICS[name].unit != "ms" for name in metrics):
        times = [name for name, metric in METRICS.items() if metric.unit == "ms"]
        raise UsageError(
            f"--quantiles needs a time, not {', '.join(metrics)}.", f"Times: {', '.join(times)}."
        )
    return dataclasses.replace(asked, primary=primary, metrics=metrics)
