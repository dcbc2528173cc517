"""Declare what an offline evaluation is asked: tasks, seeds, split and candidates."""

from __future__ import annotations

from dataclasses import dataclass

from policies.evaluation.evaluate import Task
from simulator.requests import Signal

TASKS: tuple[Task, ...] = ("videos", "comments")


@dataclass(frozen=True)
class Protocol:
    """How policies are evaluated.

    Attributes:
        tasks: "videos", "comments" or both.
        seeds: Training seeds.
        split: "last" (each person's last event) or "time".
        test_days, test_share: Of the time split, one of them; see
            `policies.evaluation.holdout.split_time`.
        candidates: None to rank everything; otherwise the size of a uniform sample.
        seed: Of the sample and the bootstrap.
        signal: Events that make the videos to be ranked.
    """

    tasks: tuple[Task, ...] = TASKS
    seeds: tuple[int, ...] = (1,)
    split: str = "last"
    test_days: float | None = None
    test_share: float | None = None
    candidates: int | None = None
    seed: int = 1
    signal: Signal = "liked"
