"""Hold texts by their latent semantic analysis, fitted on a part of them, without the dense matrix.

As `policies.text.vectors`, for many texts and many dimensions: the singular vectors are those of a
sample, and vectors of texts are computed where they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.text.char_ngrams import tfidf
from policies.text.vectors import singular_vectors

Float32 = NDArray[np.float32]


class LatentTexts:
    """Vectors of texts in the space of the leading singular vectors of some of them.

    Args:
        texts: Distinct documents, "" for none.
        width: Dimensions, at most.
        fitted_on: So many of the texts, evenly spaced, give the singular vectors.
    """

    def __init__(self, texts: Sequence[str], width: int, fitted_on: int) -> None:
        self._terms = tfidf(texts)
        self.present = self._terms.getnnz(axis=1) > 0
        rows = np.flatnonzero(self.present)
        if len(rows) > fitted_on:
            rows = rows[np.linspace(0, len(rows) - 1, fitted_on).astype(np.int64)]
        sample = self._terms[rows]
        columns = np.unique(sample.indices)
        part: Any = sample[:, columns].astype(np.float64)
        found = singular_vectors(part, width)
        self._axes = np.zeros((self._terms.shape[1], found.shape[1]), dtype=np.float32)
        self._axes[columns] = found

    def __len__(self) -> int:
        return int(self._terms.shape[0])

    @property
    def width(self) -> int:
        """H."""
        return int(self._axes.shape[1])

    def rows(self, rows: NDArray[np.integer[Any]]) -> Float32:
        """float32[n, H]: vectors of some texts."""
        return np.asarray(self._terms[rows] @ self._axes, dtype=np.float32)

    def times(self, weights: NDArray[np.floating[Any]]) -> Float32:
        """float32[D, k]: all vectors times ``weights`` [H, k]."""
        return np.asarray(self._terms @ (self._axes @ weights).astype(np.float32))
