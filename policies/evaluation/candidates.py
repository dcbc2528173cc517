"""Choose the candidates beside held-out events: the whole catalogue, or a sample of it.

A sample is drawn by counters, from nothing but a seed and the person: every policy, every call and
every batch meets the same one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.evaluation.case_history import span_before
from policies.evaluation.comment_visits import earlier_comments
from policies.evaluation.holdout import HeldOut, known_videos
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.randomness import mix, purpose_key
from simulator.requests import Int32, Int64, Signal

CELLS = 4_000_000
"""Scores that are in memory at once."""

_LAST = np.uint64(0xFFFFFFFFFFFFFFFF)


class CandidateBlock(NamedTuple):
    """Candidates of some cases.

    Attributes:
        rows: int64[B], cases.
        candidates: int32[B, C], -1 padded.
        competes: bool[B, C]; the rest is scored for convenience and does not count.
        positive: bool[B, C], what the person chose; all of them compete.
    """

    rows: Int64
    candidates: Int32
    competes: NDArray[np.bool_]
    positive: NDArray[np.bool_]


class VideoCandidates:
    """All videos that exist and that the person has not seen, or a uniform sample of them.

    "Seen" are videos with the signal before the case. The video chosen always competes.

    Args:
        dataset: The whole log.
        test: Cases.
        signal: Which events.
        sample: None for all; otherwise the video chosen and ``sample - 1`` others.
        seed: Of the sample.
    """

    def __init__(
        self,
        dataset: Dataset,
        test: HeldOut,
        signal: Signal,
        *,
        sample: int | None = None,
        seed: int = 1,
    ) -> None:
        self._catalogue = dataset.catalogue()
        self._test = test
        events = known_videos(interactions(dataset, signal))
        self._seen = events.video
        self._start, self._stop = span_before(events, test)
        self._sample = sample
        self._keys = _keys(dataset, test, seed, "evaluate.videos")

    @property
    def items(self) -> int:
        """Videos of the catalogue."""
        return self._catalogue.n_videos

    def blocks(self) -> Iterator[CandidateBlock]:
        """All cases, in parts that fit into memory."""
        n_videos = self.items
        everything = np.arange(n_videos, dtype=np.int32)
        size = max(1, CELLS // max(n_videos, 1))
        for at in range(0, len(self._test), size):
            rows = np.arange(at, min(at + size, len(self._test)))
            line = np.arange(len(rows))
            target = self._test.video[rows]
            uploaded = self._catalogue.upload_ms <= self._test.time_ms[rows][:, None]
            competes = np.broadcast_to(uploaded, (len(rows), n_videos)).copy()
            lengths = self._stop[rows] - self._start[rows]
            owner = np.repeat(line, lengths)
            first = np.repeat(self._start[rows] - (np.cumsum(lengths) - lengths), lengths)
            competes[owner, self._seen[first + np.arange(len(owner))]] = False
            competes[line, target] = True
            positive = np.zeros_like(competes)
            positive[line, target] = True
            block = CandidateBlock(rows, np.tile(everything, (len(rows), 1)), competes, positive)
            yield block if self._sample is None else _sampled(block, self._keys, self._sample)


class CommentCandidates:
    """The comments that stood in the opened section, or the positives and a sample of the others.

    Comments that the person has liked or replied to before do not compete.

    Args:
        dataset: The whole log.
        test: Cases.
        sample: None for all; otherwise the positives and others up to this number.
        seed: Of the sample.
    """

    def __init__(
        self, dataset: Dataset, test: HeldOut, *, sample: int | None = None, seed: int = 1
    ) -> None:
        self._catalogue = dataset.catalogue()
        self._test = test
        self._sample = sample
        self._keys = _keys(dataset, test, seed, "evaluate.comments")
        case, comment = earlier_comments(dataset, test)
        self._known = np.unique(_pair(case, comment, self.items))

    @property
    def items(self) -> int:
        """Comments of the catalogue."""
        return self._catalogue.n_comments

    def blocks(self) -> Iterator[CandidateBlock]:
        """All cases, sections of similar size together, in parts that fit into memory."""
        offsets = self._catalogue.comment_offsets
        sizes = offsets[self._test.video + 1] - offsets[self._test.video]
        order = np.argsort(sizes, kind="stable")
        at = 0
        while at < len(order):
            # Sizes grow, so the last of the largest possible part is the widest.
            fits = sizes[order[at:]] * np.arange(1, len(order) - at + 1) <= CELLS
            rows = order[at : at + max(1, int(fits.sum()))]
            at += len(rows)
            candidates = self._section(rows, int(sizes[rows].max()))
            positives = self._test.positives[rows]
            positive = np.zeros(candidates.shape, dtype=bool)
            for column in positives.T:
                positive |= (candidates == column[:, None]) & (column >= 0)[:, None]
            pairs = _pair(rows[:, None], candidates, self.items)
            competes = (candidates >= 0) & (positive | ~np.isin(pairs, self._known))
            block = CandidateBlock(rows, candidates, competes, positive)
            yield block if self._sample is None else _sampled(block, self._keys, self._sample)

    def _section(self, rows: Int64, width: int) -> Int32:
        """int32[B, width]: what stood there, most liked first, -1 padded at the end."""
        comments = self._catalogue.comments_of(self._test.video[rows], width)
        written = self._catalogue.comment_time_ms[comments] <= self._test.time_ms[rows][:, None]
        comments = np.where((comments >= 0) & written, comments, np.int32(-1))
        order = np.argsort(comments < 0, axis=1, kind="stable")
        return np.take_along_axis(comments, order, axis=1)


def _keys(dataset: Dataset, test: HeldOut, seed: int, purpose: str) -> NDArray[np.uint64]:
    """uint64[n], by the person's identifier and the number of the case among their own."""
    return mix(purpose_key(seed, purpose), dataset.user_ids()[test.user], test.number())


def _pair(case: Int64, comment: Int32, items: int) -> Int64:
    return np.asarray(case * (items + 1) + comment + 1)


def _sampled(block: CandidateBlock, keys: NDArray[np.uint64], size: int) -> CandidateBlock:
    """The positives and uniformly drawn others up to ``size``, in their order."""
    draw = mix(keys[block.rows][:, None], block.candidates)
    draw >>= np.uint64(1)
    draw[block.positive] = 0
    draw[~block.competes] = _LAST
    width = block.candidates.shape[1]
    kept = min(max(size, int(block.positive.sum(axis=1).max(initial=1))), width)
    column = np.argpartition(draw, kept - 1, axis=1)[:, :kept]
    # A positive more than `size` leaves no room for others, but is never dropped itself.
    rank = np.argsort(np.argsort(np.take_along_axis(draw, column, axis=1), axis=1), axis=1)
    positive = np.take_along_axis(block.positive, column, axis=1)
    inside = np.take_along_axis(block.competes, column, axis=1) & ((rank < size) | positive)
    # Candidates keep their order: where the positive stands must say nothing.
    order = np.argsort(np.where(inside, column, width), axis=1, kind="stable")
    inside = np.take_along_axis(inside, order, axis=1)
    column = np.take_along_axis(column, order, axis=1)
    candidates = np.take_along_axis(block.candidates, column, axis=1)
    return CandidateBlock(
        block.rows,
        np.where(inside, candidates, np.int32(-1)),
        inside,
        inside & np.take_along_axis(block.positive, column, axis=1),
    )
