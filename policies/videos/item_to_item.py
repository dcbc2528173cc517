"""Rank videos by weights between them and the videos of a history: the shared part.

Such a policy is one matrix W of weights between videos: a candidate's score is the sum of its
weights over the videos in the user's history. Nothing is learned about users, so new ones are
ranked as soon as they have one event.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from policies.base import Policy, Progress, Scores, silent
from policies.checkpoint import load_arrays, save_arrays
from policies.settings import Settings, setting
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.requests import SIGNALS, Int32, Signal, VideoRequests

TIE_BREAK = 1e-4
"""Weight of popularity, far below any weight that matters: it orders what is tied at zero."""

_CELLS = 4_000_000
"""Scores computed at once, at most."""


@dataclass(frozen=True)
class ItemToItemSettings(Settings):
    """Which events make the history: "liked" or "clicked"."""

    signal: Signal = setting("liked", one_of=SIGNALS)  # noqa: RUF009


class ItemToItem(Policy):
    """Base of `itemknn` and `ease`; a subclass makes the matrix of weights and sums over it."""

    options: ItemToItemSettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._weights: dict[str, NDArray[Any]] = {}
        self._prior: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._dataset_hash = ""

    @abstractmethod
    def learn(self, matrix: Any, progress: Progress) -> dict[str, NDArray[Any]]:
        """The weights as arrays, from the log.

        Args:
            matrix: CSR float64[U, V], 1 where a user met a video.
            progress: As in `fit`.
        """

    @abstractmethod
    def add(
        self, weights: dict[str, NDArray[Any]], videos: Int32, candidates: Int32
    ) -> NDArray[np.float32]:
        """Sum of the weights of each candidate over a history.

        Args:
            weights: What `learn` returned.
            videos: int32[B, 50], distinct within a row, -1 for none.
            candidates: int32[B, C], -1 padded; what stands there does not matter.

        Returns:
            float32[B, C].
        """

    def learns_from(self) -> tuple[Signal, ...]:
        """See `policies.base.Policy.learns_from`."""
        return (self.options.signal,)

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Make the weights; nothing here is random."""
        self._dataset_hash = dataset.info.content_hash
        matrix = user_video_matrix(dataset, self.options.signal)
        self._weights = self.learn(matrix, progress)
        self._prior = popularity_prior(matrix.getnnz(axis=0))

    def score_videos(self, requests: VideoRequests) -> Scores:
        """Sum of the weights of each candidate over the user's history; ties by popularity."""
        assert self._weights, "fit or load first"
        candidates = requests.candidates
        scores = np.float32(TIE_BREAK) * self._prior[candidates]
        width = max(candidates.shape[1], len(self._prior), 1)
        block = max(1, _CELLS // width)
        for at in range(0, len(scores), block):
            rows = np.arange(at, min(at + block, len(scores)))
            history = requests.history.select(rows).videos(self.options.signal)
            scores[rows] += self.add(self._weights, distinct(history), candidates[rows])
        return scores

    def save(self, directory: Path) -> None:
        """The weights and the popularity."""
        assert self._weights, "fit first"
        arrays = {**self._weights, "prior": self._prior}
        save_arrays(directory, arrays, {**self.settings(), "dataset": self._dataset_hash})

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore what `save` wrote, for the same dataset."""
        self._dataset_hash = dataset.info.content_hash
        arrays = load_arrays(directory, {**self.settings(), "dataset": self._dataset_hash})
        self._prior = arrays.pop("prior")
        self._weights = arrays


def user_video_matrix(dataset: Dataset, signal: Signal) -> Any:
    """CSR float64[U, V] of ones: which user met which video, once however often."""
    events = interactions(dataset, signal)
    known = events.video >= 0
    rows, columns = events.user[known], events.video[known]
    shape = (len(dataset.user_ids()), dataset.catalogue().n_videos)
    matrix = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def distinct(videos: Int32) -> Int32:
    """int32[B, n]: the videos of each row, ascending; repeats become -1."""
    ordered = np.sort(videos, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = -1
    return ordered


def popularity_prior(counts: NDArray[np.integer]) -> NDArray[np.float32]:
    """float32[V] in 0 .. 1: logarithm of the number of events; without any, the mean of the others.

    A fresh video is not known to be bad: it gets an average one's chance.
    """
    prior = np.log1p(counts.astype(np.float64))
    prior /= max(float(prior.max(initial=0.0)), 1.0)
    met = counts > 0
    if met.any():
        prior[~met] = prior[met].mean()
    return prior.astype(np.float32)
