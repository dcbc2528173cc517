"""Retrieve candidates: from the whole inventory to a few dozen videos per request.

It knows only what a platform observes: what each person clicked and liked, how popular videos
are, and when they were uploaded. Sources, per request of 40: the categories of recently clicked
videos (18), the authors of recently liked ones (4), what the authors of the last two clicked videos
uploaded next (2), what is popular (6), what is fresh (4), and uniformly random videos (6). Lately
seen, not yet uploaded and repeated videos are dropped.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import row_counts
from simulator.calendar import DAY_MS
from simulator.logs.catalogue import Catalogue
from simulator.randomness import mix, words
from simulator.requests import HistoryView, Int32, Int64, Signal

UInt32 = NDArray[np.uint32]

FRESH_MS = 2 * DAY_MS
_TABLE = 4096
_DRAWS = 1 << 30
_MAX_SEEN_BITS = 1 << 16
_SWEEP_BYTES = 1 << 20
_BITS = np.left_shift(1, np.arange(8)).astype(np.uint8)


@dataclass(frozen=True)
class Sources:
    """How many candidates each source proposes."""

    categories: int = 18
    authors: int = 4
    sequels: int = 2
    popular: int = 6
    fresh: int = 4
    random: int = 6

    @property
    def total(self) -> int:
        """Candidates per request."""
        ours = (self.categories, self.authors, self.sequels, self.popular, self.fresh, self.random)
        return sum(ours)


class SeenVideos:
    """Which videos each user of a group was shown lately, one bit each.

    Two generations: what was shown since the last renewal, and that together with what was shown
    between the last two. A user's generations are renewed after ``memory`` impressions.

    Exact for catalogues of at most 65,536 videos (4 KB per 16,384 videos and user). Above that,
    videos share bits: a false "seen" only withholds a candidate.

    Args:
        n_users: Number of users; rows are 0 .. n_users - 1.
        n_videos: Size of the catalogue.
        memory: A video counts as seen for at least so many later impressions of the user.
    """

    def __init__(self, n_users: int, n_videos: int, memory: int) -> None:
        self._bits = min(_MAX_SEEN_BITS, max(8, -(-n_videos // 8) * 8))
        self._n_videos = n_videos
        self._memory = memory
        self._seen: NDArray[np.uint8] = np.zeros((n_users, self._bits // 8), dtype=np.uint8)
        self._recent = np.zeros_like(self._seen)
        self._count: Int64 = np.zeros(n_users, dtype=np.int64)

    def add_page(self, rows: Int64, videos: Int32, shown: NDArray[np.bool_]) -> None:
        """Mark the shown videos of a page; rows int64[B] distinct, the others [B, S]."""
        shown = shown & (videos >= 0)
        count = self._count[rows] + row_counts(shown).astype(np.int64)
        renewed = rows[count > self._memory]
        if len(renewed):
            self._seen[renewed] = self._recent[renewed]
            self._recent[renewed] = 0
            count[count > self._memory] = 0
        self._count[rows] = count
        bit = self._bit(videos)
        byte = (rows * self._seen.shape[1])[:, None] + (bit >> 3)
        mask = shown * _BITS.take(bit & 7)
        # Slot by slot: several videos of one page may share a byte.
        for flat in (self._seen.ravel(), self._recent.ravel()):
            for slot in range(videos.shape[1]):
                at = byte[:, slot]
                flat[at] = flat.take(at) | mask[:, slot]

    def contains(self, rows: Int64, videos: Int32) -> NDArray[np.bool_]:
        """bool[B, C] for videos int32[B, C]; of no meaning for -1."""
        bit = self._bit(videos)
        byte, width = bit >> 3, self._seen.shape[1]
        found = np.empty(videos.shape, dtype=np.uint8)
        # Whole rows first: memory is several times quicker at one sweep than at 40 places.
        some = max(_SWEEP_BYTES // width, 1)
        for start in range(0, len(rows), some):
            part = self._seen.take(rows[start : start + some], axis=0)
            at = byte[start : start + some] + (np.arange(len(part)) * width)[:, None]
            part.ravel().take(at, out=found[start : start + some], mode="clip")
        return np.asarray(found & _BITS.take(bit & 7), dtype=np.bool_)

    def _bit(self, videos: Int32) -> Int32:
        """Which bit stands for each video; the first one for -1."""
        real = np.maximum(videos, 0)
        return real % self._bits if self._n_videos > self._bits else real

    def put(self, rows: Int64, other: SeenVideos, other_rows: Int64) -> None:
        """Replace these rows by rows of another record of the same catalogue."""
        for name in ("_seen", "_recent", "_count"):
            getattr(self, name)[rows] = getattr(other, name)[other_rows]

    def copy(self) -> SeenVideos:
        """An independent copy."""
        other = SeenVideos.__new__(SeenVideos)
        other.__dict__.update(self.__dict__)
        for name in ("_seen", "_recent", "_count"):
            setattr(other, name, getattr(self, name).copy())
        return other


class Retrieval:
    """Draws candidates; stateless apart from the catalogue, so it can be shared.

    Args:
        catalogue: The inventory.
        popularity: float[V], any non-negative score of how popular a video is; None for equal.
        sources: How many candidates each source proposes.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        popularity: NDArray[np.floating] | None = None,
        sources: Sources | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._sources = sources or Sources()
        weights = np.ones(catalogue.n_videos) if popularity is None else np.asarray(popularity)
        weights = np.maximum(weights.astype(np.float64), 0.0) + 1e-9
        self._upload_order = np.argsort(catalogue.upload_ms, kind="stable").astype(np.int32)
        self._upload_sorted = catalogue.upload_ms[self._upload_order]
        self._popular = _sampling_table(np.arange(catalogue.n_videos), weights)
        n_categories = max(int(catalogue.category.max(initial=-1)) + 1, 1)
        self._by_category = np.tile(self._popular, (n_categories + 1, 1))
        order = np.argsort(catalogue.category, kind="stable")
        bounds = np.searchsorted(catalogue.category[order], np.arange(n_categories + 1))
        for number in range(n_categories):
            members = order[bounds[number] : bounds[number + 1]]
            if len(members):
                self._by_category[number] = _sampling_table(members, weights[members])
        self._author_order = np.argsort(catalogue.author, kind="stable").astype(np.int32)
        # One past the end stands for an unknown author, who has no videos.
        authors = np.arange(catalogue.n_authors + 1)
        by_author = catalogue.author[self._author_order]
        self._author_start = np.searchsorted(by_author, authors)
        self._author_count = np.searchsorted(by_author, authors, side="right") - self._author_start
        # One past the end stands for "no video" and draws from everything, by popularity.
        categories = catalogue.category.astype(np.int64)
        known = np.where(categories < 0, n_categories, categories)
        self._table = np.append(known, n_categories)
        self._table *= _TABLE
        self._upload_rank = np.empty(catalogue.n_videos, dtype=np.int32)
        self._upload_rank[self._upload_order] = np.arange(catalogue.n_videos, dtype=np.int32)
        self._author = np.append(catalogue.author, -1).astype(np.int32)
        self._sequel = _next_of_author(catalogue)
        self._published: Int64 | None = None

    def publishing(self, weight: NDArray[np.integer]) -> Retrieval:
        """The same stage where videos stand for more or fewer of their kind.

        Fresh and random candidates are drawn in proportion to the weights. Equal weights that are a
        power of two give the candidates that no weights give.

        Args:
            weight: int[V], at least 1, below 2^31 together.
        """
        other = copy.copy(self)
        other._published = np.concatenate([[0], np.cumsum(weight[self._upload_order])])
        return other

    @property
    def width(self) -> int:
        """C: columns of `candidates`."""
        return self._sources.total

    def candidates(
        self,
        rows: Int64,
        time_ms: Int64,
        key: NDArray[np.uint64],
        history: HistoryView,
        seen: SeenVideos,
        at_least: int,
    ) -> Int32:
        """Distinct candidates per request.

        Args:
            rows: int64[B], rows of the group.
            time_ms: int64[B].
            key: uint64[B], request keys.
            history: the histories of the same users.
            seen: what they were shown before.
            at_least: rows left with fewer candidates are topped up with seen videos.

        Returns:
            int32[B, C], distinct within a row; -1 where one was dropped.
        """
        s = self._sources
        # 32 bits per candidate, [C, B]: the high ones pick a recent event, the low ones the
        # video, so both may be wanted at once.
        bits = words(key, _DRAWS + np.arange(s.total)[:, None])
        videos = np.empty(bits.shape, dtype=np.int32)
        at = slice(0, s.categories)
        table = self._table.take(self._recent(history, "clicked", bits[at]))
        table += bits[at] & np.uint32(_TABLE - 1)
        videos[at] = self._by_category.ravel().take(table)
        at = slice(at.stop, at.stop + s.authors)
        videos[at] = self._same_author(self._recent(history, "liked", bits[at]), bits[at])
        at = slice(at.stop, at.stop + s.sequels)
        videos[at] = self._sequel.take(history.latest("clicked", s.sequels)).T
        at = slice(at.stop, at.stop + s.popular)
        videos[at] = self._popular.take(bits[at] & np.uint32(_TABLE - 1))
        available = np.searchsorted(self._upload_sorted, time_ms, side="right")
        # Those so far come from the whole inventory.
        listed = videos[: at.stop]
        _drop(listed, self._upload_rank.take(listed) >= available)
        old = np.searchsorted(self._upload_sorted, time_ms - FRESH_MS, side="right")
        at = slice(at.stop, at.stop + s.fresh)
        videos[at] = self._uploaded(bits[at], old, available)
        at = slice(at.stop, at.stop + s.random)
        videos[at] = self._uploaded(bits[at], np.zeros_like(available), available)
        videos = distinct(videos.T)
        _drop(videos, seen.contains(rows, videos))
        short = row_counts(videos >= 0) < at_least
        if short.any():
            videos[short] = self._top_up(videos[short], key[short], available[short])
        return videos

    def _recent(self, history: HistoryView, signal: Signal, bits: UInt32) -> Int32:
        """int32[n, B]: one random recent video per draw; -1 for users without any."""
        position = bits >> np.uint32(20)
        position *= history.lengths(signal).astype(np.uint32)
        position >>= np.uint32(12)
        return history.gather(signal, position.T).T

    def _same_author(self, videos: Int32, bits: UInt32) -> Int32:
        """Another video of the same author; videos [n, B], -1 for none."""
        author = self._author.take(videos)
        start = self._author_start.take(author)
        count = self._author_count.take(author)
        # The high bits have picked the recent event already.
        index = start + (((bits & np.uint32(0xFFFFF)) * count) >> 20)
        return np.where(count > 0, self._author_order.take(index, mode="clip"), np.int32(-1))

    def _uploaded(self, bits: UInt32, first: Int64, end: Int64) -> Int32:
        """Videos drawn evenly from places ``first .. end - 1`` of the order of upload, [n, B]."""
        span = end - first
        if self._published is None:
            index = first + ((bits.astype(np.int64) * span) >> 32)
        else:
            below = self._published[first]
            drawn = (bits.astype(np.int64) * (self._published[end] - below)) >> 32
            index = np.searchsorted(self._published, below + drawn, side="right") - 1
        found = self._upload_order.take(index, mode="clip")
        if span.min(initial=1) == 0:
            found[:, span == 0] = -1
        return found

    def _top_up(self, videos: Int32, key: NDArray[np.uint64], available: Int64) -> Int32:
        """Fill rows that ran out of unseen videos with random ones, seen or not."""
        bits = words(mix(key, 977), np.arange(videos.shape[1])[:, None])
        extra = self._uploaded(bits, np.zeros_like(available), available)
        return distinct(np.where(videos >= 0, videos, extra.T))


