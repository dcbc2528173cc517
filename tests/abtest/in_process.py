"""Simulate in this process where one worker is asked for: a worker takes seconds to load torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from abtest.run.engines import LocalEngine, Report

RUN = LocalEngine.run


def run_here(engine: LocalEngine, tasks: Sequence[Any], report: Report) -> Iterator[Any]:
    """As `LocalEngine.run`; two workers and more are still processes."""
    if engine._workers > 1:
        yield from RUN(engine, tasks, report)
        return
    shared = engine._job.prepare()
    for number, task in enumerate(tasks, 1):
        yield engine._job.work(shared, task, lambda fraction: None)
        report(float(number), number)


def without_workers(patch: pytest.MonkeyPatch) -> None:
    """Let runs with ``--workers 1`` start no process; what a worker does is the same."""
    patch.setattr(LocalEngine, "run", run_here)
    patch.setattr("abtest.run.arms.training.TRAINING_THREADS", 1)
