"""Evaluate offline: train on what came before, rank what was held out, compare the policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abtest.console import Console
from abtest.errors import UsageError
from abtest.evaluate.asked import Protocol
from abtest.evaluate.results import PolicyScores, TaskResult
from abtest.evaluate.runs import Bench, Contestant, Entry, Ranking, bench_on_node, cases, rank
from abtest.evaluate.statistics import Mean, differences, means
from abtest.run.arms.foreign import make
from abtest.run.cluster.cargo import Needs
from abtest.run.engines import Job
from abtest.run.machines import LOCAL, Machines
from policies.errors import PolicyError
from policies.evaluation.evaluate import Ranked
from policies.evaluation.holdout import HeldOut, split_time
from policies.evaluation.metrics import COVERAGE_CUTOFF, NAMES, case_metrics, coverage, per_person
from policies.registry import create, policy_class, ranked_by, settings_of
from simulator.errors import DataError
from simulator.logs.checks.needs import refuse_placeholders
from simulator.logs.dataset import Dataset

DWELL_R = "dwell_r"
"""Name of the metric of `policies.evaluation.dwell`, where the log knows who saw what how long."""


HERE = Machines()


def contestants(
    specs: Sequence[str], settings: Mapping[str, Mapping[str, Any]], *, ablations: bool
) -> list[Contestant]:
    """The rows: the policies, or one policy whole and with one part off at a time.

    Args:
        specs: Names or ``file.py:Class``; the first is the reference of all differences.
        settings: Per spec, as in ``[policies.NAME]`` of abtest.toml.
        ablations: Whether to switch parts off.

    Raises:
        UsageError: ``ablations`` with several policies, or with one that offers none.
    """
    rows = [Contestant(spec, spec, settings_of(spec, settings)) for spec in dict.fromkeys(specs)]
    made = [make(row.spec, row.settings) for row in rows]
    if not ablations:
        return rows
    if len(rows) != 1:
        raise UsageError(
            f"--ablations takes one policy apart, not {len(rows)}.",
            f"Example: abtest evaluate {rows[0].spec} --ablations",
        )
    offered = made[0].ablations()
    if not offered:
        raise UsageError(
            f"policy '{rows[0].spec}' offers no ablations: it has no parts to switch off.",
            "A policy offers them in its method ablations(); lsvcr does",
        )
    for label, overrides in offered.items():
        changed = {**rows[0].settings, **overrides}
        try:
            create(rows[0].spec, **changed)
        except PolicyError as error:
            # Parts that cannot both be off: that row is left out with its reason, later.
            if type(error) is not PolicyError:
                raise
        rows.append(Contestant(label, rows[0].spec, changed))
    return rows


def evaluate_policies(
    rows: Sequence[Contestant],
    dataset: Dataset,
    protocol: Protocol,
    console: Console,
    machines: Machines = HERE,
) -> list[TaskResult]:
    """One result per task, rows in the order given.

    A task that this log or these policies cannot be evaluated on is reported with the reason, if
    another one can.

    Args:
        rows: The policies; the first one is the reference of all differences.
        dataset: The log.
        protocol: What is asked.
        console: Progress.
        machines: Where policies are trained and rank: this process, or a Ray cluster, where every
            row and seed is a task. The result is the same.

    Raises:
        DataError: no task can be evaluated on this log.
        UsageError: none of the policies ranks what was asked for.
    """
    if protocol.signal == "clicked":
        refuse_placeholders(dataset, "is_click")
    cut_ms = None
    if protocol.split == "time":
        try:
            cut_ms = split_time(dataset, days=protocol.test_days, share=protocol.test_share)
        except PolicyError as error:
            raise UsageError(error.problem, error.hint) from None
    results: list[TaskResult] = []
    remedies: list[str] = []
    for task in protocol.tasks:
        entrants = [r for r in rows if task in ranked_by(policy_class(r.spec))]
        others = [r.label for r in rows if r not in entrants]
        left_out = [f"{label} does not rank {task}" for label in others]
        result = TaskResult.of(task, protocol, cut_ms, left_out)
        if not entrants:
            results.append(result.without(f"none of the policies ranks {task}."))
            continue
        try:
            test = cases(task, dataset, protocol, cut_ms)
        except PolicyError as error:
            remedies.append(error.hint)
            results.append(result.without(error.problem))
            continue
        results.append(
            _evaluate(result, entrants, test, dataset, protocol, cut_ms, machines, console)
        )
    if all(r.problem for r in results):
        problem = " ".join(r.problem for r in results)
        if remedies:
            raise DataError(problem, remedies[0])
        raise UsageError(problem, "See: abtest policy list")
    return results


def _evaluate(
    result: TaskResult,
    rows: Sequence[Contestant],
    test: HeldOut,
    dataset: Dataset,
    protocol: Protocol,
    cut_ms: int | None,
    machines: Machines,
    console: Console,
) -> TaskResult:
    bench = Bench.build(result.task, test, dataset, protocol, cut_ms, console)
    values: dict[str, NDArray[np.float64]] = {}
    dwell: dict[str, NDArray[np.float64]] = {}
    covered: dict[str, list[float]] = {}
    facts: dict[str, list[dict[str, Any]]] = {}
    left_out = list(result.left_out)
    offered, competing = 0, 0.0
    of_row = _runs(bench, rows, dataset, protocol, cut_ms, machines, console)
    for row in rows:
        outcomes = [next(of_row) for _ in protocol.seeds]
        refused = next((found for found in outcomes if isinstance(found, PolicyError)), None)
        if refused is not None:
            # A policy that this log does not suit is no reason to lose the others.
            left_out.append(f"{row.label}: {refused.problem.rstrip('.')}")
            console.warn(f"{row.label} is left out: {refused}")
            continue
        runs = [found for found in outcomes if isinstance(found, Ranking)]
        ranked = [run.ranked for run in runs if run.ranked is not None]
        if len(ranked) < len(runs):
            left_out.append(f"{row.label} leaves comments in the platform's order here")
            continue
        values[row.label] = _values(ranked, test)
        covered[row.label] = [coverage(r.top, r.offered) for r in ranked]
        facts[row.label] = [run.facts for run in runs]
        judged = [run.dwell.per_person()[None] for run in runs if run.dwell is not None]
        if len(judged) == len(runs):
            dwell[row.label] = np.stack(judged, axis=1)
        offered, competing = ranked[0].offered, ranked[0].competing
    if not values:
        reasons = "; ".join(left_out)
        return result.without(
            f"none of the policies ranks {result.task} on this log ({reasons}).", left_out
        )
    if result.task == "videos" and offered <= (protocol.candidates or 0):
        console.warn(f"there are only {offered:,} videos: all of them are ranked, none is sampled.")
        result = replace(result, candidates=None, candidates_note="")
    return result.with_scores(
        _compared(values, dwell, covered, facts, rows, protocol.seed),
        cases=len(test),
        people=len(np.unique(test.user)),
        items=offered,
        competing=competing,
        not_asked=dict(test.left_out),
        left_out=left_out,
    )


def _runs(
    bench: Bench,
    rows: Sequence[Contestant],
    dataset: Dataset,
    protocol: Protocol,
    cut_ms: int | None,
    machines: Machines,
    console: Console,
) -> Iterator[Ranking | PolicyError]:
    """What every row did with every seed, row by row: here, or on a cluster."""
    asked = [
        Entry(row, seed, f"{bench.task}, {number} of {len(rows)}: {row.label}")
        for number, row in enumerate(rows, 1)
        for seed in protocol.seeds
    ]
    if machines.engine == LOCAL:
        here: Job[Entry, Ranking | PolicyError] = Job(lambda: bench, partial(rank, console=console))
        yield from machines.each(here, asked)
        return
    needs = Needs.of(dataset, (row.spec for row in rows))
    there: Job[Entry, Ranking | PolicyError] = Job(
        partial(bench_on_node, needs, bench.task, protocol, cut_ms), rank
    )
    with console.stage("evaluate", f"{bench.task}: {len(asked)} trainings") as stage:

        def report(done: float, finished: int) -> None:
            stage.update("", done / len(asked), f"{finished} of {len(asked)}")

        yield from machines.each(there, asked, report)


def _values(per_seed: Sequence[Ranked], test: HeldOut) -> NDArray[np.float64]:
    """float64[metrics, seeds, people]."""
    of_seed = []
    for ranked in per_seed:
        metrics = case_metrics(ranked.ranks)
        of_seed.append(np.stack([per_person(metrics[name], test.user) for name in NAMES]))
    return np.stack(of_seed, axis=1)


def _compared(
    values: Mapping[str, NDArray[np.float64]],
    dwell: Mapping[str, NDArray[np.float64]],
    covered: Mapping[str, list[float]],
    facts: Mapping[str, list[dict[str, Any]]],
    rows: Sequence[Contestant],
    seed: int,
) -> list[PolicyScores]:
    reference, *others = values
    against = {
        name: dict(
            zip(
                others,
                differences(values[reference][i], [values[o][i] for o in others]),
                strict=True,
            )
        )
        for i, name in enumerate(NAMES)
        if others
    }
    if reference in dwell:
        judged = [other for other in others if other in dwell]
        found = differences(dwell[reference][0], [dwell[other][0] for other in judged])
        against |= {DWELL_R: dict(zip(judged, found, strict=True))} if judged else {}
    settings = {row.label: (row.spec, dict(row.settings)) for row in rows}
    scores = []
    for label, table in values.items():
        spread = float(np.std(covered[label], ddof=1)) if len(covered[label]) > 1 else None
        scores.append(
            PolicyScores(
                label=label,
                policy=settings[label][0],
                settings=settings[label][1],
                metrics={
                    **dict(zip(NAMES, means(table, seed=seed), strict=True)),
                    **({DWELL_R: _mean_dwell(dwell[label], seed)} if label in dwell else {}),
                },
                coverage=float(np.mean(covered[label])),
                coverage_error=None if spread is None else spread / len(covered[label]) ** 0.5,
                coverage_cutoff=COVERAGE_CUTOFF,
                differences={name: row[label] for name, row in against.items() if label in row},
                training=facts[label],
            )
        )
    return scores


def _mean_dwell(values: NDArray[np.float64], seed: int) -> Mean:
    """A correlation's mean and interval: half of itself plus a half is a share, as `means` asks."""
    found = means((1.0 + values) / 2.0, seed=seed)[0]

    def back(value: float | None, shift: float) -> float | None:
        return None if value is None else 2.0 * value - shift

    return Mean(
        2.0 * found.value - 1.0,
        back(found.low, 1.0),
        back(found.high, 1.0),
        back(found.people_error, 0.0),
        back(found.seeds_error, 0.0),
        back(found.total_error, 0.0),
    )
