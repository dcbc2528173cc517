"""Run chosen tests against one changed file, in a process that has the large libraries loaded."""

from __future__ import annotations

import multiprocessing as mp
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import pytest

LIBRARIES = ("numpy", "scipy.optimize", "scipy.stats", "polars", "torch", "pytest", "hypothesis")
"""Imported once; every mutant's process starts as a copy of the one that holds them."""

ROOTS = ("abtest", "benchmarks", "lsvcr", "policies", "reports", "simulator", "tests")


class Verdict(NamedTuple):
    """What the tests said.

    Attributes:
        outcome: "killed", "survived" or "too slow" (stopped, which also counts as killed).
        killer: The test that failed first; None without one.
    """

    outcome: str
    killer: str | None


def start() -> None:
    """Load the libraries; call this once, before the first run. Uses one thread per process."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"))
    mp.set_forkserver_preload(list(LIBRARIES))


@contextmanager
def changed_file(path: Path, source: str) -> Iterator[None]:
    """The file holds ``source`` for a while; its time of change comes back with its text."""
    before, times = path.read_bytes(), path.stat()
    path.write_text(source, encoding="utf-8")
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def run_tests(copy: Path, tests: list[str], limit: float) -> Verdict:
    """Run tests in their order until one fails.

    Args:
        copy: Root of the project's copy.
        tests: Node ids of pytest.
        limit: Seconds after which a change counts as noticed (a loop without end).

    Raises:
        RuntimeError: the process ended before it could run a test.
    """
    context = mp.get_context("forkserver")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(there, str(copy), tests))
    process.start()
    there.close()
    try:
        code, killer = here.recv() if here.poll(limit) else (None, None)
    except EOFError:
        process.join()
        if process.exitcode is not None and process.exitcode >= 0:
            raise RuntimeError("the tests did not start; see above.") from None
        return Verdict("killed", None)  # by a signal: the change broke the interpreter
    if code is None:
        process.kill()
    process.join()
    if code is None:
        return Verdict("too slow", None)
    return Verdict("survived" if code in (0, 5) else "killed", killer)


class _FirstFailure:
    def __init__(self) -> None:
        self.test: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.test is None:
            self.test = report.nodeid


def _child(out: Connection, copy: str, tests: list[str]) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ROOTS]:
        del sys.modules[name]
    os.chdir(copy)
    sys.path.insert(0, copy)
    os.environ["PYTHONPATH"] = copy
    # A changed file must never leave compiled code behind.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    first = _FirstFailure()
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[first])
    out.send((int(code), first.test))
    out.close()
    os._exit(0)
