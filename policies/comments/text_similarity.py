"""Rank comments by the similarity of their texts to the video and to what the user liked.

After the content-based filtering of Pazzani & Billsus (2007): a profile is the mean vector of a
user's past comments, a score is a cosine. Differences: vectors are TF-IDF of hashed character
n-grams, so that any language works without a model; the video being watched counts as well; likes
order what is tied.

Held to `likes`: no published figure for comment sections is comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from policies.base import Progress, Scores
from policies.checkpoint import load_arrays, save_arrays
from policies.comments.base import TIE_BREAK, CommentPolicy, CommentPolicySettings, likes_prior
from policies.settings import setting
from policies.text.char_ngrams import BUCKETS, pair_products, tfidf, unit_rows
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, HistoryView, Int32

_PEOPLE = 64
"""Profiles held dense at once."""

_PAIRS = 100_000
"""Comments compared with their videos at once."""


@dataclass(frozen=True)
class TextSimilaritySettings(CommentPolicySettings):
    """How the two similarities are weighted.

    Attributes:
        video_share: Weight of the similarity to the video; the rest is for the past comments.
    """

    video_share: float = setting(0.3, at_least=0, at_most=1)


class TextSimilarity(CommentPolicy):
    """Comments whose text resembles the video's and the user's past comments.

    Settings: see `TextSimilaritySettings`.
    """

    settings_class = TextSimilaritySettings
    options: TextSimilaritySettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._dataset_hash = ""
        self._texts: Any = sp.csr_matrix((0, BUCKETS), dtype=np.float32)
        self._row: Int32 = np.zeros(0, dtype=np.int32)
        self._same_for_all: NDArray[np.float32] = np.zeros(0, dtype=np.float32)

    def fit_comments(self, dataset: Dataset, *, seed: int, progress: Progress) -> dict[str, Any]:
        """Vectors of all comments, and their similarities to their videos."""
        self._dataset_hash = dataset.info.content_hash
        catalogue = dataset.catalogue()
        progress("text-similarity", 0.0, f"{catalogue.n_comments:,} comments")
        # Sections are full of the same short exclamations: each distinct text is one document.
        comment, distinct = _numbered(dataset.comment_texts())
        caption, titles = _numbered(dataset.captions())
        vectors = tfidf([*distinct, *titles])
        self._texts, self._row = vectors[: len(distinct)], comment
        captions = vectors[len(distinct) :][caption]
        own = np.zeros(len(comment), dtype=np.float32)
        for at in range(0, len(own), _PAIRS):
            pairs = slice(at, at + _PAIRS)
            video = captions[catalogue.comment_video[pairs]]
            own[pairs] = video.multiply(self._texts[comment[pairs]]).sum(axis=1).ravel()
        self._same_for_all = (
            self.options.video_share * own + TIE_BREAK * likes_prior(catalogue)
        ).astype(np.float32)
        return {"distinct texts": len(distinct)}

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """Weighted sum of both cosines; None on a log without comment texts."""
        if self._texts.nnz == 0:
            return None
        scores = self._same_for_all[requests.candidates]
        share = np.float32(1.0 - self.options.video_share)
        for at in range(0, len(scores), _PEOPLE):
            rows = np.arange(at, min(at + _PEOPLE, len(scores)))
            profiles = self._profiles(requests.history.select(rows))
            scores[rows] += share * pair_products(
                self._texts, self._rows_of(requests.candidates[rows]), profiles
            )
        return scores

    def save_comments(self, directory: Path) -> None:
        """The vectors, and what does not depend on the user."""
        arrays = {
            "values": self._texts.data,
            "columns": self._texts.indices,
            "starts": self._texts.indptr,
            "row": self._row,
            "same_for_all": self._same_for_all,
        }
        save_arrays(directory, arrays, self._about())

    def load_comments(self, directory: Path | None, dataset: Dataset) -> None:
        """Read them back."""
        assert directory is not None
        self._dataset_hash = dataset.info.content_hash
        arrays = load_arrays(directory, self._about())
        self._row, self._same_for_all = arrays["row"], arrays["same_for_all"]
        self._texts = sp.csr_matrix(
            (arrays["values"], arrays["columns"], arrays["starts"]),
            shape=(len(arrays["starts"]) - 1, BUCKETS),
        )

    def _profiles(self, history: HistoryView) -> Any:
        """CSR float32[B, buckets]: unit vectors of everybody's past comments."""
        texts = self._rows_of(history.comments().reshape(len(history), -1))
        line, place = np.nonzero(texts >= 0)
        ones = np.ones(len(line), dtype=np.float32)
        shape = (len(texts), self._texts.shape[0])
        past = sp.csr_matrix((ones, (line, texts[line, place])), shape=shape)
        return unit_rows(past @ self._texts)

    def _rows_of(self, comments: Int32) -> Int32:
        """The rows of comments' texts, -1 for none."""
        return np.where(comments >= 0, self._row[comments], np.int32(-1))

    def _about(self) -> dict[str, Any]:
        return {**self.settings(), "dataset": self._dataset_hash}


def _numbered(texts: list[str]) -> tuple[Int32, list[str]]:
    """The number of each text among the distinct ones, and those in order of appearance."""
    number: dict[str, int] = {}
    index = [number.setdefault(text, len(number)) for text in texts]
    return np.array(index, dtype=np.int32), list(number)
