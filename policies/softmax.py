"""Cross-entropy of the next item: over the whole catalogue, or over shared sampled negatives."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from policies.encoder import SequenceEncoder

FULL_SOFTMAX_UP_TO = 20_000


def next_item_loss(
    model: SequenceEncoder, window: Tensor, sampler: NegativeSampler, n_items: int
) -> Tensor:
    """Mean loss of a batch of windows, every position a target.

    Args:
        model: Encoder with tied item embeddings.
        window: int64[B, L], left-aligned, padded with -1.
        sampler: Draws the negatives of a catalogue above `FULL_SOFTMAX_UP_TO` items.
        n_items: Size of the catalogue.
    """
    states = model(window[:, :-1]) if window.shape[1] > 1 else model(window[:, :0])
    real = window >= 0
    states, targets = states[real], window[real]
    if n_items <= FULL_SOFTMAX_UP_TO:
        return F.cross_entropy(states @ model.items.weight.T, targets)
    return _sampled_loss(model, states, targets, sampler)


def _sampled_loss(
    model: SequenceEncoder, states: Tensor, targets: Tensor, sampler: NegativeSampler
) -> Tensor:
    """Cross-entropy of targets int64[n] against negatives that all states float[n, dim] share."""
    negatives, correction = sampler.draw()
    vectors = model.items(torch.cat([targets, negatives]))
    positive = (states * vectors[: len(targets)]).sum(-1) - sampler.log_q[targets]
    negative = torch.addmm(-correction, states, vectors[len(targets) :].T)
    # A negative that is the target itself must not be pushed away. Few are: written in place, and
    # past autograd, which loses nothing because exp(-inf) has no gradient.
    drawn = torch.zeros(len(sampler.log_q), dtype=torch.bool)
    drawn[negatives] = True
    row = drawn[targets].nonzero()[:, 0]
    own, column = (targets[row, None] == negatives).nonzero(as_tuple=True)
    negative.detach()[row[own], column] = float("-inf")
    # log(e^p + sum e^n) - p, without a copy of the logits to put the positive among them.
    return F.softplus(torch.logsumexp(negative, dim=1) - positive).mean()


class NegativeSampler:
    """Shared negatives, half by popularity and half uniform, with log-q correction.

    Bengio & Senecal (2008); Yi et al., RecSys 2019, for recommendation.
    """

    def __init__(self, counts: NDArray[np.float64], size: int, seed: int) -> None:
        share = 0.5 * counts / max(counts.sum(), 1.0) + 0.5 / len(counts)
        self._share = share / share.sum()
        self._size = size
        self._random = np.random.default_rng([seed, 3])
        self.log_q = torch.from_numpy(np.log(self._share * size).astype(np.float32))

    def draw(self) -> tuple[Tensor, Tensor]:
        """Item indices int64[size] and their log expected counts."""
        items = self._random.choice(len(self._share), self._size, p=self._share)
        drawn = torch.from_numpy(items)
        return drawn, self.log_q[drawn]
