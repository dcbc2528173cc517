"""Hold vectors of all comments and captions in one space of few dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.comments.value.directions import differing
from policies.comments.value.visits import Visits
from policies.text.latent import LatentTexts
from simulator.logs.dataset import Dataset

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

DIRECTIONS = 12
"""Dimensions that follow what readers differ in; at most half of a space."""
LATENT = 256
"""Dimensions of the latent semantic analysis from which a space is taken."""
FITTED_ON = 10_000
"""Texts that give its singular vectors."""

_SMALLEST = 1e-4
"""Directions with less variance than this share of the largest are left out."""
_SAMPLE = 50_000
"""Comments that give means and covariances of texts."""


@dataclass(frozen=True)
class TextSpace:
    """Vectors of texts; each dimension has mean 0 and variance 1 over the comments with a text.

    Attributes:
        comment: float32[M, d], 0 for no text.
        caption: float32[V, d], 0 for none.
    """

    comment: Float32
    caption: Float32

    @property
    def width(self) -> int:
        """D."""
        return int(self.comment.shape[1])

    def beside(self, other: TextSpace) -> TextSpace:
        """Both spaces' dimensions next to each other."""
        return TextSpace(
            np.concatenate([self.comment, other.comment], axis=1),
            np.concatenate([self.caption, other.caption], axis=1),
        )


class Vectors(Protocol):
    """Vectors of distinct texts, from a language model or from counts."""

    @property
    def present(self) -> NDArray[np.bool_]:
        """bool[D]: whether there is a text."""

    def rows(self, rows: NDArray[np.integer[Any]]) -> Float32:
        """float32[n, H]: of some texts."""

    def times(self, weights: NDArray[np.floating[Any]]) -> Float32:
        """float32[D, k]: all times ``weights`` [H, k]."""


class DenseTexts:
    """Vectors that are at hand.

    Args:
        vectors: float[D, H], 0 for no text.
    """

    def __init__(self, vectors: NDArray[np.floating[Any]]) -> None:
        self._vectors = np.asarray(vectors, dtype=np.float32)
        self.present = np.abs(self._vectors).sum(axis=1) > 0

    def rows(self, rows: NDArray[np.integer[Any]]) -> Float32:
        """Of some texts."""
        return np.asarray(self._vectors[rows])

    def times(self, weights: NDArray[np.floating[Any]]) -> Float32:
        """All of them times weights."""
        return np.asarray(self._vectors @ weights.astype(np.float32))


def lsa_space(dataset: Dataset, width: int, visits: Visits | None = None) -> TextSpace:
    """Latent semantic analysis of the log's comments and captions.

    Each distinct text is one document: sections are full of the same short exclamations.

    Args:
        dataset: The log.
        width: Of the space.
        visits: If given, a part of the dimensions is where their readers differ.
    """
    texts: Sequence[str] = [*dataset.comment_texts(), *dataset.captions()]
    number: dict[str, int] = {}
    row = np.array([number.setdefault(text, len(number)) for text in texts], dtype=np.int64)
    vectors = LatentTexts(list(number), LATENT if visits is not None else width, FITTED_ON)
    n = dataset.catalogue().n_comments
    return text_space(vectors, row[:n], row[n:], width, visits)


def text_space(
    vectors: Vectors,
    comment_row: NDArray[np.integer[Any]],
    caption_row: NDArray[np.integer[Any]],
    width: int,
    visits: Visits | None = None,
) -> TextSpace:
    """The directions in which readers differ, and the leading principal components of comments.

    Embeddings of a language model lie in a narrow cone (Ethayarajh, EMNLP 2019): unless each
    dimension is scaled, a few, which say little about a taste, outweigh all others.

    Args:
        vectors: One per distinct text.
        comment_row: int[M], row of each comment, -1 for no text.
        caption_row: int[V], row of each caption, -1 for none.
        width: Dimensions of the space, at most.
        visits: Whose readers; None leaves principal components alone.
    """
    present = vectors.present
    row_of = np.where((comment_row >= 0) & present[comment_row], comment_row, -1)
    there = row_of[row_of >= 0]
    if len(there) == 0:
        shape = (len(comment_row), len(caption_row))
        return TextSpace(*(np.zeros((n, width), dtype=np.float32) for n in shape))
    sample = vectors.rows(there[np.linspace(0, len(there) - 1, _SAMPLE).astype(np.int64)]
                          if len(there) > _SAMPLE else there).astype(np.float64)  # fmt: skip
    mean = sample.mean(axis=0)
    sample -= mean
    covariance = sample.T @ sample / len(sample)
    parts = []
    if visits is not None:
        most = min(DIRECTIONS, width // 2)
        parts.append(differing(visits, row_of, vectors.rows, covariance, most))
    rest = width - sum(part.shape[1] for part in parts)
    parts.append(_principal(covariance, rest))
    weights = np.concatenate(parts, axis=1)
    spread = np.sqrt(np.einsum("hk,hg,gk->k", weights, covariance, weights))
    weights /= np.maximum(spread, 1e-12)
    table = np.zeros((len(present) + 1, weights.shape[1]), dtype=np.float32)
    table[:-1] = vectors.times(weights) - (mean @ weights).astype(np.float32)
    table[:-1][~present] = 0.0
    return TextSpace(table[comment_row], table[caption_row])


def _principal(covariance: Float64, width: int) -> Float64:
    """float64[H, k]: the leading eigenvectors."""
    values, axes = np.linalg.eigh(covariance)
    kept = np.argsort(-values)[:width]
    return np.asarray(axes[:, kept[values[kept] > _SMALLEST * values[kept[:1]].sum()]])
