"""Collect what happened on a page, for everyone at once, and compute the reward for it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import row_counts, row_sums
from simulator.behaviours import of_kind
from simulator.logs.catalogue import Catalogue
from simulator.recorder import RecordedPage, Recorder, Sections
from simulator.requests import Int32, Int64

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class PageOutcome:
    """One page of N people and S slots; nothing is set at slots that were not reached.

    Attributes:
        videos: int32[N, S], catalogue indices in the order shown, -1 where there was none.
        reached: bool[N, S], slots the person got to.
        flags: bool[N, S] by name of `simulator.behaviours`, such as "click" and "like".
        opened: bool[N, S], whether the comment section was opened.
        play_seconds: float32[N, S]; goes on while comments are open.
        comment_seconds: float32[N, S], stay in the comment section.
        comment_likes, comment_replies: int32[N, S], given in the section.
        left: bool[N], whether the session ended on this page.
    """

    videos: Int32
    reached: Bool
    flags: Mapping[str, Bool]
    opened: Bool
    play_seconds: Float32
    comment_seconds: Float32
    comment_likes: Int32
    comment_replies: Int32
    left: Bool

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, those of ``flags`` beside the others."""
        found = {name: values for name, values in vars(self).items() if name != "flags"}
        return found | dict(self.flags)


Reward = str | Mapping[str, float] | Callable[[PageOutcome], NDArray[Any]]


def _counts_of(flag: str) -> Callable[[PageOutcome], NDArray[Any]]:
    return lambda page: row_counts(page.flags[flag])


REWARDS: dict[str, Callable[[PageOutcome], NDArray[Any]]] = {
    "comment_seconds": lambda page: row_sums(page.comment_seconds),
    "play_seconds": lambda page: row_sums(page.play_seconds),
    **{b.reward: _counts_of(b.name) for b in of_kind("flag") if b.reward is not None},
    "comment_opens": lambda page: row_counts(page.opened),
    "comment_interactions": lambda page: row_sums(page.comment_likes + page.comment_replies),
    "impressions": lambda page: row_counts(page.reached),
    "pages": lambda page: row_counts(page.reached[:, :1]),
}
"""Rewards by name: sums over the slots of a page that were reached."""


def reward_function(reward: Reward) -> Callable[[PageOutcome], Float64]:
    """float64[N] of a page, from a name of `REWARDS`, weights by name, or a function.

    Raises:
        ValueError: unknown name, no weights, or one that is not finite; from the function, that it
            gives anything else than a finite number per person.
    """
    if callable(reward):
        own = reward

        def checked(page: PageOutcome) -> Float64:
            found = np.asarray(own(page), dtype=np.float64)
            if found.shape != page.left.shape or not np.isfinite(found).all():
                raise ValueError(
                    f"the reward has shape {found.shape}, expected finite numbers of shape "
                    f"{page.left.shape}: one per person"
                )
            return found

        return checked
    weights = {reward: 1.0} if isinstance(reward, str) else dict(reward)
    if not weights:
        raise ValueError(f"reward has no terms; known: {', '.join(REWARDS)}")
    for name in weights:
        if name not in REWARDS:
            close = difflib.get_close_matches(name, REWARDS, n=1)
            guess = f" Did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"unknown reward '{name}'.{guess} Known: {', '.join(REWARDS)}")
        if not np.isfinite(weights[name]):
            raise ValueError(f"the weight of {name} is {weights[name]}, expected a finite number")

    def weighted(page: PageOutcome) -> Float64:
        terms = [weight * REWARDS[name](page) for name, weight in weights.items()]
        return np.asarray(sum(terms), dtype=np.float64)

    return weighted


class LastPage(Recorder):
    """A recorder that keeps the page in progress instead of a log."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self._page: RecordedPage | None = None
        self._sections: Sections | None = None

    def add_page(self, page: RecordedPage) -> None:
        """Keep it."""
        self._page, self._sections = page, None

    def add_sections(self, sections: Sections) -> None:
        """Keep them; the feed adds the page first."""
        self._sections = sections

    def outcome(self, rows: Int64, people: int, left: Bool) -> PageOutcome:
        """The last page as arrays over all people; nothing is set for those who had none.

        Args:
            rows: int64[B], rows of the people on the page.
            people: N.
            left: bool[N], whose session ended.
        """
        page = self._page
        assert page is not None
        reached = page.reached & (page.slates_videos >= 0)

        def spread(values: NDArray[Any], dtype: Any, empty: int = 0) -> NDArray[Any]:
            wide = np.full((people, reached.shape[1]), empty, dtype=dtype)
            wide[rows] = values
            return wide

        def flag(values: Bool) -> Bool:
            return spread(values & reached, np.bool_)

        likes, replies = np.zeros((2, *reached.shape), dtype=np.int32)
        sections = self._sections
        if sections is not None:
            # A page shows a video once, so (person, video) finds the slot of a section.
            order = np.argsort(page.user)
            at = order[np.searchsorted(page.user[order], sections.user)]
            slot = np.argmax(page.slates_videos[at] == sections.video[:, None], axis=1)
            read = sections.read
            for counts, touched in ((likes, read.like), (replies, read.reply)):
                per_section = np.bincount(read.section[touched], minlength=len(sections.live))
                counts[at, slot] = per_section * sections.live
        w = page.watched
        return PageOutcome(
            videos=spread(page.slates_videos, np.int32, -1),
            reached=spread(reached, np.bool_),
            flags={name: flag(values) for name, values in w.flags.items()},
            opened=flag(w.opened),
            play_seconds=spread(page.play_ms * reached / 1000.0, np.float32),
            comment_seconds=spread(page.stay_ms * reached / 1000.0, np.float32),
            comment_likes=spread(likes, np.int32),
            comment_replies=spread(replies, np.int32),
            left=left,
        )
