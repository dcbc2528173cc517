"""Rank by SASRec: self-attentive sequential recommendation (Kang & McAuley, ICDM 2018).

Differences from the paper: cross-entropy over the whole catalogue (or shared sampled negatives,
corrected for how often they are drawn, above 20,000 videos) instead of one negative per
positive; pre-layer normalisation; every position of every window is a target; a start token
stands for the empty history, so that new users get a ranking too.

What depends on the size of the catalogue and is left at None follows
`SASRecSettings.by_size`. Held to the public implementations on ml-100k and Amazon
Video: ``python -m benchmarks.models.policies``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from policies.sequence import softmax
from policies.sequence.dropout import Dropout
from policies.sequence.encoder import CausalStack, SequenceEncoder
from policies.sequence.ids import IdTableSettings
from policies.sequence.sequential import SequentialPolicy
from policies.sequence.settings import AttentionSettings
from policies.sequence.trainer import TrainerSettings
from policies.settings import setting


class Block(nn.Module):
    """A pre-norm transformer block; attention is causal unless told otherwise."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm_1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm_2 = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), Dropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """float[B, L, dim] to the same; position i sees positions <= i.

        Given ``real`` bool[B, L], every position sees all of those instead.
        """
        b, length, dim = x.shape
        q, k, v = self.qkv(self.norm_1(x)).view(b, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if real is None else real[:, None, None],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=real is None,
        )
        x = x + self.drop(self.out(attended.transpose(1, 2).reshape(b, length, dim)))
        result: Tensor = x + self.drop(self.feed_forward(self.norm_2(x)))
        return result

    def at(self, x: Tensor, position: Tensor) -> Tensor:
        """`forward`, without dropout, at one position int64[B] of each sequence: float[B, dim]."""
        b, length, dim = x.shape
        own, normed = x[torch.arange(b, device=x.device), position], self.norm_1(x)
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(self.norm_1(own), weight[:dim], bias[:dim]).view(b, self.heads, 1, -1)
        both = F.linear(normed, weight[dim:], bias[dim:]).view(b, length, 2, self.heads, -1)
        k, v = both.permute(2, 0, 3, 1, 4)
        visible = torch.arange(length, device=x.device) <= position[:, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=visible[:, None, None])
        own = own + self.out(attended.reshape(b, dim))
        result: Tensor = own + self.feed_forward(self.norm_2(own))
        return result


class SASRecModel(CausalStack):
    """A causal stack of transformer blocks."""

    def __init__(
        self, n_items: int, length: int, dim: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__(
            n_items,
            length,
            dim,
            layers,
            lambda longest: Block(dim, heads, dropout),
            Dropout(dropout),
        )

    def last(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """float[B, dim]: the state after each whole sequence, for ranking (no dropout)."""
        x = self.embedded(sequences)
        *first, top = self.blocks
        for block in first:
            x = block(x)
        assert isinstance(top, Block)
        state: Tensor = self.norm(top.at(x, lengths))
        return state


# Most videos of a large catalogue have few events: stronger regularisation, fewer, longer steps.
_SMALL = {"dropout": 0.2, "learning_rate": 1e-3, "decay": False, "epochs": 60}
_LARGE = {"dropout": 0.4, "learning_rate": 3e-3, "decay": True, "epochs": 24}


@dataclass(frozen=True)
class SASRecSettings(IdTableSettings, AttentionSettings):
    """A transformer; what is None follows the size of the catalogue.

    Attributes:
        dropout: .2, or .4 where the catalogue is large.
        epochs: At most 60, or 24 where the catalogue is large.
        learning_rate, decay: 1e-3, or 3e-3 that falls to zero where the catalogue is large.
    """

    dropout: float | None = setting(None, at_least=0, below=1)
    epochs: int | None = setting(None, at_least=1, at_most=100_000)
    learning_rate: float | None = setting(None, above=0, at_most=10)
    decay: bool | None = setting(None)

    def by_size(self, n_items: int) -> SASRecSettings:
        """The settings, with those that are None chosen by the size of the catalogue.

        A catalogue is large where the loss is sampled: above
        `policies.sequence.softmax.FULL_SOFTMAX_UP_TO`.
        """
        chosen = _LARGE if n_items > softmax.FULL_SOFTMAX_UP_TO else _SMALL
        missing = {name: value for name, value in chosen.items() if getattr(self, name) is None}
        return SASRecSettings(**{**self.to_dict(), **missing})

    def trainer(self, n_items: int) -> TrainerSettings:
        """As the settings say, or the size of the catalogue."""
        s = self.by_size(n_items)
        assert s.epochs is not None and s.learning_rate is not None and s.decay is not None
        return TrainerSettings(
            epochs=s.epochs,
            epoch_steps=s.epoch_steps,
            patience=s.patience,
            learning_rate=s.learning_rate,
            decay=s.decay,
            accumulation=s.accumulation,
        )


class SASRec(SequentialPolicy):
    """Self-attention over the videos a user liked; comments in the platform's order.

    Settings: see `SASRecSettings`.
    """

    stage = "sasrec"
    settings_class = SASRecSettings
    options: SASRecSettings

    def new_encoder(self, n_items: int) -> SequenceEncoder:
        """Causal transformer of the size in the settings."""
        s = self.options.by_size(n_items)
        assert s.dropout is not None
        return SASRecModel(n_items, s.length, s.dim, s.layers, s.heads, s.dropout)
