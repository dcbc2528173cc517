"""Compute the losses of stage 2 on a batch, task by task.

Video task: cross-entropy over the catalogue. Comment task: cross-entropy over one comment that
the person liked or replied to and up to 19 others under the same video. Both add 0.1 times a
symmetric InfoNCE between ID and text vectors of the history's videos, whose negatives never hold
the anchor's own video and whose cost is linear in the number of videos.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.data.examples import Batch, Histories, History, Windows
from lsvcr.data.inventory import Inventory
from lsvcr.data.negatives import section_negatives
from lsvcr.model.sr_model import TEMPERATURE, SRModel, cosine_factors
from lsvcr.model.text_vectors import TextVectors
from lsvcr.stage2.representation import BatchTexts, users_by_ids, users_with_texts
from lsvcr.stage2.settings import FinetuneSettings
from lsvcr.stage2.validation import CommentValidation, Validation, VideoValidation
from policies.sequence.cross_entropy import catalogue_cross_entropy
from policies.sequence.softmax import sampling_share
from simulator.devices import as_array, on_device

Int64 = NDArray[np.int64]


class Choices(NamedTuple):
    """What the targets of a batch compete with.

    Attributes:
        candidates: Videos int64[C] of all targets together, or embedding rows int64[n, 20] of
            each moment's comments, the one engaged first.
        texts: Embedding rows that the candidates need.
        label: int64[n], place of each target among the candidates.
        correction: float32[C], taken off the logits of others; None for nothing.
    """

    candidates: Tensor
    texts: Tensor
    label: Tensor
    correction: Tensor | None = None


class FinetuneTask(ABC):
    """The loss of a batch, and what decides when training stops.

    Args:
        model: Is trained.
        inventory: Videos, comments and their texts.
        settings: How.
        seed: Of everything drawn.
    """

    def __init__(
        self, model: SRModel, inventory: Inventory, settings: FinetuneSettings, seed: list[int]
    ) -> None:
        self.model, self.inventory, self.settings = model, inventory, settings
        self.seed = seed
        self.start(0)

    def start(self, *numbers: int) -> None:
        """Draws from here on depend on the seed and these numbers alone: the pass, the batch."""
        self.random = np.random.default_rng([*self.seed, 2, *numbers])

    def loss(self, batch: Batch) -> Tensor:
        """The task's loss and the weighted ID-text loss."""
        choices = self.choices(batch)
        if not self.inventory.has_text:
            return self.task_loss(choices, users_by_ids(self.model, batch), None)
        rows = BatchTexts.of(self.inventory, batch, self.random)
        texts = TextVectors(self.model, self.inventory, *rows, choices.texts)
        loss = self.task_loss(choices, users_with_texts(self.model, batch, rows, texts), texts)
        weight = self.settings.id_text_weight
        if not weight or not self.model.use_ids:
            return loss
        return loss + weight * self.id_text(batch, texts)

    @abstractmethod
    def choices(self, batch: Batch) -> Choices:
        """What the targets of a batch compete with."""

    @abstractmethod
    def task_loss(self, choices: Choices, people: Tensor, texts: TextVectors | None) -> Tensor:
        """Cross-entropy of the targets, given people float[n, dim]; no texts in a log without."""

    @abstractmethod
    def validation(self, both: Histories, held: Windows) -> Validation:
        """What decides when training stops, given held-out events."""

    def id_text(self, batch: Batch, texts: TextVectors) -> Tensor:
        """Symmetric InfoNCE between ID and text vectors of distinct videos of the histories."""
        seen = np.concatenate([batch.videos.ravel(), batch.sections.ravel()])
        distinct = np.unique(seen[seen >= 0])
        distinct = self.random.permutation(distinct)[: self.settings.id_text_anchors]
        device = self.model.device
        videos = on_device(distinct, device)
        videos = videos[self.inventory.title[videos] >= 0]
        n = len(videos)
        if n < 2:
            return torch.zeros((), device=device)
        titles = texts.of(self.inventory.title[videos])
        ids = F.normalize(self.model.own_ids(videos), dim=-1)
        logits = ids @ F.normalize(titles, dim=-1).T / TEMPERATURE
        # A non-zero cyclic shift never meets the anchor itself, whatever the popularity.
        shift = self.random.integers(1, n, (n, self.settings.id_text_negatives))
        other = on_device((np.arange(n)[:, None] + shift) % n, device)
        label = torch.zeros(n, dtype=torch.long, device=device)
        own = logits.diagonal()[:, None]
        losses = [
            F.cross_entropy(torch.cat([own, table.gather(1, other)], dim=1), label)
            for table in (logits, logits.T)
        ]
        return (losses[0] + losses[1]) / 2


