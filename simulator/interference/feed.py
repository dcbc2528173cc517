"""Let the people of one feed change the platform that all of them meet."""

from __future__ import annotations

import dataclasses

from simulator.calendar import HOUR_MS
from simulator.feed import Bool, Feed
from simulator.interference.platform import GroupPlatform
from simulator.interference.settings import InterferenceSettings
from simulator.requests import CommentRequests, Int32, Int64, Slates
from simulator.turn import PlayedPages


class SharedFeed(Feed):
    """A feed whose likes and candidates follow what its people do.

    What has changed shows at fixed times, every ``refresh_hours``: everybody lives to that time,
    then likes, orders, previews and candidates are renewed. So nothing depends on who is in the
    same turn. Made by `of`.
    """

    platform: GroupPlatform
    _refresh_ms: int
    _every_ms: int
    _likes: Int32 | None

    @classmethod
    def of(cls, feed: Feed, settings: InterferenceSettings, start_ms: int) -> SharedFeed:
        """These people from now on; ``feed`` itself must not be used any more.

        Args:
            feed: Stands at the start of the experiment, before a turn.
            settings: Strengths of interference.
            start_ms: Unix ms; nobody changes anything before it.
        """
        other = cls.__new__(cls)
        other.__dict__.update(feed.copy().__dict__)
        other.platform = GroupPlatform(feed.catalogue, settings, len(feed.users), start_ms)
        other._every_ms = round(settings.refresh_hours * HOUR_MS)
        other._refresh_ms = start_ms + other._every_ms
        other._likes = None
        return other

    def copy(self) -> SharedFeed:
        """Independent people on an independent platform, in the same state."""
        other = SharedFeed.__new__(SharedFeed)
        other.__dict__.update(super().copy().__dict__)
        other.platform = self.platform.copy()
        return other

    def show(self, slates: Slates) -> CommentRequests | None:
        """As `Feed.show`; the opened sections carry the likes that are displayed now."""
        requests = super().show(slates)
        if requests is None or self._likes is None:
            return requests
        assert self._turn is not None
        # Padding gets the last comment's.
        likes = self._likes.take(requests.candidates)
        self._turn.requests = dataclasses.replace(requests, likes=likes)
        return self._turn.requests

    def _due(self, among: Bool | None) -> Int64:
        due = super()._due(among)
        while len(due) == 0 and self._refresh_ms < self.end_ms:
            self._refresh()
            due = super()._due(among)
        return due

    def _next_stop_ms(self) -> int:
        return min(self.end_ms, self._refresh_ms)

    def _remember(self, rows: Int64, pages: PlayedPages) -> None:
        super()._remember(rows, pages)
        self.platform.take_in(pages)

    def _refresh(self) -> None:
        """Show what has changed until now."""
        platform = self.platform
        platform.refresh(self._refresh_ms)
        self._refresh_ms += self._every_ms
        self._retrieval = self._retrieval.publishing(platform.weights())
        self._likes = platform.displayed_likes()
        order = platform.order(self._likes)
        self._sections = self._sections.reordered(order)
        self._population.show_likes(platform.seen(self._likes, order))
