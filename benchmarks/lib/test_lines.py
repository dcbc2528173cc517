"""Measure which lines of some rooms each test runs, and how long the test takes.

    python -m benchmarks.lib.test_lines OUT.json ROOM[,ROOM...] TEST_FILE...

Coverage.py counts the lines; its context is switched by hand, at every test and at every fixture
that several tests share. So a line that runs in a shared fixture belongs to all tests that use it,
and one that runs while a test file is read (a world that it makes for all its tests) to all tests
of the file. The rooms are imported before: what runs then belongs to no test.
A test that takes longer than ``QUICK`` seconds is stopped; it counts for the lines
that it has run until then, and comes after all others. Needs the extra ``mutation``.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

QUICK = 1.0
"""Seconds of the processor after which a test is stopped, without shared fixtures."""
SLOW = 20.0
"""Seconds that such a test is taken to need."""

Entry = dict[str, Any]
"""Of a test file: its ``files`` and ``tests``; ``key`` is a hash of it and of those files."""


@dataclass(frozen=True)
class TestLines:
    """What each test runs.

    Attributes:
        entries: By test file.
    """

    entries: dict[str, Entry]

    def of(self, file: str, line: int, budget: float) -> tuple[list[str], float]:
        """The tests that may notice a change of a line, quickest first, and their seconds.

        A line that only runs on import (a constant) may be noticed by any test of its file, and
        after those by any test of its folder.

        Args:
            file: Path below the root.
            line: From 1.
            budget: Seconds; the first test is always taken.
        """
        found: dict[str, Entry] = {}
        anywhere: dict[str, Entry] = {}
        beside: dict[str, Entry] = {}
        folder = file.rpartition("/")[0] + "/"
        for entry in self.entries.values():
            for name, test in entry["tests"].items():
                if any(other.startswith(folder) for other in test["lines"]):
                    beside[name] = test
                lines = test["lines"].get(file)
                if lines:
                    anywhere[name] = test
                    if line in lines:
                        found[name] = test
        total = 0.0
        kept: list[str] = []
        ready: set[str] = set()
        near = (
            [found] if found else [anywhere, {n: t for n, t in beside.items() if n not in anywhere}]
        )
        for name, test in (pair for tests in near for pair in sorted(tests.items(), key=_cost)):
            shared = {f: seconds for f, seconds in test["shared"].items() if f not in ready}
            total += test["seconds"] + sum(shared.values())
            if kept and total > budget:
                break
            kept.append(name)
            ready |= set(shared)
        return kept, total


def _cost(item: tuple[str, Entry]) -> tuple[float, str]:
    name, test = item
    return test["seconds"] + sum(test["shared"].values()), name


def measure_tests(copy: Path, rooms: Iterable[str], tests: Iterable[str], cache: Path) -> TestLines:
    """Read the lines of all tests; measure only tests that changed or whose files changed.

    Args:
        copy: Root of the project's copy in which tests run.
        rooms: Folders whose lines count.
        tests: Folders with tests.
        cache: JSON file of earlier measurements, written anew.
    """
    known: dict[str, Entry] = json.loads(cache.read_text("utf-8")) if cache.is_file() else {}
    files = sorted(
        path.relative_to(copy).as_posix() for t in tests for path in (copy / t).rglob("test_*.py")
    )
    stale = [
        file
        for file in files
        if file not in known or known[file]["key"] != _key(copy, file, known[file]["files"])
    ]
    if stale:
        print(f"{len(stale)} of {len(files)} test files to measure", file=sys.stderr, flush=True)
        out = cache.with_suffix(".new")
        command = [sys.executable, "-m", "benchmarks.lib.test_lines", str(out), ",".join(rooms)]
        subprocess.run([*command, *stale], cwd=copy, check=True, stdout=sys.stderr)
        known |= json.loads(out.read_text("utf-8"))
        cache.write_text(json.dumps(known), encoding="utf-8")
    return TestLines({file: known[file] for file in files})


def _key(root: Path, test: str, files: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name in [test, *sorted(files)]:
        path = root / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


_READING = "reading the test file"


class _Slow(BaseException):
    """Stops a test; no ``except Exception`` of its own keeps it going."""


class _Recorder:
    """A pytest plugin: contexts by test and shared fixture, seconds of both, and failures."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.context = [""]
        self.seconds: dict[str, float] = {}
        self.fixtures: dict[str, list[str]] = {}
        self.failed: set[str] = set()
        self.slow: set[str] = set()

    def _enter(self, context: str) -> float:
        self.context.append(context)
        self.coverage.switch_context(context)
        return _used()

    def _leave(self, started: float) -> None:
        """The time of a fixture is none of the time of the test that was the first to need it."""
        took = _used() - started
        inner, outer = self.context.pop(), self.context[-1]
        self.seconds[inner] = self.seconds.get(inner, 0.0) + took
        self.seconds[outer] = self.seconds.get(outer, 0.0) - took
        self.coverage.switch_context(outer)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        if not isinstance(collector, pytest.Module):
            return (yield)
        self.coverage.switch_context(_READING)
        try:
            return (yield)
        finally:
            self.coverage.switch_context("")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        shared = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009
        self.fixtures[item.nodeid] = [
            _name(fixture) for found in shared for fixture in found if fixture.scope != "function"
        ]
        started = self._enter(item.nodeid)
        result = yield
        self._leave(started)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        signal.setitimer(signal.ITIMER_VIRTUAL, QUICK)
        try:
            return (yield)
        except _Slow:
            self.slow.add(item.nodeid)
            pytest.skip(f"takes longer than {QUICK:g} seconds")
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        if fixturedef.scope == "function":
            return (yield)
        started = self._enter(_name(fixturedef))
        try:
            return (yield)
        finally:
            self._leave(started)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed" and report.nodeid not in self.slow:
            self.failed.add(report.nodeid)


