"""Define what shared training and serving need of a sequence model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

VECTORS_AT_A_TIME = 1 << 14
"""Items whose vectors are computed together, in layers wider than they are, at most."""


class SequenceEncoder(nn.Module):
    """From item sequences to states whose inner products with item vectors rank what comes next.

    Sequences are left-aligned and padded at the end with -1. A state may depend on nothing after
    it, so that padding reaches no real position.

    Attributes:
        items: The item vectors, for input and output alike, unless `vectors` says otherwise.
        looked_up: Weights and buffers of which ranking only takes rows: they stay in the file that
            they are loaded from, which processes share.
    """

    items: nn.Embedding
    looked_up: ClassVar[tuple[str, ...]] = ("items.weight",)

    @property
    def dim(self) -> int:
        """Width of states and of item vectors."""
        return self.items.embedding_dim

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

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
        return states[torch.arange(len(states), device=states.device), lengths]

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


class CausalStack(SequenceEncoder):
    """Item and position embeddings, causal blocks, tied output.

    No mask keeps padding from reaching real positions: it stands at the end.

    Args:
        n_items: Size of the catalogue.
        length: Longest sequence.
        dim: Width.
        layers: Number of blocks.
        new_block: Makes a block float[B, L, dim] to the same, given the largest L; position i may
            see positions <= i only.
        drop: Dropout of the embedded sequence.
    """

    def __init__(
        self,
        n_items: int,
        length: int,
        dim: int,
        layers: int,
        new_block: Callable[[int], nn.Module],
        drop: nn.Module,
    ) -> None:
        super().__init__()
        # One more for the start token, one for the context item of a continued window.
        longest = length + 2
        self.items = nn.Embedding(n_items, dim)
        self.start = nn.Parameter(torch.zeros(dim))
        self.positions = nn.Embedding(longest, dim)
        self.drop = drop
        self.blocks = nn.ModuleList(new_block(longest) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        for parameter in (self.items.weight, self.positions.weight, self.start):
            nn.init.normal_(parameter, std=0.02)

    def forward(self, sequences: Tensor) -> Tensor:
        """int64[B, L] to float[B, L + 1, dim]: state i has seen the first i items."""
        x = self.embedded(sequences)
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x)
        return states

    def embedded(self, sequences: Tensor) -> Tensor:
        """float[B, L + 1, dim]: what goes into the blocks, the start token first."""
        b, length = sequences.shape
        tokens = self.items(sequences.clamp(min=0)) * (self.dim**0.5)
        x = torch.cat([self.start.expand(b, 1, -1), tokens], dim=1)
        result: Tensor = self.drop(x + self.positions.weight[: length + 1])
        return result
