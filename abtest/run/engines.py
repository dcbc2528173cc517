"""Run independent tasks on several processes, results in the order of the tasks.

An engine gets a `Job` (how a process prepares itself, what it does with one task) and tasks, and
yields one result per task, in order, whatever finished first. What a task raises reaches the
caller as what it is, with the worker's traceback as its cause. `LocalEngine` has processes of this
machine, `abtest.run.cluster.engine.RayEngine` those of a cluster.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from abtest.errors import AbtestError, ExitCode
from abtest.processes import killed_before_others, watching
from abtest.run.arms.isolation import threads_left
from policies.errors import PolicyTooSlow
from simulator.memory import out_of_memory_kills

Task = TypeVar("Task")
Result = TypeVar("Result")
Told = Callable[[float], None]
"""``told(fraction)``: how far a task has come, from 0 to 1."""
Report = Callable[[float, int], None]
"""``report(tasks done, in fractions, tasks finished)``, called now and then by the engine."""

_POLL_SECONDS = 0.5
_WORKER_POINTS = 300
"""By which the kernel prefers to kill a worker when memory runs out."""
_GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class Job(Generic[Task, Result]):
    """What every process does; picklable.

    Attributes:
        prepare: Makes what all tasks of one process share; called once per process.
        work: ``work(shared, task, told)``, the result of one task.
    """

    prepare: Callable[[], Any]
    work: Callable[[Any, Task, Told], Result]


class Engine(Protocol):
    """Something that runs a job's tasks; use as a context manager."""

    def __enter__(self) -> Engine:
        """Ready to run."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the processes; without waiting for tasks if something went wrong."""

    @property
    def workers(self) -> int:
        """Tasks that can run at the same time."""

    @property
    def place(self) -> str:
        """Where tasks run, in words; empty if there is nothing to say."""

    def run(self, tasks: Sequence[Any], report: Report) -> Iterator[Any]:
        """Yield one result per task, in the order of the tasks."""


class WorkerDied(AbtestError):
    """A worker process ended without saying why."""

    code = ExitCode.RESOURCES

    def __init__(self, problem: str, hint: str = "", *, out_of_memory: bool) -> None:
        super().__init__(problem, hint)
        self.out_of_memory = out_of_memory


class WorkerError(Exception):
    """What a task raised, where that itself cannot travel between processes."""


