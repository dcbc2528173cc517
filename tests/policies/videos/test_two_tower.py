"""The in-batch loss and its correction, against the formula spelled out."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from policies.sequence.encoder import SequenceEncoder
from policies.sequence.softmax import NegativeSampler, in_batch_loss

ITEMS, DIM = 6, 3


class Given(SequenceEncoder):
    """States that are parameters: row and position decide."""

    def __init__(self, rows: int, length: int) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.items = nn.Embedding(ITEMS, DIM)
        self.states = nn.Parameter(torch.randn(rows, length, DIM))

    def forward(self, sequences: Tensor) -> Tensor:
        return self.states


def test_in_batch_loss_is_the_formula() -> None:
    window = torch.tensor([[0, 1, 0], [2, 0, -1]])
    counts = np.array([6.0, 3.0, 1.0, 0.0, 2.0, 0.0])
    model = Given(2, 3)
    found = in_batch_loss(model, window, NegativeSampler(counts, 4, 1), ITEMS)
    states = model.states.detach().double()
    vectors = model.items.weight.detach().double()
    examples = [(states[r, i], int(window[r, i])) for r in range(2) for i in range(3)]
    examples = [(state, item) for state, item in examples if item >= 0]
    losses = []
    for state, target in examples:
        logits = [
            float(state @ vectors[item]) - math.log(4 * counts[item] / counts.sum())
            for _, item in examples
            if item != target
        ]
        own = float(state @ vectors[target])
        losses.append(math.log(sum(math.exp(x) for x in [*logits, own])) - own)
    assert math.isclose(found.item(), float(np.mean(losses)), rel_tol=1e-5)


def test_correction_makes_it_the_softmax_over_the_catalogue() -> None:
    """Gradients by the scores of six items, one state for all, against the exact ones."""
    rng = np.random.default_rng(4)
    shares = np.array([0.5, 0.2, 0.15, 0.1, 0.04, 0.01])
    exact, found = [], {True: np.zeros(ITEMS), False: np.zeros(ITEMS)}
    for _ in range(20):
        window = torch.from_numpy(rng.choice(ITEMS, (1, 1_000), p=shares))
        model = Given(1, 1_000)
        model.states.data.fill_(1.0)
        scores = model.items.weight.detach().sum(dim=1)
        counts = np.bincount(window[0].numpy(), minlength=ITEMS)
        exact.append(scores.softmax(dim=0).numpy() - counts / 1_000)
        for corrected, total in found.items():
            model.zero_grad()
            sampler = NegativeSampler(shares if corrected else np.ones(ITEMS), 4, 1)
            in_batch_loss(model, window, sampler, ITEMS).backward()  # type: ignore[no-untyped-call]
            assert model.items.weight.grad is not None
            total += model.items.weight.grad[:, 0].numpy() / 20
    # Over 20,000 draws a share is known to .35 % and better; .01 is three of its standard errors.
    np.testing.assert_allclose(found[True], np.mean(exact, axis=0), atol=0.01)
    assert np.abs(found[False] - np.mean(exact, axis=0)).max() > 0.05
