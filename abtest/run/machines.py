"""Choose what runs independent tasks: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from abtest.errors import UsageError
from abtest.run.cluster.cargo import Cargo, Files, keep_group, prepare_on_node, simulate_on_node
from abtest.run.cluster.connection import connected, named, ray_package
from abtest.run.cluster.engine import RayEngine
from abtest.run.engines import (
    Engine,
    Job,
    LocalEngine,
    Report,
    Result,
    Task,
    Told,
    default_workers,
)
from abtest.run.simulate import (
    GroupTask,
    SimulationSpec,
    Simulator,
    prepare_worker,
    simulate_group,
)
from simulator.logs.dataset import Dataset

LOCAL = "local"
RAY = "ray"
ENGINES = (LOCAL, RAY)


@dataclass(frozen=True)
class Machines:
    """Where an experiment is computed; its result does not depend on it.

    Attributes:
        engine: ``local`` or ``ray``.
        workers: Tasks at the same time; None for one per core.
        address: Of a Ray cluster, see `abtest.run.cluster.connection.connected`.
    """

    engine: str = LOCAL
    workers: int | None = None
    address: str | None = None

    def check(self) -> None:
        """Refuse what cannot be, before anything is trained.

        Raises:
            UsageError: no such engine, no package for it, or no cluster at the address.
        """
        if self.engine not in ENGINES:
            raise UsageError(f"--engine is '{self.engine}', expected {' or '.join(ENGINES)}.")
        if self.engine == LOCAL:
            if self.address is not None:
                raise UsageError("--address is the address of a Ray cluster.", "Add: --engine ray")
            return
        ray_package()
        if named(self.address) is not None:
            with connected(self.address, 1):
                pass

    @property
    def processes(self) -> int:
        """Processes of this machine: for training, wherever groups of people are simulated."""
        return (self.workers if self.engine == LOCAL else None) or default_workers()

    def options(self) -> str:
        """What follows a command that is to run on the same machines, with a space before it."""
        words = [] if self.engine == LOCAL else ["--engine", self.engine]
        words += [] if self.address is None else ["--address", self.address]
        return f" {shlex.join(words)}" if words else ""

    def simulating(self, spec: SimulationSpec, dataset: Dataset) -> Engine:
        """An engine whose tasks are groups of people (`abtest.run.simulate.GroupTask`).

        Args:
            spec: What is simulated.
            dataset: The log of its environment.
        """
        if self.engine == LOCAL:
            job = Job(prepare=partial(prepare_worker, spec), work=simulate_group)
            return LocalEngine(job, self.processes)
        cargo = Cargo.of(spec, dataset)
        remote = Job(prepare=partial(prepare_on_node, cargo), work=simulate_on_node)
        return RayEngine(remote, keep_group, address=self.address, workers=self.workers)

    def simulating_each(self, worlds: Sequence[tuple[SimulationSpec, Dataset]]) -> Engine:
        """An engine whose tasks are groups of people in one of several worlds.

        A task is the number of the world and the `abtest.run.simulate.GroupTask`; tasks of one
        world should follow each other.

        Args:
            worlds: What is simulated, and the log of its environment.
        """
        if self.engine == LOCAL:
            here = [partial(prepare_worker, spec) for spec, _ in worlds]
            job = Job(prepare=partial(_Turns, here), work=_simulate_here)
            return LocalEngine(job, self.processes)
        there = [partial(prepare_on_node, Cargo.of(spec, dataset)) for spec, dataset in worlds]
        remote = Job(prepare=partial(_Turns, there), work=_simulate_there)
        return RayEngine(remote, _keep_group, address=self.address, workers=self.workers)

    def each(
        self,
        job: Job[Task, Result],
        tasks: Sequence[Task],
        report: Report = lambda done, finished: None,
    ) -> Iterator[Result]:
        """Results of independent tasks, in their order: of this process, or of a Ray cluster.

        Args:
            job: What is done; picklable for a cluster.
            tasks: Picklable for a cluster.
            report: Told how many are done.
        """
        if self.engine == LOCAL:
            shared = job.prepare()
            for number, task in enumerate(tasks):
                yield job.work(shared, task, lambda fraction: None)
                report(number + 1.0, number + 1)
            return
        with RayEngine(job, _as_it_is, address=self.address, workers=self.workers) as engine:
            yield from engine.run(tasks, report)


def machines_of_jobs(engine: str, address: str | None, workers: int | None) -> Machines:
    """Where many independent jobs are computed: one after the other here, or on a cluster.

    Raises:
        UsageError: see `Machines.check`; or workers of this machine, where there is one process.
    """
    machines = Machines(engine, workers, address)
    machines.check()
    if engine == LOCAL and workers not in (None, 1):
        raise UsageError(
            f"--workers is {workers}, but on this machine one job follows the other.",
            "Several at a time: --engine ray",
        )
    return machines


class _Turns:
    """One process's simulator of the world whose turn it is."""

    def __init__(self, makers: Sequence[Callable[[], Simulator]]) -> None:
        self._makers = makers
        self._latest: tuple[int, Simulator] | None = None

    def of(self, number: int) -> Simulator:
        """The simulator of one world; the one before is forgotten first."""
        if self._latest is None or self._latest[0] != number:
            self._latest = None
            self._latest = number, self._makers[number]()
        return self._latest[1]


def _simulate_here(turns: _Turns, task: tuple[int, GroupTask], told: Told) -> int:
    return simulate_group(turns.of(task[0]), task[1], told)


def _simulate_there(turns: _Turns, task: tuple[int, GroupTask], told: Told) -> Files:
    return simulate_on_node(turns.of(task[0]), task[1], told)


def _keep_group(task: tuple[int, GroupTask], files: Files) -> int:
    return keep_group(task[1], files)


def _as_it_is(task: Task, result: Result) -> Result:
    return result
