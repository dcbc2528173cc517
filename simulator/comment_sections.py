"""Select what comment sections show at a moment: a preview and the list of comments."""

from __future__ import annotations

import copy

import numpy as np

from simulator.arrays import look_up
from simulator.logs.catalogue import Catalogue
from simulator.requests import Int32, Int64

_LAST = np.int32(np.iinfo(np.int32).max)


class CommentSections:
    """Looks up comments that are written already; stateless apart from the catalogue.

    Args:
        catalogue: Videos and comments.
        limit: Comments of a section that are ranked.
    """

    def __init__(self, catalogue: Catalogue, limit: int) -> None:
        self._catalogue = catalogue
        self._limit = limit
        first, end = catalogue.comment_offsets[:-1], catalogue.comment_offsets[1:]
        some = end > first
        self._counts = end - first
        # Comments by place, most liked first; None where they are numbered so.
        self._order: Int32 | None = None
        self._top = np.where(some, first, -1).astype(np.int32)
        never = np.iinfo(np.int64).max
        # A preview from this time on; a complete section from that time on.
        self._top_ms = np.full(len(first), never)
        self._complete_ms = np.full(len(first), np.iinfo(np.int64).min)
        self._top_ms[some] = catalogue.comment_time_ms[first[some]]
        if some.any():
            self._complete_ms[some] = np.maximum.reduceat(
                catalogue.comment_time_ms, first[some].astype(np.int64)
            )

    def reordered(self, order: Int32) -> CommentSections:
        """The same sections after likes have changed.

        Args:
            order: int32[M], the comments of each section, most liked first, at the places that the
                catalogue's ``comment_offsets`` give to the section.
        """
        other = copy.copy(self)
        other._order = order
        some = np.flatnonzero(self._counts > 0)
        top = order.take(self._catalogue.comment_offsets[some])
        other._top = np.full_like(self._top, -1)
        other._top[some] = top
        other._top_ms = self._top_ms.copy()
        other._top_ms[some] = self._catalogue.comment_time_ms.take(top)
        return other

    def previews(self, videos: Int32, time_ms: Int64) -> Int32:
        """int32[B, S]: the most liked comment of each video, -1 if there is none yet."""
        if self._catalogue.n_comments == 0:
            return np.full(videos.shape, -1, dtype=np.int32)
        written = look_up(self._top_ms, videos) <= time_ms[:, None]
        written &= videos >= 0
        # 0 above -1: one less than nothing, or the comment.
        return np.asarray((look_up(self._top, videos) + np.int32(1)) * written - np.int32(1))

    def candidates(self, videos: Int32, time_ms: Int64) -> Int32:
        """int32[R, M]: the comments of each section, most liked first, -1 padded at the end."""
        if self._catalogue.n_comments == 0:
            return np.full((len(videos), 1), -1, dtype=np.int32)
        width = int(min(max(self._counts.take(videos).max(initial=1), 1), self._limit))
        places = self._catalogue.comments_of(videos, width)
        growing = np.flatnonzero(self._complete_ms.take(videos) > time_ms)
        if len(growing):
            listed = places[growing]
            time = self._catalogue.comment_time_ms.take(self._comments_at(listed))
            written = (time <= time_ms[growing, None]) & (listed >= 0)
            # The list closes up: people stop reading where it ends, not where one is missing.
            # Places run from the most liked comment on, so sorting keeps the order.
            listed = np.sort(np.where(written, listed, _LAST), axis=1)
            places[growing] = np.where(listed == _LAST, np.int32(-1), listed)
        return self._comments_at(places)

    def _comments_at(self, places: Int32) -> Int32:
        """The comments at these places of the order by likes; -1 stays -1."""
        if self._order is None:
            return places
        return np.where(places >= 0, self._order.take(places, mode="clip"), np.int32(-1))
