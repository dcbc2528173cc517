"""Define the layers of LSVCR's sequential recommender: encoders, mixing and the two heads.

Residual branches start at zero (Zhang et al., Fixup, ICLR 2019): see `lsvcr.model.sr_model`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lsvcr.task import MAX_LENGTH
from policies.sequence.dropout import Dropout


def attention(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, drop: Dropout) -> Tensor:
    """Scaled dot-product attention.

    Args:
        q: float[..., Q, size].
        k: float[..., L, size].
        v: float[..., L, size].
        visible: bool, broadcast to [..., Q, L]; at least one per query.
        drop: Applied to the weights.

    Returns:
        float[..., Q, size].
    """
    if not drop.training:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)
    weights = scores.masked_fill(~visible, float("-inf")).softmax(dim=-1)
    read: Tensor = drop(weights) @ v
    return read


def attention_of_few(
    q: Tensor, states: Tensor, visible: Tensor, key_value: Tensor, bias: Tensor
) -> Tensor:
    """Scaled dot-product attention of few queries over many states.

    Keys and values are projected on the queries' side. With q' = W_k' q, q . (W_k x + b) is q' . x
    up to a term that all states share, and as weights sum to one, the mean of W_v x + b is
    W_v (mean of x) + b.

    Args:
        q: float[B, Q, heads, size].
        states: float[B, L, dim], dim = heads * size.
        visible: bool[B, Q, L]; at least one per query.
        key_value: float[2 * dim, dim], W_k above W_v.
        bias: float[dim], of the values.

    Returns:
        float[B, Q, dim].
    """
    n, queries, heads, size = q.shape
    dim, length = states.shape[2], states.shape[1]
    key, value = key_value.view(2, heads, size, dim)
    asked = torch.einsum("bqhs,hsd->bqhd", q / math.sqrt(size), key)
    scores = (asked.flatten(1, 2) @ states.transpose(1, 2)).view(n, queries, heads, length)
    weights = scores.masked_fill(~visible[:, :, None], float("-inf")).softmax(dim=-1)
    found = (weights.flatten(1, 2) @ states).view(n, queries, heads, dim)
    return torch.einsum("bqhd,hsd->bqhs", found, value).flatten(2) + bias


def _start_at_zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def _start_at_identity(layer: nn.Linear, scale: float = 1.0) -> None:
    """Each block of inputs as wide as the output is passed through, scaled."""
    blocks = layer.in_features // layer.out_features
    eye = scale * torch.eye(layer.out_features)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([eye] * blocks, dim=1))
    nn.init.zeros_(layer.bias)


class EncoderLayer(nn.Module):
    """A post-norm transformer layer with causal attention."""

    def __init__(self, dim: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, feed_forward), nn.GELU(), nn.Linear(feed_forward, dim)
        )
        self.drop = Dropout(dropout)
        _start_at_zero(self.out)
        last = self.feed_forward[-1]
        assert isinstance(last, nn.Linear)
        _start_at_zero(last)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, L, dim] to the same; position i sees positions <= i."""
        b, length, dim = x.shape
        q, k, v = self.qkv(x).view(b, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.training:
            causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
            attended = attention(q, k, v, causal, self.drop)
        else:
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self._finished(x, attended.transpose(1, 2).reshape(b, length, dim))

    def at(self, x: Tensor, places: Tensor) -> Tensor:
        """`forward` of float[B, L, dim] at few places int64[B, k]: float[B, k, dim]."""
        dim = x.shape[2]
        own = x.gather(1, places[..., None].expand(-1, -1, dim))
        q = F.linear(own, self.qkv.weight[:dim], self.qkv.bias[:dim])
        visible = torch.arange(x.shape[1], device=x.device) <= places[..., None]
        read = attention_of_few(
            q.view(*q.shape[:2], self.heads, -1),
            x,
            visible,
            self.qkv.weight[dim:],
            self.qkv.bias[2 * dim :],
        )
        return self._finished(own, read)

    def _finished(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self.norm_1(x + self.drop(self.out(attended)))
        states: Tensor = self.norm_2(x + self.drop(self.feed_forward(x)))
        return states


class HistoryEncoder(nn.Module):
    """Start token, learned positions and causal layers over one history of at most 50 events."""

    def __init__(
        self, dim: int, layers: int, heads: int, feed_forward: int, dropout: float
    ) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(dim))
        self.positions = nn.Parameter(torch.zeros(MAX_LENGTH + 1, dim))
        self.norm = nn.LayerNorm(dim)
        self.drop = Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(dim, heads, feed_forward, dropout) for _ in range(layers)
        )
        nn.init.normal_(self.start, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """float[B, L, dim] to float[B, L + 1, dim]: state i has seen the first i events.

        Args:
            tokens: float[B, L, dim].
            positions: int64[B, L], a place out of 0..49 for each event; None counts from 0.
        """
        return self.by_layer(tokens, positions)[-1]

    def by_layer(self, tokens: Tensor, positions: Tensor | None = None) -> list[Tensor]:
        """What every layer makes of them; the last is `forward`'s."""
        x = self._inputs(tokens, positions)
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return outputs

    def grown(self, tokens: Tensor, kept: Sequence[Tensor], places: Tensor) -> list[Tensor]:
        """`by_layer` at the last few states alone, where the states before them are known.

        Args:
            tokens: float[B, L, dim], of all events.
            kept: Of each layer but the last float[B, L + 1, dim], right before ``places``.
            places: int64[B, k], consecutive states up to each history's last.

        Returns:
            Of each layer float[B, k, dim].
        """
        x = self._inputs(tokens, None)
        index = places[..., None].expand(-1, -1, x.shape[2])
        outputs = []
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, EncoderLayer)
            outputs.append(layer.at(x, places))
            if number < len(kept):
                x = kept[number].scatter(1, index, outputs[-1])
        return outputs

    def _inputs(self, tokens: Tensor, positions: Tensor | None) -> Tensor:
        b, length, _ = tokens.shape
        x: Tensor = torch.cat([self.start.expand(b, 1, -1), tokens], dim=1)
        places = self.positions[: length + 1]
        if positions is not None:
            # The start token has the first place to itself.
            index = torch.cat([positions.new_zeros(b, 1), positions + 1], dim=1)
            places = F.embedding(index, self.positions)
        inputs: Tensor = self.drop(self.norm(x + places))
        return inputs


