"""Pack what a simulation needs for machines that lack it, and unpack and check it there.

Weights and the catalogue travel; the log and the user's own policy files must be there, under the
same path and with the same content, and so must the same program.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abtest.errors import AbtestError, ExitCode
from abtest.files import new_directory, write_bytes
from abtest.run.arms.training import TrainedPolicy
from abtest.run.simulate import (
    GroupTask,
    SimulationSpec,
    Simulator,
    prepare_worker,
    simulate_group,
)
from abtest.version import __version__
from policies.errors import CheckpointError
from policies.registry import parts_of
from simulator.errors import DataError
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import INFO_FILE, Dataset
from simulator.loop import Report

Bytes = NDArray[np.uint8]
Files = dict[str, Bytes]
"""Relative path -> content."""

_OUTCOMES = "outcomes.parquet"
_LOG = "log"
_SAME_BYTES = ("numpy", "torch", "polars", "scipy", "transformers")
_ROOMS = ("abtest/run", "policies", "lsvcr", "simulator")


class UnfitNode(AbtestError):
    """A machine of the cluster that would not give the same bytes."""

    code = ExitCode.DATA


@dataclass(frozen=True)
class Cargo:
    """What every machine is sent once.

    Attributes:
        spec: What is simulated; its paths are absolute.
        weights: Per directory of weights, its files.
        catalogue: Of the log.
        program: Versions that must be the same everywhere.
        log_hash: Content hash of the log.
        policy_files: Hash per file of the user's own policies.
        folder: Working directory, which relative paths of policies start from.
    """

    spec: SimulationSpec
    weights: Mapping[Path, Files]
    catalogue: Catalogue
    program: Mapping[str, str]
    log_hash: str
    policy_files: Mapping[str, str]
    folder: str

    @classmethod
    def of(cls, spec: SimulationSpec, dataset: Dataset) -> Cargo:
        """Read the weights and the catalogue.

        Args:
            spec: What is simulated.
            dataset: The log of ``spec.environment``.
        """
        log = str(Path(spec.environment.dataset).absolute())
        environment = dataclasses.replace(spec.environment, dataset=log)
        directories = {p.directory for p in _trained(spec)}
        if environment.model:
            directories.add(Path(environment.model))
        return cls(
            spec=dataclasses.replace(spec, environment=environment),
            weights={d: read_files(d) for d in sorted(directories)},
            catalogue=dataset.catalogue(),
            program=program(),
            log_hash=dataset.info.content_hash,
            policy_files={f: _digest(Path(f)) for f in files_of(p.spec for p in _trained(spec))},
            folder=str(Path.cwd()),
        )

    def unpack(self, target: Path) -> SimulationSpec:
        """Write the weights below ``target``; the simulation with these paths."""
        moved: dict[Path, Path] = {}
        for number, (directory, files) in enumerate(self.weights.items()):
            moved[directory] = target / str(number) / directory.name
            write_files(moved[directory], files)

        def here(policy: TrainedPolicy) -> TrainedPolicy:
            return dataclasses.replace(policy, directory=moved[policy.directory])

        environment = self.spec.environment
        model, stage = environment.model, environment.candidates
        return dataclasses.replace(
            self.spec,
            policies=tuple(here(p) for p in self.spec.policies),
            environment=dataclasses.replace(
                environment,
                model=str(moved[Path(model)]) if model else model,
                candidates=None if stage is None else here(stage),
            ),
        )

    def check_machine(self) -> None:
        """Refuse a machine with another program, another log or other policies.

        Raises:
            UnfitNode: names the machine and what differs.
        """
        self._needs().check()

    def _needs(self) -> Needs:
        log = self.spec.environment.dataset
        return Needs(self.program, log, self.log_hash, self.policy_files, self.folder)


@dataclass(frozen=True)
class Needs:
    """What a machine must have to give the same result as this one.

    Attributes:
        program: Versions that must be the same everywhere.
        log: Directory of the log.
        log_hash: Its content hash.
        policy_files: Hash per file of the user's own policies.
        folder: Working directory, which relative paths of policies start from.
    """

    program: Mapping[str, str]
    log: str
    log_hash: str
    policy_files: Mapping[str, str]
    folder: str

    @classmethod
    def of(cls, dataset: Dataset, policies: Iterable[str]) -> Needs:
        """What jobs about a log and some policies (names, or ``file.py:Class``) need."""
        files = {f: _digest(Path(f)) for f in files_of(policies)}
        log = str(dataset.path.absolute())
        return cls(program(), log, dataset.info.content_hash, files, str(Path.cwd()))

    def check(self) -> None:
        """Refuse a machine with another program, no log or other policies.

        Raises:
            UnfitNode: names the machine and what differs.
        """
        for name, wanted in self.program.items():
            found = program()[name]
            if found != wanted:
                raise UnfitNode(
                    f"{machine()} has {name} {found}, this one has {wanted}.",
                    "Install the same on every node",
                )
        log = Path(self.log)
        if not (log / INFO_FILE).is_file():
            raise UnfitNode(
                f"{machine()} has no dataset at {log}.",
                "Every node must see the log under the same path: put it on a shared disk and give "
                "that path to --data",
            )
        if os.path.isdir(self.folder):  # noqa: PTH112 - a path of another machine
            os.chdir(self.folder)
        for file, wanted in self.policy_files.items():
            if not Path(file).is_file():
                raise UnfitNode(
                    f"{machine()} has no file {Path(self.folder) / file}.",
                    "Every node must see the policy under the same path: put it on a shared disk",
                )
            if _digest(Path(file)) != wanted:
                raise UnfitNode(f"{machine()} has another {Path(self.folder) / file}.", _COPY)

    def open(self, catalogue: Catalogue | None = None) -> Dataset:
        """The log, after `check`.

        Args:
            catalogue: Of the log, if it is known already.

        Raises:
            UnfitNode: the machine lacks something, or has something else.
        """
        self.check()
        try:
            dataset = Dataset.open(Path(self.log))
        except DataError as error:
            raise UnfitNode(f"{machine()}: {error}") from error
        if dataset.info.content_hash != self.log_hash:
            raise UnfitNode(f"{machine()} has another log at {dataset.path}.", _COPY)
        return dataset if catalogue is None else dataset.with_catalogue(catalogue)


_COPY = "Copy it to every node, or put it on a shared disk"


def prepare_on_node(cargo: Cargo) -> Simulator:
    """A process's simulator on another machine.

    Raises:
        UnfitNode: the machine lacks something, or has something else.
    """
    dataset = cargo._needs().open(cargo.catalogue)
    # What is loaded stands in memory: the files are needed no longer.
    with tempfile.TemporaryDirectory(prefix="abtest-") as folder:
        try:
            return prepare_worker(cargo.unpack(Path(folder)), dataset)
        except CheckpointError as error:
            raise UnfitNode(f"{machine()}: {error.problem}", "Give the command again") from error


def simulate_on_node(simulator: Simulator, task: GroupTask, told: Report) -> Files:
    """Simulate one group; the files that a process of this machine would have written."""
    with tempfile.TemporaryDirectory(prefix="abtest-") as folder:
        outcomes, log = Path(folder) / _OUTCOMES, Path(folder) / _LOG
        here = GroupTask(task.number, outcomes, None if task.log is None else log)
        simulate_group(simulator, here, told)
        return read_files(Path(folder))


def keep_group(task: GroupTask, files: Files) -> int:
    """Write a group's files into the run directory; the number of the group."""
    if task.log is not None:
        shutil.rmtree(task.log, ignore_errors=True)
        inside = f"{_LOG}/"
        with new_directory(task.log) as folder:
            write_files(
                folder, {n.removeprefix(inside): b for n, b in files.items() if n != _OUTCOMES}
            )
    # The outcomes come last: once they are there, the group is done.
    write_bytes(task.outcomes, files[_OUTCOMES].tobytes())
    return task.number


