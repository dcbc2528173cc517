"""Find the directions of texts in which readers differ, from what they read and for how long.

A person's taste is a slope: log dwell = taste . text + noise, all measured from their means within
a visit. Let s be the sum of dwell times text over a visit. Products of s between two visits of one
person have the expectation B T B, where B is the covariance of texts and T that of tastes over
people; noise of one visit does not enter. The leading directions of B^-1/2 (B T B) B^-1/2 are those
along which tastes move dwell most. This is a moment estimate of the covariance of random slopes
(Swamy, Econometrica 1970), cut to a low rank; it needs neither a person's own slope nor many
comments of each person.

Latent semantic analysis looks for what varies most between texts. In sections these are subjects
and common phrases, of which few have to do with taste.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from policies.comments.value.visits import Visits
from policies.evaluation.dwell import from_visit_mean, log_dwell

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

MOST = 200_000
"""Seen comments that are looked at; all of a person's or none."""

_RIDGE = 0.02
"""Added to the texts' covariance, as a share of its mean variance."""
_SMALLEST = 1e-6
"""Directions that explain less than this share of what one of random visits does are left out."""
_BLOCK = 20_000


def differing(
    visits: Visits,
    row_of: NDArray[np.integer[Any]],
    vectors: Callable[[NDArray[np.integer[Any]]], Float32],
    covariance: Float64,
    width: int,
) -> Float64:
    """The leading directions in which people who are not held out differ.

    Args:
        visits: With seen comments.
        row_of: int[M], row of each comment's text, -1 for none.
        vectors: Of texts, float32[n, H] for rows int[n].
        covariance: float64[H, H], of the texts.
        width: Directions, at most.

    Returns:
        float64[H, k]: their weights; k is less than ``width`` where fewer explain anything.
    """
    seen = visits.seen
    fits = ~visits.held[seen.visit] & (row_of[seen.comment] >= 0)
    people = np.bincount(seen.user[fits], minlength=int(seen.user.max(initial=0)) + 1)
    fits &= (np.cumsum(people) <= MOST)[seen.user]
    dwell = from_visit_mean(log_dwell(seen.dwell_ms)[:, None], seen.visit)[:, 0]
    index = np.flatnonzero(fits)
    size = len(covariance)
    sums = np.zeros((len(visits), size), dtype=np.float32)
    for at in range(0, len(index), _BLOCK):
        part = index[at : at + _BLOCK]
        weighted = vectors(row_of[seen.comment[part]]) * dwell[part, None].astype(np.float32)
        sums += _sums(seen.visit[part], len(visits)) @ weighted
    by_person = _sums(visits.user, int(visits.user.max(initial=0)) + 1) @ sums.astype(np.float64)
    sums = sums.astype(np.float64)
    within = sums.T @ sums
    shared = by_person.T @ by_person - within
    values, axes = np.linalg.eigh(covariance)
    ridge = _RIDGE * max(float(values.mean()), 1e-12)
    whiten = axes / np.sqrt(np.maximum(values, 0.0) + ridge) @ axes.T
    strength, found = np.linalg.eigh(whiten @ shared @ whiten)
    order = np.argsort(-strength)[:width]
    least = _SMALLEST * np.trace(whiten @ within @ whiten) / size
    return np.asarray(whiten @ found[:, order[strength[order] > least]])


def _sums(group: NDArray[np.integer[Any]], count: int) -> Any:
    """CSR float32[count, n]: sums over groups."""
    ones = np.ones(len(group), dtype=np.float32)
    return sp.csr_matrix((ones, (group, np.arange(len(group)))), shape=(count, len(group)))
