"""Keep what a group of people changes on its platform: likes given, creators watched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.calendar import DAY_MS
from simulator.interference.settings import InterferenceSettings
from simulator.logs.catalogue import Catalogue
from simulator.requests import Int32, Int64
from simulator.response.displayed import DisplayedLikes
from simulator.turn import PlayedPages

Float64 = NDArray[np.float64]

MOST = 4.0
"""A creator publishes at most so many times what the world's inventory holds."""
_LARGEST = 2_000_000_000
"""Of displayed likes, which are int32."""


class GroupPlatform:
    """The platform as one group of people has made it since the experiment's start.

    The group stands for the whole audience: what it does is scaled up by ``scale``.

    Args:
        catalogue: Videos and comments, with the likes that are displayed at the start.
        settings: Strengths.
        people: In the group.
        start_ms: Unix ms.
    """

    def __init__(
        self, catalogue: Catalogue, settings: InterferenceSettings, people: int, start_ms: int
    ) -> None:
        self._catalogue = catalogue
        self._settings = settings
        self.scale = settings.people_per_video * catalogue.n_videos / people
        self.likes_given: Int64 = np.zeros(catalogue.n_comments, dtype=np.int64)
        self.attention: Float64 = np.zeros(catalogue.n_authors)
        self._time_ms = start_ms
        known = catalogue.author >= 0
        there = known & (catalogue.upload_ms <= start_ms)
        self._videos = np.bincount(catalogue.author[there], minlength=catalogue.n_authors)
        # In units that leave room for all videos at the largest weight, see `Retrieval.publishing`.
        room = 31 - int(catalogue.n_videos * MOST).bit_length()
        self._unit = 1 << max(min(room, 14), 0)
        self._weight: Int64 = np.full(catalogue.n_videos, self._unit, dtype=np.int64)

    def take_in(self, pages: PlayedPages) -> None:
        """Count the likes given to comments and the seconds watched on finished pages."""
        videos, reached = pages.shown.slates.videos, pages.reached
        author = self._catalogue.author.take(videos[reached])
        seconds = pages.play_ms[reached] / 1000.0
        known = author >= 0
        self.attention += np.bincount(
            author[known], weights=seconds[known], minlength=len(self.attention)
        )
        if pages.sections is not None and self._catalogue.n_comments:
            read = pages.sections.read
            liked = np.flatnonzero(read.like & pages.live_sections()[read.section])
            comment = pages.sections.order[read.section[liked], read.rank[liked]]
            np.add.at(self.likes_given, comment, 1)

    def displayed_likes(self) -> Int32:
        """int32[M]: those of the start and, scaled up, those given since; whole numbers."""
        gained = np.rint(self._settings.comment_likes * self.scale * self.likes_given)
        shown = np.minimum(self._catalogue.comment_likes + gained, _LARGEST)
        return np.asarray(shown, dtype=np.int32)

    def order(self, likes: Int32) -> Int32:
        """int32[M]: comments section by section, most liked first, as before where likes are equal.

        Args:
            likes: int32[M].
        """
        by_likes = np.lexsort((-likes.astype(np.int64), self._catalogue.comment_video))
        return by_likes.astype(np.int32)

    def seen(self, likes: Int32, order: Int32) -> DisplayedLikes:
        """What these likes, int32[M], and their order, int32[M], mean to people."""
        start = np.maximum(self._catalogue.comment_likes, 0)
        gain = np.log1p(np.maximum(likes, 0)) - np.log1p(start)
        place = np.empty_like(order)
        place[order] = np.arange(len(order), dtype=np.int32)
        return DisplayedLikes((self._settings.like_herding * gain).astype(np.float32), place)

    def publishing(self) -> Float64:
        """float64[A]: what each creator publishes now, over the inventory; 1 where not known.

        Seconds watched per video are held against the mean over all creators' videos, to which they
        are drawn half way, because a group sees few pages of each creator.
        """
        videos = self._videos
        mean = self.attention.sum() / max(videos.sum(), 1)
        if mean <= 0.0:
            return np.ones(len(videos))
        ratio = (self.attention / np.maximum(videos, 1) + mean) / (2.0 * mean)
        answer = np.minimum(ratio**self._settings.supply, MOST)
        return np.where(videos > 0, answer, 1.0)

    def weights(self) -> Int64:
        """int64[V]: what each video stands for in the candidate stage; equal for old videos."""
        return self._weight

    def refresh(self, time_ms: int) -> None:
        """Let creators decide about what they upload from now on; attention fades within a day.

        Args:
            time_ms: Unix ms.
        """
        author, upload = self._catalogue.author, self._catalogue.upload_ms
        coming = (upload > time_ms) & (author >= 0)
        answer = np.rint(self._unit * self.publishing()).astype(np.int64)
        self._weight = self._weight.copy()
        self._weight[coming] = np.maximum(answer[author[coming]], 1)
        self.attention *= np.exp(-(time_ms - self._time_ms) / DAY_MS)
        self._time_ms = time_ms

    def copy(self) -> GroupPlatform:
        """An independent platform in the same state."""
        other = GroupPlatform.__new__(GroupPlatform)
        other.__dict__.update(self.__dict__)
        for name in ("likes_given", "attention", "_weight"):
            setattr(other, name, getattr(self, name).copy())
        return other
