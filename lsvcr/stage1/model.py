"""Join the two models of stage 1 and compute the losses that make them agree.

Zheng et al. (arXiv 2403.13574), section 4.3. Texts pass through the language model as it is at that
step: targets with gradients, the histories' texts without. Alignment uses no IDs.

Difference from the paper: each task has a sequential model of its own already in this stage, as
the two start differently (`lsvcr.model.warm_start`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lsvcr.model.layers import Mixing
from lsvcr.model.sr_model import SRModel
from lsvcr.stage1.batch import AlignmentBatch
from lsvcr.stage1.losses import (
    LossWeights,
    alignment_loss,
    behaviour_loss,
    info_nce,
    language_model_loss,
)
from lsvcr.task import Task
from lsvcr.text.llm import CausalLLM, Ids

_OF_STAGE_2 = ("ids.", "gate")
_TASKS: tuple[tuple[Task, bool], ...] = (("video", False), ("comment", True))


@dataclass(frozen=True)
class Losses:
    """Scalars of one batch; what is weighted 0 is not computed and stays 0."""

    lm: Tensor
    rec: Tensor
    align: Tensor
    behaviour: Tensor

    def total(self, weights: LossWeights) -> Tensor:
        """Weighted sum."""
        total: Tensor = (
            weights.lm * self.lm
            + weights.rec * self.rec
            + weights.align * self.align
            + weights.behaviour * self.behaviour
        )
        return total


class AlignmentModel(nn.Module):
    """Language model, one sequential model per task, and the contrast adapter.

    Args:
        llm: Adapted already.
        mean, spread: float[width], by which text embeddings are standardised. Pooled states of a
            language model share a large common direction that would drown their differences.
        sizes: Of the sequential models.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, llm: CausalLLM, mean: Tensor, spread: Tensor, sizes: dict[str, Any]) -> None:
        super().__init__()
        self.llm = llm
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.video = SRModel("video", 1, llm.width, **sizes)
        self.comment = SRModel("comment", 1, llm.width, **sizes)
        # The behaviour loss pools over the other history as well, mixed the other way round.
        own = self.video
        self.turned_video = self.turned_comment = None
        if own.mixing is not None:
            self.turned_video = Mixing(own.dim, own.mixing.heads, sizes["dropout"])
            self.turned_comment = Mixing(own.dim, own.mixing.heads, sizes["dropout"])
        for model in (self.video, self.comment):
            nn.init.zeros_(model.ids.weight)
            model.ids.requires_grad_(False)
            model.gate.requires_grad_(False)
        self.contrast_adapter = nn.Linear(llm.width, own.dim)
        self.to(llm.device)

    def of(self, task: Task) -> SRModel:
        """The sequential model of a task."""
        return self.video if task == "video" else self.comment

    def weights(self, task: Task) -> dict[str, Tensor]:
        """What stage 2 of a task starts from: all but the IDs and their gate."""
        return {
            name: value.detach().cpu().clone()
            for name, value in self.of(task).state_dict().items()
            if not name.startswith(_OF_STAGE_2)
        }

    def standardised(self, embeddings: Tensor) -> Tensor:
        """Text embeddings as the text path reads them."""
        scaled: Tensor = (embeddings - self.mean) / self.spread
        return scaled

    def losses(self, batch: AlignmentBatch, texts: list[Ids], weights: LossWeights) -> Losses:
        """The losses of a batch.

        Args:
            batch: Of this process.
            texts: Token numbers of the log's distinct texts.
            weights: Those that are 0 are not computed.
        """
        nothing = torch.zeros((), device=self.llm.device)
        lm = rec = align = behaviour = nothing
        own, other, negatives = self._people(batch, texts)
        if weights.rec:
            rec = info_nce(
                own,
                self._targets(batch, texts),
                same=self._tensor(batch.target),
                group=self._tensor(batch.comment_task.astype(np.int64)),
                negatives=negatives,
                known=self._tensor(batch.negatives >= 0),
            )
        if weights.lm or weights.align or weights.behaviour:
            state, logits, labels = self.llm.answer(
                batch.prompts, [texts[number] for number in batch.target]
            )
            person = self.contrast_adapter(state)
            if weights.lm:
                lm = language_model_loss(logits, labels)
            if weights.align:
                align = alignment_loss(own, person, same=self._tensor(batch.user))
            if weights.behaviour:
                known = (batch.video_count > 0) & (batch.section_count > 0)
                behaviour = behaviour_loss(person, own, other, self._tensor(known))
        return Losses(lm, rec, align, behaviour)

    def _people(self, batch: AlignmentBatch, texts: list[Ids]) -> tuple[Tensor, Tensor, Tensor]:
        """Poolings float[B, dim] over each example's own history, and over the other one.

        Third, float[B, K, dim]: other comments of the video being watched.
        """
        rows = (
            batch.titles,
            batch.popular,
            batch.section_titles,
            batch.section_comments,
            batch.current,
            batch.negatives,
        )
        numbers = np.concatenate([r.ravel() for r in rows])
        known = np.unique(numbers[numbers >= 0])
        embedded = self.llm.embed([texts[n] for n in known]).to(self.llm.device)
        embedded = self.standardised(embedded)
        parts, order = [], []
        for task, flag in _TASKS:
            rows_of_task = np.flatnonzero(batch.comment_task == flag)
            if len(rows_of_task):
                parts.append(self._people_of(task, batch.rows(rows_of_task), known, embedded))
                order.append(rows_of_task)
        back = self._tensor(np.argsort(np.concatenate(order)))
        own, other, negatives = (torch.cat(side)[back] for side in zip(*parts, strict=True))
        return own, other, negatives

    def _people_of(
        self, task: Task, batch: AlignmentBatch, known: NDArray[np.int64], embedded: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`_people` of examples of one task; ``embedded`` float[n, width] are texts ``known``."""
        model = self.of(task)
        vectors = torch.cat([model.text(embedded), embedded.new_zeros(1, model.dim)])

        def text(numbers: NDArray[np.int64]) -> Tensor:
            place = np.searchsorted(known, numbers)
            place = np.where(numbers >= 0, place, len(known))
            gathered: Tensor = nn.functional.embedding(self._tensor(place), vectors)
            return gathered

        said = self._tensor((batch.section_comments >= 0).sum(axis=2)).clamp(min=1)
        comments = text(batch.section_comments).sum(dim=2) / said[..., None]
        videos = model.video_encoder(
            model.tokens(self._zeros(batch.titles), text(batch.titles), text(batch.popular)),
            self._tensor(batch.video_places),
        )
        sections = model.comment_encoder(
            model.tokens(self._zeros(batch.section_titles), text(batch.section_titles), comments),
            self._tensor(batch.section_places),
        )
        counts = [self._tensor(c)[:, None] for c in (batch.video_count, batch.section_count)]
        own = model.mixed(videos, sections, *counts)
        histories = [videos, sections]
        turned = self.turned_video if task == "video" else self.turned_comment
        if task == "video":
            histories.reverse()
            counts.reverse()
        states = histories[0]
        if turned is not None:
            states = turned(*histories, counts[1][:, 0], None)
        places = torch.arange(states.shape[1], device=states.device)
        visible = places <= counts[0][..., None]
        current = None
        if task == "comment":
            shown = batch.current[:, None]
            current = model.videos(self._zeros(shown), text(shown))
        return (
            model.person(*own, current)[:, 0],
            model.person(states, visible, current)[:, 0],
            text(batch.negatives),
        )

    def _targets(self, batch: AlignmentBatch, texts: list[Ids]) -> Tensor:
        """float[B, dim]: texts to be predicted, adapted by their task; each is read once."""
        distinct, back = np.unique(batch.target, return_inverse=True)
        pooled = self.standardised(self.llm.pooled([texts[n] for n in distinct]))
        adapted = [
            nn.functional.embedding(self._tensor(back), self.of(task).text(pooled))
            for task, _ in _TASKS
        ]
        return torch.where(self._tensor(batch.comment_task)[:, None], adapted[1], adapted[0])

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.llm.device)

    def _zeros(self, like: NDArray[Any]) -> Tensor:
        """Row 0 of the ID table, which is 0: alignment uses no IDs."""
        return torch.zeros(like.shape, dtype=torch.long, device=self.llm.device)
