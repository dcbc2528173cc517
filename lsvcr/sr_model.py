"""LSVCR's sequential recommender: the part that is kept in deployment.

Zheng et al., "Enhancing Sequential Recommender with Large Language Models for Joint Video and
Comment Recommendation" (arXiv 2403.13574), section 4.2. Two histories, the videos somebody liked
and the comment sections somebody took part in, are encoded causally; each then attends to the
other; a person is one vector per task, compared with candidates by cosine.

Differences from the paper: a start token opens each history, so that people without a history get
a ranking too; many positions of one sequence are trained in one pass (see `SRModel.states`); every
map starts as the identity, so that training starts from "the mean of what this person took part
in" rather than from noise (Zhang et al., Fixup, ICLR 2019, for the zero residual branches).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Task = Literal["video", "comment"]
TEMPERATURE = 0.07
MAX_LENGTH = 50


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
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, feed_forward), nn.GELU(), nn.Linear(feed_forward, dim)
        )
        self.drop = nn.Dropout(dropout)
        _start_at_zero(self.out)
        last = self.feed_forward[-1]
        assert isinstance(last, nn.Linear)
        _start_at_zero(last)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, L, dim] to the same; position i sees positions <= i."""
        b, length, dim = x.shape
        q, k, v = self.qkv(x).view(b, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=True
        )
        x = self.norm_1(x + self.drop(self.out(attended.transpose(1, 2).reshape(b, length, dim))))
        states: Tensor = self.norm_2(x + self.drop(self.feed_forward(x)))
        return states


class HistoryEncoder(nn.Module):
    """Start token, learned positions and causal layers over one history."""

    def __init__(
        self, dim: int, layers: int, heads: int, feed_forward: int, dropout: float
    ) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(dim))
        self.positions = nn.Parameter(torch.zeros(MAX_LENGTH + 1, dim))
        self.norm = nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)
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
        b, length, _ = tokens.shape
        x: Tensor = torch.cat([self.start.expand(b, 1, -1), tokens], dim=1)
        places = self.positions[: length + 1]
        if positions is not None:
            # The start token has the first place to itself.
            index = torch.cat([positions.new_zeros(b, 1), positions + 1], dim=1)
            places = F.embedding(index, self.positions)
        x = self.drop(self.norm(x + places))
        for layer in self.layers:
            x = layer(x)
        return x


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
        self.drop = nn.Dropout(dropout)
        _start_at_zero(self.out)
        _start_at_identity(self.join, 0.5)

    def forward(self, own: Tensor, other: Tensor, other_count: Tensor) -> Tensor:
        """What each of K moments sees: own states mixed with the other history up to then.

        Args:
            own: float[B, L, dim], with the start token.
            other: float[B, M, dim], with the start token.
            other_count: int64[B, K], events of the other history that each moment may see.

        Returns:
            float[B, K, L, dim].
        """
        b, length, dim = own.shape
        q = self.query(own).view(b, length, self.heads, -1)
        k, v = self.key_value(other).view(b, other.shape[1], 2, self.heads, -1).unbind(2)
        scores = torch.einsum("blhd,bmhd->bhlm", q, k) / math.sqrt(q.shape[-1])
        places = torch.arange(other.shape[1], device=other.device)
        visible = places <= other_count[:, :, None]
        scores = scores[:, None].masked_fill(~visible[:, :, None, None, :], float("-inf"))
        weights = scores.softmax(dim=-1)
        if self.training:
            # The moments of one sequence share their dropout masks.
            weights = weights * self.drop(torch.ones_like(scores[:, :1]))
        mixed = self.out(torch.einsum("bkhlm,bmhd->bklhd", weights, v).flatten(-2))
        if self.training:
            mixed = mixed * self.drop(torch.ones_like(own))[:, None]
        mixed = self.norm(own[:, None] + mixed)
        # join([own ; mixed]), with the half that does not depend on the moment computed once.
        own_half, mixed_half = self.join.weight[:, :dim], self.join.weight[:, dim:]
        joined: Tensor = (
            F.linear(mixed, mixed_half) + F.linear(own, own_half, self.join.bias)[:, None]
        )
        return joined


