"""What training does in a large catalogue: sampled loss, cheap dropout, settings by size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from policies.registry import create
from policies.sequence.dropout import Dropout
from policies.sequence.softmax import FULL_SOFTMAX_UP_TO, NegativeSampler, next_item_loss
from policies.sequence.trainer import TrainerSettings, train
from policies.videos.sasrec import SASRec, SASRecModel
from simulator.logs.dataset import Dataset

ITEMS = 50


def test_sampled_loss_is_its_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the plain form: all logits side by side, minus log q, own item masked."""
    monkeypatch.setattr("policies.sequence.softmax.FULL_SOFTMAX_UP_TO", 10)
    torch.manual_seed(1)
    model = SASRecModel(ITEMS, 10, 8, 1, 1, 0.0)
    counts = np.arange(ITEMS, dtype=np.float64) + 1
    window = torch.randint(0, ITEMS, (6, 9))
    window[2, 4:] = -1
    loss = next_item_loss(model, window, NegativeSampler(counts, 64, 1), ITEMS)
    found = torch.autograd.grad(loss, list(model.parameters()))

    sampler = NegativeSampler(counts, 64, 1)
    negatives, correction = sampler.draw()
    real = window >= 0
    states, targets = model(window[:, :-1])[real], window[real]
    assert (negatives == targets[:, None]).any(), "no target among the negatives: nothing tested"
    logits = states @ model.items.weight.T
    positive = logits.gather(1, targets[:, None]) - sampler.log_q[targets, None]
    negative = (logits[:, negatives] - correction).masked_fill(
        negatives == targets[:, None], float("-inf")
    )
    zeros = torch.zeros(len(targets), dtype=torch.long)
    expected = F.cross_entropy(torch.cat([positive, negative], dim=1), zeros)
    torch.testing.assert_close(loss, expected)
    for own, other in zip(
        found, torch.autograd.grad(expected, list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(own, other, atol=1e-6, rtol=1e-4)


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    torch.manual_seed(1)
    drop = Dropout(0.4)
    x = torch.ones(1_000, 1_003, requires_grad=True)
    y = drop(x)
    y.sum().backward()
    n, rate = x.numel(), 102 / 256
    y = y.detach()
    dropped = float((y == 0).float().mean())
    # Five standard errors: fails once in 1.7 million seeds.
    assert abs(dropped - rate) < 5 * np.sqrt(rate * (1 - rate) / n)
    assert abs(float(y.mean()) - 1) < 5 * np.sqrt(rate / (1 - rate) / n)
    assert float(y.max()) == pytest.approx(1 / (1 - rate))
    assert x.grad is not None and torch.equal(x.grad, y)
    assert drop.eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_settings_left_open_follow_the_size_of_the_catalogue() -> None:
    small = SASRec().options.by_size(FULL_SOFTMAX_UP_TO)
    large = SASRec().options.by_size(FULL_SOFTMAX_UP_TO + 1)
    assert (small.dropout, small.learning_rate, small.decay) == (0.2, 1e-3, False)
    assert (large.dropout, large.learning_rate, large.decay) == (0.4, 3e-3, True)
    given = SASRec(dropout=0.0, decay=False, epochs=3).options.by_size(FULL_SOFTMAX_UP_TO + 1)
    assert (given.dropout, given.decay, given.epochs) == (0.0, False, 3)


def test_a_large_catalogue_is_learnt_the_same_twice(
    chains: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policies.sequence.softmax.FULL_SOFTMAX_UP_TO", 10)
    settings = {
        "dim": 32,
        "layers": 1,
        "epochs": 12,
        "epoch_steps": 1,
        "learning_rate": 1e-2,
        "tokens": 512,
    }
    first, second = (create("sasrec", negatives=40, **settings) for _ in range(2))
    first.fit(chains, seed=1)
    second.fit(chains, seed=1)
    assert first.training_summary() == second.training_summary()
    assert isinstance(first, SASRec) and isinstance(second, SASRec)
    assert np.array_equal(first.item_vectors, second.item_vectors)
    assert first.training_summary()["validation"] > 0.3


def test_decay_takes_smaller_and_smaller_steps() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    path: list[float] = []

    def validate() -> float:
        path.append(float(module.weight.detach()))
        return float(len(path))

    train(
        module,
        lambda epoch: range(5),
        lambda batch: module.weight.sum(),
        validate,
        TrainerSettings(epochs=4, learning_rate=0.1, weight_decay=0.0, warmup_steps=0, decay=True),
        progress=lambda *_: None,
        stage="test",
    )
    steps = -np.diff(path)
    # Adam's step on a constant gradient is the learning rate: 1, 3/4, 1/2, 1/4 of it.
    assert (np.diff(steps) < -0.05).all() and (steps > 0).all()
