"""Define the multi-head network in two equal forms: torch for training, numpy for simulation.

A person vector p (own embedding + activity level + profile numbers) and a video vector q (own
embedding + author + category + duration) meet in one hidden layer whose inputs are p, q, their
product, the products of q with the mean of recently liked and recently hated videos, the hour
and the depth of the session. Someone or something without a history in
the log has a zero embedding, so the prediction backs off to features and common rates.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from simulator.requests import Int32
from simulator.response.learned.features import CONTEXT_FEATURES, DURATION_FEATURES, USER_NUMBERS
from simulator.response.learned.heads import N_OUTCOMES, N_OUTPUTS

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SIZE = 8
HIDDEN = 24


@dataclass(frozen=True)
class Sizes:
    """Numbers of rows of the embedding tables."""

    users: int
    levels: int
    videos: int
    authors: int
    categories: int


class ResponseNet(nn.Module):
    """Torch form. Index 0 of every embedding table is the unknown and stays zero.

    Args:
        sizes: Table sizes, without the unknown row.
        base_logits: float[N_OUTPUTS], initial biases.
        generator: Source of the initial weights.
    """

    def __init__(self, sizes: Sizes, base_logits: Tensor, generator: torch.Generator) -> None:
        super().__init__()

        def table(rows: int) -> nn.Parameter:
            weight = torch.randn(rows + 1, SIZE, generator=generator) * 0.05
            weight[0] = 0.0
            return nn.Parameter(weight)

        def dense(rows: int, columns: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, columns, generator=generator) * scale)

        self.user = table(sizes.users)
        self.level = table(sizes.levels)
        self.video = table(sizes.videos)
        self.author = table(sizes.authors)
        self.category = table(sizes.categories)
        self.user_numbers = dense(len(USER_NUMBERS), SIZE, 0.05)
        self.duration = dense(DURATION_FEATURES, SIZE, 0.2)
        context = CONTEXT_FEATURES + 1
        self.hidden_user = dense(SIZE, HIDDEN, 0.3)
        self.hidden_video = dense(SIZE, HIDDEN, 0.3)
        self.hidden_context = dense(context, HIDDEN, 0.2)
        self.hidden_pair = dense(3 * SIZE, HIDDEN, 0.3)
        self.hidden_bias = nn.Parameter(torch.zeros(HIDDEN))
        self.out_user = dense(SIZE, N_OUTPUTS, 0.1)
        self.out_video = dense(SIZE, N_OUTPUTS, 0.1)
        self.out_context = dense(context, N_OUTPUTS, 0.02)
        self.out_hidden = dense(HIDDEN, N_OUTPUTS, 0.05)
        self.out_bias = nn.Parameter(base_logits.clone().float())
        self.chain = nn.Parameter(torch.zeros(N_OUTPUTS, N_OUTCOMES))

    def people(self, user: Tensor, level: Tensor, numbers: Tensor) -> Tensor:
        """Person vectors [B, SIZE]; index 0 is unknown."""
        return self.user[user] + self.level[level] + numbers @ self.user_numbers

    def videos(self, video: Tensor, author: Tensor, category: Tensor, duration: Tensor) -> Tensor:
        """Video vectors [..., SIZE]; index 0 is unknown."""
        return (
            self.video[video]
            + self.author[author]
            + self.category[category]
            + duration @ self.duration
        )

    def forward(
        self, p: Tensor, q: Tensor, liked: Tensor, hated: Tensor, context: Tensor
    ) -> Tensor:
        """Outputs [B, N_OUTPUTS] before the chain's terms are added."""
        pair = torch.cat([p * q, liked * q, hated * q], dim=-1)
        hidden = torch.tanh(
            p @ self.hidden_user
            + q @ self.hidden_video
            + context @ self.hidden_context
            + pair @ self.hidden_pair
            + self.hidden_bias
        )
        return (
            p @ self.out_user
            + q @ self.out_video
            + context @ self.out_context
            + hidden @ self.out_hidden
            + self.out_bias
        )


@dataclass(frozen=True)
class Predictor:
    """Numpy form; it computes in float64.

    Float64 rather than float32: matrix products round differently for different batch shapes, and
    at 1e-16 such a difference does not flip a draw, so results do not depend on batching. The
    vectors of all people and videos are held as they are stored, half as large.

    Attributes:
        p: float32[N, SIZE] person vectors; q: float32[V, SIZE] video vectors.
        hidden_*, out_*: as in `ResponseNet`.
    """

    p: Float32
    q: Float32
    hidden_user: Float64
    hidden_video: Float64
    hidden_context: Float64
    hidden_pair: Float64
    hidden_bias: Float64
    out_user: Float64
    out_video: Float64
    out_context: Float64
    out_hidden: Float64
    out_bias: Float64

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.floating]]) -> Predictor:
        """Build from arrays named like the attributes."""
        weights = (f.name for f in fields(cls) if f.name not in ("p", "q"))
        return cls(
            p=np.asarray(arrays["p"], dtype=np.float32),
            q=np.asarray(arrays["q"], dtype=np.float32),
            **{name: np.asarray(arrays[name], dtype=np.float64) for name in weights},
        )

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The attributes as float32 arrays, for storage."""
        return {f.name: getattr(self, f.name).astype(np.float32) for f in fields(self)}

    def taste(self, ring: Int32) -> Float64:
        """Mean vector of the videos in a ring, float64[B, SIZE]; zero for an empty ring."""
        known = ring >= 0
        vectors = self.q[np.where(known, ring, 0)].astype(np.float64)
        total = np.where(known[..., None], vectors, 0.0).sum(axis=1)
        return np.asarray(total / np.maximum(known.sum(axis=1), 1)[:, None])

    def outputs(
        self,
        users: Int32,
        videos: Int32,
        liked: Float64,
        hated: Float64,
        context: Float64,
        place: Float64,
    ) -> Float64:
        """Outputs before the chain's terms.

        Args:
            users: int32[B].
            videos: int32[B, S], valid indices.
            liked: float64[B, SIZE], from `taste`.
            hated: float64[B, SIZE], from `taste`.
            context: float64[B, CONTEXT_FEATURES].
            place: float64[B, S], from `place_feature`.

        Returns:
            float64[B, S, N_OUTPUTS].
        """
        p, q = self.p[users].astype(np.float64), self.q[videos].astype(np.float64)
        side = np.concatenate([p, liked, hated], axis=-1)
        pair = np.tile(q, 3) * side[:, None, :]
        hidden = (
            (p @ self.hidden_user + context @ self.hidden_context[:-1] + self.hidden_bias)[:, None]
            + q @ self.hidden_video
            + pair @ self.hidden_pair
            + place[..., None] * self.hidden_context[-1]
        )
        return np.asarray(
            (p @ self.out_user + context @ self.out_context[:-1] + self.out_bias)[:, None]
            + q @ self.out_video
            + place[..., None] * self.out_context[-1]
            + np.tanh(hidden) @ self.out_hidden
        )
