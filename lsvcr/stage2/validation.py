"""Compute the metric that decides when stage 2 stops, on the same events at every call.

Everything that does not depend on the model is gathered once: the held-out people, batched by
length, and what their event competes with. Ties count against the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.data.examples import Batch, Histories, Windows, make_batch
from lsvcr.data.inventory import Inventory
from lsvcr.data.lengths import by_lengths
from lsvcr.data.negatives import section_negatives, without
from lsvcr.model.sr_model import SRModel
from lsvcr.model.text_vectors import TextVectors
from lsvcr.task import Task
from simulator.devices import as_array, on_device

VIDEO_NEGATIVES = 99
_ROWS = 128

Int64 = NDArray[np.int64]
UserVectors = Callable[[Batch], Tensor]
"""User representations float[n, dim] of a batch's moments."""


class Validation(ABC):
    """NDCG@5 of held-out events.

    Args:
        task: Which.
        both: Histories.
        held: One event per person.
    """

    def __init__(self, task: Task, both: Histories, held: Windows) -> None:
        own = both.of(task)[0]
        other = own.other[own.starts[held.user] + held.start] if len(held) else held.user
        order = by_lengths(held.stop - held.base, other)
        self.parts = [order[at : at + _ROWS] for at in range(0, len(order), _ROWS)]
        self.batches = [make_batch(both, task, held.pick(part)) for part in self.parts]

    def __call__(self, model: SRModel, user_vectors: UserVectors) -> float:
        """The metric of a model in eval mode."""
        total, count = 0.0, 0
        for number, batch in enumerate(self.batches):
            person = F.normalize(user_vectors(batch), dim=-1)
            ranks, known = self.ranks(model, number, person)
            gains = torch.where(known & (ranks < 5), 1.0 / torch.log2(ranks + 2.0), 0.0)
            total += float(gains.sum())
            count += int(known.sum())
        return total / max(count, 1)

    @abstractmethod
    def ranks(self, model: SRModel, number: int, person: Tensor) -> tuple[Tensor, Tensor]:
        """Ranks int64[n] from 0 in a batch, of unit vectors float[n, dim]; bool[n], which count."""


class VideoValidation(Validation):
    """The video liked next among 100, as in the paper.

    Among all videos a thousand events leave little but noise to stop by.
    """

    def __init__(
        self, both: Histories, inventory: Inventory, held: Windows, seed: list[int]
    ) -> None:
        super().__init__("video", both, held)
        available = as_array(inventory.available)
        shape = (len(held), VIDEO_NEGATIVES)
        drawn = np.full(shape, -1, dtype=np.int64)
        if len(available):
            drawn = available[np.random.default_rng(seed).integers(0, len(available), shape)]
        self._inventory = inventory
        self.negatives = [
            _unknown(drawn[part], batch)
            for part, batch in zip(self.parts, self.batches, strict=True)
        ]

    def ranks(self, model: SRModel, number: int, person: Tensor) -> tuple[Tensor, Tensor]:
        """Among random videos that existed and are not in the person's history."""
        negatives = self.negatives[number]
        target = self.batches[number].target[:, :1]
        device = self._inventory.device
        shown = on_device(np.concatenate([target, np.maximum(negatives, 0)], axis=1), device)
        distinct, place = torch.unique(shown, return_inverse=True)
        titles = None
        if self._inventory.has_text:
            rows = self._inventory.title[distinct]
            titles = TextVectors(model, self._inventory, rows).of(rows)
        vectors = F.normalize(model.videos(distinct, titles), dim=-1)
        scores = (person @ vectors.T).gather(1, place)
        better = (scores[:, 1:] >= scores[:, :1]) & on_device(negatives >= 0, device)
        return better.sum(dim=1), torch.ones(len(person), dtype=torch.bool, device=device)


class CommentValidation(Validation):
    """A engaged comment, among the video's most liked 64 or those that were skipped.

    Of the most liked, those that were written by then.
    """

    def __init__(
        self, both: Histories, inventory: Inventory, held: Windows, *, seen: bool = False
    ) -> None:
        super().__init__("comment", both, held)
        self._inventory = inventory
        self._sections = [_section(inventory, batch, seen=seen) for batch in self.batches]

    def ranks(self, model: SRModel, number: int, person: Tensor) -> tuple[Tensor, Tensor]:
        """Among comments that the user did not engage with; without any there is no choice."""
        rows = self._sections[number]
        known = (rows[:, 0] >= 0) & (rows[:, 1:] >= 0).any(dim=1)
        texts = TextVectors(model, self._inventory, rows)
        vectors = F.normalize(texts.of(rows), dim=-1)
        scores = torch.einsum("nd,ncd->nc", person, vectors)
        scores = scores.masked_fill(rows < 0, float("-inf"))
        return (scores[:, 1:] >= scores[:, :1]).sum(dim=1), known


def _unknown(drawn: Int64, batch: Batch) -> Int64:
    """-1 for the target and for what was seen before."""
    return without(drawn, np.concatenate([batch.videos, batch.target[:, :1]], axis=1))


def _section(inventory: Inventory, batch: Batch, *, seen: bool) -> Tensor:
    """Embedding rows int64[n, m]: the engaged comment, then its negatives, -1 padded."""
    own = batch.target_comments[batch.real][:, :1]
    others = section_negatives(inventory, batch, seen=seen)
    return inventory.rows_of_comments(np.concatenate([own, others], axis=1))
