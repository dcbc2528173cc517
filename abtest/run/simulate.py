"""Simulate an experiment, group of people by group of people.

People do not influence each other, or with interference only those of their group. So a group of
3,072 is the unit of work, of progress and of resumption. Group boundaries never depend on the
number of workers: the bytes are the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abtest.console import Console
from abtest.errors import Interrupted
from abtest.files import write_parquet
from abtest.run.arms.oracle import attach_oracles
from abtest.run.arms.places import ids_in_errors
from abtest.run.arms.serving import ArmsRanker, PolicyRanker
from abtest.run.arms.training import TrainedPolicy, load_policy
from abtest.run.datasets import GROUP_SIZE
from abtest.run.engines import Engine, WorkerDied
from abtest.run.environments import Environment, EnvironmentSpec, relative_days
from abtest.run.event_log import GroupLog
from abtest.run.run_directory import RunDirectory
from abtest.run.speeds import remember
from simulator.calendar import DAY_MS
from simulator.feed import Feed
from simulator.interference.feed import SharedFeed
from simulator.interference.settings import InterferenceSettings
from simulator.logs.dataset import Dataset
from simulator.loop import Ranker, Report, drive
from simulator.randomness import purpose_key, uniform
from simulator.recorder import Recorder
from simulator.requests import Int32

POLICY_DAY = 3.0
"""A day with the policies in the loop costs about so many days of the burn-in."""


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
        explore_comments: Share of ranks of opened comment sections filled uniformly at random.
        keep_log: Whether the log of every group is written as well.
        group_size: People per group; a run's pieces all have the same.
        interference: How people of a group change the platform for each other; None for not at
            all. In a twin every arm has a platform of its own.
    """

    environment: EnvironmentSpec
    arms: tuple[str, ...]
    policies: tuple[TrainedPolicy, ...]
    twin: bool
    people: int | None
    days: int
    seed: int
    explore_share: float
    explore_comments: float = 0.0
    keep_log: bool = False
    group_size: int = GROUP_SIZE
    interference: InterferenceSettings | None = None


@dataclass(frozen=True)
class GroupTask:
    """One group of people, and where what comes of it is written.

    Attributes:
        number: Of the group.
        outcomes: File of its outcomes.
        log: Directory of its log; None if none is kept.
    """

    number: int
    outcomes: Path
    log: Path | None


def assign_arms(users: Int32, arms: int, seed: int) -> NDArray[np.int64]:
    """int64[G]: the arm of each user, a hash of (seed, user): equal shares in expectation."""
    draws = uniform(purpose_key(seed, "abtest.assignment"), users)
    return np.minimum((draws * arms).astype(np.int64), arms - 1)


class Simulator:
    """One process's copy of the environment and the policies.

    Args:
        spec: What to simulate.
        dataset: The log of its environment, if it is open already.
    """

    def __init__(self, spec: SimulationSpec, dataset: Dataset | None = None) -> None:
        self._spec = spec
        self._environment: Environment = spec.environment.build(dataset)
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

    def group(
        self,
        number: int,
        report: Report = lambda fraction: None,
        log: GroupLog | None = None,
    ) -> pl.DataFrame:
        """Outcomes of one group: a row per (user_id, arm, day), days before the start negative.

        Args:
            number: Of the group.
            report: Told how far it has come.
            log: Receives what happened, if a log is kept; not in a twin design.
        """
        size = self._spec.group_size
        users = self._users[number * size : (number + 1) * size]
        arms = len(self._spec.arms)
        lives = arms if self._spec.twin else 1
        warm = self._environment.burn_in_days / POLICY_DAY
        parts = _Parts(report, [warm] + [float(self._spec.days)] * lives)
        recorder = None if log is None else self._recorder(log, users)
        feed, before = self._environment.warm_feed(users, parts.next(), recorder)
        if self._spec.interference is not None:
            feed = SharedFeed.of(feed, self._spec.interference, self._environment.start_ms)
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

    def _recorder(self, log: GroupLog, users: Int32) -> Recorder:
        environment, spec = self._environment, self._spec
        split = assign_arms(users, len(spec.arms), spec.seed)
        people = pl.DataFrame(
            {
                "user_id": environment.user_ids(users),
                "arm": [spec.arms[int(a)] for a in split],
                "policy": [spec.policies[int(a)].spec for a in split],
            }
        )
        log.add_users(environment.user_features(users))
        return log.recorder(
            environment.catalogue, environment.ids_by_index(), people, environment.start_ms
        )

    def _rankers(self, feed: Feed) -> list[Ranker]:
        for policy in self._policies:
            policy.reset(len(feed.users))
        attach_oracles(self._policies, feed.population, feed.catalogue, self._policies[0])
        spec = self._spec
        return [
            PolicyRanker(
                p, spec.explore_share, spec.explore_comments, keep_probabilities=spec.keep_log
            )
            for p in self._policies
        ]

    def _live(
        self, feed: Feed, arm_of_row: NDArray[np.int64], end_ms: int, report: Report
    ) -> pl.DataFrame:
        feed.extend(end_ms)
        feed.change_ranker(self._new_to(arm_of_row), self._environment.start_ms)
        with ids_in_errors(feed.catalogue, self._user_id):
            drive(feed, ArmsRanker(self._rankers(feed), arm_of_row), report)
        frame = feed.outcomes.to_frame(self._environment.user_ids(feed.users))
        days = relative_days(frame, self._environment.start_ms)
        return days.filter((pl.col("day") >= 0) & (pl.col("day") < self._spec.days))

    def _user_id(self, user: int) -> int:
        return int(self._environment.user_ids(np.array([user], dtype=np.int32))[0])

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