class VideoTask(FinetuneTask):
    """Next liked video among all that existed.

    Args:
        model, inventory, settings, seed: See `FinetuneTask`.
        events: Training events, for how often each video is drawn as a negative.
    """

    def __init__(
        self,
        model: SRModel,
        inventory: Inventory,
        settings: FinetuneSettings,
        seed: list[int],
        events: History,
    ) -> None:
        super().__init__(model, inventory, settings, seed)
        available = as_array(inventory.available)
        counts = np.bincount(events.video, minlength=inventory.catalogue.n_videos)
        share = sampling_share(counts[available].astype(np.float64))
        self._cumulative = np.cumsum(share / max(share.sum(), 1e-12))
        # Probability that a video is among the negatives at all.
        included = -np.expm1(settings.video_negatives * np.log1p(-np.minimum(share, 1.0 - 1e-9)))
        self._log_included = torch.full(
            (inventory.catalogue.n_videos,), float("inf"), device=inventory.device
        )
        self._log_included[inventory.available] = on_device(
            np.log(included).astype(np.float32), inventory.device
        )

    def choices(self, batch: Batch) -> Choices:
        """All videos; of a large catalogue a sample, half by popularity and half uniform.

        Each of the sample is weighted by one over the probability that it is in it, so that the
        denominator of the softmax is right on average (Horvitz & Thompson, JASA 1952); a target
        that was not drawn competes for its own event only.
        """
        device = self.inventory.device
        target = on_device(batch.target[batch.real], device)
        available = self.inventory.available
        if len(available) <= self.settings.full_softmax_up_to:
            return self._choices(torch.unique(torch.cat([available, target])), target)
        draws = self.random.random(self.settings.video_negatives)
        place = np.minimum(np.searchsorted(self._cumulative, draws), len(available) - 1)
        drawn = torch.unique(available[on_device(place, device)])
        candidates = torch.unique(torch.cat([drawn, target]))
        correction = torch.full((len(candidates),), float("inf"), device=device)
        correction[torch.searchsorted(candidates, drawn)] = self._log_included[drawn]
        return self._choices(candidates, target, correction)

    def _choices(
        self, candidates: Tensor, target: Tensor, correction: Tensor | None = None
    ) -> Choices:
        label = torch.searchsorted(candidates, target)
        return Choices(candidates, self.inventory.title[candidates], label, correction)

    def task_loss(self, choices: Choices, people: Tensor, texts: TextVectors | None) -> Tensor:
        """Cross-entropy of the targets among the candidates."""
        titles = None if texts is None else texts.of(choices.texts)
        vectors = self.model.videos(choices.candidates, titles)
        person, videos = cosine_factors(people, vectors)
        if choices.correction is None:
            return catalogue_cross_entropy(person, videos, choices.label)
        logits = person @ videos.T
        place = choices.label[:, None]
        corrected = (logits - choices.correction).scatter(1, place, logits.gather(1, place))
        return F.cross_entropy(corrected, choices.label)

    def validation(self, both: Histories, held: Windows) -> Validation:
        """Among 100 videos."""
        return VideoValidation(both, self.inventory, held, [*self.seed, 1])


class CommentTask(FinetuneTask):
    """The comment that a user engages with, among others under the same video."""

    @property
    def _seen(self) -> bool:
        """Whether the others are those that the person saw and skipped."""
        return self.settings.comment_negatives == "seen"

    def choices(self, batch: Batch) -> Choices:
        """One of the engaged comments at each moment, and up to 19 others."""
        others = section_negatives(self.inventory, batch, seen=self._seen)
        drawn = self.drawn(batch.target_comments[batch.real], others)
        rows = self.inventory.rows_of_comments(drawn)
        label = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
        return Choices(rows, rows, label)

    def drawn(self, engaged: Int64, others: Int64) -> Int64:
        """Comments int64[n, 20], -1 padded: one engaged, then others that were not.

        Args:
            engaged: int64[n, 3], of which one is drawn.
            others: int64[n, m], of which up to 19 are drawn.
        """
        count = (engaged >= 0).sum(axis=1)
        pick = (self.random.random(len(engaged)) * count).astype(np.int64)
        positive = np.where(count > 0, engaged[np.arange(len(engaged)), pick], -1)
        key = np.where(others >= 0, self.random.random(others.shape), 2.0)
        order = np.argsort(key, axis=1, kind="stable")[:, : self.settings.negatives_per_comment]
        return np.concatenate([positive[:, None], np.take_along_axis(others, order, axis=1)], 1)

    def task_loss(self, choices: Choices, people: Tensor, texts: TextVectors | None) -> Tensor:
        """Cross-entropy of the engaged comment; moments without a choice say nothing."""
        rows = choices.candidates
        known = (rows[:, 0] >= 0) & (rows[:, 1:] >= 0).any(dim=1)
        if texts is None or not known.any():
            return people.sum() * 0.0
        rows = rows[known]
        person, vectors = cosine_factors(people[known], texts.of(rows))
        logits = torch.einsum("nd,ncd->nc", person, vectors)
        logits = logits.masked_fill(rows < 0, float("-inf"))
        return F.cross_entropy(logits, choices.label[known])

    def validation(self, both: Histories, held: Windows) -> Validation:
        """Among the comments of the section."""
        return CommentValidation(both, self.inventory, held, seen=self._seen)
