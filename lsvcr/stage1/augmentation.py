"""Augment histories into two views, so that the two models cannot agree by shared input.

With probability 0.5 a history is augmented, and inside it each interaction with probability 0.3
(Zheng et al., arXiv 2403.13574): of a video's popular comments the language model reads one and
the sequential model another; a section's true comments are mixed with as many others of the same
video and dealt out to the two. Every draw is a function of the seed and the example alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsvcr.data.inventory import Inventory
from lsvcr.task import MAX_LENGTH
from simulator.randomness import purpose_key, uniform
from simulator.requests import COMMENTS_PER_EVENT

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_NEGATIVES_FROM = 64


@dataclass(frozen=True)
class Augmentation:
    """How often views differ; the paper's values.

    Attributes:
        history: Share of histories that are augmented; 0 turns augmentation off.
        interaction: Share of interactions in them.
    """

    history: float = 0.5
    interaction: float = 0.3


@dataclass(frozen=True)
class View:
    """Comments that one of the two models reads.

    Attributes:
        popular: int64[B, L], a popular comment per liked video, -1 for none.
        comments: int64[B, M, 3], comments per section, -1 padded at the end.
    """

    popular: Int64
    comments: Int64


def two_views(
    inventory: Inventory,
    videos: Int64,
    sections: Int64,
    comments: Int64,
    address: Int64,
    *,
    seed: int,
    settings: Augmentation,
) -> tuple[View, View]:
    """What the language model and the sequential model read of a batch of examples.

    Args:
        inventory: Whose comments are popular, and who else commented.
        videos: int64[B, L], -1 padded.
        sections: int64[B, M], videos of the comment history, -1 padded.
        comments: int64[B, M, 3], comments engaged, -1 padded.
        address: int64[B], a number of each example that no other has.
        seed: Of the training.
        settings: How often.
    """
    popular = _popular(inventory, videos, address, seed, settings)
    dealt = _dealt(inventory, sections, comments, address, seed, settings)
    return View(popular[0], dealt[0]), View(popular[1], dealt[1])


def positions(lengths: Int64, address: Int64, *, seed: int, purpose: str) -> Int64:
    """Sorted distinct numbers from 0..49 for each event of each example.

    Args:
        lengths: int64[B], events per example, at most 50.
        address: int64[B].
        seed: Of the training.
        purpose: Which history.

    Returns:
        int64[B, longest]; past an example's length, anything in range.
    """
    key = purpose_key(seed, f"lsvcr.positions.{purpose}")
    place = uniform(key, address[:, None], np.arange(MAX_LENGTH)).argsort(axis=1).argsort(axis=1)
    # Those drawn first, each group in ascending order.
    order = np.argsort(place >= lengths[:, None], axis=1, kind="stable")
    return np.asarray(order[:, : int(lengths.max(initial=0))], dtype=np.int64)


def _popular(
    inventory: Inventory, videos: Int64, address: Int64, seed: int, settings: Augmentation
) -> tuple[Int64, Int64]:
    known = np.where(videos[..., None] >= 0, inventory.popular[np.maximum(videos, 0)], -1)
    slot = np.arange(videos.shape[1])
    key = purpose_key(seed, "lsvcr.popular")
    draws = uniform(key, address[:, None, None], slot[None, :, None], np.arange(known.shape[2]))
    order = np.argsort(np.where(known >= 0, draws, 2.0), axis=2, kind="stable")
    shuffled = np.take_along_axis(known, order, axis=2)
    first, second = shuffled[..., 0], shuffled[..., min(1, known.shape[2] - 1)]
    split = _chosen(videos.shape, address, seed, "videos", settings) & (second >= 0)
    return first, np.where(split, second, first)


def _dealt(
    inventory: Inventory,
    sections: Int64,
    comments: Int64,
    address: Int64,
    seed: int,
    settings: Augmentation,
) -> tuple[Int64, Int64]:
    told, seen = comments.copy(), comments.copy()
    chosen = _chosen(sections.shape, address, seed, "sections", settings) & (sections >= 0)
    row, slot = np.nonzero(chosen)
    own = comments[row, slot]
    count = (own >= 0).sum(axis=1)
    now = np.full(len(row), inventory.until_ms)
    others = inventory.section(sections[row, slot], now, _NEGATIVES_FROM)
    mine = (others[:, :, None] == own[:, None, :]).any(axis=2)
    where = (address[row][:, None], slot[:, None])
    draws = uniform(purpose_key(seed, "lsvcr.negatives"), *where, np.arange(others.shape[1]))
    order = np.argsort(np.where((others >= 0) & ~mine, draws, 2.0), axis=1, kind="stable")
    order = order[:, :COMMENTS_PER_EVENT]
    drawn = np.take_along_axis(np.where(mine, -1, others), order, axis=1)
    wanted = np.arange(drawn.shape[1]) < count[:, None]
    pool = np.concatenate([own, np.where(wanted, drawn, -1)], axis=1)
    draws = uniform(purpose_key(seed, "lsvcr.dealt"), *where, np.arange(pool.shape[1]))
    order = np.argsort(np.where(pool >= 0, draws, 2.0), axis=1, kind="stable")
    pool = np.take_along_axis(pool, order, axis=1)
    size = (pool >= 0).sum(axis=1)
    # A lone comment without any other to mix it with stays on both sides.
    split = size >= 2
    half = (size + 1) // 2
    column = np.arange(COMMENTS_PER_EVENT)
    left = np.where(column < half[:, None], pool[:, :COMMENTS_PER_EVENT], -1)
    at = np.minimum(half[:, None] + column, pool.shape[1] - 1)
    right = np.where(
        half[:, None] + column < size[:, None], np.take_along_axis(pool, at, axis=1), -1
    )
    told[row[split], slot[split]] = left[split]
    seen[row[split], slot[split]] = right[split]
    return told, seen


def _chosen(
    shape: tuple[int, ...], address: Int64, seed: int, purpose: str, settings: Augmentation
) -> Bool:
    """bool[B, L]: interactions whose two views differ."""
    history = uniform(purpose_key(seed, f"lsvcr.augment.{purpose}"), address)
    slot = np.arange(shape[1])
    each = uniform(purpose_key(seed, f"lsvcr.augment.{purpose}.each"), address[:, None], slot)
    return (history < settings.history)[:, None] & (each < settings.interaction)
