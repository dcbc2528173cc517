"""Run every group of people through the experiment, on any number of processes.

People do not influence each other, so a group of 4,096 is the unit of work, of progress and of
resumption. Group boundaries never depend on the number of workers: the bytes are the same.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abtest.console import Console, Stage
from abtest.errors import AbtestError, ExitCode, Interrupted
from abtest.run.datasets import GROUP_SIZE
from abtest.run.environments import Environment, EnvironmentSpec, relative_days
from abtest.run.oracle import attach_oracles
from abtest.run.run_directory import RunDirectory, write_parquet
from abtest.run.serving import ArmsRanker, PolicyRanker
from abtest.run.training import TrainedPolicy, load_policy
from simulator.calendar import DAY_MS
from simulator.feed import Feed
from simulator.loop import Ranker, Report, drive
from simulator.randomness import purpose_key, uniform
from simulator.requests import Int32


@dataclass(frozen=True)
class SimulationSpec:
    """Everything that determines the outcomes; picklable plain values.

    Attributes:
        environment: What people live in.
        arms: Arm names, control first.
        policies: One trained policy per arm.
        twin: Whether everyone lives through every arm.
        people: Number of people, or None for everyone in the log.
        days: Experiment days.
        seed: Seed of the split and of exploration.
        explore_share: Share of slots filled uniformly at random.
    """

    environment: EnvironmentSpec
    arms: tuple[str, ...]
    policies: tuple[TrainedPolicy, ...]
    twin: bool
    people: int | None
    days: int
    seed: int
    explore_share: float


def assign_arms(users: Int32, arms: int, seed: int) -> NDArray[np.int64]:
    """int64[G]: the arm of each user, a hash of (seed, user): equal shares in expectation."""
    draws = uniform(purpose_key(seed, "abtest.assignment"), users)
    return np.minimum((draws * arms).astype(np.int64), arms - 1)


class Simulator:
    """One process's copy of the environment and the policies."""

    def __init__(self, spec: SimulationSpec) -> None:
        self._spec = spec
        self._environment: Environment = spec.environment.build()
        loaded = {
            p.spec: load_policy(p, self._environment.dataset)
            for p in {q.spec: q for q in spec.policies}.values()
        }
        self._policies = [loaded[p.spec] for p in spec.policies]
        self._users = self._environment.people(spec.people)

    @property
    def people(self) -> int:
        """Number of people who take part."""
        return len(self._users)

    def group(self, number: int, report: Report = lambda fraction: None) -> pl.DataFrame:
        """Outcomes of one group: a row per (user_id, arm, day), days before the start negative."""
        users = self._users[number * GROUP_SIZE : (number + 1) * GROUP_SIZE]
        arms = len(self._spec.arms)
        lives = arms if self._spec.twin else 1
        # Days with the policies in the loop cost about three times a day of the burn-in.
        warm = self._environment.burn_in_days / 3.0
        parts = _Parts(report, [warm] + [float(self._spec.days)] * lives)
        feed, before = self._environment.warm_feed(users, parts.next())
        end_ms = self._environment.start_ms + self._spec.days * DAY_MS
        if self._spec.twin:
            lived = []
            for arm in range(arms):
                own = feed.copy() if arm < arms - 1 else feed
                everyone = np.full(len(users), arm)
                after = self._live(own, everyone, end_ms, parts.next())
                lived.append(self._labelled(pl.concat([before, after]), users, everyone))
            outcomes = pl.concat(lived)
        else:
            split = assign_arms(users, arms, self._spec.seed)
            after = self._live(feed, split, end_ms, parts.next())
            outcomes = self._labelled(pl.concat([before, after]), users, split)
        return outcomes.join(self._environment.segments(users), on="user_id", how="left").sort(
            "user_id", "arm", "day"
        )

    def _rankers(self, feed: Feed) -> list[Ranker]:
        for policy in self._policies:
            policy.reset(len(feed.users))
        attach_oracles(self._policies, feed.population, feed.catalogue, self._policies[0])
        return [PolicyRanker(p, self._spec.explore_share) for p in self._policies]

    def _live(
        self, feed: Feed, arm_of_row: NDArray[np.int64], end_ms: int, report: Report
    ) -> pl.DataFrame:
        feed.extend(end_ms)
        feed.change_ranker(self._new_to(arm_of_row), self._environment.start_ms)
        drive(feed, ArmsRanker(self._rankers(feed), arm_of_row), report)
        frame = feed.outcomes.to_frame(self._environment.user_ids(feed.users))
        days = relative_days(frame, self._environment.start_ms)
        return days.filter((pl.col("day") >= 0) & (pl.col("day") < self._spec.days))

    def _new_to(self, arm_of_row: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the people whose ranker changes at the start: the control is what they know."""
        control = self._spec.policies[0].spec
        changed = np.array([p.spec != control for p in self._spec.policies])
        return np.flatnonzero(changed[arm_of_row])

    def _labelled(
        self, frame: pl.DataFrame, users: Int32, arm_of_row: NDArray[np.int64]
    ) -> pl.DataFrame:
        ids = self._environment.user_ids(users)
        arms = pl.DataFrame(
            {"user_id": ids, "arm": [self._spec.arms[int(a)] for a in arm_of_row]},
        )
        return frame.join(arms, on="user_id", how="left")


class _Parts:
    """Splits the progress of a whole among parts that follow each other.

    Args:
        report: Of the whole.
        sizes: Of the parts, in any unit.
    """

    def __init__(self, report: Report, sizes: list[float]) -> None:
        self._report = report
        self._edges = np.concatenate([[0.0], np.cumsum(sizes)]) / sum(sizes)
        self._part = -1

    def next(self) -> Report:
        """The progress of the next part."""
        self._part += 1
        low, high = self._edges[self._part : self._part + 2]
        return lambda fraction: self._report(float(low + (high - low) * fraction))


_simulator: Simulator | None = None
_done: Any = None
"""A number shared by all processes: groups simulated so far, in fractions."""


def _start_worker(spec: SimulationSpec, done: Any) -> None:
    global _simulator, _done
    _done = done
    # Ctrl-C belongs to the parent, which ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _single_thread()
    _simulator = Simulator(spec)


def _run_group(number: int, target: Path) -> int:
    assert _simulator is not None
    told = 0.0

    def report(fraction: float) -> None:
        nonlocal told
        with _done.get_lock():
            _done.value += fraction - told
        told = fraction

    write_parquet(_simulator.group(number, report), target)
    return number


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)


def default_workers() -> int:
    """One process per available core, at most eight."""
    return max(1, min(8, len(os.sched_getaffinity(0))))


def group_count(people: int) -> int:
    """Number of groups that hold this many people."""
    return -(-people // GROUP_SIZE)


class SimulationPool:
    """Worker processes that fill a run directory group by group.

    Args:
        spec: What to simulate.
        directory: Where finished groups go; groups already there are not run again.
        workers: Number of processes.
    """

    def __init__(self, spec: SimulationSpec, directory: RunDirectory, workers: int) -> None:
        self._spec = spec
        self._directory = directory
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._done: Any = None

    def __enter__(self) -> SimulationPool:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, groups: int, console: Console, title: str) -> None:
        """Simulate groups ``0 .. groups - 1``.

        Raises:
            Interrupted: Ctrl-C; finished groups are kept.
            AbtestError: a worker process died (out of memory).
        """
        todo = [g for g in range(groups) if not self._directory.piece(g).is_file()]
        if not todo:
            return
        with console.stage("simulate", title) as stage:
            stage.update("", 0.0, "starting")
            try:
                self._submit(todo, groups, stage)
            except KeyboardInterrupt:
                # Groups in progress are lost, finished ones are files already.
                for process in multiprocessing.active_children():
                    process.terminate()
                done = len(self._directory.done(groups))
                raise Interrupted(
                    f"stopped after {done} of {groups} groups of people; they are saved, "
                    "no verdict.",
                    f"Continue: abtest run --resume {self._directory.path}",
                ) from None
            except BrokenProcessPool:
                raise WorkerDied(
                    "a worker process died, most likely out of memory.",
                    f"Use fewer processes: abtest run --resume {self._directory.path} --workers 1",
                ) from None

    def _submit(self, todo: list[int], groups: int, stage: Stage) -> None:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._done = context.Value("d", 0.0)
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=context,
                initializer=_start_worker,
                initargs=(self._spec, self._done),
            )
        before = groups - len(todo) - self._done.value
        finished = groups - len(todo)
        pending: set[Future[int]] = {
            self._pool.submit(_run_group, g, self._directory.piece(g)) for g in todo
        }
        while pending:
            ready, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in ready:
                future.result()
                finished += 1
            done = before + self._done.value
            stage.update("", done / groups, f"{finished} of {groups} groups of people")


class WorkerDied(AbtestError):
    """A worker process was killed."""

    code = ExitCode.RESOURCES