class WorkerTraceback(Exception):
    """The traceback of a worker, as the cause of what it raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class LocalEngine:
    """Processes of this machine, started when the first task is given.

    They end when this process ends, however it ends.

    Args:
        job: What they do.
        workers: Number of processes.
    """

    def __init__(self, job: Job[Any, Any], workers: int) -> None:
        self._job = job
        self._workers = workers
        self._context = _Spawn()
        self._pool: ProcessPoolExecutor | None = None
        self._done: Any = None
        self._given = 0

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            # Tasks in progress are lost; waiting for them could take minutes.
            self._terminate()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def workers(self) -> int:
        """Number of processes."""
        return self._workers

    @property
    def place(self) -> str:
        """Nothing: this machine is where everything runs."""
        return ""

    def run(self, tasks: Sequence[Any], report: Report) -> Iterator[Any]:
        """Yield one result per task, in the order of the tasks.

        Raises:
            WorkerDied: a process was killed or crashed.
            BaseException: whatever a task raised.
        """
        pool = self._started()
        kills = out_of_memory_kills()
        begun = self._done.value
        try:
            futures = [pool.submit(_run_task, task) for task in tasks]
            yield from self._results(futures, begun, report)
        except BrokenProcessPool:
            raise self._death(kills) from None

    def _results(
        self, futures: Sequence[Future[TaskOutcome]], begun: float, report: Report
    ) -> Iterator[Any]:
        pending, position = set(futures), 0
        while position < len(futures):
            finished, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
            for future in finished:
                future.result().raise_error()
            report(self._done.value - begun, len(futures) - len(pending))
            while position < len(futures) and futures[position].done():
                yield futures[position].result().value
                position += 1

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._done = self._context.Value("d", 0.0)
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=self._context,
                initializer=_prepare_worker,
                initargs=(self._job, self._done),
            )
        return self._pool

    def _death(self, kills_before: int) -> WorkerDied | PolicyTooSlow:
        deadline = time.monotonic() + _GRACE_SECONDS
        while any(p.exitcode is None for p in self._context.started) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.05)
        # The pool ends the others by SIGTERM once one is gone.
        codes = [p.exitcode for p in self._context.started]
        odd = [c for c in codes if c not in (None, 0, -signal.SIGTERM)]
        code = odd[0] if odd else None
        if out_of_memory_kills() > kills_before:
            return WorkerDied("a worker process ran out of memory.", out_of_memory=True)
        if code == ExitCode.POLICY:
            return PolicyTooSlow(
                "a policy took too long and could not be interrupted: its name is above.",
                "Allow more: ABTEST_POLICY_SECONDS=3600",
            )
        if code is None:
            return WorkerDied("a worker process was stopped by SIGTERM.", out_of_memory=False)
        if code < 0:
            name = _signal_name(-code)
            hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
            return WorkerDied(f"a worker process was killed by {name}{hint}.", out_of_memory=False)
        return WorkerDied(f"a worker process ended with exit code {code}.", out_of_memory=False)

    def _terminate(self) -> None:
        for process in self._context.started:
            if process.exitcode is None:
                process.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        for process in self._context.started:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                process.kill()


class _Spawn(SpawnContext):
    """Starts fresh interpreters, and remembers them.

    Fresh ones, because a fork of a process with threads (torch's, Polars') may hang. They do not
    import the program's main module again: a script that calls `abtest.run` needs no guard.
    """

    def __init__(self) -> None:
        super().__init__()
        self.started: list[SpawnProcess] = []

    def Process(  # type: ignore[override]  # noqa: N802 - the name that the library calls
        self, *arguments: Any, **named: Any
    ) -> SpawnProcess:
        """A process that is not started yet."""
        process = _Process(*arguments, **named)
        self.started.append(process)
        return process


class _Process(SpawnProcess):
    """A worker that does not import the main module of the program.

    It watches its parent before it imports anything large, which can take seconds.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Of what it is made of, the state comes last: it imports what the job needs."""
        kind = type(self)
        return watching, (os.getpid(), kind.__module__, kind.__qualname__), self.__dict__

    def start(self) -> None:
        """Start it."""
        with _no_main_module():
            super().start()

    def run(self) -> None:
        """Work; then end, also where a policy has left threads that go on."""
        super().run()
        if threads_left():
            os._exit(0)


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {
        name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in vars(main)
    }
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


@dataclass(frozen=True)
class TaskOutcome:
    """A task's result or what it raised, in a form that can always travel.

    Attributes:
        value: The result.
        error: What it raised, or None.
        trace: The traceback of that.
    """

    value: Any = None
    error: BaseException | None = None
    trace: str = ""

    @classmethod
    def failed(cls, error: BaseException) -> TaskOutcome:
        """Of a task that raised."""
        trace = "".join(traceback.format_exception(error))
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = WorkerError(f"{type(error).__name__}: {error}")
        return cls(error=error, trace=trace)

    def raise_error(self) -> None:
        """Raise what the task raised, if it did."""
        if self.error is not None:
            raise self.error from WorkerTraceback(self.trace)


_shared: Any = None
_job: Job[Any, Any] | None = None
_failure: TaskOutcome | None = None
_done: Any = None
"""A number shared by all processes: tasks done so far, in fractions."""


def _prepare_worker(job: Job[Any, Any], done: Any) -> None:
    global _shared, _job, _done, _failure
    killed_before_others(_WORKER_POINTS)
    # Ctrl-C belongs to the parent, which ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Standard output is for results; what a policy prints goes where progress goes.
    os.dup2(2, 1)
    _job, _done = job, done
    try:
        _shared = job.prepare()
    except BaseException as error:
        # An initialiser that raises would break the pool without saying why.
        _failure = TaskOutcome.failed(error)


def _run_task(task: Any) -> TaskOutcome:
    if _failure is not None:
        return _failure
    assert _job is not None
    told = 0.0

    def tell(fraction: float) -> None:
        nonlocal told
        with _done.get_lock():
            _done.value += fraction - told
        told = fraction

    try:
        return TaskOutcome(_job.work(_shared, task, tell))
    except BaseException as error:
        return TaskOutcome.failed(error)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def default_workers() -> int:
    """One process per available core, at most eight."""
    return max(1, min(8, len(os.sched_getaffinity(0))))
