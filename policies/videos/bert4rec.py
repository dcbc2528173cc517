"""Rank by BERT4Rec: a bidirectional transformer over masked items (Sun et al., CIKM 2019).

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

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policies.sequence.dropout import Dropout
from policies.sequence.encoder import SequenceEncoder
from policies.sequence.ids import IdTableSettings
from policies.sequence.sequential import SequentialPolicy
from policies.sequence.settings import AttentionSettings, TrainedSettings
from policies.settings import setting
from policies.videos.sasrec import Block


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
        device = windows.device
        last = torch.arange(windows.shape[1], device=device) == end
        # Where chance hides nothing, the lowest draw is hidden all the same.
        draws = torch.rand(windows.shape, device=device).masked_fill(~real, 2.0)
        cloze = (draws < self.masked) | (draws == draws.amin(dim=1, keepdim=True))
        hidden = torch.where(
            torch.rand(len(windows), 1, device=device) < self.last_only, last, cloze & real
        )
        hidden = hidden & real
        states: Tensor = self.head(self._encode(windows, hidden, real)[hidden])
        return states, windows[hidden]

    def last(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """float[B, dim]: the state of a [mask] after each whole sequence."""
        b = len(sequences)
        sequences = torch.cat([sequences, sequences.new_full((b, 1), -1)], dim=1)
        place = torch.arange(sequences.shape[1], device=sequences.device)
        hidden = place == lengths[:, None]
        states = self._encode(sequences, hidden, place <= lengths[:, None])
        state: Tensor = self.head(states[torch.arange(b, device=states.device), lengths])
        return state

    def _encode(self, items: Tensor, hidden: Tensor, real: Tensor) -> Tensor:
        """float[B, L, dim] of items int64[B, L], hidden or not; ``real`` is what is no padding."""
        tokens = self.items(items.clamp(min=0))
        tokens = torch.where(hidden[:, :, None], self.mask, tokens)
        from_end = (
            real.sum(dim=1, keepdim=True) - 1 - torch.arange(items.shape[1], device=items.device)
        )
        # Positions weigh as much as items: without a causal mask nothing else tells the order.
        x: Tensor = self.drop(self.norm(tokens + self.positions(from_end.clamp(min=0))))
        for block in self.blocks:
            x = block(x, real)
        return x


@dataclass(frozen=True)
class BERT4RecSettings(IdTableSettings, AttentionSettings, TrainedSettings):
    """A bidirectional transformer that learns by filling in what is hidden.

    Attributes:
        masked: Share of the items hidden in training.
        last_only: Share of the training sequences in which only the last item is hidden.
    """

    dropout: float = setting(0.2, at_least=0, below=1)
    masked: float = setting(0.2, above=0, below=1)
    last_only: float = setting(0.1, at_least=0, below=1)
    epochs: int = setting(200, at_least=1, at_most=100_000)
    patience: int = setting(15, at_least=1, at_most=100_000)
    learning_rate: float = setting(2e-3, above=0, at_most=10)


class BERT4Rec(SequentialPolicy):
    """Bidirectional attention over the videos a user liked; comments in the platform's order.

    Settings: see `BERT4RecSettings`.
    """

    stage = "bert4rec"
    settings_class = BERT4RecSettings
    options: BERT4RecSettings

    def new_encoder(self, n_items: int) -> SequenceEncoder:
        """Bidirectional transformer of the size in the settings."""
        s = self.options
        return BERT4RecModel(
            n_items, s.length, s.dim, s.layers, s.heads, s.dropout, s.masked, s.last_only
        )
