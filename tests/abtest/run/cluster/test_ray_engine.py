"""A Ray cluster: the same bytes as one process, for any nodes, also if one dies in the middle."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from abtest.config import RunConfig
from abtest.console import Console
from abtest.errors import ExitCode, UsageError
from abtest.run.cluster.cargo import Cargo, UnfitNode, keep_group, prepare_on_node, simulate_on_node
from abtest.run.cluster.engine import RETRIES, RayEngine
from abtest.run.engines import Job, LocalEngine, WorkerDied
from abtest.run.run_directory import RunDirectory
from abtest.run.simulate import SimulationPool, SimulationSpec, prepare_worker, simulate_group
from policies.errors import PolicyContractError
from simulator.logs.dataset import Dataset
from tests.abtest.conftest import Result
from tests.abtest.run.cluster.conftest import GROUPS, STORE_BYTES, WITHOUT_RAY

Told = Callable[[float], None]
NUMBERS = np.arange(1_000_000, dtype=np.int64)


def shared(array: NDArray[np.int64]) -> NDArray[np.int64]:
    return array


def square(array: NDArray[np.int64], task: int, told: Told) -> tuple[int, bool]:
    """The square, and whether the array is the object store's own memory."""
    time.sleep(0.5 if task == 0 else 0.0)
    own = bool(array.flags.owndata or array.flags.writeable)
    return int(array[task]) ** 2, own


def misbehave(folder: Path, task: str, told: Told) -> str:
    with (folder / task).open("a") as file:
        file.write("attempt\n")
    if task == "policy":
        raise PolicyContractError("Mine returned nonsense.", "Reproduce: abtest policy check")
    if task == "memory":
        raise MemoryError
    if task == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return task


class Unreadable:
    """Cannot be unpickled: as on a node that lacks the program."""

    def __reduce__(self) -> Any:
        return (_missing, ())


def _missing() -> None:
    raise ModuleNotFoundError("No module named 'abtest'")


def silent(done: float, finished: int) -> None:
    pass


def same(task: Any, value: Any) -> Any:
    return value


def ray_engine(job: Job[Any, Any], keep: Callable[[Any, Any], Any] = same) -> RayEngine:
    return RayEngine(job, keep, address=None, workers=None)


def test_results_come_in_order_and_the_job_is_read_from_the_store(cluster: Any) -> None:
    kept: list[int] = []
    told: list[tuple[float, int]] = []

    def keep(task: int, value: tuple[int, bool]) -> tuple[int, bool]:
        kept.append(task)
        return value

    with ray_engine(Job(partial(shared, NUMBERS), square), keep) as engine:
        assert engine.workers == 2
        found = list(engine.run(range(6), lambda *now: told.append(now)))
    assert found == [(n * n, False) for n in range(6)]
    # The slow first task came last, the others were kept meanwhile.
    assert sorted(kept) == list(range(6)) and kept[-1] == 0
    assert told[-1] == (6.0, 6)


@pytest.mark.parametrize(
    ("task", "kind", "text", "attempts"),
    [
        ("policy", PolicyContractError, "Mine returned nonsense. Reproduce", 1),
        ("memory", MemoryError, "", 1),
        ("kill", WorkerDied, f"lost {RETRIES + 1} times", RETRIES + 1),
    ],
)
def test_a_lost_process_is_replaced_and_an_exception_is_not_tried_again(
    cluster: Any,
    tmp_path: Path,
    task: str,
    kind: type[BaseException],
    text: str,
    attempts: int,
) -> None:
    with pytest.raises(kind) as caught, ray_engine(Job(partial(Path, tmp_path), misbehave)) as run:
        list(run.run([task], silent))
    assert text in str(caught.value)
    if kind is not WorkerDied:
        assert "in misbehave" in str(caught.value.__cause__)
    assert len((tmp_path / task).read_text().splitlines()) == attempts


def test_a_node_without_the_program_is_told_to_install_it(cluster: Any) -> None:
    job: Job[Any, Any] = Job(partial(shared, Unreadable()), square)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"No module named 'abtest'.*same version"):  # noqa: SIM117
        with ray_engine(job) as engine:
            list(engine.run([0], silent))


@pytest.mark.parametrize(
    ("name", "text", "out_of_memory"),
    [
        ("OutOfMemoryError", "ran out of memory. Memory on the node was 9 GB.", True),
        ("OutOfDiskError", "disk of a node is full. Memory on the node was 9 GB.", False),
        ("WorkerCrashedError", f"was lost {RETRIES + 1} times", False),
    ],
)
def test_want_of_memory_is_told_from_other_losses(
    name: str, text: str, out_of_memory: bool
) -> None:
    """Ray's own errors, raised in its place: no cluster of a test shall run out of memory."""
    ray = pytest.importorskip("ray", reason=WITHOUT_RAY)
    kind = getattr(ray.exceptions, name)
    error = kind() if name == "WorkerCrashedError" else kind("Memory on the node was 9 GB.\nMore")
    engine = ray_engine(Job(partial(shared, NUMBERS), square))

    class Ray:
        exceptions = ray.exceptions

        @staticmethod
        def get(reference: object) -> object:
            raise error

    engine._ray = Ray
    with pytest.raises(WorkerDied) as caught:
        engine._value("reference")
    assert text in str(caught.value)
    assert caught.value.out_of_memory is out_of_memory
    assert caught.value.code == ExitCode.RESOURCES


