"""Run independent tasks on a Ray cluster, results in the order of the tasks."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from abtest.errors import UsageError
from abtest.run.cluster.connection import connected
from abtest.run.engines import Job, Report, TaskOutcome, WorkerDied, default_workers

RETRIES = 3
"""How often a task is started again after its process or its node has been lost."""

_POLL_SECONDS = 0.5
_WITHOUT_CORES_SECONDS = 300.0
_PER_CORE = 2
"""Tasks given to Ray per core: a core has the next one while a result is written."""

Keep = Callable[[Any, Any], Any]
"""``keep(task, result of the job's work)``: what the caller is given in its place."""


class RayEngine:
    """Tasks on the nodes of a Ray cluster; one core each.

    The job goes into the object store once; a node fetches it once, and its processes read the
    arrays in it without a copy. A task is started again, up to `RETRIES` times, if its process or
    its node is lost, never for an exception that it raised. Results leave the object store as soon
    as they are there, and no more tasks are given to Ray than `_PER_CORE` per core: what waits in
    memory does not grow with the number of tasks.

    Args:
        job: What a process does; pickled, so that nodes must have the same program.
        keep: Called in this process with every result, in any order, before it is yielded.
        address: Of the cluster, see `abtest.run.cluster.connection.connected`.
        workers: Tasks at the same time; None for one per core.
    """

    def __init__(
        self, job: Job[Any, Any], keep: Keep, *, address: str | None, workers: int | None
    ) -> None:
        self._job = job
        self._keep = keep
        self._address = address
        self._limit = workers
        self._stack = contextlib.ExitStack()
        self._ray: Any = None
        self._sent: Any = None
        self._key = secrets.token_hex(8)

    def __enter__(self) -> RayEngine:
        """Connect.

        Raises:
            UsageError: ray is not installed, or no cluster answers.
        """
        processes = self._limit or default_workers()
        self._ray = self._stack.enter_context(connected(self._address, processes))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sent = None
        self._stack.close()

    @property
    def workers(self) -> int:
        """Tasks that can run at the same time now."""
        cores = max(1, self._cores())
        return cores if self._limit is None else min(cores, self._limit)

    @property
    def place(self) -> str:
        """Where tasks run, in words."""
        nodes = sum(node["Alive"] for node in self._ray.nodes())
        return f"Ray cluster, nodes: {nodes}, tasks at a time: {self.workers}"

    def run(self, tasks: Sequence[Any], report: Report) -> Iterator[Any]:
        """Yield one kept result per task, in the order of the tasks.

        Raises:
            WorkerDied: a task's process or node was lost too often, or no node is left.
            UsageError: a node cannot run the program.
            BaseException: whatever a task raised.
        """
        if self._sent is None:
            self._sent = self._ray.put(self._job)
        remote = self._ray.remote(_run_task).options(
            num_cpus=1, max_retries=RETRIES, retry_exceptions=False
        )
        running: dict[Any, int] = {}
        kept: dict[int, Any] = {}
        given = finished = position = 0
        cores_seen = time.monotonic()
        try:
            while position < len(tasks):
                cores = self._cores()
                cores_seen = time.monotonic() if cores else cores_seen
                if time.monotonic() - cores_seen > _WITHOUT_CORES_SECONDS:
                    raise WorkerDied("no node of the cluster has a core.", out_of_memory=False)
                most = _PER_CORE * max(1, cores) if self._limit is None else self._limit
                while given < len(tasks) and len(running) < most:
                    running[remote.remote(self._sent, self._key, tasks[given])] = given
                    given += 1
                ready, _ = self._ray.wait(list(running), timeout=_POLL_SECONDS)
                for reference in ready:
                    number = running.pop(reference)
                    kept[number] = self._keep(tasks[number], self._value(reference))
                    finished += 1
                del ready
                report(float(finished), finished)
                while position in kept:
                    yield kept.pop(position)
                    position += 1
        finally:
            for reference in running:
                with contextlib.suppress(Exception):
                    self._ray.cancel(reference, force=True)

    def _cores(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))

    def _value(self, reference: Any) -> Any:
        """The result of a task that is ready."""
        errors = self._ray.exceptions
        try:
            outcome: TaskOutcome = self._ray.get(reference)
        except errors.OutOfMemoryError as error:
            raise WorkerDied(
                f"a worker process ran out of memory. {_line(error)}.", out_of_memory=True
            ) from error
        except errors.OutOfDiskError as error:
            raise WorkerDied(
                f"the disk of a node is full. {_line(error)}.", out_of_memory=False
            ) from error
        except errors.RayTaskError as error:
            # Tasks return what they raise: this one could not begin.
            raise UsageError(
                f"a node cannot run the program: {str(error).strip().splitlines()[-1]}.",
                "Install the same version of abtest, with the same packages, on every node",
            ) from error
        except errors.RayError as error:
            raise WorkerDied(
                f"a worker process or its node was lost {RETRIES + 1} times. {_line(error)}.",
                out_of_memory=False,
            ) from error
        outcome.raise_error()
        return outcome.value


_prepared: dict[str, Any] = {}
"""What the tasks of one engine share in this process, by the engine's key."""


def _run_task(job: Job[Any, Any], key: str, task: Any) -> TaskOutcome:
    """One task in a process of a node."""
    try:
        if key not in _prepared:
            _prepared.clear()
            _prepared[key] = job.prepare()
        return TaskOutcome(job.work(_prepared[key], task, _nobody))
    except BaseException as error:
        return TaskOutcome.failed(error)


def _nobody(fraction: float) -> None:
    """Progress within a task is not sent: a cluster has many tasks."""


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
