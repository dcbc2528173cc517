"""Stage 2: the SR model learns to recommend, one copy per task.

Video task: cross-entropy over the catalogue. Comment task: cross-entropy over one comment that
the person liked or replied to and up to 19 others under the same video. Both add 0.1 times a
symmetric InfoNCE between ID and text vectors of the history's videos, whose negatives never hold
the anchor's own video and whose cost is linear in the number of videos.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.examples import Batch, Histories, History, Windows, batches, last_events, make_batch
from lsvcr.inventory import Inventory, mean_of_comments, text_vectors, title_vectors
from lsvcr.sr_model import TEMPERATURE, SRModel, cosine_logits
from lsvcr.warm_start import start_from_agreement
from policies.base import Progress
from policies.trainer import TrainerSettings, TrainingSummary, train

FULL_SOFTMAX_UP_TO = 20_000
COMMENTS_RANKED = 64
_VALIDATED = 1_000
_RIVALS = 99

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class FinetuneSettings:
    """How stage 2 trains; the paper's values unless the small preset says otherwise.

    Attributes:
        epochs, patience, learning_rate: See `TrainerSettings`.
        batch: Windows per batch.
        targets: Most targets per window.
        comment_negatives: Other comments of the same video per positive one.
        video_negatives: Shared negatives where the catalogue is above 20,000 videos.
        id_text_weight: Of the ID-text loss.
        id_text_negatives: Per anchor.
        id_text_anchors: Most videos per batch that take part, so that the cost is bounded.
    """

    epochs: int = 50
    patience: int = 3
    learning_rate: float = 1e-3
    batch: int = 64
    targets: int = 10
    comment_negatives: int = 19
    video_negatives: int = 4_096
    id_text_weight: float = 0.1
    id_text_negatives: int = 99
    id_text_anchors: int = 512


def history_tokens(
    model: SRModel, inventory: Inventory, batch: Batch, random: np.random.Generator | None
) -> tuple[Tensor, Tensor]:
    """Tokens of both histories; ``random`` draws popular comments (None: the most liked)."""
    videos = torch.from_numpy(np.maximum(batch.videos, 0))
    sections = torch.from_numpy(np.maximum(batch.sections, 0))
    if not inventory.has_text:
        return model.tokens(videos, None, None), model.tokens(sections, None, None)
    shown = inventory.popular_comments(batch.videos, random)
    return (
        model.tokens(
            videos,
            title_vectors(model, inventory, videos),
            mean_of_comments(model, inventory, shown[..., None]),
        ),
        model.tokens(
            sections,
            title_vectors(model, inventory, sections),
            mean_of_comments(model, inventory, batch.section_comments),
        ),
    )


def people(
    model: SRModel, inventory: Inventory, batch: Batch, random: np.random.Generator | None
) -> Tensor:
    """User representations at every real moment of a batch: float[n, dim]."""
    videos, sections = history_tokens(model, inventory, batch, random)
    states, visible = model.states(
        videos,
        sections,
        torch.from_numpy(batch.video_count),
        torch.from_numpy(batch.comment_count),
    )
    current = None
    if model.task == "comment":
        target = torch.from_numpy(batch.target)
        current = model.videos(target, title_vectors(model, inventory, target))
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
        aligned: False starts the text path from the closed form.
    """
    own = both.of(model.task)[0]
    held, stop = held_out(own, seed)
    if not aligned:
        start_from_agreement(model, own.until(stop), inventory)
    task = _VideoTask(model, inventory, settings, [seed, 12])
    if model.task == "comment":
        task = _CommentTask(model, inventory, settings, [seed, 12])

    def epoch_batches(epoch: int) -> Iterator[Batch]:
        return batches(
            both,
            model.task,
            stop,
            size=settings.batch,
            targets=settings.targets,
            seed=[seed, 13, epoch],
        )

    return train(
        model,
        epoch_batches,
        task.loss,
        lambda: task.validate(both, last_events(own, held)),
        TrainerSettings(
            epochs=settings.epochs,
            patience=settings.patience,
            learning_rate=settings.learning_rate,
        ),
        progress=progress,
        stage=stage,
        metric_name="NDCG@5",
    )