def person_days(spec: SimulationSpec, people: int) -> float:
    """The work of simulating so many people, in days of one person under the policies."""
    burn_in = spec.environment.burn_in_days if spec.environment.kind == "world" else 0
    lives = len(spec.arms) if spec.twin else 1
    return people * (burn_in / POLICY_DAY + spec.days * lives)


def group_count(people: int) -> int:
    """Number of groups that hold this many people."""
    return -(-people // GROUP_SIZE)


def prepare_worker(spec: SimulationSpec, dataset: Dataset | None = None) -> Simulator:
    """A process's simulator; one thread, because there is a process per core.

    Args:
        spec: What to simulate.
        dataset: The log of its environment, if it is open already.
    """
    import torch

    torch.set_num_threads(1)
    return Simulator(spec, dataset)


def simulate_group(simulator: Simulator, task: GroupTask, told: Report) -> int:
    """Simulate one group and write what came of it; the number of the group."""
    log = None if task.log is None else GroupLog(task.log)
    frame = simulator.group(task.number, told, log)
    if log is not None:
        log.finish()
    # The outcomes come last: once they are there, the group is done.
    write_parquet(frame, task.outcomes)
    return task.number


class SimulationPool:
    """Fills a run directory group by group.

    Args:
        spec: What to simulate.
        directory: Where finished groups go; groups already there are not run again.
        engine: Runs a `GroupTask` as `simulate_group` would.
        again: Options of the command that would continue on the same machines.
    """

    def __init__(
        self, spec: SimulationSpec, directory: RunDirectory, engine: Engine, again: str = ""
    ) -> None:
        self._spec = spec
        self._directory = directory
        self._engine = engine
        self._again = again

    def __enter__(self) -> SimulationPool:
        self._engine.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.__exit__(kind, error, trace)

    def run(self, groups: int, console: Console, title: str) -> None:
        """Simulate groups ``0 .. groups - 1``.

        Raises:
            Interrupted: Ctrl-C; finished groups are kept.
            WorkerDied: a process was killed, for want of memory for example.
        """
        done = set(self._directory.done(groups))
        todo = [self._task(g) for g in range(groups) if g not in done]
        if not todo:
            return

        def report(fractions: float, finished: int) -> None:
            share = (len(done) + fractions) / groups
            stage.update("", share, f"{len(done) + finished} of {groups} groups of people")

        started = time.perf_counter()
        with console.stage("simulate", title) as stage:
            stage.update("", 0.0, "starting")
            try:
                for _ in self._engine.run(todo, report):
                    self._directory.copy_out()
            except KeyboardInterrupt:
                # Groups in progress are lost, finished ones are files already.
                kept = len(self._directory.done(groups))
                raise Interrupted(
                    f"stopped after {kept} of {groups} groups of people; they are saved, "
                    "no verdict.",
                    f"Continue: abtest run --resume {self._directory.path}{self._again}",
                ) from None
            except WorkerDied as error:
                fewer = " --workers 1" if error.out_of_memory else ""
                raise type(error)(
                    error.problem,
                    f"Finished groups of people are saved. Continue: abtest run --resume "
                    f"{self._directory.path}{self._again}{fewer}",
                    out_of_memory=error.out_of_memory,
                ) from error

        # In whole groups, so that starting the processes does not count; of this machine only.
        size, here = self._spec.group_size, not self._engine.place
        if here and self._spec.people is not None and len(todo) * size <= self._spec.people:
            cores = min(self._engine.workers, len(todo))
            days = person_days(self._spec, len(todo) * size)
            remember("simulate", days, cores * (time.perf_counter() - started))

    def _task(self, number: int) -> GroupTask:
        log = self._directory.piece_log(number) if self._spec.keep_log else None
        return GroupTask(number, self._directory.piece(number), log)
