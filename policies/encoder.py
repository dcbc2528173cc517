"""What the shared training and serving need of a sequence model."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn


class SequenceEncoder(nn.Module):
    """From item sequences to states whose inner products with item vectors rank what comes next.

    Sequences are left-aligned and padded at the end with -1. A state may depend on nothing after
    it, so that padding reaches no real position.

    Attributes:
        items: The item vectors, for input and output alike.
    """

    items: nn.Embedding

    @abstractmethod
    def forward(self, sequences: Tensor) -> Tensor:
        """int64[B, L] to float[B, L + 1, dim]: state i has seen the first i items."""

    def last(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """float[B, dim]: the state after each whole sequence, for ranking (no dropout)."""
        states: Tensor = self(sequences)
        return states[torch.arange(len(states)), lengths]
