"""Fill a share of the places of a ranked list at random, and say how likely every candidate was.

Place by place, from the top: with probability ``share`` the place gets a candidate drawn uniformly
from the n that do not stand above it, otherwise the best of them. Given the places above, the best
one therefore has probability ``1 - share + share / n`` and every other one ``share / n``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.randomness import uniform
from simulator.requests import Int32

_EXPLORE, _PICK = 502, 503


@dataclass(frozen=True)
class Explored:
    """Ranked lists after exploration.

    Attributes:
        shown: int32[B, S], -1 padded at the end of a row.
        propensity: float32[B, S], probability of the shown one, given those above; 0 for padding.
        is_rand: bool[B, S], drawn at random; None without exploration.
        probabilities: float32[B, S, C], probability of every candidate, given the places above;
            None unless asked for.
    """

    shown: Int32
    propensity: NDArray[np.float32]
    is_rand: NDArray[np.bool_] | None
    probabilities: NDArray[np.float32] | None


def explore(
    best: Int32,
    candidates: Int32,
    key: NDArray[np.uint64],
    share: float,
    *,
    keep_probabilities: bool = False,
) -> Explored:
    """Replace a share of the places by uniform draws from the candidates not yet shown.

    Args:
        best: int32[B, S], candidates in the ranker's order, -1 padded at the end of a row.
        candidates: int32[B, C], distinct within a row, -1 padded.
        key: uint64[B], addresses the draws.
        share: Probability that a place is filled at random, from 0 to below 1.
        keep_probabilities: Whether to give the probability of every candidate; costs B * S * C.
    """
    if share <= 0.0:
        probabilities = None
        if keep_probabilities:
            same = best[:, :, None] == candidates[:, None, :]
            probabilities = (same & (best >= 0)[:, :, None]).astype(np.float32)
        return Explored(best, (best >= 0).astype(np.float32), None, probabilities)
    pages, slots = best.shape
    rows = np.arange(pages)
    place = _places(best, candidates)
    free = candidates >= 0
    # Of the ranker's list: which places hold a candidate that does not stand above.
    unused = place >= 0
    shown = np.full(best.shape, -1, dtype=np.int32)
    propensity = np.zeros(best.shape, dtype=np.float32)
    kept = np.zeros((pages, slots, candidates.shape[1]), np.float32) if keep_probabilities else None
    is_rand = uniform(key[:, None], _EXPLORE, np.arange(slots)) < share
    for slot in range(slots):
        count = free.sum(axis=1)
        some = count > 0
        greedy = place[rows, np.argmax(unused, axis=1)]
        draw = uniform(key, _PICK, slot)
        wanted = np.minimum((draw * count).astype(np.int64), np.maximum(count - 1, 0))
        drawn = np.argmax(np.cumsum(free, axis=1) > wanted[:, None], axis=1)
        at = np.where(is_rand[:, slot], drawn, greedy)
        base = share / np.maximum(count, 1)
        likelier = 1.0 - share + base
        shown[:, slot] = np.where(some, candidates[rows, at], -1)
        propensity[:, slot] = np.where(some, np.where(at == greedy, likelier, base), 0.0)
        if kept is not None:
            kept[:, slot] = np.where(free, base[:, None], 0.0)
            kept[rows[some], slot, greedy[some]] = likelier[some]
        free[rows, at] = False
        unused &= place != at[:, None]
    return Explored(shown, propensity, is_rand & (shown >= 0), kept)


def _places(best: Int32, candidates: Int32) -> NDArray[np.int64]:
    """int64[B, S]: where in its row of candidates each of ``best`` stands; -1 for padding."""
    order = np.argsort(candidates, axis=1, kind="stable")
    width = candidates.shape[1]
    # One sorted array for all rows: a row's candidates never meet another row's.
    span = np.int64(max(int(candidates.max(initial=0)), int(best.max(initial=0))) + 2)
    shift = np.arange(len(candidates), dtype=np.int64)[:, None] * span
    ranked = np.take_along_axis(candidates, order, axis=1).astype(np.int64) + shift
    found = np.searchsorted(ranked.ravel(), (best + shift).ravel()).reshape(best.shape)
    local = np.clip(found - np.arange(len(candidates))[:, None] * width, 0, width - 1)
    return np.where(best >= 0, np.take_along_axis(order, local, axis=1), -1)
