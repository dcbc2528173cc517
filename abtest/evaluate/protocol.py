"""Evaluate offline: train on what came before, rank what was held out, compare the policies."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abtest.console import Console
from abtest.errors import UsageError
from abtest.evaluate.asked import Protocol
from abtest.evaluate.results import PolicyScores, TaskResult
from abtest.evaluate.statistics import Mean, differences, means
from abtest.paths import cache_directory
from abtest.run.arms.foreign import make
from abtest.run.arms.places import ids_in_errors, user_id
from abtest.run.arms.training import load_policy, train
from policies.errors import PolicyError
from policies.evaluation.candidates import CommentCandidates, VideoCandidates
from policies.evaluation.case_history import history_at
from policies.evaluation.comment_visits import visits_held_out
from policies.evaluation.dwell import DwellCorrelation
from policies.evaluation.evaluate import Ranked, Task, rank_cases
from policies.evaluation.holdout import HeldOut, held_out, part_before, split_time, training_part
from policies.evaluation.metrics import COVERAGE_CUTOFF, NAMES, case_metrics, coverage, per_person
from policies.evaluation.seen_visits import SeenVisits, seen_visits
from policies.registry import create, policy_class, ranked_by, settings_of
from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.requests import HistoryState

DWELL_R = "dwell_r"
"""Name of the metric of `policies.evaluation.dwell`, where the log knows who saw what how long."""


@dataclass(frozen=True)
class Contestant:
    """A row of the table: a policy with its settings.

    Attributes:
        label: Name of the row.
        spec: Name or ``file.py:Class``.
        settings: Passed to its constructor.
    """

    label: str
    spec: str
    settings: Mapping[str, Any] = field(default_factory=dict)


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
    rows: Sequence[Contestant], dataset: Dataset, protocol: Protocol, console: Console
) -> list[TaskResult]:
    """One result per task, rows in the order given.

    A task that this log or these policies cannot be evaluated on is reported with the reason, if
    another one can.

    Raises:
        DataError: no task can be evaluated on this log.
        UsageError: none of the policies ranks what was asked for.
    """
    cut_ms = None
    if protocol.split == "time":
        try:
            cut_ms = split_time(dataset, days=protocol.test_days, share=protocol.test_share)
        except PolicyError as error:
            raise UsageError(error.problem, error.hint) from None
    results, unsuited = [], False
    for task in protocol.tasks:
        entrants = [r for r in rows if task in ranked_by(policy_class(r.spec))]
        others = [r.label for r in rows if r not in entrants]
        left_out = [f"{label} does not rank {task}" for label in others]
        result = TaskResult.of(task, protocol, cut_ms, left_out)
        if not entrants:
            results.append(result.without(f"none of the policies ranks {task}."))
            continue
        try:
            test = _cases(task, dataset, protocol, cut_ms)
        except PolicyError as error:
            unsuited = True
            results.append(result.without(error.problem))
            continue
        results.append(_evaluate(result, entrants, test, dataset, protocol, cut_ms, console))
    if all(r.problem for r in results):
        problem = " ".join(r.problem for r in results)
        if unsuited:
            raise DataError(problem, f"Look at it: abtest data describe {dataset.path}")
        raise UsageError(problem, "See: abtest policy list")
    return results


def _cases(task: Task, dataset: Dataset, protocol: Protocol, cut_ms: int | None) -> HeldOut:
    if task == "videos":
        return held_out(dataset, protocol.signal, since_ms=cut_ms)
    return visits_held_out(dataset, since_ms=cut_ms)


def _evaluate(
    result: TaskResult,
    rows: Sequence[Contestant],
    test: HeldOut,
    dataset: Dataset,
    protocol: Protocol,
    cut_ms: int | None,
    console: Console,
) -> TaskResult:
    training = _training(result.task, test, dataset, protocol, cut_ms, console)
    history = history_at(dataset, test)
    candidates: VideoCandidates | CommentCandidates
    if result.task == "videos":
        candidates = VideoCandidates(
            dataset, test, protocol.signal, sample=protocol.candidates, seed=protocol.seed
        )
    else:
        candidates = CommentCandidates(
            dataset, test, sample=protocol.candidates, seed=protocol.seed
        )
    values: dict[str, NDArray[np.float64]] = {}
    dwell: dict[str, NDArray[np.float64]] = {}
    visits = _seen_visits(result.task, dataset, test, cut_ms)
    covered: dict[str, list[float]] = {}
    facts: dict[str, list[dict[str, Any]]] = {}
    left_out = list(result.left_out)
    offered, competing = 0, 0.0
    for number, row in enumerate(rows):
        title = f"{result.task}, {number + 1} of {len(rows)}: {row.label}"
        try:
            with ids_in_errors(dataset.catalogue(), partial(user_id, dataset)):
                runs = [
                    _run(row, seed, training, test, candidates, history, visits, title, console)
                    for seed in protocol.seeds
                ]
        except PolicyError as error:
            # A policy that this log does not suit is no reason to lose the others.
            if type(error) is not PolicyError:
                raise
            # The log that people know, not the part of it that lies in our cache.
            problem = error.problem.replace(str(training.path), str(dataset.path))
            left_out.append(f"{row.label}: {problem.rstrip('.')}")
            console.warn(f"{row.label} is left out: {problem}")
            continue
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


@dataclass(frozen=True)
class _Run:
    """What one training seed gave."""

    ranked: Ranked | None
    facts: dict[str, Any]
    dwell: DwellCorrelation | None


def _run(
    row: Contestant,
    seed: int,
    training: Dataset,
    test: HeldOut,
    candidates: VideoCandidates | CommentCandidates,
    history: HistoryState,
    visits: SeenVisits | None,
    title: str,
    console: Console,
) -> _Run:
    """Train with one seed, or find the weights, and rank all cases; facts about the training."""
    trained = train(row.spec, row.settings, training, seed=seed, console=console)
    policy = load_policy(trained, training)
    with console.stage("evaluate", f"{title}, seed {seed}") as stage:
        ranked = rank_cases(policy, test, candidates, history, progress=stage.update)
        dwell = None if visits is None or ranked is None else visits.judge(policy)
    return _Run(ranked, trained.summary, dwell)


def _seen_visits(
    task: Task, dataset: Dataset, test: HeldOut, cut_ms: int | None
) -> SeenVisits | None:
    """Visits after what was trained on, to judge the order of comments by dwell."""
    if task != "comments":
        return None
    never = np.iinfo(np.int64).max
    cut = np.full(len(dataset.user_ids()), never if cut_ms is None else cut_ms, dtype=np.int64)
    if cut_ms is None:
        cut[test.user] = test.cut_ms
    return seen_visits(dataset, cut)


def _training(
    task: Task,
    test: HeldOut,
    dataset: Dataset,
    protocol: Protocol,
    cut_ms: int | None,
    console: Console,
) -> Dataset:
    """The training part, made once per log and split and kept."""
    what = f"before {cut_ms}" if cut_ms is not None else f"last {task} {protocol.signal}"
    name = f"{dataset.info.content_hash} {what} {_cuts_digest(test) if cut_ms is None else ''}"
    digest = hashlib.blake2b(name.encode(), digest_size=10).hexdigest()
    target: Path = cache_directory() / "heldout" / digest
    make: Callable[[], Dataset] = (
        (lambda: training_part(dataset, test, target))
        if cut_ms is None
        else (lambda: part_before(dataset, cut_ms, target))
    )
    if target.is_dir():
        try:
            return make()
        except DataError as error:
            console.warn(f"the training part in {target} is made again: {error.problem}")
            shutil.rmtree(target)
    with console.stage("split", "writing the training part"):
        return make()


def _cuts_digest(test: HeldOut) -> str:
    """The rule that cuts may change with the program: then the part is another one."""
    return hashlib.blake2b(test.user.tobytes() + test.cut_ms.tobytes(), digest_size=8).hexdigest()


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