class AttentivePooling(nn.Module):
    """Additive attention over a history: one vector for the video task."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, 2 * dim)
        self.drop = nn.Dropout(dropout)
        self.score = nn.Sequential(nn.LayerNorm(2 * dim), nn.GELU(), nn.Linear(2 * dim, 1))

    def forward(self, states: Tensor, visible: Tensor) -> Tensor:
        """float[B, K, L, dim] and bool[B, K, L] to float[B, K, dim]."""
        hidden = self.hidden(states)
        if self.training:
            hidden = hidden * self.drop(torch.ones_like(hidden[:, :1]))
        scores = self.score(hidden).squeeze(-1).masked_fill(~visible, float("-inf"))
        pooled: Tensor = torch.einsum("bkl,bkld->bkd", scores.softmax(dim=-1), states)
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
        self.drop = nn.Dropout(dropout)
        _start_at_identity(self.out, 4.0)
        nn.init.eye_(self.key_value.weight[dim:])
        nn.init.zeros_(self.key_value.bias[dim:])

    def forward(self, video: Tensor, keys_values: Tensor, visible: Tensor) -> Tensor:
        """float[B, K, dim], float[B, K, L, 2 * dim] and bool[B, K, L] to float[B, K, dim]."""
        b, n, length, _ = keys_values.shape
        q = self.query(video).view(b, n, self.heads, -1)
        k, v = keys_values.view(b, n, length, 2, self.heads, -1).unbind(3)
        scores = torch.einsum("bkhd,bklhd->bkhl", q, k) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~visible[:, :, None, :], float("-inf")).softmax(dim=-1)
        read = torch.einsum("bkhl,bklhd->bkhd", weights, v).flatten(-2)
        representation: Tensor = self.norm(video + self.drop(self.out(read)))
        return representation


class SRModel(nn.Module):
    """Embeddings, encoders, mixing and the head of one task.

    Args:
        task: Which head: fine-tuning keeps a copy of the model per task.
        n_videos: Rows of the ID table.
        text_dim: Width of the LLM's text embeddings; 0 = the log has no text, IDs alone.
        dim, layers, heads, feed_forward, dropout: Sizes; the paper's are the defaults.
    """

    def __init__(
        self,
        task: Task,
        n_videos: int,
        text_dim: int,
        *,
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        feed_forward: int = 256,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.task, self.dim, self.text_dim = task, dim, text_dim
        self.ids = nn.Embedding(n_videos, dim)
        nn.init.normal_(self.ids.weight, std=0.02)
        self.gate = nn.Parameter(torch.ones(()))
        if text_dim:
            self.llm_emb_mlp = nn.Sequential(
                nn.Linear(text_dim, max(text_dim // 4, 1)),
                nn.GELU(),
                nn.Linear(max(text_dim // 4, 1), 256),
            )
            self.llm_adapter = nn.Linear(256, dim, bias=False)
            self.merge = nn.Linear(2 * dim, dim)
            # At first a liked video is its title, a comment section what was said in it.
            with torch.no_grad():
                own = (1.0, 0.0) if task == "video" else (0.0, 1.0)
                self.merge.weight.copy_(torch.cat([w * torch.eye(dim) for w in own], dim=1))
            nn.init.zeros_(self.merge.bias)
        sizes = (dim, layers, heads, feed_forward, dropout)
        self.video_encoder = HistoryEncoder(*sizes)
        self.comment_encoder = HistoryEncoder(*sizes)
        self.mixing = Mixing(dim, heads, dropout)
        if task == "video":
            self.pooling = AttentivePooling(dim, dropout)
        else:
            self.video_query = VideoQuery(dim, heads, dropout)

    @property
    def text_hidden(self) -> int:
        """Width of the text path's hidden layer."""
        return max(self.text_dim // 4, 1)

    def text_layers(self) -> tuple[nn.Linear, nn.Linear]:
        """The two linear layers of the text path."""
        first, _, second = self.llm_emb_mlp
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        return first, second

    def text(self, embeddings: Tensor) -> Tensor:
        """LLM embeddings float[..., text_dim] to float[..., dim]."""
        first, second = self.text_layers()
        # Nothing bends between the last two maps: multiplied first, they cost a fraction.
        weight = self.llm_adapter.weight @ second.weight
        bias = self.llm_adapter.weight @ second.bias
        adapted: Tensor = F.linear(F.gelu(first(embeddings)), weight, bias)
        return adapted

    def videos(self, index: Tensor, titles: Tensor | None) -> Tensor:
        """Video vectors, gate * ID + adapter(title): candidates, and the comment task's query.

        Args:
            index: int64[...], >= 0.
            titles: float[..., dim], adapted titles; None without text.
        """
        own: Tensor = self.gate * self.ids(index)
        return own if titles is None else own + titles

    def tokens(self, index: Tensor, titles: Tensor | None, comments: Tensor | None) -> Tensor:
        """History tokens float[..., dim]: merge([title ; comments]) + gate * ID."""
        own: Tensor = self.gate * self.ids(index)
        if titles is None:
            return own
        comments = torch.zeros_like(titles) if comments is None else comments
        merged: Tensor = self.merge(torch.cat([titles, comments], dim=-1))
        return own + merged

    def states(
        self,
        video_tokens: Tensor,
        comment_tokens: Tensor,
        video_count: Tensor,
        comment_count: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Mixed states of the task's own history at K moments of each sequence.

        Because the encoders are causal, a moment that has seen the first n events of a history
        needs only its first n + 1 states: K moments share one encoding, and each result equals
        that of a person whose history ends there.

        Args:
            video_tokens: float[B, L, dim].
            comment_tokens: float[B, M, dim].
            video_count: int64[B, K], liked videos that each moment has seen.
            comment_count: int64[B, K], comment sections that each moment has seen.

        Returns:
            float[B, K, L + 1 or M + 1, dim] and bool[B, K, L + 1 or M + 1], the visible ones.
        """
        return self.mixed(
            self.video_encoder(video_tokens),
            self.comment_encoder(comment_tokens),
            video_count,
            comment_count,
        )

    def mixed(
        self, videos: Tensor, comments: Tensor, video_count: Tensor, comment_count: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`states` from histories that are encoded already: float[B, L + 1 (M + 1), dim]."""
        if self.task == "video":
            mixed = self.mixing(videos, comments, comment_count)
            own, count = videos, video_count
        else:
            mixed = self.mixing(comments, videos, video_count)
            own, count = comments, comment_count
        places = torch.arange(own.shape[1], device=own.device)
        return mixed, places <= count[:, :, None]

    def person(self, states: Tensor, visible: Tensor, video: Tensor | None = None) -> Tensor:
        """User representations float[B, K, dim]; the comment task needs the current videos."""
        if self.task == "video":
            pooled: Tensor = self.pooling(states, visible)
            return pooled
        assert video is not None
        keys_values = self.video_query.key_value(states)
        representation: Tensor = self.video_query(video, keys_values, visible)
        return representation


def cosine_logits(person: Tensor, candidates: Tensor) -> Tensor:
    """Cosine similarity over temperature: float[N, dim] x float[C, dim] to float[N, C]."""
    return (F.normalize(person, dim=-1) / TEMPERATURE) @ F.normalize(candidates, dim=-1).T
