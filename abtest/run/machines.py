"""Choose what runs the groups of people: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import partial

from abtest.errors import UsageError
from abtest.run.cluster.cargo import Cargo, keep_group, prepare_on_node, simulate_on_node
from abtest.run.cluster.connection import connected, named, ray_package
from abtest.run.cluster.engine import RayEngine
from abtest.run.engines import Engine, Job, LocalEngine, default_workers
from abtest.run.simulate import SimulationSpec, prepare_worker, simulate_group
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
