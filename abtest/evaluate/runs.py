"""Train one policy with one seed and let it rank what was held out."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from abtest.console import Console
from abtest.evaluate.asked import Protocol
from abtest.files import locked
from abtest.paths import cache_directory
from abtest.run.arms.places import ids_in_errors, user_id
from abtest.run.arms.training import load_policy, train
from abtest.run.cluster.cargo import Needs
from abtest.run.engines import Told
from policies.errors import PolicyError, UnsuitedLog
from policies.evaluation.candidates import CommentCandidates, VideoCandidates
from policies.evaluation.case_history import history_at
from policies.evaluation.comment_visits import visits_held_out
from policies.evaluation.dwell import DwellCorrelation
from policies.evaluation.evaluate import Ranked, Task, rank_cases
from policies.evaluation.holdout import HeldOut, held_out, part_before, training_part
from policies.evaluation.seen_visits import SeenVisits, seen_visits
from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.requests import HistoryState


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


@dataclass(frozen=True)
class Entry:
    """One training: a row of the table, a seed, and what progress calls it."""

    row: Contestant
    seed: int
    title: str


@dataclass(frozen=True)
class Ranking:
    """What one training seed gave."""

    ranked: Ranked | None
    facts: dict[str, Any]
    dwell: DwellCorrelation | None


@dataclass(frozen=True)
class Bench:
    """What all trainings of a task share.

    Attributes:
        task: "videos" or "comments".
        dataset: The whole log.
        training: The part of it that policies are trained on.
        test: What was held out.
        candidates: What is ranked.
        history: Of everybody, at the moment of their case.
        visits: Visits after what was trained on, where comments are ranked.
    """

    task: Task
    dataset: Dataset
    training: Dataset
    test: HeldOut
    candidates: VideoCandidates | CommentCandidates
    history: HistoryState
    visits: SeenVisits | None

    @classmethod
    def build(
        cls,
        task: Task,
        test: HeldOut,
        dataset: Dataset,
        protocol: Protocol,
        cut_ms: int | None,
        console: Console,
    ) -> Bench:
        """Cut the log and gather the candidates."""
        kind, own = _CANDIDATES[task], {"sample": protocol.candidates, "seed": protocol.seed}
        signal = (protocol.signal,) if task == "videos" else ()
        return cls(
            task,
            dataset,
            _training(task, test, dataset, protocol, cut_ms, console),
            test,
            kind(dataset, test, *signal, **own),
            history_at(dataset, test),
            _seen_visits(task, dataset, test, cut_ms),
        )


_CANDIDATES: Mapping[Task, Callable[..., Any]] = {
    "videos": VideoCandidates,
    "comments": CommentCandidates,
}


def rank(
    bench: Bench, asked: Entry, told: Told, console: Console | None = None
) -> Ranking | PolicyError:
    """Train with one seed, or find the weights, and rank all cases; or why the log does not suit.

    Raises:
        PolicyError: a policy broke its contract.
    """
    row, console = asked.row, console or Console(quiet=True)
    training, test = bench.training, bench.test
    try:
        with ids_in_errors(bench.dataset.catalogue(), partial(user_id, bench.dataset)):
            trained = train(row.spec, row.settings, training, seed=asked.seed, console=console)
            policy = load_policy(trained, training)
            with console.stage("evaluate", f"{asked.title}, seed {asked.seed}") as stage:
                progress = stage.update
                ranked = rank_cases(
                    policy, test, bench.candidates, bench.history, progress=progress
                )
                seen = bench.visits
                dwell = None if seen is None or ranked is None else seen.judge(policy)
            return Ranking(ranked, trained.summary, dwell)
    except PolicyError as error:
        if type(error) not in (PolicyError, UnsuitedLog):
            raise
        return error.naming(str(bench.dataset.path), str(training.path))


def bench_on_node(needs: Needs, task: Task, protocol: Protocol, cut_ms: int | None) -> Bench:
    """A process's bench on another machine, which holds out what this one does.

    Raises:
        UnfitNode: the machine lacks something, or has something else.
    """
    dataset = needs.open()
    test = cases(task, dataset, protocol, cut_ms)
    return Bench.build(task, test, dataset, protocol, cut_ms, Console(quiet=True))


def cases(task: Task, dataset: Dataset, protocol: Protocol, cut_ms: int | None) -> HeldOut:
    """What is held out.

    Raises:
        PolicyError: nothing in this log can be.
    """
    if task == "videos":
        return held_out(dataset, protocol.signal, since_ms=cut_ms)
    return visits_held_out(dataset, since_ms=cut_ms)


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
    # Several processes of a machine may come here at the same moment.
    with locked(target, lambda: console.note("another process writes the training part; waiting")):
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
