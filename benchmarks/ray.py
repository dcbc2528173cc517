"""Measure what a Ray cluster costs against the local engine, and whether bytes are the same.

    pip install -e '.[ray]' --constraint constraints.txt
    python -m benchmarks.ray --people 16384 --nodes 1 2 4 --kill --resume

Every row is the same experiment, with its policies trained before. The nodes are of one core each,
all on this machine: with more nodes than cores the rows show bytes and cost, no speed-up. "more" is
processor time beyond the local engine's, with Ray's own processes.
``--kill`` kills a node of the largest cluster when the first group of people is done; ``--resume``
stops a local run at that moment, goes on with ray, stops it again and ends with the local engine.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from abtest.config import RunConfig
from abtest.console import Console
from abtest.errors import Interrupted
from abtest.run.cluster.connection import connected, ray_package
from abtest.run.experiment import run_experiment
from abtest.run.machines import Machines
from abtest.tables import table

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


def _at_piece(run: Path, number: int, act: Callable[[], None]) -> threading.Thread:
    """Do something once so many groups of people of a run are done."""

    def watch() -> None:
        while len(list((run / "pieces").glob("group-*.parquet"))) < number:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class _Bench:
    """Runs one experiment again and again.

    Args:
        config: The experiment.
        folder: Where its run directories go.
    """

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self.rows: list[tuple[str, ...]] = []
        self._expected: tuple[str, str] | None = None
        self._spent = 0.0

    def path(self, name: str) -> Path:
        """The run directory of a row."""
        return self._folder / name.replace(" ", "-").replace(",", "")

    def train(self) -> None:
        """Make the world and train the policies, which every row then finds in the cache."""
        few = dataclasses.replace(self._config, users=100)
        quiet = Console(quiet=True)
        run_experiment(few, out=self.path("few"), resume=None, machines=_LOCAL, console=quiet)

    def run(
        self, name: str, machines: Machines, *, resume: bool = False, partly: bool = False
    ) -> None:
        """Run it and add a row; the first one is what the others are compared with."""
        path = self.path(name)
        started, before = time.perf_counter(), processor_seconds()
        run_experiment(
            self._config,
            out=None if resume else path,
            resume=path if resume else None,
            machines=machines,
            console=Console(quiet=True),
        )
        seconds, spent = time.perf_counter() - started, processor_seconds() - before
        found = (_digest(path / "outcomes.parquet"), _digest(path / "results.json"))
        if self._expected is None:
            self._expected, self._spent = found, spent
        same = "yes" if found == self._expected else "NO"
        # Of a node that was killed, and of a run that was stopped, some of the work is not seen.
        over = "" if partly else f"{spent - self._spent:+.1f}"
        row = (name, f"{seconds:.1f}", f"{spent:.1f}", over, found[0][:16], same)
        print("  ".join(row), flush=True)
        self.rows.append(row)

    def stop(self, name: str, machines: Machines, pieces: int, *, resume: bool = False) -> None:
        """Run it until so many groups are done."""
        path = self.path(name)
        # A command in the background ignores Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        watch = _at_piece(path, pieces, _interrupt)
        try:
            run_experiment(
                self._config,
                out=None if resume else path,
                resume=path if resume else None,
                machines=machines,
                console=Console(quiet=True),
            )
        except (Interrupted, KeyboardInterrupt):
            watch.join()
            left = len(list((path / "pieces").glob("group-*.parquet")))
            print(f"{name}: stopped with {left} groups done by {machines.engine}", flush=True)
        else:
            raise SystemExit(f"{name}: ended before it could be stopped; give more --people")


def processor_seconds() -> float:
    """Spent by this process and all below it, also those that have ended."""
    own = sum(sum(resource.getrusage(w)[:2]) for w in (resource.RUSAGE_SELF, _CHILDREN))
    below = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            below += sum(process.cpu_times()[:4])
    return own + below


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Print a row per engine and number of nodes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--treatment", default="popular")
    parser.add_argument("--control", default="random")
    parser.add_argument("--world", default="small")
    parser.add_argument("--log-users", type=int, default=300)
    parser.add_argument("--people", type=int, default=16_384, help="4,096 make a group")
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--burn-in-days", type=int, default=1)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kill", action="store_true", help="kill a node of the largest cluster")
    parser.add_argument("--resume", action="store_true", help="stop, and go on with the other")
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    options = parser.parse_args()
    config = RunConfig(
        treatment=(options.treatment,),
        control=options.control,
        world=options.world,
        log_users=options.log_users,
        users=options.people,
        days=options.days,
        burn_in_days=options.burn_in_days,
    )
    folder: Any = options.folder or Path(tempfile.mkdtemp(prefix="abtest-ray-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _compare(_Bench(config, folder), options)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def _compare(bench: _Bench, options: argparse.Namespace) -> None:
    bench.train()
    bench.run("local, 1 worker", _LOCAL)
    for number in options.nodes:
        with _nodes(number):
            bench.run(f"ray, nodes {number}", _RAY)
    if options.kill:
        with _nodes(max(options.nodes)) as cluster:
            name = f"ray, nodes {max(options.nodes)}, one killed"
            watch = _at_piece(bench.path(name), 1, cluster.kill_one)
            bench.run(name, _RAY, partly=True)
            watch.join()
    if options.resume:
        name = "local, ray, local"
        bench.stop(name, _LOCAL, 1)
        with _nodes(1):
            bench.stop(name, _RAY, 2, resume=True)
        bench.run(name, _LOCAL, resume=True, partly=True)
    header = ("engine", "seconds", "processor s", "more", "sha256 of outcomes", "same")
    print()
    print(table(bench.rows, header=header, right=(1, 2, 3)))


if __name__ == "__main__":
    main()
