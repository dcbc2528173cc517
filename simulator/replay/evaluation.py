"""Estimate metrics of a weighed stage: every policy by every estimator, and by segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.progress import Meter
from simulator.replay.diagnostics import LEAST_USERS
from simulator.replay.estimators.names import ASSUMES
from simulator.replay.further.intervals import other_intervals
from simulator.replay.further.values import further_values
from simulator.replay.interval_method import STUDENT
from simulator.replay.metrics import GUARDRAILS, METRICS
from simulator.replay.result import UNUSABLE, MetricResult, SegmentResult
from simulator.replay.summary import compare, recommended
from simulator.replay.valuation import Measured, Valued, value
from simulator.replay.weighed_log import Question, WeighedLog


def metric_results(
    stage: WeighedLog, wanted: Sequence[str], question: Question, meter: Meter | None = None
) -> list[MetricResult]:
    """Every metric of every treatment by every estimator.

    Bootstrap draws are spent on the primary metric and on what is read first.

    Args:
        stage: The rows, and how every policy weighs them.
        wanted: Names of the metrics.
        question: What is asked.
        meter: Told the metrics that are estimated, and parts of one: half of it is done when all
            policies are valued, the rest when they are compared.
    """
    control, interval, more = question.control, question.interval, question.more
    results = []
    valued: dict[str, dict[str, dict[str, Valued]]] = {}
    refused: dict[str, dict[str, str]] = {}
    for name in wanted:
        measured = stage.measured(name)
        valued[name], refused[name] = {}, {}
        for policy, own in stage.weighted.items():
            found = value(measured, own)
            if more:
                further, why = further_values(measured, own, more)
                found |= further
                refused[name] = why | refused[name]
            valued[name][policy] = found
            if meter is not None:
                meter.add(0.5 / len(stage.weighted))
    for treatment in question.treatments:
        for name in wanted:
            metric = METRICS[name]
            first = recommended(valued[name][treatment])
            outcome = Measured.of(name, stage.logged.outcomes).outcome
            estimates = {
                estimator: compare(
                    valued[name][treatment][estimator],
                    valued[name][control][estimator],
                    stage.overlaps_of(treatment, control),
                    outcome,
                    share=metric.unit == "share",
                    amount=metric.unit == "ms",
                    same=treatment == control,
                    interval=interval
                    if question.spends_draws_on(name) or estimator == first
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
                    if name == question.primary
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
                        [stage.weighted[treatment], stage.weighted[control]],
                        stage.logged,
                        metric,
                    )
                    if more and name == question.primary and treatment != control
                    else [],
                )
            )
            if meter is not None:
                meter.add(0.5 / len(question.treatments))
    return results


def segment_results(
    stage: WeighedLog,
    primary: Sequence[MetricResult],
    segments: Mapping[str, NDArray[np.str_]],
    question: Question,
    meter: Meter | None = None,
) -> list[SegmentResult]:
    """The primary metric of every treatment in every level of every segment.

    Args:
        stage: The rows, and how every policy weighs them.
        primary: Results of the primary metric, one per treatment.
        segments: Level of every user of the log, str[users] by dense index, per segment. Levels of
            fewer than 20 people with replayed rows are left out.
        question: What is asked.
        meter: Told the segments that are done.
    """
    logged, control = stage.logged, question.control
    every = {whole.name: stage.measured(whole.name) for whole in primary} if segments else {}
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
                measured = every[whole.name].among(own)
                valued = {p: value(measured, stage.weighted[p]) for p in (whole.treatment, control)}
                if not all(name in v for v in valued.values()):
                    continue
                found = compare(
                    valued[whole.treatment][name],
                    valued[control][name],
                    stage.overlaps_of(whole.treatment, control),
                    measured.outcome,
                    share=metric.unit == "share",
                    amount=metric.unit == "ms",
                    same=whole.treatment == control,
                    interval=question.interval,
                )
                results.append(SegmentResult(whole.treatment, segment, str(level), users, found))
        if meter is not None:
            meter.add(1)
    return results
