"""GRU4Rec: gated recurrent units over sessions (Hidasi et al., ICLR 2016).

Differences from the paper: cross-entropy over the whole catalogue, or over shared negatives with
correction, instead of TOP1 over the other items of a parallel batch (Hidasi & Karatzoglou, CIKM
2018, also went over to more negatives); input and output vectors are tied; whole windows instead of
truncated propagation, batched by length; a start token stands for the empty history.

Held to `itemknn` and `ease`: a neural policy below these floors is a bug; and to the best public
SASRec on ml-100k (HR@10 .182, NDCG@10 .094). Hidasi & Czapp, RecSys 2023, examine six other
reimplementations against the official one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policies.sequence.encoder import SequenceEncoder
from policies.sequence.sequential import SequentialPolicy
from simulator.requests import HISTORY_LENGTH, Signal


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


class GRU4Rec(SequentialPolicy):
    """A recurrent network over the videos a user liked; comments in the platform's order.

    Args:
        signal: Which events make the history: "liked" or "clicked".
        dim, layers, dropout: Size of the model.
        length: Longest history.
        negatives: Shared sampled negatives per batch where the catalogue is large.
        epochs, epoch_steps, patience, learning_rate: Training; see `policies.sequence.trainer`.
        tokens: The batch size in events.
    """

    def __init__(
        self,
        signal: Signal = "liked",
        dim: int = 64,
        layers: int = 1,
        dropout: float = 0.2,
        length: int = HISTORY_LENGTH,
        negatives: int = 1024,
        epochs: int = 60,
        epoch_steps: int = 100,
        patience: int = 4,
        learning_rate: float = 2e-3,
        tokens: int = 2048,
    ) -> None:
        super().__init__(
            "gru4rec",
            signal=signal,
            dim=dim,
            layers=layers,
            dropout=dropout,
            length=length,
            negatives=negatives,
            epochs=epochs,
            epoch_steps=epoch_steps,
            patience=patience,
            learning_rate=learning_rate,
            tokens=tokens,
        )

    def new_encoder(self, n_items: int) -> SequenceEncoder:
        """Recurrent network of the size in the settings."""
        s = self._settings
        return GRU4RecModel(n_items, s["dim"], s["layers"], s["dropout"])
