"""Cache the encoded users of a group, and encode only what changed since the last request."""

from __future__ import annotations

import numpy as np

from lsvcr.serving.deployed import DeployedTask, Float32
from lsvcr.serving.encoded import EncodedHistories
from policies.sequence.cache import RowCache
from simulator.requests import HistoryView, Int32, Int64, Signal


class UserCache:
    """Encodings of the rows of a group for one task.

    Each history is encoded when it has changed, both are mixed when either has.

    Args:
        task: Encodes.
        signal: Which events make the video history.
        n_rows: Rows of the group; more are added when they come.
        comment_history: False takes everybody's comment history to be empty.
    """

    def __init__(
        self, task: DeployedTask, signal: Signal, n_rows: int, *, comment_history: bool = True
    ) -> None:
        self._task = task
        self._comment_history = comment_history
        self._signal: Signal = signal
        self._videos = EncodedHistories(task.video_encoder, task.dim, n_rows)
        self._sections = EncodedHistories(task.section_encoder, task.dim, n_rows)
        self._mixed = RowCache(*task.encoding_shape)
        self._mixed.reset(n_rows)

    def encoded(self, rows: Int32, history: HistoryView) -> Float32:
        """float32[B, *encoding_shape] of the people of a batch of requests, cut to the longest.

        Args:
            rows: int32[B], rows of the group; a row may repeat.
            history: Of the same people.
        """
        videos, sections = history.version(self._signal), self._sections_version(history)
        versions = _pair(videos, sections)
        stale = self._mixed.stale(rows, versions)
        if len(stale):
            changed, now = rows[stale], history.select(stale)
            self._encode_histories(changed, now, videos[stale], sections[stale])
            n, m = now.lengths(self._signal), self.sections_seen(now)
            mixed = self._task.encode(
                self._videos.states(changed, int(n.max())),
                self._sections.states(changed, int(m.max())),
                n,
                m,
            )
            self._mixed.put(changed, versions[stale], mixed)
        return self._mixed.get(rows, self._parts_needed(history))

    def _parts_needed(self, history: HistoryView) -> int | None:
        """States of the longest comment history; None where an encoding is one vector."""
        if len(self._task.encoding_shape) == 1:
            return None
        return int(self.sections_seen(history).max(initial=0)) + 1

    def sections_seen(self, history: HistoryView) -> Int64:
        """int64[B]: events in each comment history."""
        count = history.lengths("discussed")
        return count if self._comment_history else np.zeros_like(count)

    def _sections_version(self, history: HistoryView) -> Int64:
        version = history.version("discussed")
        return version if self._comment_history else np.zeros_like(version)

    def _encode_histories(
        self, rows: Int32, history: HistoryView, videos: Int64, sections: Int64
    ) -> None:
        watched = history.videos(self._signal)
        self._videos.update(
            rows, videos, lambda part, length: self._task.video_tokens(watched[part, :length])
        )
        discussed, comments = history.videos("discussed"), history.comments()
        if not self._comment_history:
            discussed, comments = np.full_like(discussed, -1), np.full_like(comments, -1)
        self._sections.update(
            rows,
            sections,
            lambda part, length: self._task.section_tokens(
                discussed[part, :length], comments[part, :length]
            ),
        )


def _pair(videos: Int64, sections: Int64) -> Int64:
    """One number per pair of versions."""
    return np.asarray(videos * 1_000_003 + sections, dtype=np.int64)
