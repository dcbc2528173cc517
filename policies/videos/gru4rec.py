"""Rank by GRU4Rec: gated recurrent units over sessions (Hidasi et al., ICLR 2016).

Differences from the paper: cross-entropy over the whole catalogue, or over shared negatives with
correction, instead of TOP1 over the other items of a parallel batch (Hidasi & Karatzoglou, CIKM
2018, also went over to more negatives); input and output vectors are tied; whole windows instead of
truncated propagation, batched by length; a start token stands for the empty history.

Held to `itemknn` and `ease`: a neural policy below these floors is a bug; and to the best public
SASRec on ml-100k (HR@10 .182, NDCG@10 .094). Hidasi & Czapp, RecSys 2023, examine six other
reimplementations against the official one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policies.sequence.encoder import SequenceEncoder
from policies.sequence.ids import IdTableSettings
from policies.sequence.sequential import SequentialPolicy
from policies.sequence.settings import LayeredSettings, TrainedSettings
from policies.settings import setting


class GRU4RecModel(SequenceEncoder):
    """Item embeddings, recurrent layers, tied output."""

    def __init__(self, n_items: int, dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, dim)
        self.start = nn.Parameter(torch.zeros(dim))
        self.drop = nn.Dropout(dropout)
        between = dropout if layers > 1 else 0.0
        self.gru = nn.GRU(dim, dim, layers, batch_first=True, dropout=between)
        self.out = nn.Linear(dim, dim)
        for parameter in (self.items.weight, self.start):
            nn.init.normal_(parameter, std=0.02)

    def forward(self, sequences: Tensor) -> Tensor:
        """int64[B, L] to float[B, L + 1, dim]: state i has seen the first i items."""
        b = len(sequences)
        tokens = self.items(sequences.clamp(min=0)) * (self.items.embedding_dim**0.5)
        x = torch.cat([self.start.expand(b, 1, -1), tokens], dim=1)
        states, _ = self.gru(self.drop(x))
        found: Tensor = self.out(self.drop(states))
        return found


@dataclass(frozen=True)
class GRU4RecSettings(IdTableSettings, LayeredSettings, TrainedSettings):
    """Recurrent layers with dropout between them."""

    layers: int = setting(1, at_least=1, at_most=256)
    dropout: float = setting(0.2, at_least=0, below=1)
    learning_rate: float = setting(2e-3, above=0, at_most=10)


class GRU4Rec(SequentialPolicy):
    """A recurrent network over the videos a user liked; comments in the platform's order.

    Settings: see `GRU4RecSettings`.
    """

    stage = "gru4rec"
    settings_class = GRU4RecSettings
    options: GRU4RecSettings

    def new_encoder(self, n_items: int) -> SequenceEncoder:
        """Recurrent network of the size in the settings."""
        s = self.options
        return GRU4RecModel(n_items, s.dim, s.layers, s.dropout)
