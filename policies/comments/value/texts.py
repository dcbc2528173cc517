"""Hold vectors of all comments and captions in one space, whitened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.text.vectors import text_vectors
from simulator.logs.dataset import Dataset

Float32 = NDArray[np.float32]

_SMALLEST = 1e-4
"""Directions with less variance than this share of the largest are left out."""


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


def lsa_space(dataset: Dataset, width: int) -> TextSpace:
    """Latent semantic analysis of the log's comments and captions.

    Each distinct text is one document: sections are full of the same short exclamations.
    """
    texts = [*dataset.comment_texts(), *dataset.captions()]
    number: dict[str, int] = {}
    row = np.array([number.setdefault(text, len(number)) for text in texts], dtype=np.int64)
    vectors = text_vectors(list(number), width)
    n_comments = dataset.catalogue().n_comments
    return whitened(vectors, row[:n_comments], row[n_comments:], width)


def whitened(
    vectors: NDArray[np.floating],
    comment_row: NDArray[np.integer],
    caption_row: NDArray[np.integer],
    width: int,
) -> TextSpace:
    """The leading principal components of comments' vectors, each scaled to unit variance.

    Embeddings of a language model lie in a narrow cone (Ethayarajh, EMNLP 2019): without this a few
    directions, which say little about a taste, outweigh all others.

    Args:
        vectors: float[D, h], one per distinct text.
        comment_row: int[M], row of each comment, -1 for no text.
        caption_row: int[V], row of each caption, -1 for none.
        width: Most components kept.
    """
    table = np.concatenate([vectors, np.zeros((1, vectors.shape[1]))]).astype(np.float32)
    there = comment_row[(comment_row >= 0)]
    there = there[np.abs(table[there]).sum(axis=1) > 0]
    if len(there) == 0:
        shape = (len(comment_row), len(caption_row))
        return TextSpace(*(np.zeros((n, width), dtype=np.float32) for n in shape))
    weight = np.bincount(there, minlength=len(table)).astype(np.float64)
    mean = (weight @ table) / weight.sum()
    centred = table - mean
    covariance = (centred * weight[:, None]).T @ centred / weight.sum()
    values, directions = np.linalg.eigh(covariance)
    kept = np.argsort(-values)[:width]
    kept = kept[values[kept] > _SMALLEST * values[kept[0]]]
    result = np.zeros((len(table), width), dtype=np.float32)
    result[:, : len(kept)] = centred @ (directions[:, kept] / np.sqrt(values[kept]))
    result[np.abs(table).sum(axis=1) == 0] = 0.0
    return TextSpace(result[comment_row], result[caption_row])