def _pieces(directory: RunDirectory) -> dict[str, str]:
    """Hash per file of the pieces, by its path."""
    return {
        str(path.relative_to(directory.pieces)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.pieces.rglob("*"))
        if path.is_file()
    }


def _remote(spec: SimulationSpec, dataset: Dataset) -> Job[Any, Any]:
    return Job(partial(prepare_on_node, Cargo.of(spec, dataset)), simulate_on_node)


@pytest.fixture(scope="module")
def local(spec: SimulationSpec, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """What one process of this machine makes."""
    folder = tmp_path_factory.mktemp("local") / "run"
    directory = RunDirectory.create(folder, RunConfig(), {})
    engine = LocalEngine(Job(partial(prepare_worker, spec), simulate_group), 1)
    with SimulationPool(spec, directory, engine) as pool:
        pool.run(GROUPS, Console(quiet=True), "local")
    return directory


def test_a_run_goes_on_with_the_other_engine(
    cluster: Any, spec: SimulationSpec, dataset: Dataset, local: RunDirectory, tmp_path: Path
) -> None:
    """Groups 0 and 3 are there from the local engine; then 0 and 1 are lost and done locally."""
    mixed = RunDirectory.create(tmp_path / "mixed", RunConfig(), {})
    expected = _pieces(local)
    assert len([name for name in expected if name.endswith(".parquet")]) > 2 * GROUPS
    for group in (0, 3):
        shutil.copy(local.piece(group), mixed.piece(group))
        shutil.copytree(local.piece_log(group), mixed.piece_log(group))
    kept: list[int] = []

    def keep(task: Any, files: Any) -> int:
        kept.append(task.number)
        return keep_group(task, files)

    with SimulationPool(spec, mixed, ray_engine(_remote(spec, dataset), keep)) as pool:
        pool.run(GROUPS, Console(quiet=True), "ray")
    assert sorted(kept) == [1, 2, 4]
    assert _pieces(mixed) == expected
    mixed.piece(1).unlink()
    engine = LocalEngine(Job(partial(prepare_worker, spec), simulate_group), 1)
    with SimulationPool(spec, mixed, engine) as pool:
        pool.run(GROUPS, Console(quiet=True), "local")
    assert _pieces(mixed) == expected


def test_a_node_that_dies_costs_its_groups_only(
    cluster: Any, spec: SimulationSpec, dataset: Dataset, local: RunDirectory, tmp_path: Path
) -> None:
    """A third node is killed while it simulates; its group is simulated elsewhere."""
    doomed = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    directory = RunDirectory.create(tmp_path / "run", RunConfig(), {})
    started = tmp_path / "started"
    started.mkdir()
    kept: list[int] = []
    killed: list[str] = []

    def keep(task: Any, files: Any) -> int:
        kept.append(task.number)
        if not killed and (started / doomed.node_id).exists():
            cluster.remove_node(doomed, allow_graceful=False)
            killed.append(doomed.node_id)
        return keep_group(task, files)

    cargo = Cargo.of(spec, dataset)
    job = Job(partial(prepare_on_node, cargo), partial(_lingering, started, doomed.node_id))
    with SimulationPool(spec, directory, ray_engine(job, keep)) as pool:
        pool.run(GROUPS, Console(quiet=True), "ray")
    assert killed and (started / doomed.node_id).exists()
    assert sorted(kept) == list(range(GROUPS))
    assert _pieces(directory) == _pieces(local)


def _lingering(started: Path, doomed: str, simulator: Any, task: Any, told: Told) -> Any:
    """Simulate a group; on the doomed node never to end."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    (started / node).touch()
    if node == doomed:
        time.sleep(600.0)
    else:
        # Until the doomed node is at work, others leave it a group.
        deadline = time.monotonic() + 60.0
        while not (started / doomed).exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    return simulate_on_node(simulator, task, told)


def test_weights_that_changed_on_the_way_are_refused(
    cluster: Any, spec: SimulationSpec, dataset: Dataset, tmp_path: Path
) -> None:
    cargo = Cargo.of(spec, dataset)
    for files in cargo.weights.values():
        for content in files.values():
            content[-1] ^= 1
    directory = RunDirectory.create(tmp_path / "run", RunConfig(), {})
    engine = ray_engine(Job(partial(prepare_on_node, cargo), simulate_on_node), keep_group)
    with pytest.raises(UnfitNode, match=r"node .*: weights of .* damaged") as caught:  # noqa: SIM117
        with SimulationPool(spec, directory, engine) as pool:
            pool.run(GROUPS, Console(quiet=True), "ray")
    assert caught.value.code == ExitCode.DATA
    assert not _pieces(directory)


def test_a_whole_run_on_ray_is_the_local_one(
    cluster: Any, abtest: Callable[..., Result], small_log: Path, tmp_path: Path
) -> None:
    """Through the command line, with a policy file; nothing else on standard output."""
    assert abtest("policy", "new", "mine").code == 0
    arguments = ("run", "-t", "mine.py:Mine", "-c", "random", "--users", 120, "--data", small_log)
    local = abtest(*arguments, "--json", "--out", "local", "--workers", 1)
    remote = abtest(*arguments, "--json", "--out", "remote", "--engine", "ray")
    assert (local.code, remote.code) == (0, 0), remote.err
    assert remote.out == local.out
    for name in ("outcomes.parquet", "results.json", "plan.json"):
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "remote" / name).read_bytes()
