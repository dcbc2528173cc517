"""A world whose days are a few dozen pages long, its log, and an engine without processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from abtest.console import Console
from abtest.run.datasets import synthesise
from abtest.run.engines import Job, Report

QUICK = {
    "n_videos": 300,
    "n_authors": 100,
    "visits_per_day": 1.0,
    "session_seconds": 40.0,
    "session_person_sigma": 0.1,
    "open_base": -5.0,
}
"""A world in which a day is a few dozen pages long and comments are opened often."""


@pytest.fixture(scope="module")
def quick_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world as a file."""
    file = tmp_path_factory.mktemp("worlds") / "quick.toml"
    lines = ['base = "small"', *(f"{name} = {value}" for name, value in QUICK.items())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def quick_log(quick_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("logs") / "quick"
    console = Console(quiet=True)
    synthesise(target, preset=str(quick_world), seed=1, users=60, days=1, console=console)
    return target


class InProcess:
    """An engine without processes: starting them takes longer than these runs."""

    place = ""

    def __init__(self, job: Job[Any, Any], workers: int) -> None:
        self._job = job
        self.workers = workers
        self._shared: Any = None

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, tasks: Sequence[Any], report: Report) -> Iterator[Any]:
        if self._shared is None:
            self._shared = self._job.prepare()
        for number, task in enumerate(tasks):
            report(float(number), number)
            yield self._job.work(self._shared, task, lambda fraction: None)


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abtest.run.machines.LocalEngine", InProcess)