def _used() -> float:
    """Seconds of the processor, with those of finished child processes."""
    return sum(os.times()[:4])


def _stop(*_: Any) -> None:
    raise _Slow(f"takes longer than {QUICK:g} seconds")


def _name(fixture: Any) -> str:
    return f"fixture {fixture.baseid} {fixture.argname}"


def _entry(root: Path, recorder: _Recorder, test_file: str) -> Entry:
    data = recorder.coverage.get_data()
    by_context: dict[str, dict[str, set[int]]] = {}
    for measured in data.measured_files():
        file = Path(measured).resolve().relative_to(root).as_posix()
        for line, contexts in data.contexts_by_lineno(measured).items():
            for context in contexts:
                by_context.setdefault(context, {}).setdefault(file, set()).add(line)
    tests: dict[str, Entry] = {}
    for node, fixtures in recorder.fixtures.items():
        if node in recorder.failed:
            continue
        lines: dict[str, set[int]] = {}
        for context in [node, *fixtures, _READING]:
            for file, some in by_context.get(context, {}).items():
                lines.setdefault(file, set()).update(some)
        tests[node] = {
            "seconds": SLOW if node in recorder.slow else round(recorder.seconds[node], 3),
            "shared": {f: round(recorder.seconds[f], 3) for f in fixtures if f in recorder.seconds},
            "lines": {file: sorted(some) for file, some in lines.items()},
        }
    files = sorted({file for test in tests.values() for file in test["lines"]})
    return {"key": _key(root, test_file, files), "files": files, "tests": tests}


def main() -> None:
    """Measure, and write one entry per test file. Tests that fail or are skipped are left out."""
    from coverage import Coverage

    out, rooms, *tests = sys.argv[1:]
    root = Path.cwd().resolve()
    signal.signal(signal.SIGVTALRM, _stop)
    for path in sorted(path for room in rooms.split(",") for path in Path(room).rglob("*.py")):
        importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    entries: dict[str, Entry] = {}
    for test in tests:
        coverage = Coverage(data_file=None, source=rooms.split(","), config_file=False)
        recorder = _Recorder(coverage)
        coverage.start()
        pytest.main(["-q", "--tb=no", "-p", "no:cacheprovider", test], plugins=[recorder])
        coverage.stop()
        entries[test] = _entry(root, recorder, test)
        Path(out).write_text(json.dumps(entries), encoding="utf-8")


if __name__ == "__main__":
    main()
