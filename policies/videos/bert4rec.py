"""BERT4Rec: a bidirectional transformer that fills in masked items (Sun et al., CIKM 2019).

Training hides a share of the items of a sequence and predicts them from both sides; a share of the
sequences hides only the last item, which is what serving asks: it appends [mask].

Differences from the paper: pre-layer normalisation; no bias per item in the output, so that a score
is an inner product; a [mask] after nothing ranks for new users. As in the authors' code, positions
count from the end of a sequence.

Held to `itemknn` and `ease`, and to `sasrec` under the same loss: Klenitskiy & Vasilev, RecSys
2023, find SASRec with full cross-entropy at least as good; Petrov & Macdonald, RecSys 2022, find
published BERT4Rec figures low because training stopped early. Hidden items are a fifth of the
events, so that it needs several times the epochs of the causal models.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policies.sequence.dropout import Dropout
from policies.sequence.encoder import SequenceEncoder
from policies.sequence.sequential import SequentialPolicy
from policies.videos.sasrec import Block
from simulator.requests import HISTORY_LENGTH, Signal


class BERT4RecModel(SequenceEncoder):
    """Item and position embeddings, bidirectional blocks, tied output.

    Args:
        n_items: Size of the catalogue; one more vector stands for [mask].
        length: Longest sequence, without the [mask] that serving appends.
        dim, layers, heads, dropout: Size.
        masked: Share of the items hidden in training.
        last_only: Share of the training sequences in which only the last item is hidden.
    """

    def __init__(
        self,
        n_items: int,
        length: int,
        dim: int,
        layers: int,
        heads: int,
        dropout: float,
        masked: float,
        last_only: float,
    ) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, dim)
        self.mask = nn.Parameter(torch.zeros(dim))
        # One more for [mask], one for the context item of a continued window.
        self.positions = nn.Embedding(length + 2, dim)
        self.norm = nn.LayerNorm(dim)
        self.drop = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(layers))
        self.head = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim)
        )
        self.masked, self.last_only = masked, last_only
        for parameter in (self.items.weight, self.positions.weight, self.mask):
            nn.init.normal_(parameter, std=0.02)

    def forward(self, sequences: Tensor) -> Tensor:
        """int64[B, L] to float[B, L + 1, dim]: state i has seen the first i items.

        One pass per prefix, for whoever needs the states of all: `examples` and `last` do not.
        """
        lengths = (sequences >= 0).sum(dim=1)
        states = [
            self.last(sequences[:, :i], lengths.clamp(max=i)) for i in range(sequences.shape[1] + 1)
        ]
        return torch.stack(states, dim=1)

    def examples(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """States at hidden items, and those items: at least one of each window."""
        real = windows >= 0
        end = real.sum(dim=1, keepdim=True) - 1
        last = torch.arange(windows.shape[1]) == end
        # Where chance hides nothing, the lowest draw is hidden all the same.
        draws = torch.rand(windows.shape).masked_fill(~real, 2.0)
        cloze = (draws < self.masked) | (draws == draws.amin(dim=1, keepdim=True))
        hidden = torch.where(torch.rand(len(windows), 1) < self.last_only, last, cloze & real)
        hidden = hidden & real
        states: Tensor = self.head(self._encode(windows, hidden, real)[hidden])
        return states, windows[hidden]

    def last(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """float[B, dim]: the state of a [mask] after each whole sequence."""
        b = len(sequences)
        sequences = torch.cat([sequences, sequences.new_full((b, 1), -1)], dim=1)
        place = torch.arange(sequences.shape[1])
        hidden = place == lengths[:, None]
        states = self._encode(sequences, hidden, place <= lengths[:, None])
        state: Tensor = self.head(states[torch.arange(b), lengths])
        return state

    def _encode(self, items: Tensor, hidden: Tensor, real: Tensor) -> Tensor:
        """float[B, L, dim] of items int64[B, L], hidden or not; ``real`` is what is no padding."""
        tokens = self.items(items.clamp(min=0))
        tokens = torch.where(hidden[:, :, None], self.mask, tokens)
        from_end = real.sum(dim=1, keepdim=True) - 1 - torch.arange(items.shape[1])
        # Positions weigh as much as items: without a causal mask nothing else tells the order.
        x: Tensor = self.drop(self.norm(tokens + self.positions(from_end.clamp(min=0))))
        for block in self.blocks:
            x = block(x, real)
        return x


class BERT4Rec(SequentialPolicy):
    """Bidirectional attention over the videos a user liked; comments in the platform's order.

    Args:
        signal: Which events make the history: "liked" or "clicked".
        dim, layers, heads, dropout: Size of the model.
        masked: Share of the items hidden in training.
        last_only: Share of the training sequences in which only the last item is hidden.
        length: Longest history.
        negatives: Shared sampled negatives per batch where the catalogue is large.
        epochs, epoch_steps, patience, learning_rate: Training; see `policies.sequence.trainer`.
        tokens: The batch size in events.
    """

    def __init__(
        self,
        signal: Signal = "liked",
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        dropout: float = 0.2,
        masked: float = 0.2,
        last_only: float = 0.1,
        length: int = HISTORY_LENGTH,
        negatives: int = 1024,
        epochs: int = 200,
        epoch_steps: int = 100,
        patience: int = 15,
        learning_rate: float = 2e-3,
        tokens: int = 2048,
    ) -> None:
        super().__init__(
            "bert4rec",
            signal=signal,
            dim=dim,
            layers=layers,
            heads=heads,
            dropout=dropout,
            masked=masked,
            last_only=last_only,
            length=length,
            negatives=negatives,
            epochs=epochs,
            epoch_steps=epoch_steps,
            patience=patience,
            learning_rate=learning_rate,
            tokens=tokens,
        )

    def new_encoder(self, n_items: int) -> SequenceEncoder:
        """Bidirectional transformer of the size in the settings."""
        s = self._settings
        return BERT4RecModel(
            n_items,
            s["length"],
            s["dim"],
            s["layers"],
            s["heads"],
            s["dropout"],
            s["masked"],
            s["last_only"],
        )
