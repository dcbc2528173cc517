"""Which weights the shared training loop leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from policies.base import silent
from policies.trainer import TrainerSettings, train


class Line(nn.Module):
    """One weight; training pushes it up, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def trained(values: list[float], settings: TrainerSettings) -> tuple[float, int, int]:
    """The weight, the best epoch and the epochs run, given the validation metric of each call."""
    line, metrics = Line(), iter(values)

    def batches(epoch: int) -> Iterator[int]:
        yield epoch

    summary = train(
        line, batches, lambda _: -line.weight.sum(), lambda: next(metrics), settings,
        progress=silent, stage="line",
    )  # fmt: skip
    return line.weight.item(), summary.best_epoch, summary.epochs


def test_the_best_epoch_is_kept_and_patience_ends_the_run() -> None:
    weight, best, epochs = trained(
        [0.1, 0.3, 0.2, 0.2, 0.2], TrainerSettings(patience=2, warmup_steps=0, learning_rate=1.0)
    )
    assert (best, epochs) == (2, 4)
    assert weight == pytest.approx(2.0, rel=1e-3)


def test_a_start_that_nothing_beats_is_kept() -> None:
    weight, best, epochs = trained(
        [0.5, 0.1, 0.2, 0.2, 0.2], TrainerSettings(patience=2, from_start=True)
    )
    assert (weight, best, epochs) == (0.0, 0, 3)


def test_the_start_does_not_use_up_patience() -> None:
    _, best, epochs = trained(
        [0.5, 0.1, 0.2, 0.6, 0.1, 0.1], TrainerSettings(patience=2, from_start=True)
    )
    assert (best, epochs) == (3, 5)