class _VideoTask:
    """Next liked video among all that existed."""

    def __init__(
        self, model: SRModel, inventory: Inventory, settings: FinetuneSettings, seed: list[int]
    ) -> None:
        self.model, self.inventory, self.settings = model, inventory, settings
        self.seed = seed
        self.random = np.random.default_rng(seed)
        self.torch_random = torch.Generator().manual_seed(seed[0] * 1_000 + seed[1])

    def loss(self, batch: Batch) -> Tensor:
        persons = people(self.model, self.inventory, batch, self.random)
        return self.task_loss(batch, persons) + self.settings.id_text_weight * self.id_text(batch)

    def task_loss(self, batch: Batch, persons: Tensor) -> Tensor:
        target = torch.from_numpy(batch.target[batch.real])
        candidates, label = self._candidates(target)
        vectors = self.model.videos(
            candidates, title_vectors(self.model, self.inventory, candidates)
        )
        return F.cross_entropy(cosine_logits(persons, vectors), label)

    def _candidates(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Shared candidates int64[C] holding every target, and the targets' places in them."""
        available = self.inventory.available
        if len(available) > FULL_SOFTMAX_UP_TO:
            # Sampled softmax: the batch's own targets and uniform negatives.
            drawn = torch.randint(
                len(available), (self.settings.video_negatives,), generator=self.torch_random
            )
            available = available[drawn]
        candidates = torch.unique(torch.cat([available, target]))
        return candidates, torch.searchsorted(candidates, target)

    def id_text(self, batch: Batch) -> Tensor:
        """Symmetric InfoNCE between ID and text vectors of distinct videos of the histories."""
        seen = np.concatenate([batch.videos.ravel(), batch.sections.ravel()])
        distinct = np.unique(seen[seen >= 0])
        if not self.inventory.has_text or len(distinct) < 2:
            return torch.zeros(())
        distinct = self.random.permutation(distinct)[: self.settings.id_text_anchors]
        videos = torch.from_numpy(distinct)
        videos = videos[self.inventory.title[videos] >= 0]
        n = len(videos)
        if n < 2:
            return torch.zeros(())
        titles = title_vectors(self.model, self.inventory, videos)
        assert titles is not None
        ids = F.normalize(self.model.ids(videos), dim=-1)
        logits = ids @ F.normalize(titles, dim=-1).T / TEMPERATURE
        # A non-zero cyclic shift never meets the anchor itself, whatever the popularity.
        shift = torch.randint(
            1, n, (n, self.settings.id_text_negatives), generator=self.torch_random
        )
        other = (torch.arange(n)[:, None] + shift) % n
        label = torch.zeros(n, dtype=torch.long)
        own = logits.diagonal()[:, None]
        losses = [
            F.cross_entropy(torch.cat([own, table.gather(1, other)], dim=1), label)
            for table in (logits, logits.T)
        ]
        return (losses[0] + losses[1]) / 2

    def validate(self, both: Histories, held: Windows) -> float:
        """NDCG@5 of a held-out video among 100 as in the paper, ties against the model.

        Among all videos a thousand events leave little but noise to stop by. The other 99 are the
        same at every call.
        """
        if len(held) == 0:
            return 0.0
        random = np.random.default_rng([*self.seed, 1])
        total = 0.0
        for part in _parts(held):
            batch = make_batch(both, "video", part)
            rivals = self.rivals(batch, random)
            shown = torch.from_numpy(
                np.concatenate([batch.target[:, :1], np.maximum(rivals, 0)], 1)
            )
            vectors = self.model.videos(shown, title_vectors(self.model, self.inventory, shown))
            person = F.normalize(people(self.model, self.inventory, batch, None), dim=-1)
            scores = torch.einsum("nd,ncd->nc", person, F.normalize(vectors, dim=-1))
            better = (scores[:, 1:] >= scores[:, :1]) & torch.from_numpy(rivals >= 0)
            total += _gain(better.sum(dim=1), torch.ones(len(batch.target), dtype=torch.bool))
        return total / len(held)

    def rivals(self, batch: Batch, random: np.random.Generator) -> Int64:
        """int64[n, 99]: random videos that existed; -1 for the target and what was seen before."""
        available = self.inventory.available.numpy()
        if len(available) == 0:
            return np.full((len(batch.target), _RIVALS), -1, dtype=np.int64)
        drawn = available[random.integers(0, len(available), (len(batch.target), _RIVALS))]
        known = np.concatenate([batch.videos, batch.target[:, :1]], axis=1)
        taken = (drawn[:, :, None] == known[:, None, :]).any(axis=2)
        return np.where(taken, -1, drawn)


class _CommentTask(_VideoTask):
    """The comment somebody takes part in, among others under the same video."""

    def task_loss(self, batch: Batch, persons: Tensor) -> Tensor:
        target, comments = batch.target[batch.real], batch.target_comments[batch.real]
        rows = self._choices(target, comments)
        known = rows[:, 0] >= 0
        if not known.any() or not (rows[known][:, 1:] >= 0).any():
            return persons.sum() * 0.0
        logits = self._logits(persons[known], rows[known])
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))

    def _logits(self, persons: Tensor, rows: Tensor) -> Tensor:
        """float[n, C]: cosine over temperature; -inf where a row is -1."""
        vectors = F.normalize(text_vectors(self.model, self.inventory, rows), dim=-1)
        logits = torch.einsum("nd,ncd->nc", F.normalize(persons, dim=-1), vectors) / TEMPERATURE
        return logits.masked_fill(rows < 0, float("-inf"))

    def _choices(self, videos: Int64, comments: Int64) -> Tensor:
        """Embedding rows int64[n, 20]: one comment taken part in, then others of the video."""
        real = (comments >= 0).sum(axis=1)
        pick = (self.random.random(len(comments)) * real).astype(np.int64)
        positive = np.where(real > 0, comments[np.arange(len(comments)), pick], -1)
        others = self.inventory.catalogue.comments_of(
            videos.astype(np.int32), COMMENTS_RANKED
        ).astype(np.int64)
        mine = (others[:, :, None] == comments[:, None, :]).any(axis=2)
        key = np.where((others >= 0) & ~mine, self.random.random(others.shape), 2.0)
        order = np.argsort(key, axis=1, kind="stable")[:, : self.settings.comment_negatives]
        negatives = np.take_along_axis(np.where(mine, -1, others), order, axis=1)
        return self.inventory.rows_of_comments(np.concatenate([positive[:, None], negatives], 1))

    def validate(self, both: Histories, held: Windows) -> float:
        """NDCG@5 of a comment taken part in among the video's most liked 64."""
        total, count = 0.0, 0
        for part in _parts(held):
            batch = make_batch(both, "comment", part)
            persons = people(self.model, self.inventory, batch, None)
            comments = batch.target_comments[:, 0]
            others = self.inventory.catalogue.comments_of(
                batch.target[:, 0].astype(np.int32), COMMENTS_RANKED
            ).astype(np.int64)
            mine = (others[:, :, None] == comments[:, None, :]).any(axis=2)
            others = np.where(mine & (others != comments[:, :1]), -1, others)
            rows = self.inventory.rows_of_comments(others)
            at = torch.from_numpy(np.argmax(others == comments[:, :1], axis=1))
            known = torch.from_numpy(
                (others == comments[:, :1]).any(axis=1) & (comments[:, 0] >= 0)
            )
            scores = self._logits(persons, rows)
            own = scores.gather(1, at[:, None])
            total += _gain((scores >= own).sum(dim=1) - 1, known)
            count += int(known.sum())
        return total / max(count, 1)


def _gain(ranks: Tensor, known: Tensor) -> float:
    gains = torch.where(known & (ranks < 5), 1.0 / torch.log2(ranks + 2.0), 0.0)
    return float(gains.sum())


def _parts(held: Windows, size: int = 256) -> Iterator[Windows]:
    for at in range(0, len(held), size):
        part = slice(at, at + size)
        yield Windows(held.user[part], held.base[part], held.start[part], held.stop[part])
