"""Measure what a Ray cluster costs against the local engine, and whether bytes are the same.

    pip install -e '.[ray]' --constraint constraints.txt
    python -m benchmarks.ray --groups 8 --group-size 4096 --nodes 1 2 4 --kill --resume

Every row simulates the same groups of people, with policies trained before. The nodes are of one
core each, all on this machine: with more nodes than cores the rows show bytes and cost, no
speed-up. "more" is processor time beyond the local engine's, with Ray's own processes.
``--kill`` kills a node of the largest cluster when the first group of people is done; ``--resume``
stops a local run at that moment, goes on with ray, stops it again and ends with the local engine.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from abtest.config import RunConfig
from abtest.console import Console
from abtest.errors import Interrupted
from abtest.run.arms.training import train
from abtest.run.cluster.connection import connected, ray_package
from abtest.run.datasets import GROUP_SIZE, builtin_dataset
from abtest.run.environments import EnvironmentSpec
from abtest.run.machines import Machines
from abtest.run.run_directory import RunDirectory
from abtest.run.simulate import SimulationPool, SimulationSpec
from abtest.tables import table
from policies.registry import settings_of
from simulator.logs.dataset import Dataset

_STORE = 200 << 20
_CHILDREN = resource.RUSAGE_CHILDREN
_RAY = Machines("ray")
_LOCAL = Machines(workers=1)


class _Cluster:
    """Nodes of one core on this machine, which this process is connected to."""

    def __init__(self, nodes: int) -> None:
        from ray.cluster_utils import Cluster

        root = str(Path(__file__).parents[1])
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        # Ray's workers are nice by 15, those of the local engine are not.
        os.environ.update({"RAY_worker_niceness": "0"})
        self._cluster = Cluster()
        self._nodes = [
            self._cluster.add_node(
                num_cpus=1,
                object_store_memory=_STORE,
                **({} if number else {"include_dashboard": False}),
            )
            for number in range(nodes)
        ]
        self.address = self._cluster.address

    def kill_one(self) -> None:
        """Kill the processes of the last node, as a machine that loses its power."""
        self._cluster.remove_node(self._nodes.pop(), allow_graceful=False)

    def shut_down(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


@contextmanager
def _nodes(number: int) -> Iterator[_Cluster]:
    ray_package()
    cluster = _Cluster(number)
    try:
        with connected(cluster.address, 1):
            yield cluster
    finally:
        cluster.shut_down()


def _at_piece(run: RunDirectory, number: int, act: Callable[[], None]) -> threading.Thread:
    """Do something once so many groups of people of a run are done."""

    def watch() -> None:
        while len(list(run.pieces.glob("group-*.parquet"))) < number:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class _Bench:
    """Simulates the same groups of people again and again.

    Args:
        spec: What is simulated.
        dataset: The log of its environment.
        folder: Where run directories go.
    """

    def __init__(self, spec: SimulationSpec, dataset: Dataset, folder: Path) -> None:
        self._spec = spec
        self._dataset = dataset
        self._folder = folder
        assert spec.people is not None
        self._groups = -(-spec.people // spec.group_size)
        self.rows: list[tuple[str, ...]] = []
        self._expected = ""
        self._spent = 0.0

    def directory(self, name: str) -> RunDirectory:
        """The run directory of a row, made if need be."""
        path = self._folder / name.replace(" ", "-").replace(",", "")
        return RunDirectory(path) if path.exists() else RunDirectory.create(path, RunConfig(), {})

    def run(self, name: str, machines: Machines, *, partly: bool = False) -> None:
        """Simulate what is missing and add a row; the others are compared with the first one."""
        directory = self.directory(name)
        started, before = time.perf_counter(), processor_seconds()
        self._simulate(directory, machines)
        seconds, spent = time.perf_counter() - started, processor_seconds() - before
        directory.complete(directory.collect(self._groups))
        found = hashlib.sha256((directory.path / "outcomes.parquet").read_bytes()).hexdigest()
        if not self._expected:
            self._expected, self._spent = found, spent
        same = "yes" if found == self._expected else "NO"
        # Of a node that was killed, and of a run that was stopped, some of the work is not seen.
        over = "" if partly else f"{spent - self._spent:+.1f}"
        row = (name, f"{seconds:.1f}", f"{spent:.1f}", over, found[:16], same)
        print("  ".join(row), flush=True)
        self.rows.append(row)

    def stop(self, name: str, machines: Machines, pieces: int) -> None:
        """Simulate until so many groups are done, and press Ctrl-C."""
        directory = self.directory(name)
        # A command in the background ignores Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        watch = _at_piece(directory, pieces, _interrupt)
        try:
            self._simulate(directory, machines)
        except (Interrupted, KeyboardInterrupt):
            watch.join()
            left = len(directory.done(self._groups))
            print(f"{name}: stopped with {left} groups done by {machines.engine}", flush=True)
        else:
            raise SystemExit(f"{name}: ended before it could be stopped; give more --groups")

    def _simulate(self, directory: RunDirectory, machines: Machines) -> None:
        engine = machines.simulating(self._spec, self._dataset)
        with SimulationPool(self._spec, directory, engine) as pool:
            pool.run(self._groups, Console(quiet=True), "simulating")


def processor_seconds() -> float:
    """Spent by this process and all below it, also those that have ended."""
    own = sum(sum(resource.getrusage(w)[:2]) for w in (resource.RUSAGE_SELF, _CHILDREN))
    below = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            below += sum(process.cpu_times()[:4])
    return own + below


def _spec(options: argparse.Namespace) -> tuple[SimulationSpec, Dataset]:
    """What is simulated, with trained policies."""
    quiet = Console(quiet=True)
    dataset = builtin_dataset(options.world, 1, options.log_users, 2, quiet)
    arms = (options.control, options.treatment)
    trained = tuple(
        train(name, settings_of(name, {}), dataset, seed=1, console=quiet) for name in arms
    )
    spec = SimulationSpec(
        environment=EnvironmentSpec(
            "world", str(dataset.path), "", options.burn_in_days, 1, options.days
        ),
        arms=arms,
        policies=trained,
        twin=False,
        people=options.groups * options.group_size,
        days=options.days,
        seed=1,
        explore_share=0.0,
        group_size=options.group_size,
    )
    return spec, dataset


def main() -> None:
    """Print a row per engine and number of nodes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--treatment", default="popular")
    parser.add_argument("--control", default="random")
    parser.add_argument("--world", default="small")
    parser.add_argument("--log-users", type=int, default=300)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--group-size", type=int, default=GROUP_SIZE)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--burn-in-days", type=int, default=1)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kill", action="store_true", help="kill a node of the largest cluster")
    parser.add_argument("--resume", action="store_true", help="stop, and go on with the other")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="abtest-ray-") as folder:
        _compare(_Bench(*_spec(options), Path(folder)), options)


def _compare(bench: _Bench, options: argparse.Namespace) -> None:
    bench.run("local, 1 worker", _LOCAL)
    for number in options.nodes:
        with _nodes(number):
            bench.run(f"ray, nodes {number}", _RAY)
    if options.kill:
        with _nodes(max(options.nodes)) as cluster:
            name = f"ray, nodes {max(options.nodes)}, one killed"
            watch = _at_piece(bench.directory(name), 1, cluster.kill_one)
            bench.run(name, _RAY, partly=True)
            watch.join()
    if options.resume:
        name = "local, ray, local"
        bench.stop(name, _LOCAL, 1)
        with _nodes(1):
            bench.stop(name, _RAY, 2)
        bench.run(name, _LOCAL, partly=True)
    header = ("engine", "seconds", "processor s", "more", "sha256 of outcomes", "same")
    print()
    print(table(bench.rows, header=header, right=(1, 2, 3)))


if __name__ == "__main__":
    main()
