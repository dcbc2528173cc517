"""Stage 2: the SR model learns to recommend, one copy per task.

Video task: cross-entropy over the catalogue. Comment task: cross-entropy over one comment that
the person liked or replied to and up to 19 others under the same video. Both add 0.1 times a
symmetric InfoNCE between ID and text vectors of the history's videos, whose negatives never hold
the anchor's own video and whose cost is linear in the number of videos.

A step reads each distinct text once, whoever needs it (`lsvcr.inventory.TextVectors`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.examples import Batch, Histories, History, Windows, batches, last_events
from lsvcr.inventory import Inventory, TextVectors
from lsvcr.rivals import rivals
from lsvcr.sr_model import TEMPERATURE, SRModel, cosine_factors
from lsvcr.validation import CommentValidation, Validation, VideoValidation
from lsvcr.warm_start import start_from_agreement
from policies.base import Progress
from policies.cross_entropy import catalogue_cross_entropy
from policies.softmax import FULL_SOFTMAX_UP_TO, sampling_share
from policies.trainer import TrainerSettings, TrainingSummary, train

_VALIDATED = 1_000

Int64 = NDArray[np.int64]
Rivals = Literal["section", "seen"]


@dataclass(frozen=True)
class FinetuneSettings:
    """How stage 2 trains; docs/lsvcr.md lists what is not the paper's.

    The average of the weights is ours: a thousand held-out events are a noisy judge of single
    epochs.

    Attributes:
        epochs, epoch_steps, patience, learning_rate, average: See `TrainerSettings`.
        batch: Windows per batch.
        targets: Most targets per window.
        comment_negatives: Other comments of the same video per positive one.
        comment_rivals: Which ones: any of its most liked 64 that were written by then, as in the
            paper ("section"), or those that the person saw and passed over ("seen").
        video_negatives: Negatives drawn per batch where the catalogue is above 20,000 videos.
        id_text_weight: Of the ID-text loss.
        id_text_negatives: Per anchor.
        id_text_anchors: Most videos per batch that take part, so that the cost is bounded.
    """

    epochs: int = 50
    epoch_steps: int = 100
    patience: int = 5
    learning_rate: float = 1e-3
    average: float = 0.995
    batch: int = 64
    targets: int = 10
    comment_negatives: int = 19
    comment_rivals: Rivals = "section"
    video_negatives: int = 4_096
    id_text_weight: float = 0.1
    id_text_negatives: int = 99
    id_text_anchors: int = 512


class HistoryTexts(NamedTuple):
    """Embedding rows of what both histories of a batch say; -1 is no text.

    Attributes:
        titles: int64[B, L].
        popular: int64[B, L, 1], one popular comment per video.
        section_titles: int64[B, M].
        comments: int64[B, M, 3].
    """

    titles: Tensor
    popular: Tensor
    section_titles: Tensor
    comments: Tensor

    @classmethod
    def of(
        cls, inventory: Inventory, batch: Batch, random: np.random.Generator | None
    ) -> HistoryTexts:
        """``random`` draws popular comments (None: the most liked)."""
        shown = inventory.popular_comments(batch.videos, random)
        return cls(
            inventory.rows_of_titles(batch.videos),
            inventory.rows_of_comments(shown[..., None]),
            inventory.rows_of_titles(batch.sections),
            inventory.rows_of_comments(batch.section_comments),
        )


def people(
    model: SRModel, inventory: Inventory, batch: Batch, random: np.random.Generator | None
) -> Tensor:
    """User representations at every real moment of a batch: float[n, dim].

    Args:
        model: Represents.
        inventory: Texts.
        batch: Histories and moments.
        random: Draws popular comments; None takes the most liked.
    """
    if not inventory.has_text:
        return _people(model, batch, None, None, None)
    history = HistoryTexts.of(inventory, batch, random)
    watched = inventory.rows_of_titles(batch.target)
    return _people(model, batch, history, TextVectors(model, inventory, *history, watched), watched)


def _people(
    model: SRModel,
    batch: Batch,
    history: HistoryTexts | None,
    texts: TextVectors | None,
    watched: Tensor | None,
) -> Tensor:
    videos = torch.from_numpy(np.maximum(batch.videos, 0))
    sections = torch.from_numpy(np.maximum(batch.sections, 0))
    if history is None or texts is None:
        tokens = model.tokens(videos, None, None), model.tokens(sections, None, None)
    else:
        tokens = (
            model.tokens(videos, texts.of(history.titles), texts.mean(history.popular)),
            model.tokens(sections, texts.of(history.section_titles), texts.mean(history.comments)),
        )
    states, visible = model.states(
        *tokens,
        torch.from_numpy(batch.video_count),
        torch.from_numpy(batch.comment_count),
        torch.from_numpy(batch.window),
    )
    current = None
    if model.task == "comment":
        titles = None if texts is None or watched is None else texts.of(watched)
        current = model.videos(torch.from_numpy(batch.target), titles)
    return model.person(states, visible, current)[torch.from_numpy(batch.real)]


def held_out(own: History, seed: int) -> tuple[Int64, Int64]:
    """Whose last event decides when training stops, and what is left to train on.

    Args:
        own: The task's own history.
        seed: Of the training.

    Returns:
        int64[n], people; and int64[U], the event of everybody from which on events are held out.
    """
    random = np.random.default_rng([seed, 11])
    eligible = np.flatnonzero(own.lengths >= 2)
    held = np.sort(random.permutation(eligible)[: min(_VALIDATED, len(eligible) // 2)])
    stop = own.lengths.copy()
    stop[held] -= 1
    return held, stop


def finetune(
    model: SRModel,
    both: Histories,
    inventory: Inventory,
    settings: FinetuneSettings,
    *,
    seed: int,
    progress: Progress,
    stage: str,
    aligned: bool = False,
) -> TrainingSummary:
    """Train one copy for its task; the last event of some people decides when to stop.

    Args:
        model: Fresh, or as stage 1 left it (``aligned``); trained in place.
        both: Histories.
        inventory: Texts.
        settings: How.
        seed: Of everything drawn.
        progress: Told loss and validation metric.
        stage: Name for progress.
        aligned: False starts the video task's text path from the closed form.
    """
    own = both.of(model.task)[0]
    held, stop = held_out(own, seed)
    if model.task == "video" and not aligned:
        start_from_agreement(model, own.until(stop), inventory)
    kind = _VideoTask if model.task == "video" else _CommentTask
    task = kind(model, inventory, settings, [seed, 12], own.until(stop))
    validation = task.validation(both, last_events(own, held))

    def one_pass(number: int) -> Iterator[Batch]:
        task.start(number)
        return batches(
            both,
            model.task,
            stop,
            size=settings.batch,
            targets=settings.targets,
            seed=[seed, 13, number],
        )

    return train(
        model,
        one_pass,
        task.loss,
        lambda: validation(model, lambda batch: people(model, inventory, batch, None)),
        TrainerSettings(
            epochs=settings.epochs,
            epoch_steps=settings.epoch_steps,
            patience=settings.patience,
            learning_rate=settings.learning_rate,
            from_start=True,
            average=settings.average,
        ),
        progress=progress,
        stage=stage,
        metric_name="NDCG@5",
    )


class _VideoTask:
    """Next liked video among all that existed.

    Args:
        model: Is trained.
        inventory: Videos and texts.
        settings: How.
        seed: Of everything drawn.
        events: Training events of the task, for how often each video is drawn as a negative.
    """

    def __init__(
        self,
        model: SRModel,
        inventory: Inventory,
        settings: FinetuneSettings,
        seed: list[int],
        events: History | None = None,
    ) -> None:
        self.model, self.inventory, self.settings = model, inventory, settings
        self.seed = seed
        self.start(0)
        available = inventory.available.numpy()
        counts = np.zeros(inventory.catalogue.n_videos)
        if events is not None:
            counts = np.bincount(events.video, minlength=len(counts)).astype(np.float64)
        share = sampling_share(counts[available])
        self.cumulative = np.cumsum(share / max(share.sum(), 1e-12))
        # Probability that a video is among the negatives at all.
        included = -np.expm1(settings.video_negatives * np.log1p(-np.minimum(share, 1.0 - 1e-9)))
        self.log_included = torch.full((inventory.catalogue.n_videos,), float("inf"))
        self.log_included[inventory.available] = torch.from_numpy(
            np.log(included).astype(np.float32)
        )

    def start(self, number: int) -> None:
        """Draws from here on depend on the seed and the pass alone, whatever was drawn before."""
        self.random = np.random.default_rng([*self.seed, 2, number])

    def loss(self, batch: Batch) -> Tensor:
        """The task's loss and the weighted ID-text loss."""
        shown = self.shown(batch)
        history, texts, watched = None, None, None
        if self.inventory.has_text:
            history = HistoryTexts.of(self.inventory, batch, self.random)
            watched = self.inventory.rows_of_titles(batch.target)
            needed = self.rows_shown(shown)
            texts = TextVectors(self.model, self.inventory, *history, watched, needed)
        persons = _people(self.model, batch, history, texts, watched)
        loss = self.task_loss(shown, persons, texts)
        weight = self.settings.id_text_weight
        if texts is None or not weight or not self.model.use_ids:
            return loss
        return loss + weight * self.id_text(batch, texts)

    def shown(self, batch: Batch) -> tuple[Tensor, ...]:
        """Candidates int64[C] holding every target, the targets' places, and corrections.

        Above 20,000 videos the others are a sample, half by popularity and half uniform. Each is
        weighted by one over the probability that it is in the sample, so that the denominator of
        the softmax is right on average (Horvitz & Thompson, JASA 1952); a target that was not
        drawn competes for its own event only.
        """
        target = torch.from_numpy(batch.target[batch.real])
        available = self.inventory.available
        if len(available) <= FULL_SOFTMAX_UP_TO:
            candidates = torch.unique(torch.cat([available, target]))
            return candidates, torch.searchsorted(candidates, target), torch.zeros(len(candidates))
        draws = self.random.random(self.settings.video_negatives)
        place = np.minimum(np.searchsorted(self.cumulative, draws), len(available) - 1)
        drawn = torch.unique(available[torch.from_numpy(place)])
        candidates = torch.unique(torch.cat([drawn, target]))
        correction = torch.full((len(candidates),), float("inf"))
        correction[torch.searchsorted(candidates, drawn)] = self.log_included[drawn]
        return candidates, torch.searchsorted(candidates, target), correction

    def rows_shown(self, shown: tuple[Tensor, ...]) -> Tensor:
        """Embedding rows that the candidates need."""
        return self.inventory.title[shown[0]]

    def task_loss(
        self, shown: tuple[Tensor, ...], persons: Tensor, texts: TextVectors | None
    ) -> Tensor:
        """Cross-entropy of the targets among what is shown."""
        candidates, label, correction = shown
        titles = None if texts is None else texts.of(self.inventory.title[candidates])
        person, videos = cosine_factors(persons, self.model.videos(candidates, titles))
        if not correction.any():
            return catalogue_cross_entropy(person, videos, label)
        logits = person @ videos.T
        own = logits.gather(1, label[:, None])
        return F.cross_entropy((logits - correction).scatter(1, label[:, None], own), label)

    def id_text(self, batch: Batch, texts: TextVectors) -> Tensor:
        """Symmetric InfoNCE between ID and text vectors of distinct videos of the histories."""
        seen = np.concatenate([batch.videos.ravel(), batch.sections.ravel()])
        distinct = np.unique(seen[seen >= 0])
        distinct = self.random.permutation(distinct)[: self.settings.id_text_anchors]
        videos = torch.from_numpy(distinct)
        videos = videos[self.inventory.title[videos] >= 0]
        n = len(videos)
        if n < 2:
            return torch.zeros(())
        titles = texts.of(self.inventory.title[videos])
        ids = F.normalize(self.model.ids(videos), dim=-1)
        logits = ids @ F.normalize(titles, dim=-1).T / TEMPERATURE
        # A non-zero cyclic shift never meets the anchor itself, whatever the popularity.
        shift = torch.from_numpy(self.random.integers(1, n, (n, self.settings.id_text_negatives)))
        other = (torch.arange(n)[:, None] + shift) % n
        label = torch.zeros(n, dtype=torch.long)
        own = logits.diagonal()[:, None]
        losses = [
            F.cross_entropy(torch.cat([own, table.gather(1, other)], dim=1), label)
            for table in (logits, logits.T)
        ]
        return (losses[0] + losses[1]) / 2

    def validation(self, both: Histories, held: Windows) -> Validation:
        """What decides when training stops."""
        return VideoValidation(both, self.inventory, held, [*self.seed, 1])


