"""Compute fixed vectors of texts by latent semantic analysis of character n-grams.

Deerwester et al. (1990): the leading singular vectors of the documents' weighted term counts. The
terms are hashed character n-grams (`policies.text.char_ngrams`); the decomposition is the
randomised one of Halko, Martinsson & Tropp (2011), algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.text.char_ngrams import tfidf

_OVERSAMPLED = 10
_POWER_ITERATIONS = 4
_QUICK_ITERATIONS = 1
"""Where a space of hundreds of dimensions is wanted and not its single directions."""
_SEED = 7


def text_vectors(texts: Sequence[str], dim: int) -> NDArray[np.float32]:
    """Dense vectors whose inner products approximate the similarity of texts.

    Args:
        texts: Documents, "" for none.
        dim: Width of a vector.

    Returns:
        float32[len(texts), dim]: centred over the texts that are not empty, of mean square length
        1; zeros for empty texts, and in columns beyond the rank.
    """
    matrix = tfidf(texts)
    present = matrix.getnnz(axis=1) > 0
    result = np.zeros((len(texts), dim), dtype=np.float32)
    # Only columns that occur: the others hold nothing but zeros.
    matrix = matrix[present][:, np.unique(matrix.indices)].astype(np.float64)
    rank = min(dim, *matrix.shape)
    if rank == 0:
        return result
    basis, left, sizes = _decomposed(matrix, rank)
    vectors = (basis @ left[:, :rank]) * sizes[:rank]
    vectors -= vectors.mean(axis=0)
    length = np.sqrt((vectors**2).sum(axis=1).mean())
    result[present, :rank] = vectors / max(float(length), 1e-12)
    return result


def singular_vectors(matrix: Any, dim: int) -> NDArray[np.float64]:
    """Leading right singular vectors of a sparse matrix [D, N] with rows of length 1.

    Returns:
        float64[N, rank]; rank is ``dim`` or less.
    """
    rank = min(dim, *matrix.shape)
    if rank == 0:
        return np.zeros((matrix.shape[1], 0))
    basis, left, sizes = _decomposed(matrix, rank, _QUICK_ITERATIONS)
    # Directions without any variance would be divided by nothing.
    kept = sizes[:rank] > 1e-9 * sizes[0]
    return np.asarray((matrix.T @ (basis @ left[:, :rank][:, kept])) / sizes[:rank][kept])


def _decomposed(
    matrix: Any, rank: int, iterations: int = _POWER_ITERATIONS
) -> tuple[Any, Any, Any]:
    """An orthonormal basis, left singular vectors in that basis, and singular values."""
    width = min(rank + _OVERSAMPLED, *matrix.shape)
    random = np.random.default_rng(_SEED)
    basis, _ = np.linalg.qr(matrix @ random.standard_normal((matrix.shape[1], width)))
    for _ in range(iterations):
        basis, _ = np.linalg.qr(matrix.T @ basis)
        basis, _ = np.linalg.qr(matrix @ basis)
    small = (matrix.T @ basis).T
    left, sizes, _ = np.linalg.svd(small, full_matrices=False)
    return basis, left, sizes
