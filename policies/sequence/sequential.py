"""Train, cache and store the video policies that rank by a sequence model."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from policies.base import Policy, Progress, Scores, silent
from policies.checkpoint import load_arrays, save_arrays
from policies.sequence.cache import RowCache
from policies.sequence.encoder import SequenceEncoder
from policies.sequence.full_ranking import FullRanking
from policies.sequence.ids import IdTableSettings, id_rows, in_rows
from policies.sequence.next_item import NextItemModel
from policies.sequence.sequences import Sequences
from policies.sequence.settings import VideoHistorySettings
from policies.sequence.softmax import NegativeSampler, next_item_loss
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.requests import HistoryView, Int32, Signal, VideoRequests

_ROWS = "ids.rows"


class SequentialPolicy(Policy):
    """Base of the sequence models over videos; a subclass makes the encoder.

    Attributes:
        stage: Name for progress.
        rows_are_items: Whether videos that share a row of the ID table are one item of the model.
            False where something else, as their captions, tells them apart: then the encoder looks
            rows up.
    """

    stage: ClassVar[str] = ""
    rows_are_items: ClassVar[bool] = True
    slow_to_train: ClassVar[bool] = True
    options: VideoHistorySettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._model = NextItemModel(self.new_encoder, self.options, self.loss)
        self._cache = RowCache(self.options.dim)
        self._dataset_hash = ""
        # Of each video in the ID table; None where a video is its own row.
        self._rows: Int32 | None = None

    def loss(
        self, encoder: SequenceEncoder, windows: Tensor, sampler: NegativeSampler, n_items: int
    ) -> Tensor:
        """What training minimises, of a batch of windows; see `policies.sequence.softmax`."""
        return next_item_loss(encoder, windows, sampler, n_items)

    @abstractmethod
    def new_encoder(self, n_items: int) -> SequenceEncoder:
        """An untrained encoder; draws its weights from torch's generator."""

    def learns_from(self) -> tuple[Signal, ...]:
        """See `policies.base.Policy.learns_from`."""
        return (self.options.signal,)

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Train on every liked (clicked) video; stop when held-out users stop improving."""
        self._dataset_hash = dataset.info.content_hash
        events = interactions(dataset, self.options.signal)
        n_videos = dataset.catalogue().n_videos
        s = self.options
        self._rows = None
        if isinstance(s, IdTableSettings) and s.own_from > 0:
            counts = np.bincount(events.video[events.video >= 0], minlength=n_videos)
            ids = dataset.catalogue().video_ids
            self._rows = id_rows(counts, ids, s.own_from, s.shared_ids)
        items = self._items
        self._model.fit(
            Sequences.of(events.user, in_rows(items, events.video)),
            n_videos if items is None else int(items.max(initial=-1)) + 1,
            seed=seed,
            progress=progress,
            stage=self.stage,
        )
        self._cache.reset(0)

    def reset(self, n_rows: int) -> None:
        """Forget the previous group's encodings."""
        self._cache.reset(n_rows)

    def score_videos(self, requests: VideoRequests) -> Scores:
        """Inner product of the user's last state with each candidate's vector."""
        signal = self.options.signal
        versions = requests.history.version(signal)
        stale = self._cache.stale(requests.row, versions)
        if len(stale):
            encoded = self.encode(requests.history.select(stale).videos(signal))
            self._cache.put(requests.row[stale], versions[stale], encoded)
        users = self._cache.get(requests.row)
        # Padding gets the score of the last row, as it does without shared rows: it is not read.
        vectors = self._model.table[in_rows(self._items, requests.candidates)]
        scores: Scores = np.einsum("bd,bcd->bc", users, vectors)
        return scores

    def propose_videos(self, history: HistoryView, among: Int32, size: int) -> Int32:
        """The largest inner products with each history's state, by exact search."""
        users = self.encode(history.videos(self.options.signal))
        table = self._model.table[in_rows(self._items, among)]
        best: Int32 = among[FullRanking(table).best(users, size)]
        return best

    def encode(self, histories: NDArray[np.integer]) -> NDArray[np.float32]:
        """float32[B, dim]: people's vectors from histories int[B, n], oldest first, -1 at the end.

        With `item_vectors`, for `policies.sequence.full_ranking`: no dataset or request is needed.
        """
        return self._model.encode(in_rows(self._items, histories))

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """float32[n_videos, dim]; a score is the inner product with a person's vector."""
        table = self._model.table
        return table if self._items is None else table[self._items]

    @property
    def _items(self) -> Int32 | None:
        """int32[V]: the model's item of each video; None where that is the video."""
        return self._rows if self.rows_are_items else None

    def training_summary(self) -> dict[str, Any]:
        """Epochs and validation NDCG@10 of the last fit."""
        return {} if self._model.summary is None else self._model.summary.to_dict()

    def save(self, directory: Path) -> None:
        """Weights and the serving table."""
        shared = {} if self._rows is None else {_ROWS: self._rows}
        save_arrays(directory, {**self._model.arrays(), **shared}, self._about())

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore `save`'s weights for the same dataset."""
        self._dataset_hash = dataset.info.content_hash
        arrays = dict(load_arrays(directory, self._about()))
        self._rows = arrays.pop(_ROWS, None)
        self._model.restore(arrays)

    def _about(self) -> dict[str, Any]:
        return {**self.settings(), "dataset": self._dataset_hash}
