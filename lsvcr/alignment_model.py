"""The two models of stage 1 side by side, and the losses that make them agree.

Zheng et al. (arXiv 2403.13574), section 4.3. The sequential model has the heads of both tasks over
shared encoders and a shared text path, and no IDs. Texts pass through the language model as it is
at that step: targets with gradients, the histories' texts without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lsvcr.alignment_batch import AlignmentBatch
from lsvcr.alignment_losses import (
    LossWeights,
    alignment_loss,
    behaviour_loss,
    info_nce,
    language_model_loss,
)
from lsvcr.llm import CausalLLM, Ids
from lsvcr.sr_model import SRModel, Task

_SHARED = ("llm_emb_mlp", "llm_adapter", "merge", "video_encoder", "comment_encoder")
_OF_STAGE_2 = ("ids.", "gate")


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
    """Language model, sequential model with both heads, and the contrast adapter.

    Args:
        llm: Adapted already.
        mean, spread: float[width], by which text embeddings are standardised. Pooled states of a
            language model share a large common direction that would drown their differences.
        sizes: Of the sequential model.
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
        for name in _SHARED:
            setattr(self.comment, name, getattr(self.video, name))
        with torch.no_grad():
            # One merge for both tasks starts from the mean of title and comments.
            eye = torch.eye(self.video.dim)
            self.video.merge.weight.copy_(torch.cat([eye, eye], dim=1) / 2)
            for model in (self.video, self.comment):
                model.ids.weight.zero_()
        for model in (self.video, self.comment):
            model.ids.requires_grad_(False)
            model.gate.requires_grad_(False)
        self.contrast_adapter = nn.Linear(llm.width, self.video.dim)
        self.to(llm.device)

    def weights(self, task: Task) -> dict[str, Tensor]:
        """What stage 2 of a task starts from: all but the IDs and their gate."""
        model = self.video if task == "video" else self.comment
        return {
            name: value.detach().cpu().clone()
            for name, value in model.state_dict().items()
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
        own, other = self._people(batch, texts)
        if weights.rec:
            rec = info_nce(own, self._targets(batch, texts), same=self._tensor(batch.target))
        if weights.lm or weights.align or weights.behaviour:
            state, logits, labels = self.llm.answer(
                batch.prompts, [texts[number] for number in batch.target]
            )
            person = self.contrast_adapter(state)
            if weights.lm:
                lm = language_model_loss(logits, labels)
            if weights.align:
                align = alignment_loss(own, person)
            if weights.behaviour:
                known = (batch.video_count > 0) & (batch.section_count > 0)
                behaviour = behaviour_loss(
                    person, own, other, torch.from_numpy(known).to(own.device)
                )
        return Losses(lm, rec, align, behaviour)

    def _people(self, batch: AlignmentBatch, texts: list[Ids]) -> tuple[Tensor, Tensor]:
        """Poolings float[B, dim] over each example's own history, and over the other one."""
        rows = (
            batch.titles,
            batch.popular,
            batch.section_titles,
            batch.section_comments,
            batch.current,
        )
        numbers = np.concatenate([r.ravel() for r in rows])
        known = np.unique(numbers[numbers >= 0])
        vectors = torch.zeros(1, self.video.dim, device=self.llm.device)
        if len(known):
            embedded = self.llm.embed([texts[n] for n in known]).to(self.llm.device)
            vectors = torch.cat([self.video.text(self.standardised(embedded)), vectors])

        def text(numbers: NDArray[np.int64]) -> Tensor:
            place = np.searchsorted(known, numbers)
            place = np.where(numbers >= 0, place, len(known))
            gathered: Tensor = nn.functional.embedding(self._tensor(place), vectors)
            return gathered

        said = self._tensor((batch.section_comments >= 0).sum(axis=2)).clamp(min=1)
        comments = text(batch.section_comments).sum(dim=2) / said[..., None]
        videos = self._encode("video", batch, text(batch.titles), text(batch.popular))
        sections = self._encode("comment", batch, text(batch.section_titles), comments)
        counts = [self._tensor(c)[:, None] for c in (batch.video_count, batch.section_count)]
        sides = (
            self.video.mixed(videos, sections, *counts),
            self.comment.mixed(videos, sections, *counts),
        )
        current = self.comment.videos(
            self._zeros(batch.current[:, None]), text(batch.current[:, None])
        )
        as_video = [self.video.person(*side)[:, 0] for side in sides]
        as_comment = [self.comment.person(*side, current)[:, 0] for side in sides]
        comment_task = torch.from_numpy(batch.comment_task).to(self.llm.device)[:, None]
        return (
            torch.where(comment_task, as_comment[1], as_video[0]),
            torch.where(comment_task, as_comment[0], as_video[1]),
        )

    def _encode(
        self, kind: Task, batch: AlignmentBatch, titles: Tensor, comments: Tensor
    ) -> Tensor:
        liked = kind == "video"
        encoder = self.video.video_encoder if liked else self.video.comment_encoder
        places = batch.video_places if liked else batch.section_places
        tokens = self.video.tokens(self._zeros(places), titles, comments)
        encoded: Tensor = encoder(tokens, self._tensor(places))
        return encoded

    def _targets(self, batch: AlignmentBatch, texts: list[Ids]) -> Tensor:
        """float[B, dim]: adapted texts to be predicted; each is read once."""
        distinct, back = np.unique(batch.target, return_inverse=True)
        pooled = self.llm.pooled([texts[n] for n in distinct])
        adapted = self.video.text(self.standardised(pooled))
        gathered: Tensor = nn.functional.embedding(self._tensor(back), adapted)
        return gathered

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.llm.device)

    def _zeros(self, like: NDArray[Any]) -> Tensor:
        """Row 0 of the ID table, which is 0: alignment uses no IDs."""
        return torch.zeros(like.shape, dtype=torch.long, device=self.llm.device)