def read_files(directory: Path) -> Files:
    """All files below a directory."""
    return {
        path.relative_to(directory).as_posix(): np.fromfile(path, dtype=np.uint8)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def write_files(directory: Path, files: Mapping[str, Bytes]) -> None:
    """Write files below a directory, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content.tofile(path)


def machine() -> str:
    """This machine, as a node of a cluster is named in messages."""
    import ray

    context = ray.get_runtime_context()
    address = ray.util.get_node_ip_address()
    return f"node {address} ({socket.gethostname()}, {context.get_node_id()[:8]})"


@cache
def program() -> dict[str, str]:
    """What decides on the bytes of a result: the program itself and the packages below it."""
    root = Path(__file__).parents[3]
    digest = hashlib.blake2b(digest_size=8)
    for room in _ROOMS:
        for file in sorted((root / room).rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode())
            digest.update(file.read_bytes())
    return {
        "abtest": f"{__version__} ({digest.hexdigest()})",
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: importlib.metadata.version(name) for name in _SAME_BYTES},
    }


def _trained(spec: SimulationSpec) -> list[TrainedPolicy]:
    stage = spec.environment.candidates
    return [*spec.policies, *([] if stage is None else [stage])]


def files_of(policies: Iterable[str]) -> list[str]:
    """Files of the user's own policies, as they are named."""
    found = set()
    for policy in policies:
        for part in parts_of(policy) or (policy,):
            file = part.partition(":")[0]
            if file.endswith(".py"):
                found.add(file)
    return sorted(found)


def _digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
