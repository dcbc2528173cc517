"""Rank by FMLP-Rec: an all-MLP model with learnable filters (Zhou et al., WWW 2022).

A filter layer multiplies the Fourier transform of a sequence, channel by channel, by learned
coefficients, which is a circular convolution over the sequence.

Differences from the paper: the convolution is causal. Theirs mixes all positions and so predicts
one target per pass; here coefficients are given in time, the sequence is padded to twice its
length before the transform, and a state sees nothing after it, so every position is a target.
Filters are as long as the longest history. Also: cross-entropy over the whole catalogue, or shared
negatives with correction, instead of one negative per positive; pre-layer normalisation; a start
token stands for the empty history.

Held to `itemknn` and `ease`: a neural policy below these floors is a bug; and to the best public
SASRec on ml-100k (HR@10 .182, NDCG@10 .094), which the paper reports to beat. Its own figures rank
one video among 99 sampled ones and do not carry over to full ranking.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policies.sequence.encoder import CausalStack, SequenceEncoder
from policies.sequence.ids import IdTableSettings
from policies.sequence.sequential import SequentialPolicy
from policies.sequence.settings import LayeredSettings, TrainedSettings
from policies.settings import setting


class FilterBlock(nn.Module):
    """A causal filter and a feed-forward layer, pre-norm, with residuals."""

    def __init__(self, length: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(dim)
        self.filter = nn.Parameter(torch.randn(length, dim) * 0.02)
        self.norm_2 = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, L, dim] to the same; position i sees positions <= i."""
        x = x + self.drop(causal_convolution(self.norm_1(x), self.filter))
        result: Tensor = x + self.drop(self.feed_forward(self.norm_2(x)))
        return result


class FMLPRecModel(CausalStack):
    """A causal stack of filter blocks."""

    def __init__(self, n_items: int, length: int, dim: int, layers: int, dropout: float) -> None:
        super().__init__(
            n_items,
            length,
            dim,
            layers,
            lambda longest: FilterBlock(longest, dim, dropout),
            nn.Dropout(dropout),
        )


@dataclass(frozen=True)
class FMLPRecSettings(IdTableSettings, LayeredSettings, TrainedSettings):
    """Filter layers with dropout."""

    dropout: float = setting(0.3, at_least=0, below=1)


class FMLPRec(SequentialPolicy):
    """Learned filters over the videos a user liked; comments in the platform's order.

    Settings: see `FMLPRecSettings`.
    """

    stage = "fmlprec"
    settings_class = FMLPRecSettings
    options: FMLPRecSettings

    def new_encoder(self, n_items: int) -> SequenceEncoder:
        """Filter model of the size in the settings."""
        s = self.options
        return FMLPRecModel(n_items, s.length, s.dim, s.layers, s.dropout)


def causal_convolution(x: Tensor, kernel: Tensor) -> Tensor:
    """Sum over the past of each channel, weighted by how long ago.

    Args:
        x: float[B, L, dim].
        kernel: float[K, dim], K >= L; entry k weighs what was k positions ago.

    Returns:
        float[B, L, dim]: at i, the sum over k <= i of ``kernel[k] * x[i - k]``.
    """
    length = x.shape[1]
    # Twice the length: the product of transforms is circular and must not wrap around.
    n = 2 * length
    spectrum = torch.fft.rfft(x, n, dim=1) * torch.fft.rfft(kernel[:length], n, dim=0)
    found: Tensor = torch.fft.irfft(spectrum, n, dim=1)[:, :length]
    return found
