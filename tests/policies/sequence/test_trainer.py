"""Which weights the shared training loop leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from policies.base import silent
from policies.sequence import next_item
from policies.sequence.next_item import validation_ndcg
from policies.sequence.resume import kept_in
from policies.sequence.trainer import TrainerSettings, train
from policies.videos.sasrec import SASRecModel


class Line(nn.Module):
    """One weight; training pushes it up, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def trained(values: list[float], settings: TrainerSettings) -> tuple[float, int, int]:
    """The weight, the best epoch and the epochs run, given the validation metric of each call."""
    line, metrics = Line(), iter(values)

    def batches(number: int) -> Iterator[int]:
        yield number

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


def test_an_epoch_makes_passes_until_it_has_its_steps() -> None:
    line, numbers = Line(), []

    def batches(number: int) -> Iterator[int]:
        numbers.append(number)
        yield from range(3)

    summary = train(
        line, batches, lambda _: -line.weight.sum(), lambda: 0.0,
        TrainerSettings(epochs=2, epoch_steps=7), progress=silent, stage="line",
    )  # fmt: skip
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert (summary.epochs, summary.passes) == (2, 6)


def test_a_log_without_batches_ends() -> None:
    line = Line()
    summary = train(
        line, lambda _: iter(()), lambda _: line.weight.sum(), lambda: 0.0,
        TrainerSettings(epochs=2, epoch_steps=7), progress=silent, stage="line",
    )  # fmt: skip
    assert (summary.epochs, summary.passes) == (2, 2)


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


def test_the_average_is_what_is_validated_and_kept() -> None:
    """Against the recursion by hand: the weight is 1, 2, 3, ... after each step."""
    line, validated = Line(), []

    def validate() -> float:
        validated.append(line.weight.item())
        return float(len(validated))

    settings = TrainerSettings(
        epochs=6, warmup_steps=0, learning_rate=1.0, weight_decay=0.0, average=0.3
    )
    train(
        line, lambda epoch: [epoch], lambda _: -line.weight.sum(), validate, settings,
        progress=silent, stage="line",
    )  # fmt: skip
    average, expected = 0.0, []
    for step in range(1, 7):
        decay = min(0.3, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * step
        expected.append(average)
    assert validated == pytest.approx(expected, rel=1e-3)
    assert line.weight.item() == pytest.approx(expected[-1], rel=1e-3)


def test_a_broken_off_run_goes_on_with_its_average(tmp_path: Path) -> None:
    settings = TrainerSettings(epochs=5, learning_rate=0.3, average=0.9)

    def run(folder: Path, stop: int) -> float:
        line = Line()

        def batches(epoch: int) -> Iterator[int]:
            if epoch == stop:
                raise InterruptedError
            yield epoch

        def loss(epoch: int) -> torch.Tensor:
            return ((line.weight - epoch) ** 2).sum()

        with kept_in(folder):
            train(
                line, batches, loss, lambda: line.weight.item(), settings,
                progress=silent, stage="line",
            )  # fmt: skip
        return line.weight.item()

    whole = run(tmp_path / "whole", 0)
    with pytest.raises(InterruptedError):
        run(tmp_path / "broken", 4)
    assert run(tmp_path / "broken", 0) == whole


def test_validation_gives_an_encoder_that_scores_all_alike_nothing() -> None:
    model = SASRecModel(20, 5, 8, 1, 1, 0.0)
    with torch.no_grad():
        model.items.weight.fill_(0.5)
    contexts = np.array([[0, 1, -1], [3, -1, -1]])
    assert validation_ndcg(model.eval(), contexts, np.array([7, 2])) == 0.0
    with torch.no_grad():
        # The target of the first alone points the way of both states: it is first, not tied.
        state = model.last(torch.tensor([[0, 1]]), torch.tensor([2]))[0]
        model.items.weight[7] = 100.0 * state
        assert validation_ndcg(model, contexts[:1], np.array([7])) == 1.0


def test_validation_is_the_same_a_few_people_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    model = SASRecModel(30, 5, 8, 1, 1, 0.0).eval()
    random = np.random.default_rng(1)
    contexts, targets = random.integers(0, 30, (40, 4)), random.integers(0, 30, 40)
    whole = validation_ndcg(model, contexts, targets)
    assert 0.0 < whole < 1.0
    for cells in (7 * 30, 29):
        monkeypatch.setattr(next_item, "_CELLS", cells)
        assert validation_ndcg(model, contexts, targets) == pytest.approx(whole)
