"""Define the contract between the feed and a model of users' responses.

Two implementations exist: the built-in world's truth (`simulator.response.truth`) and a model
learned from a log (`simulator.response.learned`). The feed calls, for each page:
`watch` -> `read` (for opened comment sections, in the order the ranker chose) -> `finish`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.requests import Int32, Int64
from simulator.response.displayed import DisplayedLikes

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Watched:
    """What would happen at each slot of a page if the user gets that far; all arrays [B, S].

    Attributes:
        play_ms: int64, play time before comment time is added (see `Finished.play_ms`).
        flags: bool by name of `simulator.behaviours`; "click" and "like" are always there. What is
            missing is not drawn by this response.
        profile_stay_ms: int64.
        opened: bool, whether the comment section is opened.
        tab: int8[B], the log's scenario code of each page; None where there is only one.
    """

    play_ms: Int64
    flags: Mapping[str, Bool]
    profile_stay_ms: Int64
    opened: Bool
    tab: NDArray[np.int8] | None = None


@dataclass(frozen=True)
class Read:
    """What happens in R opened comment sections: the N comments that are read in them.

    Attributes:
        section: int64[N], the section of each comment that was scrolled into view, 0 .. R-1;
            ascending.
        rank: int64[N], its place in the section, ascending within a section.
        dwell_ms: int64[N], time on it.
        like, reply: bool[N].
        stay_ms: int64[R], total stay in the section (> 0).
    """

    section: Int64
    rank: Int64
    dwell_ms: Int64
    like: Bool
    reply: Bool
    stay_ms: Int64

    @classmethod
    def of_tables(
        cls, dwell_ms: Int64, shown: Bool, like: Bool, reply: Bool, stay_ms: Int64
    ) -> Read:
        """From arrays [R, M] over all comments, of which the ones ``shown`` were read."""
        section, rank = np.nonzero(shown)
        at = section, rank
        return cls(section, rank, dwell_ms[at], like[at], reply[at], stay_ms)


@dataclass(frozen=True)
class Finished:
    """How the page ended.

    Attributes:
        reached: bool[B, S], slots the user got to (a prefix of every row; slot 0 always).
        play_ms: int64[B, S], logged play time: keeps running while comments are open.
        elapsed_ms: int64[B], time spent on the page.
        left: bool[B], whether the session ended on this page.
    """

    reached: Bool
    play_ms: Int64
    elapsed_ms: Int64
    left: Bool


class Population(ABC):
    """The people of one simulated group, with whatever they carry from page to page.

    ``rows`` index the group (0 .. G-1) and never repeat within a call, except in `read`.
    ``key`` is the uint64[B] counter-based key of the request or session; every random draw must
    come from `simulator.randomness.mix(key, PURPOSE, slot)`, so results do not depend on batching.
    """

    @abstractmethod
    def next_session(self, rows: Int64, now_ms: Int64, key: NDArray[np.uint64]) -> Int64:
        """int64[B]: Unix ms at which each user's next session starts (> now_ms)."""

    def first_session(self, rows: Int64, start_ms: Int64, key: NDArray[np.uint64]) -> Int64:
        """int64[B]: Unix ms of each user's first page, at or after the simulation's start."""
        return self.next_session(rows, start_ms, key)

    @abstractmethod
    def begin_session(self, rows: Int64, time_ms: Int64, key: NDArray[np.uint64]) -> None:
        """Reset what lives for one session (budget, satiation, short-term interest)."""

    @abstractmethod
    def watch(
        self,
        rows: Int64,
        time_ms: Int64,
        key: NDArray[np.uint64],
        videos: Int32,
        preview: Int32,
    ) -> Watched:
        """React to a page of videos.

        Args:
            rows: int64[B].
            time_ms: int64[B].
            key: uint64[B].
            videos: int32[B, S], -1 padded (padding is never reached).
            preview: int32[B, S], the comment previewed under each video, -1 where none.
        """

    @abstractmethod
    def read(
        self,
        rows: Int64,
        key: NDArray[np.uint64],
        slot: Int64,
        videos: Int32,
        comments: Int32,
    ) -> Read:
        """Read ranked comments; ``comments`` is int32[R, M] in display order, -1 padded.

        ``slot`` int64[R] is the page slot of the video, so that two sections opened by one user
        on one page draw different noise.
        """

    @abstractmethod
    def finish(
        self,
        rows: Int64,
        key: NDArray[np.uint64],
        videos: Int32,
        watched: Watched,
        stay_ms: Int64,
    ) -> Finished:
        """Decide how far the user got and whether they left; update what they carry.

        Args:
            rows: int64[B].
            key: uint64[B].
            videos: int32[B, S].
            watched: the result of `watch` for the same page.
            stay_ms: int64[B, S], comment stay per slot, 0 where not opened.
        """

    def change_ranker(self, rows: Int64, time_ms: int) -> None:  # noqa: B027
        """These people get another ranker from ``time_ms`` on; by default nobody minds."""

    def show_likes(self, displayed: DisplayedLikes) -> None:
        """From now on these people see these likes.

        Raises:
            NotImplementedError: what this kind of population does not depend on displayed likes.
        """
        raise NotImplementedError(f"{type(self).__name__} does not see likes change")

    def put(self, rows: Int64, other: Population, other_rows: Int64) -> None:
        """Replace these people, and what they carry, by people of another group.

        Args:
            rows: int64[B], distinct rows of this group.
            other: A population of the same response.
            other_rows: int64[B], rows of that group.

        Raises:
            NotImplementedError: this kind of population cannot move people.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot take in other people")

    @abstractmethod
    def copy(self) -> Population:
        """An independent copy of the carried state, for running two arms from one start."""


class Response(ABC):
    """Makes populations. Must be picklable or cheap to rebuild in a worker process."""

    @abstractmethod
    def population(self, users: Int32) -> Population:
        """The people with these dense user indices, before their first session."""
