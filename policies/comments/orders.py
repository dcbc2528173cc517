"""Order comments the same way for everybody: most liked first, or newest first.

No paper: these are the two orders that every platform offers. Every comment ranker is held to
`likes`, the order that the platform falls back on.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.base import Scores
from policies.comments.base import CommentPolicy
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests

Int64 = NDArray[np.int64]


class FixedOrder(CommentPolicy):
    """Base of `likes` and `newest`: one number per comment, read from the dataset."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._scores: NDArray[np.float32] = np.zeros(0, dtype=np.float32)

    @abstractmethod
    def value(self, catalogue: Catalogue) -> Int64:
        """int64[M]: what comments are ordered by, descending."""

    def load_comments(self, directory: Path | None, dataset: Dataset) -> None:
        """Order the comments of every section."""
        catalogue = dataset.catalogue()
        self._scores = rank_in_section(self.value(catalogue), catalogue.comment_video)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """The same order for everybody; None on a log without comments."""
        return self._scores[requests.candidates] if len(self._scores) else None


class Likes(FixedOrder):
    """Comments by their likes, most first; videos as another policy ranks them."""

    def value(self, catalogue: Catalogue) -> Int64:
        """Likes that the platform displays."""
        return catalogue.comment_likes.astype(np.int64)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """Likes as they are displayed now, where they change."""
        if requests.likes is None:
            return super().score_comments(requests)
        return requests.likes.astype(np.float32)


class Newest(FixedOrder):
    """Comments by their time, latest first; videos as another policy ranks them."""

    def value(self, catalogue: Catalogue) -> Int64:
        """Unix milliseconds; comments without a time come last."""
        return catalogue.comment_time_ms


def rank_in_section(value: Int64, section: NDArray[np.integer]) -> NDArray[np.float32]:
    """How many different smaller values there are in a comment's section.

    Times in milliseconds do not fit a float32; ranks do.

    Args:
        value: int64[M].
        section: int[M], ascending.

    Returns:
        float32[M]; equal values of a section have equal ranks.
    """
    order = np.lexsort((value, section))
    value, section = value[order], section[order]
    steps = np.cumsum(np.append(0, value[1:] != value[:-1]))[: len(value)]
    first = np.searchsorted(section, section)
    rank = np.empty(len(value), dtype=np.float32)
    # A step at the border between two sections belongs to none: ranks start at 0 in each.
    rank[order] = steps - steps[first]
    return rank
