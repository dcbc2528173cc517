"""Weigh whole slates by the pseudo-inverse estimator, for rewards that add up over slots.

Swaminathan et al., NeurIPS 2017. Assumption: the expected reward of a slate is a sum of unknown
terms, one per (slot, item); only the slate's total reward needs to be known. With ``s`` the 0/1
vector of (slot, item) pairs of the logged slate, ``q`` the target's probabilities of those pairs
and ``G = E[s s']`` under the logging policy, the weight is ``q' pinv(G) s``. Its size grows with
the number of slots, where the standard weight is a product over slots.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def uniform_weights(in_place: Float64, anywhere: Float64, slots: int, items: Float64) -> Float64:
    """Weights of slates drawn uniformly without replacement, in closed form.

    ``G`` has four eigenspaces (constant; item effects averaged over slots; slot-item interactions;
    and the slot effects, whose eigenvalue is 0), which gives

        w = 1 + M (M - 1) / (M - K) * (A - K / M) + (M - 1) * (D - A)

    with D the sum over slots of ``q(slot, item shown there)``, and A the sum over shown items of
    their mean ``q`` over slots. Where all items are shown (K = M), the middle term is absent.

    Args:
        in_place: float64[N], D of each slate.
        anywhere: float64[N], A of each slate.
        slots: K.
        items: float64[N], M of each slate, at least K.

    Returns:
        float64[N].
    """
    items = np.asarray(items, dtype=np.float64)
    if (items < slots).any():
        raise ValueError(f"a slate of {slots} slots needs as many items, got {items.min():g}")
    spare = items - slots
    middle = np.where(
        spare > 0,
        items * (items - 1) / np.where(spare > 0, spare, 1.0) * (anywhere - slots / items),
        0.0,
    )
    return np.asarray(1.0 + middle + (items - 1) * (in_place - anywhere))


def independent_weights(ratio_sum: Float64, slots: NDArray[np.integer]) -> Float64:
    """Weights where the logging policy fills each slot independently of the others.

    ``w = sum_k q(k, item) / logging(k, item) - (K - 1)``.

    Args:
        ratio_sum: float64[N], the sum over slots.
        slots: int[N], K of each slate.
    """
    return np.asarray(ratio_sum - (slots - 1))


def general_weights(target: Float64, shown: NDArray[np.integer], moments: Float64) -> Float64:
    """Weights for any logging policy whose second moments are known.

    Args:
        target: float64[N, K, M], probability of each item in each slot under the target.
        shown: int[N, K], the logged items.
        moments: float64[K * M, K * M], ``G``, shared by the slates; or one per slate,
            float64[N, K * M, K * M].

    Returns:
        float64[N]. Only for small K * M: the cost grows with its third power.
    """
    n, slots, items = target.shape
    inverse = np.linalg.pinv(moments, hermitian=True)
    pairs = np.arange(slots) * items + shown
    q = target.reshape(n, slots * items)
    projected = q @ inverse if inverse.ndim == 2 else np.einsum("ni,nij->nj", q, inverse)
    return np.asarray(np.take_along_axis(projected, pairs, axis=1).sum(axis=1))