class Mixing(nn.Module):
    """One cross-attention from a history to the other, then [own ; mixed] back to dim."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.join = nn.Linear(2 * dim, dim)
        self.drop = Dropout(dropout)
        _start_at_zero(self.out)
        _start_at_identity(self.join, 0.5)

    def forward(
        self, own: Tensor, other: Tensor, other_count: Tensor, window: Tensor | None
    ) -> Tensor:
        """Own states of P views, mixed with as much of the other history as each view has seen.

        Args:
            own: float[B, L, dim], with the start token.
            other: float[B, M, dim], with the start token.
            other_count: int64[P], events of the other history that each view has seen.
            window: int64[P], which of the B pairs of histories it is a view of; None for each its
                own.

        Returns:
            float[P, L, dim].
        """

        def seen(x: Tensor) -> Tensor:
            # index_select, not brackets: its backward pass sums in a fixed order.
            return x if window is None else x.index_select(0, window)

        b, length, dim = own.shape
        q = self.query(own).view(b, length, self.heads, -1).transpose(1, 2)
        both = self.key_value(other).view(b, other.shape[1], 2, self.heads, -1)
        k, v = both.permute(2, 0, 3, 1, 4)
        visible = torch.arange(other.shape[1], device=other.device) <= other_count[:, None]
        read = attention(seen(q), seen(k), seen(v), visible[:, None, None], self.drop)
        mixed = self.norm(seen(own) + self.drop(self.out(read.transpose(1, 2).flatten(2))))
        # join([own ; mixed]), with the half that all views of a window share computed once.
        own_half, mixed_half = self.join.weight[:, :dim], self.join.weight[:, dim:]
        shared = F.linear(own, own_half, self.join.bias)
        joined: Tensor = F.linear(mixed, mixed_half) + seen(shared)
        return joined


class AttentivePooling(nn.Module):
    """Additive attention over a history: one vector for the video task."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, 2 * dim)
        self.drop = Dropout(dropout)
        self.score = nn.Sequential(nn.LayerNorm(2 * dim), nn.GELU(), nn.Linear(2 * dim, 1))

    def forward(self, states: Tensor, visible: Tensor) -> Tensor:
        """float[P, L, dim] and bool[P, K, L] to float[P, K, dim]."""
        scores = self.score(self.drop(self.hidden(states))).squeeze(-1)
        weights = scores[:, None].masked_fill(~visible, float("-inf")).softmax(dim=-1)
        pooled: Tensor = weights @ states
        return pooled


class VideoQuery(nn.Module):
    """Attention of the video being watched over the comment history: the comment task."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.drop = Dropout(dropout)
        _start_at_zero(self.out)

    def forward(self, video: Tensor, states: Tensor, visible: Tensor) -> Tensor:
        """float[P, K, dim], float[P, L, dim] and bool[P, K, L] to float[P, K, dim]."""
        dim = video.shape[2]
        q = self.query(video).view(*video.shape[:2], self.heads, -1)
        read = attention_of_few(
            q, states, visible, self.key_value.weight, self.key_value.bias[dim:]
        )
        representation: Tensor = self.norm(video + self.drop(self.out(read)))
        return representation
