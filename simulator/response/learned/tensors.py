"""Turn logged impressions into the tensors, outputs and loss that training needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from simulator.devices import CPU, on_device
from simulator.requests import Int64
from simulator.response.learned.carried import CarriedState
from simulator.response.learned.chain import chain_mask
from simulator.response.learned.features import (
    Float64,
    Impressions,
    UserFeatures,
    context_features,
    duration_features,
    place_feature,
)
from simulator.response.learned.heads import GAUSSIANS, N_OUTCOMES
from simulator.response.learned.network import ResponseNet, Sizes

MINIMUM_EXAMPLES = 3
_DROP_USER, _DROP_VIDEO = 0.1, 0.3


@dataclass(frozen=True)
class Entities:
    """Catalogue facts the network sees; int64 arrays, -1 unknown.

    Attributes:
        author, category: int64[V].
        duration_ms: int64[V], 0 unknown.
        users: The users table.
    """

    author: Int64
    category: Int64
    duration_ms: Int64
    users: UserFeatures


@dataclass(frozen=True)
class Slots:
    """Rows of the embedding tables, int64; 0 is the unknown, 1, 2, ... what was seen often enough.

    Attributes:
        user: int64[N]; video, author, category: int64[V].
    """

    user: Int64
    video: Int64
    author: Int64
    category: Int64

    @classmethod
    def of_counts(cls, user: Int64, video: Int64, entities: Entities) -> Slots:
        """From training rows per user int64[N] and per video int64[V]."""

        def grouped(group: Int64) -> Int64:
            known = group >= 0
            return np.bincount(group[known], video[known]).astype(np.int64)

        return cls(
            _slots(user, np.arange(len(user)), 1),
            _slots(video, np.arange(len(video)), MINIMUM_EXAMPLES),
            _slots(grouped(entities.author), entities.author, MINIMUM_EXAMPLES),
            _slots(grouped(entities.category), entities.category, MINIMUM_EXAMPLES),
        )


@dataclass(frozen=True)
class TrainingTensors:
    """Training data as tensors; index 0 of every entity is the unknown."""

    user: Tensor
    level_of_user: Tensor
    numbers_of_user: Tensor
    user_slot: Tensor
    video: Tensor
    video_slot: Tensor
    author_slot: Tensor
    category_slot: Tensor
    duration_of_video: Tensor
    liked: Tensor
    hated: Tensor
    context: Tensor
    labels: Tensor
    learnable: Tensor
    scores: Tensor
    timed: Tensor
    sizes: Sizes

    @classmethod
    def build(
        cls,
        log: Impressions,
        entities: Entities,
        before: CarriedState,
        scores: Float64,
        fixed: Float64,
        slots: Slots,
        device: torch.device = CPU,
    ) -> TrainingTensors:
        """Tensors of every impression of the log.

        Args:
            log: N impressions.
            entities: Catalogue facts.
            before: State before each impression.
            scores: float64[N, 2], normal scores of play time and comment stay; 0 where unknown.
            fixed: float64[N_OUTCOMES], logits that are not learned; NaN where learned.
            slots: Of the training rows of the whole log: only what they show gets an embedding.
            device: Where the tensors are.
        """
        context = np.concatenate(
            [context_features(log.time_ms), place_feature(log.place)[:, None]], axis=1
        )
        learnable = (log.outcomes >= 0) & np.isnan(fixed)

        def tensor(values: NDArray[Any]) -> Tensor:
            return on_device(values, device)

        return cls(
            user=tensor(log.user.astype(np.int64)),
            level_of_user=tensor(entities.users.level),
            numbers_of_user=tensor(entities.users.numbers),
            user_slot=tensor(slots.user),
            video=tensor(log.video.astype(np.int64)),
            video_slot=tensor(slots.video),
            author_slot=tensor(slots.author),
            category_slot=tensor(slots.category),
            duration_of_video=tensor(duration_features(entities.duration_ms)),
            liked=tensor(before.liked.astype(np.int64)),
            hated=tensor(before.hated.astype(np.int64)),
            context=tensor(context.astype(np.float32)),
            labels=tensor(np.maximum(log.outcomes, 0).astype(np.float32)),
            learnable=tensor(learnable.astype(np.float32)),
            scores=tensor(scores.astype(np.float32)),
            timed=tensor(np.stack([log.play_ms >= 0, log.stay_ms > 0], axis=1).astype(np.float32)),
            sizes=Sizes(
                users=int(slots.user.max()),
                levels=len(entities.users.level_names),
                videos=int(slots.video.max()),
                authors=int(slots.author.max()),
                categories=int(slots.category.max()),
            ),
        )

    def all_videos(self, net: ResponseNet, videos: Tensor, keep: Tensor | float) -> Tensor:
        """Vectors of these videos; ``keep`` 0 drops their own embedding (not their features)."""
        slot = self.video_slot[videos]
        if isinstance(keep, Tensor):
            slot = slot * keep
        return net.videos(
            slot,
            self.author_slot[videos],
            self.category_slot[videos],
            self.duration_of_video[videos],
        )

    def outputs(self, net: ResponseNet, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        """Outputs with chain terms, given the outcomes that really happened."""
        user = self.user[rows]
        user_slot = self.user_slot[user]
        keep_video: Tensor | float = 1.0
        if generator is not None:
            # Drawn on the CPU: the same draws on every device.
            draw = torch.rand(2, len(rows), generator=generator).to(rows.device)
            user_slot = user_slot * (draw[0] >= _DROP_USER)
            keep_video = (draw[1] >= _DROP_VIDEO).long()
        p = net.people(user_slot, self.level_of_user[user], self.numbers_of_user[user])
        q = self.all_videos(net, self.video[rows], keep_video)
        base = net(
            p, q, self._taste(net, self.liked[rows]), self._taste(net, self.hated[rows]),
            self.context[rows],
        )  # fmt: skip
        mask = on_device(chain_mask(), base.device).float()
        return torch.as_tensor(base + self.labels[rows] @ (net.chain * mask).T)

    def _taste(self, net: ResponseNet, ring: Tensor) -> Tensor:
        known = (ring >= 0).float()
        vectors = self.all_videos(net, ring.clamp(min=0), 1.0) * known[..., None]
        return vectors.sum(dim=1) / known.sum(dim=1, keepdim=True).clamp(min=1.0)

    def loss(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Mean negative log likelihood per impression."""
        binary = functional.binary_cross_entropy_with_logits(
            outputs[:, :N_OUTCOMES], self.labels[rows], reduction="none"
        )
        total = (binary * self.learnable[rows]).sum()
        for index in range(len(GAUSSIANS)):
            at = N_OUTCOMES + 2 * index
            log_scale = outputs[:, at + 1].clamp(-2.0, 1.0)
            z = (self.scores[rows, index] - outputs[:, at]) * torch.exp(-log_scale)
            total = total + ((log_scale + 0.5 * z * z) * self.timed[rows, index]).sum()
        return torch.as_tensor(total / len(rows))


def _slots(counts: Int64, of_entity: NDArray[np.integer], least: int) -> Int64:
    """Embedding row per entity: 1, 2, ... for values that occur at least ``least`` times, else 0.

    Args:
        counts: int64[values], how often each value occurs.
        of_entity: The value of each entity; -1, or a value without a count, has none.
        least: See above.
    """
    kept = np.append(counts >= least, False)
    numbered = np.where(kept, np.cumsum(kept), 0)
    known = (of_entity >= 0) & (of_entity < len(counts))
    return np.asarray(numbered[np.where(known, of_entity, len(counts))], dtype=np.int64)
