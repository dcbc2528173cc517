"""Rank by HSTU: hierarchical sequential transduction units (Zhai et al., ICML 2024).

A layer makes U, V, Q and K from one projection through SiLU; attention is ``SiLU(QK' + bias) / n``
with a learned bias by distance, without softmax, so that the strength of a preference survives;
the pooled V, normalised, is gated by U. No feed-forward layer.

Differences from the paper: bias by distance alone, not by elapsed time (a request holds no times of
past events); items only, no interleaved actions, no other features; n is the longest history, so
that a state does not depend on padding; cross-entropy over the whole catalogue, or shared negatives
with correction, with inner products instead of cosines; a start token stands for the empty history.

Held to `sasrec` under the same training, and to the floors `itemknn` and `ease`. The paper's
HSTU-large reaches HR@10 .329, NDCG@10 .189 on ML-1M, full ranking, with a model many times the
default here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from policies.sequence.encoder import CausalStack, SequenceEncoder
from policies.sequence.ids import IdTableSettings
from policies.sequence.sequential import SequentialPolicy
from policies.sequence.settings import AttentionSettings, TrainedSettings
from policies.settings import setting


class HSTULayer(nn.Module):
    """Gated pointwise attention over the past, pre-norm, with a residual."""

    def __init__(self, longest: int, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.longest = longest
        self.norm_1 = nn.LayerNorm(dim)
        self.uvqk = nn.Linear(dim, 4 * dim)
        self.bias = nn.Parameter(torch.zeros(longest))
        self.norm_2 = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, L, dim] to the same; position i sees positions <= i."""
        b, length, dim = x.shape
        u, v, q, k = F.silu(self.uvqk(self.norm_1(x))).chunk(4, dim=-1)
        q, k, v = (t.view(b, length, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        place = torch.arange(length, device=x.device)
        distance = place[:, None] - place
        logits = q @ k.transpose(2, 3) + self.bias[distance.clamp(min=0)]
        weights = F.silu(logits) * (distance >= 0) / self.longest
        pooled = (weights @ v).transpose(1, 2).reshape(b, length, dim)
        result: Tensor = x + self.out(self.drop(self.norm_2(pooled) * u))
        return result


class HSTUModel(CausalStack):
    """A causal stack of HSTU layers."""

    def __init__(
        self, n_items: int, length: int, dim: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__(
            n_items,
            length,
            dim,
            layers,
            lambda longest: HSTULayer(longest, dim, heads, dropout),
            nn.Dropout(dropout),
        )


@dataclass(frozen=True)
class HSTUSettings(IdTableSettings, AttentionSettings, TrainedSettings):
    """Layers of gated attention with dropout."""

    dropout: float = setting(0.2, at_least=0, below=1)


class HSTU(SequentialPolicy):
    """Gated attention without softmax over the videos a user liked; comments as by the platform.

    Settings: see `HSTUSettings`.
    """

    stage = "hstu"
    settings_class = HSTUSettings
    options: HSTUSettings

    def new_encoder(self, n_items: int) -> SequenceEncoder:
        """HSTU of the size in the settings."""
        s = self.options
        return HSTUModel(n_items, s.length, s.dim, s.layers, s.heads, s.dropout)
