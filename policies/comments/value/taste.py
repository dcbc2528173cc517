"""Estimate one person's taste in comments: from both histories, and from what they read since.

A taste is a vector t in the space of texts; a comment c is worth t . c more than to everybody else.
Its prior mean is linear in the mean texts of the liked videos and of the discussed comments. What
was read updates it in closed form, as Bayesian linear regression does: with residuals r of log
dwell and texts C of the comments read, both from their mean within the visit,

    t = m + P^-1 C'(r - C m),  P = C'C + precision * I

(ridge regression towards m: Hoerl & Kennard, Technometrics 12, 1970).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policies.comments.value.texts import TextSpace
from policies.evaluation.run_sums import listed_sums, run_sums
from simulator.requests import HistoryView, Int32, Int64

Float32 = NDArray[np.float32]

_SHRINK = 5.0
"""Events that count as much as knowing nothing: a mean over few texts is drawn to 0."""


def history_vectors(space: TextSpace, history: HistoryView) -> Float32:
    """float32[B, 2 d]: shrunk means of the captions liked and of the comments discussed."""
    liked = shrunk_mean(space.caption, history.videos("liked"))
    comments = history.comments().reshape(len(history), -1)
    return np.concatenate([liked, shrunk_mean(space.comment, comments)], axis=1)


def shrunk_mean(table: Float32, index: Int32) -> Float32:
    """float32[B, d]: sum of the rows int32[B, n] of a table over their number + 5; -1 is none."""
    known = index >= 0
    total = listed_sums(table, index)
    return np.asarray(total / (known.sum(axis=1) + _SHRINK)[:, None], dtype=np.float32)


def updated(
    prior: Float32, texts: Float32, residual: Float32, visit: Int64, precisions: Sequence[float]
) -> Float32:
    """Tastes after reading, for several precisions at the cost of little more than one.

    Args:
        prior: float32[B, d], prior means.
        texts: float32[B, n, d], of the comments read.
        residual: float32[B, n], log dwell less what everybody's model expects.
        visit: int64[B, n], number of the visit in its row, from 0, ascending; -1 for padding.
        precisions: Of the prior, relative to that of one residual.

    Returns:
        float32[P, B, d].
    """
    b, n, d = texts.shape
    if n == 0:
        return np.repeat(prior[None], len(precisions), axis=0)
    real = visit >= 0
    # Visits of all rows numbered through; padding is a visit of its own per row, and counts 0.
    number = np.where(real, visit, n) + (np.arange(b) * (n + 1))[:, None]
    flat = number.ravel()
    first = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    size = np.diff(np.append(first, len(flat)))
    both = np.concatenate([texts, residual[..., None]], axis=2).reshape(b * n, d + 1)
    mean = run_sums(both, first) / size[:, None].astype(np.float32)
    centred = (both - np.repeat(mean, size, axis=0)).reshape(b, n, d + 1)
    centred *= real[..., None]
    c, r = centred[..., :d], centred[..., d]
    surprise = r - np.einsum("bnd,bd->bn", c, prior)
    gram = np.matmul(c.transpose(0, 2, 1), c)
    right = np.einsum("bnd,bn->bd", c, surprise)
    found = np.empty((len(precisions), b, d), dtype=np.float32)
    for number, precision in enumerate(precisions):
        ridge = gram + np.float32(precision) * np.eye(d, dtype=np.float32)
        found[number] = prior + np.linalg.solve(ridge, right[..., None])[..., 0]
    return found


def visits_of(last: NDArray[np.bool_], real: NDArray[np.bool_]) -> tuple[Int64, Int64]:
    """Visits from the marks of their ends.

    Args:
        last: bool[B, n], whether a visit ended with that comment.
        real: bool[B, n], left-aligned.

    Returns:
        int64[B, n], number of the visit, -1 for padding; int64[B, n], place in the visit.
    """
    ended = last & real
    if ended.shape[1] == 0:
        nothing = np.zeros(ended.shape, dtype=np.int64)
        return nothing, nothing
    visit: Int64 = np.cumsum(ended, axis=1) - ended
    column = np.arange(last.shape[1])
    starts = np.zeros_like(ended)
    starts[:, 0] = True
    starts[:, 1:] = ended[:, :-1]
    begun = np.maximum.accumulate(np.where(starts, column, 0), axis=1)
    return np.where(real, visit, -1), column - begun
