"""Hold text embeddings of an inventory, each distinct text once, and how comments map to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset

Float16 = NDArray[np.float16]
Int64 = NDArray[np.int64]
POPULAR_COMMENTS = 3


@dataclass(frozen=True)
class Texts:
    """The texts of a dataset.

    Attributes:
        distinct: Every different non-empty title or comment, in order of first appearance.
        title: int64[V], index into ``distinct`` per video, -1 for no text.
        comment: int64[M], the same per comment.
    """

    distinct: list[str]
    title: Int64
    comment: Int64

    @classmethod
    def of(cls, dataset: Dataset) -> Texts:
        """Captions and comment texts of a dataset, aligned with its catalogue."""
        number: dict[str, int] = {}

        def indices(texts: list[str]) -> Int64:
            return np.array(
                [number.setdefault(t, len(number)) if t else -1 for t in texts], dtype=np.int64
            )

        title = indices(dataset.captions())
        comment = indices(dataset.comment_texts())
        return cls(list(number), title, comment)

    def among(self, comments: NDArray[np.bool_]) -> Texts:
        """All captions, and the texts of comments bool[M]; the others have none."""
        comment = np.where(comments, self.comment, -1)
        kept = np.unique(np.concatenate([self.title, comment]))
        kept = kept[kept >= 0]
        place = np.full(len(self.distinct) + 1, -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        return Texts([self.distinct[row] for row in kept], place[self.title], place[comment])

    def published(self, catalogue: Catalogue, until_ms: int) -> list[str]:
        """The distinct texts that were there by some time."""
        there = [
            self.title[catalogue.upload_ms <= until_ms],
            self.comment[catalogue.comment_time_ms <= until_ms],
        ]
        rows = np.unique(np.concatenate(there))
        return [self.distinct[row] for row in rows[rows >= 0]]


@dataclass(frozen=True)
class TextTables:
    """What fine-tuning reads instead of text.

    Attributes:
        embeddings: float16[D, h], the language model's pooled states, one per distinct text.
        title: int64[V], row per video, -1 for no title.
        comment: int64[M], row per comment, -1 for no text.
    """

    embeddings: Float16
    title: Int64
    comment: Int64

    @property
    def width(self) -> int:
        """h; 0 if the log has no text at all."""
        return self.embeddings.shape[1] if len(self.embeddings) else 0

    @property
    def has_comments(self) -> bool:
        """Whether any comment has a text."""
        return bool((self.comment >= 0).any())
