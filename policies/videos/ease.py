"""Rank by EASE: embarrassingly shallow autoencoders for sparse data (Steck, WWW 2019).

With G the videos' counts in common (``X'X``), P the inverse of ``G + lambda I``:
``W[i, j] = -P[i, j] / P[j, j]`` off the diagonal and 0 on it (equation 8). That is the linear model
that predicts each video of a history from the others with least squared error.

Differences from the paper: only videos with events enter the inverse, which changes no weight (the
others' rows of G are zero); popularity orders what is tied at zero.

Held to EASE of public libraries (lambda 100), leave-last-out, full ranking, seen videos removed:
HR@10 .143, NDCG@10 .071 on ml-100k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from policies.base import Progress
from policies.errors import PolicyError
from policies.settings import setting
from policies.videos.item_to_item import ItemToItem, ItemToItemSettings
from simulator.requests import Int32


@dataclass(frozen=True)
class EASESettings(ItemToItemSettings):
    """Which events count, and the least-squares problem.

    Attributes:
        regularisation: Lambda, the penalty on squared weights; in users.
        max_videos: Refuse more videos with events than this: memory grows with the square of
            their number, time with its cube.
    """

    regularisation: float = setting(100.0, above=0, at_most=1_000_000_000_000)
    max_videos: int = setting(10_000, at_least=1, at_most=100_000)


class EASE(ItemToItem):
    """Least-squares weights between videos, in closed form (linear autoencoder).

    Settings: see `EASESettings`.
    """

    settings_class = EASESettings
    options: EASESettings

    def learn(self, matrix: Any, progress: Progress) -> dict[str, NDArray[Any]]:
        """``weights`` float32[m + 1, m + 1] and ``place`` int32[V] of each video in it.

        The last row and column, of zeros, stand for all videos without events.

        Raises:
            PolicyError: too many videos for the inverse of a dense matrix.
        """
        met = np.flatnonzero(matrix.getnnz(axis=0))
        n, limit = len(met), self.options.max_videos
        if n > limit:
            raise PolicyError(
                f"ease inverts a dense matrix: {n:,} videos with events need "
                f"{2 * 8 * n**2 / 1e9:.1f} GB; its limit is max_videos = {limit:,}.",
                "Use itemknn, which is sparse, or raise max_videos "
                "in abtest.toml, [policies.ease].",
            )
        place = np.full(matrix.shape[1], n, dtype=np.int32)
        place[met] = np.arange(n)
        weights = np.zeros((n + 1, n + 1), dtype=np.float32)
        if n:
            progress("ease", 0.0, f"inverting {n:,} x {n:,}")
            weights[:n, :n] = _weights(matrix[:, met], self.options.regularisation)
        progress("ease", 1.0, f"{n:,} videos")
        return {"weights": weights, "place": place}

    def add(
        self, weights: dict[str, NDArray[Any]], videos: Int32, candidates: Int32
    ) -> NDArray[np.float32]:
        """Sum of the weights of each candidate over the history."""
        width = len(weights["weights"])
        flat = weights["weights"].ravel()
        of = np.where(videos >= 0, weights["place"][videos], width - 1).astype(np.int64)
        to = weights["place"][candidates].astype(np.int64)
        total = np.zeros(candidates.shape, dtype=np.float32)
        # One video of every history at a time: no array of all pairs.
        for column in np.flatnonzero((videos >= 0).any(axis=0)):
            total += flat.take(of[:, column, None] * width + to)
        return total


def _weights(matrix: Any, regularisation: float) -> NDArray[np.float64]:
    """float64[m, m]: Steck's equation 8 for a CSR float64[U, m] whose columns are not empty."""
    gram = (matrix.T @ matrix).toarray()
    gram[np.diag_indices_from(gram)] += regularisation
    # Positive definite: Cholesky takes half the time of a general inverse.
    factor = scipy.linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse, _ = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    lower = np.tril(inverse, -1)
    return np.asarray((lower + lower.T) / -np.diag(inverse))
