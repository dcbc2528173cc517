"""Build what an agent sees: candidates, the person's history and features, the session."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from simulator.arrays import row_counts
from simulator.calendar import DAY_MS, HOUR_MS, china_ms
from simulator.comment_sections import CommentSections
from simulator.gym.episodes import Episodes, Scene
from simulator.logs.catalogue import UNKNOWN_TIME, Catalogue
from simulator.requests import HISTORY_LENGTH, SIGNALS, Int32, Int64

Float32 = NDArray[np.float32]
Observation = dict[str, NDArray[Any]]

CANDIDATE_FEATURES = ("log_duration_s", "log_age_h", "log_comments", "popularity_rank")
USER_FEATURES = ("log_follows", "log_fans", "log_friends", "log_registered_days")
SESSION_FEATURES = (
    "hour_sin", "hour_cos", "log_pages", "log_minutes", "last_reached", "last_clicks", "last_opens",
)  # fmt: skip
COMMENT_FEATURES = ("log_likes", "log_replies")
"""Names of the last axis of each array of numbers; ``log_x`` is log(1 + x)."""

_MOST = 25.0
_USER_COLUMNS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")


class Observer:
    """Makes observations of all people of an `Episodes` as arrays.

    Args:
        scene: The world.
        candidates: Most candidates of a request.
        comments: Comments listed per candidate; 0 for none.
    """

    def __init__(self, scene: Scene, candidates: int, comments: int) -> None:
        self._world = scene.world
        self._catalogue: Catalogue = scene.world.catalogue()
        self._width = candidates
        self._listed = comments
        self._sections = CommentSections(self._catalogue, max(comments, 1))
        c = self._catalogue
        popularity = scene.world.popularity()
        rank = np.argsort(np.argsort(popularity, kind="stable")) / max(c.n_videos - 1, 1)
        self._fixed: Float32 = np.column_stack(
            [
                np.log1p(c.duration_ms / 1000.0),
                np.zeros(c.n_videos),
                np.log1p(np.diff(c.comment_offsets)),
                rank,
            ]
        ).astype(np.float32)
        self._user_features: Float32 = np.empty((0, len(USER_FEATURES)), dtype=np.float32)
        self._known: Int32 = np.empty(0, dtype=np.int32)

    def space(self) -> spaces.Dict:
        """The observation space of one person."""
        c, n = self._catalogue, self._width

        def index(size: int, *shape: int) -> spaces.Box:
            return spaces.Box(-1, max(size - 1, 0), shape, np.int32)

        def numbers(*shape: int, low: float = 0.0) -> spaces.Box:
            return spaces.Box(low, _MOST, shape, np.float32)

        parts: dict[str, spaces.Space[Any]] = {
            "candidates": index(c.n_videos, n),
            "candidate_category": index(len(c.category_names), n),
            "candidate_author": index(c.n_authors, n),
            "candidate_features": numbers(n, len(CANDIDATE_FEATURES)),
            "user": numbers(len(USER_FEATURES)),
            "session": numbers(len(SESSION_FEATURES), low=-1.0),
        }
        parts |= {signal: index(c.n_videos, HISTORY_LENGTH) for signal in SIGNALS}
        if self._listed:
            parts["comments"] = index(c.n_comments, n, self._listed)
            parts["comment_features"] = numbers(n, self._listed, len(COMMENT_FEATURES))
        return spaces.Dict(parts)

    def candidates(self, episodes: Episodes) -> Int32:
        """int32[N, C]: candidates of everyone, -1 padded at the end of a row."""
        wide = np.full((episodes.people, self._width), -1, dtype=np.int32)
        requests = episodes.requests
        if requests is not None:
            order = np.argsort(requests.candidates < 0, axis=1, kind="stable")
            wide[requests.row] = np.take_along_axis(requests.candidates, order, axis=1)
        return wide

    def time_ms(self, episodes: Episodes) -> Int64:
        """int64[N]: when the page was asked for; the next due page where nobody waits for one."""
        return episodes.feed.next_page_ms()

    def observe(self, episodes: Episodes, candidates: Int32) -> Observation:
        """Arrays of the space's shapes with a leading axis of N.

        Args:
            episodes: The people.
            candidates: int32[N, C] of `candidates`.
        """
        c = self._catalogue
        time_ms = self.time_ms(episodes)
        real = candidates >= 0
        known = np.maximum(candidates, 0)
        features = self._fixed.take(known, axis=0)
        upload = c.upload_ms.take(known)
        hours = np.maximum(time_ms[:, None] - upload, 0) / HOUR_MS
        features[..., 1] = np.where(upload == UNKNOWN_TIME, 0.0, np.log1p(hours))
        features *= real[..., None]
        everyone = np.arange(episodes.people, dtype=np.int64)
        history = episodes.feed.history(everyone)
        observation: Observation = {
            "candidates": candidates.copy(),
            "candidate_category": np.where(real, c.category.take(known), -1).astype(np.int32),
            "candidate_author": np.where(real, c.author.take(known), -1).astype(np.int32),
            "candidate_features": np.minimum(features, np.float32(_MOST)),
            "user": self._users(episodes.feed.users),
            "session": self._session(episodes, time_ms),
        }
        observation |= {signal: history.videos(signal) for signal in SIGNALS}
        if self._listed:
            comments = self.comments(candidates, time_ms)
            listed = np.maximum(comments, 0)
            counts = np.stack(
                [c.comment_likes.take(listed), c.comment_replies.take(listed)], axis=-1
            )
            counts[comments < 0] = 0
            observation["comments"] = comments
            observation["comment_features"] = np.log1p(counts).astype(np.float32)
        return observation

    def comments(self, videos: Int32, time_ms: Int64) -> Int32:
        """int32[N, C, K]: the first comments under each video in the platform's order."""
        n, width = videos.shape
        wide = np.full((n, width, self._listed), -1, dtype=np.int32)
        at, slot = np.nonzero(videos >= 0)
        if len(at) and self._catalogue.n_comments:
            found = self._sections.candidates(videos[at, slot], time_ms[at])
            wide[at, slot, : found.shape[1]] = found
        return wide

    def _users(self, users: Int32) -> Float32:
        """Visible features; looked up again only for rows with another person than before."""
        if len(self._known) != len(users):
            self._known = np.full(len(users), -1, dtype=np.int32)
            self._user_features = np.zeros((len(users), len(USER_FEATURES)), dtype=np.float32)
        new = np.flatnonzero(self._known != users)
        if len(new):
            frame = self._world.users_frame(users[new])
            counts = frame.select(_USER_COLUMNS).to_numpy().astype(np.float64)
            self._user_features[new] = np.minimum(np.log1p(counts), _MOST)
            self._known = users.copy()
        return self._user_features.copy()

    def _session(self, episodes: Episodes, time_ms: Int64) -> Float32:
        hour = china_ms(time_ms) % DAY_MS / DAY_MS * 2.0 * np.pi
        began = np.where(episodes.pages > 0, episodes.since_ms, time_ms)
        minutes = np.maximum(time_ms - began, 0) / 60_000.0
        last = np.zeros((3, episodes.people))
        if episodes.last is not None:
            page = episodes.last
            slots = page.reached.shape[1]
            last[:] = [
                row_counts(x) / slots for x in (page.reached, page.flags["click"], page.opened)
            ]
        columns = [np.sin(hour), np.cos(hour), np.log1p(episodes.pages), np.log1p(minutes), *last]
        return np.asarray(np.minimum(np.column_stack(columns), _MOST), dtype=np.float32)