def _next_of_author(catalogue: Catalogue) -> Int32:
    """int32[V + 1]: what each video's author uploaded next, -1 for nothing; the last for none."""
    order = np.lexsort((catalogue.upload_ms, catalogue.author))
    author = catalogue.author[order]
    sequel: Int32 = np.full(catalogue.n_videos + 1, -1, dtype=np.int32)
    follows = (author[1:] == author[:-1]) & (author[1:] >= 0)
    sequel[order[:-1][follows]] = order[1:][follows]
    return sequel


def distinct(videos: Int32) -> Int32:
    """Sort every row ascending and replace repeats by -1."""
    ordered = np.array(videos, order="C")
    ordered.sort(axis=1)
    flat = ordered.ravel()
    repeat = flat[1:] == flat[:-1]
    repeat[ordered.shape[1] - 1 :: ordered.shape[1]] = False
    _drop(flat[1:], repeat)
    return ordered


def _drop(videos: Int32, unwanted: NDArray[np.bool_]) -> None:
    """Put -1 in the place of unwanted videos, in the sign's way: without a branch for each."""
    videos |= -unwanted.astype(np.int32)


def _sampling_table(members: NDArray[np.integer], weights: NDArray[np.float64]) -> Int32:
    """4,096 members in proportion to their weights (systematic sampling): O(1) draws."""
    cumulative = np.cumsum(weights)
    points = (np.arange(_TABLE) + 0.5) / _TABLE * cumulative[-1]
    return np.asarray(members[np.searchsorted(cumulative, points)], dtype=np.int32)
