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
        items: The item vectors, for input and output alike, unless `vectors` says otherwise.
    """

    items: nn.Embedding

    @property
    def dim(self) -> int:
        """Width of states and of item vectors."""
        return self.items.embedding_dim

    @abstractmethod
    def forward(self, sequences: Tensor) -> Tensor:
        """int64[B, L] to float[B, L + 1, dim]: state i has seen the first i items."""

    def examples(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """What a batch of windows int64[B, L] teaches: states float[n, dim], targets int64[n].

        Every item is a target, of the state that has seen what is before it. Other ways to train
        (masked items) override this.
        """
        states = self(windows[:, :-1]) if windows.shape[1] > 1 else self(windows[:, :0])
        real = windows >= 0
        return states[real], windows[real]

    def last(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """float[B, dim]: the state after each whole sequence, for ranking (no dropout)."""
        states: Tensor = self(sequences)
        return states[torch.arange(len(states)), lengths]

    def vectors(self, items: Tensor | None = None) -> Tensor:
        """float[n, dim]: vectors of items int64[n], or of the whole catalogue."""
        weight: Tensor = self.items.weight
        return weight if items is None else self.items(items)

    def serving_vectors(self, met: Tensor) -> Tensor:
        """float[n_items, dim] for ranking; items without events get the mean of the others.

        Args:
            met: bool[n_items], which items have events.
        """
        table = self.vectors().detach().clone()
        if met.any():
            table[~met] = table[met].mean(dim=0)
        return table
