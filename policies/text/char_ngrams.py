"""Compute TF-IDF of hashed character n-grams: text similarity without word borders.

Works alike for Chinese, whose words are one to three characters, and for alphabets. Hashing as in
Weinberger et al., ICML 2009, without signs; weights as in Salton & Buckley (1988) with logarithmic
term frequency and smoothed inverse document frequency.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from simulator.randomness import mix

SIZES = (1, 2, 3)
BUCKETS = 1 << 15
_SALT = np.uint64(0x6E6772616D)


def tfidf(texts: Sequence[str], buckets: int = BUCKETS) -> Any:
    """Unit vectors of texts.

    An n-gram that occurs tf times in a text and in df of the N non-empty texts weighs
    ``(1 + ln tf) * (1 + ln((1 + N) / (1 + df)))`` there.

    Args:
        texts: Documents; case, width of characters and runs of blanks make no difference.
        buckets: n-grams are hashed into so many columns.

    Returns:
        CSR float32[len(texts), buckets] with sorted columns, rows of length 1, or empty.
    """
    counts = ngram_counts(texts, buckets)
    n = int((counts.getnnz(axis=1) > 0).sum())
    frequency = counts.getnnz(axis=0)
    inverse = 1.0 + np.log((1.0 + n) / (1.0 + frequency))
    counts.data = (1.0 + np.log(counts.data)) * inverse[counts.indices]
    return unit_rows(counts).astype(np.float32)


def ngram_counts(texts: Sequence[str], buckets: int) -> Any:
    """CSR float64[len(texts), buckets]: how often each hashed n-gram occurs."""
    clean = [" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts]
    lengths = np.array([len(text) for text in clean], dtype=np.int64)
    joined = "".join(clean).encode("utf-32-le", errors="surrogatepass")
    points = np.frombuffer(joined, dtype="<u4").astype(np.uint64)
    owner = np.repeat(np.arange(len(clean)), lengths)
    rows, columns = [], []
    for size in SIZES:
        count = len(points) - size + 1
        if count <= 0:
            continue
        parts = [points[i : i + count] for i in range(size)]
        inside = owner[:count] == owner[size - 1 :]
        hashed = mix(_SALT, size, *parts)[inside]
        rows.append(owner[:count][inside])
        columns.append((hashed % np.uint64(buckets)).astype(np.int64))
    row = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    column = np.concatenate(columns) if columns else np.zeros(0, dtype=np.int64)
    matrix = sp.csr_matrix((np.ones(len(row)), (row, column)), shape=(len(clean), buckets))
    matrix.sum_duplicates()
    return matrix


def unit_rows(matrix: Any) -> Any:
    """The CSR matrix with every row that is not empty scaled to length 1."""
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), dtype=np.float64).ravel())
    scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    matrix.data = matrix.data * np.repeat(scale, np.diff(matrix.indptr))
    return matrix


def pair_products(matrix: Any, rows: NDArray[Any], other: Any) -> NDArray[np.float32]:
    """Inner products of some rows of a matrix with rows of a small one.

    Args:
        matrix: CSR float32[N, D].
        rows: int[B, M]; rows of ``matrix``, -1 for none.
        other: CSR float32[B, D].

    Returns:
        float32[B, M]: ``matrix[rows[b, m]] . other[b]``, 0 for none.
    """
    flat = np.where(rows >= 0, rows, 0).ravel()
    length = np.where(rows.ravel() >= 0, matrix.indptr[flat + 1] - matrix.indptr[flat], 0)
    stop = np.cumsum(length)
    pair = np.repeat(np.arange(len(flat)), length)
    entry = np.arange(len(pair)) - np.repeat(stop - length, length)
    entry += np.repeat(matrix.indptr[flat], length)
    line = pair // rows.shape[1]
    terms = matrix.data[entry] * other.toarray()[line, matrix.indices[entry]]
    sums = np.bincount(pair, weights=terms, minlength=len(flat))
    return sums.reshape(rows.shape).astype(np.float32)
