"""Compute the next item's cross-entropy: whole catalogue, or shared sampled negatives."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from policies.sequence.cross_entropy import catalogue_cross_entropy
from policies.sequence.encoder import SequenceEncoder
from simulator.devices import CPU, on_device

FULL_SOFTMAX_UP_TO = 20_000


def next_item_loss(
    model: SequenceEncoder, window: Tensor, sampler: NegativeSampler, n_items: int
) -> Tensor:
    """Mean loss of a batch of windows, over the targets that the encoder makes of them.

    Args:
        model: Encoder whose states rank by inner products with its item vectors.
        window: int64[B, L], left-aligned, padded with -1.
        sampler: Draws the negatives of a catalogue above `FULL_SOFTMAX_UP_TO` items.
        n_items: Size of the catalogue.
    """
    states, targets = model.examples(window)
    if n_items <= FULL_SOFTMAX_UP_TO:
        return catalogue_cross_entropy(states, model.vectors(), targets)
    return _sampled_loss(model, states, targets, sampler)


def _sampled_loss(
    model: SequenceEncoder, states: Tensor, targets: Tensor, sampler: NegativeSampler
) -> Tensor:
    """Cross-entropy of targets int64[n] against negatives that all states float[n, dim] share."""
    negatives, correction = sampler.draw()
    vectors = model.vectors(torch.cat([targets, negatives]))
    positive = (states * vectors[: len(targets)]).sum(-1) - sampler.log_q[targets]
    negative = torch.addmm(-correction, states, vectors[len(targets) :].T)
    # A negative that is the target itself must not be pushed away. Few are: written in place, and
    # past autograd, which loses nothing because exp(-inf) has no gradient.
    drawn = torch.zeros(len(sampler.log_q), dtype=torch.bool, device=targets.device)
    drawn[negatives] = True
    row = drawn[targets].nonzero()[:, 0]
    own, column = (targets[row, None] == negatives).nonzero(as_tuple=True)
    negative.detach()[row[own], column] = float("-inf")
    # log(e^p + sum e^n) - p, without a copy of the logits to put the positive among them.
    return F.softplus(torch.logsumexp(negative, dim=1) - positive).mean()


def in_batch_loss(
    model: SequenceEncoder, window: Tensor, sampler: NegativeSampler, n_items: int
) -> Tensor:
    """Mean cross-entropy of each target against all other targets of its batch.

    An item is a negative as often as it is popular: the logarithm of its expected number in the
    batch is subtracted (Yi et al., RecSys 2019, equation 4, with known instead of streaming
    frequencies). The target itself is there with certainty, so that its own score is not corrected
    and its repetitions do not count: the sum estimates that over the catalogue without bias
    (Khrylchenko et al., RecSys 2025). Arguments as for `next_item_loss`.
    """
    states, targets = model.examples(window)
    expected = sampler.log_share[targets] + math.log(max(len(targets) - 1, 1))
    logits = states @ model.vectors(targets).T
    own = torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    repeated = (targets[:, None] == targets) & ~own
    logits = torch.where(own, logits, logits - expected).masked_fill(repeated, float("-inf"))
    return F.cross_entropy(logits, torch.arange(len(targets), device=targets.device))


def sampling_share(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[n]: how often each item is drawn as a negative, half by popularity, half uniform."""
    return np.asarray(0.5 * counts / max(counts.sum(), 1.0) + 0.5 / max(len(counts), 1))


class NegativeSampler:
    """Shared negatives, half by popularity and half uniform, with log-q correction.

    Bengio & Senecal (2008); Yi et al., RecSys 2019, for recommendation.

    Attributes:
        log_q: float32[n_items], log of the expected number of draws per batch.
        log_share: float32[n_items], log of each item's share of the events; -inf without any.
    """

    def __init__(
        self,
        counts: NDArray[np.float64],
        size: int,
        seed: int,
        device: torch.device = CPU,
    ) -> None:
        share = sampling_share(counts)
        self._share = share / share.sum()
        with np.errstate(divide="ignore"):
            popularity = np.log(counts / max(counts.sum(), 1.0))
        self.log_share = on_device(popularity.astype(np.float32), device)
        self._size = size
        self._seed = seed
        self.start(0)
        self.log_q = on_device(np.log(self._share * size).astype(np.float32), device)

    def start(self, *numbers: int) -> None:
        """Draws from here on depend on the seed and these numbers alone: the pass, the batch."""
        self._random = np.random.default_rng([self._seed, 3, *numbers])

    def draw(self) -> tuple[Tensor, Tensor]:
        """Item indices int64[size] and their log expected counts."""
        items = self._random.choice(len(self._share), self._size, p=self._share)
        drawn = on_device(items, self.log_q.device)
        return drawn, self.log_q[drawn]