class _CommentTask(_VideoTask):
    """The comment somebody takes part in, among others under the same video."""

    @property
    def seen(self) -> bool:
        """Whether the others are those that the person saw and passed over."""
        return self.settings.comment_rivals == "seen"

    def shown(self, batch: Batch) -> tuple[Tensor, ...]:
        """Embedding rows int64[n, 20] of each moment's comments, the one taken part in first."""
        others = rivals(self.inventory, batch, seen=self.seen)
        return (self._choices(batch.target_comments[batch.real], others),)

    def rows_shown(self, shown: tuple[Tensor, ...]) -> Tensor:
        """The comments themselves."""
        return shown[0]

    def task_loss(
        self, shown: tuple[Tensor, ...], persons: Tensor, texts: TextVectors | None
    ) -> Tensor:
        """Cross-entropy of the comment taken part in; moments without a choice say nothing."""
        (rows,) = shown
        known = (rows[:, 0] >= 0) & (rows[:, 1:] >= 0).any(dim=1)
        if texts is None or not known.any():
            return persons.sum() * 0.0
        rows = rows[known]
        person, vectors = cosine_factors(persons[known], texts.of(rows))
        logits = torch.einsum("nd,ncd->nc", person, vectors)
        logits = logits.masked_fill(rows < 0, float("-inf"))
        return F.cross_entropy(logits, torch.zeros(len(rows), dtype=torch.long))

    def _choices(self, comments: Int64, others: Int64) -> Tensor:
        """Embedding rows int64[n, 20]: one comment taken part in, then others that were not.

        Args:
            comments: int64[n, 3], of which one is drawn.
            others: int64[n, m], of which up to 19 are drawn.
        """
        real = (comments >= 0).sum(axis=1)
        pick = (self.random.random(len(comments)) * real).astype(np.int64)
        positive = np.where(real > 0, comments[np.arange(len(comments)), pick], -1)
        key = np.where(others >= 0, self.random.random(others.shape), 2.0)
        order = np.argsort(key, axis=1, kind="stable")[:, : self.settings.comment_negatives]
        negatives = np.take_along_axis(others, order, axis=1)
        return self.inventory.rows_of_comments(np.concatenate([positive[:, None], negatives], 1))

    def validation(self, both: Histories, held: Windows) -> Validation:
        """What decides when training stops."""
        return CommentValidation(both, self.inventory, held, seen=self.seen)
