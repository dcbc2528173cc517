"""Rank comments by SASRec (Kang & McAuley, ICDM 2018) over comments liked or replied to.

The encoder and its training are those of `policies.videos.sasrec`, items are comments instead of
videos: the baseline that LSVCR's authors call SASRec on comments (arXiv 2403.13574). Differences
from it, beside those of `policies.videos.sasrec`: the video being watched is known only through the
candidates, which are its comments; comments that nobody has interacted with share one vector, and
likes order what is tied.

Held to `likes` and `text-similarity`: no published figure for comment sections is comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.base import Progress, Scores
from policies.checkpoint import load_arrays, save_arrays
from policies.comments.base import TIE_BREAK, CommentPolicy, CommentPolicySettings, likes_prior
from policies.sequence.cache import RowCache
from policies.sequence.encoder import SequenceEncoder
from policies.sequence.next_item import NextItemModel
from policies.sequence.sequences import Sequences
from policies.sequence.settings import AttentionSettings, TrainedSettings
from policies.settings import setting
from policies.videos.sasrec import SASRecModel
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.requests import CommentRequests, HistoryView


@dataclass(frozen=True)
class CommentSASRecSettings(CommentPolicySettings, AttentionSettings, TrainedSettings):
    """A transformer over comments, and the policy that ranks the videos."""

    dropout: float = setting(0.2, at_least=0, below=1)


class CommentSASRec(CommentPolicy):
    """Self-attention over the comments a user liked; videos as another policy ranks them.

    Settings: see `CommentSASRecSettings`.
    """

    slow_to_train = True
    settings_class = CommentSASRecSettings
    options: CommentSASRecSettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._model = NextItemModel(self._new_encoder, self.options)
        self._cache = RowCache(self.options.dim)
        self._likes: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._dataset_hash = ""

    def fit_comments(self, dataset: Dataset, *, seed: int, progress: Progress) -> dict[str, Any]:
        """Train on every liked comment and reply."""
        self._dataset_hash = dataset.info.content_hash
        catalogue = dataset.catalogue()
        self._likes = likes_prior(catalogue)
        events = interactions(dataset, "discussed")
        # Without comment events "discussed" means opened sections, of unknown comments.
        nothing = np.zeros((0, 1), dtype=np.int32)
        comments = nothing if events.comments is None else events.comments
        user = events.user[: len(comments)]
        if self.left_out is not None:
            kept = ~self.left_out[user]
            user, comments = user[kept], comments[kept]
        user = np.repeat(user, comments.shape[1])
        self._model.fit(
            Sequences.of(user, comments.ravel()),
            catalogue.n_comments,
            seed=seed,
            progress=progress,
            stage="comment-sasrec",
        )
        self._cache.reset(0)
        return {} if self._model.summary is None else self._model.summary.to_dict()

    def reset_comments(self, n_rows: int) -> None:
        """Forget the previous group's encodings."""
        self._cache.reset(n_rows)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """Inner product of the user's last state with each comment; None without comments."""
        if len(self._likes) == 0:
            return None
        versions = requests.history.version("discussed")
        stale = self._cache.stale(requests.row, versions)
        if len(stale):
            encoded = self._model.encode(past_comments(requests.history.select(stale)))
            self._cache.put(requests.row[stale], versions[stale], encoded)
        users = self._cache.get(requests.row)
        candidates = requests.candidates
        scores: Scores = np.einsum("bd,bcd->bc", users, self._model.table[candidates])
        return np.asarray(scores + np.float32(TIE_BREAK) * self._likes[candidates])

    def save_comments(self, directory: Path) -> None:
        """Weights and the serving table."""
        save_arrays(directory, {**self._model.arrays(), "likes": self._likes}, self._about())

    def load_comments(self, directory: Path | None, dataset: Dataset) -> None:
        """Restore them."""
        assert directory is not None
        self._dataset_hash = dataset.info.content_hash
        arrays = load_arrays(directory, self._about())
        self._likes = arrays.pop("likes")
        self._model.restore(arrays)

    def _new_encoder(self, n_items: int) -> SequenceEncoder:
        s = self.options
        return SASRecModel(n_items, s.length, s.dim, s.layers, s.heads, s.dropout)

    def _about(self) -> dict[str, Any]:
        return {**self.settings(), "dataset": self._dataset_hash}


def past_comments(history: HistoryView) -> NDArray[np.int64]:
    """int64[B, 150]: the comments of the last 50 visits, oldest first, padded with -1."""
    comments = history.comments().reshape(len(history), -1).astype(np.int64)
    # Stable: known ones move to the left in their order.
    order = np.argsort(comments < 0, axis=1, kind="stable")
    return np.take_along_axis(comments, order, axis=1)
