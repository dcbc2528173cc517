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
    Bool,
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
        learn: Bool,
        device: torch.device = CPU,
    ) -> TrainingTensors:
        """Tensors of every impression of the log.

        Args:
            log: N impressions.
            entities: Catalogue facts.
            before: State before each impression.
            scores: float64[N, 2], normal scores of play time and comment stay; 0 where unknown.
            fixed: float64[N_OUTCOMES], logits that are not learned; NaN where learned.
            learn: bool[N], the training rows; only entities seen in them get an embedding.
            device: Where the tensors are.
        """
        context = np.concatenate(
            [context_features(log.time_ms), place_feature(log.place)[:, None]], axis=1
        )
        user_slot = _slots(log.user[learn], np.arange(len(entities.users.level)), 1)
        video_slot = _slots(log.video[learn], np.arange(len(entities.author)), MINIMUM_EXAMPLES)
        video = log.video[learn]
        author_slot = _slots(entities.author[video], entities.author, MINIMUM_EXAMPLES)
        category_slot = _slots(entities.category[video], entities.category, MINIMUM_EXAMPLES)
        learnable = (log.outcomes >= 0) & np.isnan(fixed)

        def tensor(values: NDArray[Any]) -> Tensor:
            return on_device(values, device)

        return cls(
            user=tensor(log.user.astype(np.int64)),
            level_of_user=tensor(entities.users.level),
            numbers_of_user=tensor(entities.users.numbers),
            user_slot=tensor(user_slot),
            video=tensor(log.video.astype(np.int64)),
            video_slot=tensor(video_slot),
            author_slot=tensor(author_slot),
            category_slot=tensor(category_slot),
            duration_of_video=tensor(duration_features(entities.duration_ms)),
            liked=tensor(before.liked.astype(np.int64)),
            hated=tensor(before.hated.astype(np.int64)),
            context=tensor(context.astype(np.float32)),
            labels=tensor(np.maximum(log.outcomes, 0).astype(np.float32)),
            learnable=tensor(learnable.astype(np.float32)),
            scores=tensor(scores.astype(np.float32)),
            timed=tensor(np.stack([log.play_ms >= 0, log.stay_ms > 0], axis=1).astype(np.float32)),
            sizes=Sizes(
                users=int(user_slot.max()),
                levels=len(entities.users.level_names),
                videos=int(video_slot.max()),
                authors=int(author_slot.max()),
                categories=int(category_slot.max()),
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


def _slots(examples: NDArray[np.integer], of_entity: NDArray[np.integer], least: int) -> Int64:
    """Embedding row per entity: 1, 2, ... for values seen at least ``least`` times, else 0."""
    values, counts = np.unique(examples[examples >= 0], return_counts=True)
    values = values[counts >= least]
    if len(values) == 0:
        return np.zeros(len(of_entity), dtype=np.int64)
    place = np.clip(np.searchsorted(values, of_entity), 0, len(values) - 1)
    return np.where(values[place] == of_entity, place + 1, 0).astype(np.int64)
