"""Hold one turn of the feed: the pages shown, and what people did with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import row_sums
from simulator.behaviours import COUNTED_FLAGS
from simulator.logs.interactions import rank_in_run
from simulator.recorder import RecordedPage, Recorder, Sections
from simulator.requests import COMMENTS_PER_EVENT, CommentRequests, Int32, Int64, Slates
from simulator.response.base import Read, Watched

Bool = NDArray[np.bool_]


@dataclass
class Turn:
    """What is known of the turn in progress.

    Attributes:
        rows: int64[B], who asked, as rows of the group.
        time_ms: int64[B].
        key: uint64[B], addresses the draws of this page.
        candidates: int32[B, C], what could be shown, -1 padded.
        shown: What they were given to watch; None before.
        requests: Of the comment sections that were opened; None before, or where none was.
    """

    rows: Int64
    time_ms: Int64
    key: NDArray[np.uint64]
    candidates: Int32
    shown: ShownPages | None = None
    requests: CommentRequests | None = None


@dataclass(frozen=True)
class ShownPages:
    """What a turn's people would do with their pages, and which comment sections they open.

    Attributes:
        slates: B pages of S slots.
        watched: bool and int64[B, S].
        section_at: int64[R], ascending, the page of each section.
        section_slot: int64[R], its slot.
    """

    slates: Slates
    watched: Watched
    section_at: Int64
    section_slot: Int64


@dataclass(frozen=True)
class ReadSections:
    """What was done in the R opened sections.

    Attributes:
        read: See `simulator.response.base.Read`.
        order: int32[R, M], comments in display order, -1 padded.
        propensity: float32[R, M], None where not known.
        probabilities: float32[R, K, M], see `simulator.requests.CommentOrders`.
    """

    read: Read
    order: Int32
    propensity: NDArray[np.float32] | None
    probabilities: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class PlayedPages:
    """A turn's pages after everyone has come to their end, or left before it.

    Attributes:
        shown: What they were given.
        sections: None where nobody opened one.
        reached: bool[B, S], slots that the person got to; nothing else counts.
        play_ms: int64[B, S].
        stay_ms: int64[B, S], time in the comment section.
    """

    shown: ShownPages
    sections: ReadSections | None
    reached: Bool
    play_ms: Int64
    stay_ms: Int64

    def live_sections(self) -> Bool:
        """bool[R], the opened sections that were reached."""
        return self.reached[self.shown.section_at, self.shown.section_slot]

    def sums(self) -> dict[str, NDArray[np.generic]]:
        """Additive outcomes of each page, [B] each; names of `simulator.outcomes`."""
        watched, reached = self.shown.watched, self.reached
        flags = {
            "impressions": reached,
            **{COUNTED_FLAGS[n]: flag for n, flag in watched.flags.items() if n in COUNTED_FLAGS},
            "comment_opens": watched.opened,
        }
        pages, slots = reached.shape
        happened = np.empty((len(flags), slots, pages), dtype=np.bool_)
        for number, flag in enumerate(flags.values()):
            np.logical_and(flag.T, reached.T, out=happened[number])
        counts = happened.view(np.uint8).sum(axis=1, dtype=np.uint8)
        sums: dict[str, NDArray[np.generic]] = dict(zip(flags, counts, strict=True))
        sums["play_time_ms"] = row_sums(self.play_ms * reached)
        sums["comment_watch_time_ms"] = row_sums(self.stay_ms * reached)
        if self.sections is not None:
            read = self.sections.read
            live = self.live_sections()[read.section]
            page = self.shown.section_at[read.section]
            for name, touched in (
                ("comment_likes", read.like & live),
                ("comment_replies", read.reply & live),
                ("comments_shown", live),
            ):
                sums[name] = np.bincount(page[touched], minlength=pages)
        return sums

    def reads(self) -> tuple[Int64, Int32, Int64, Bool]:
        """The comments that were read, in the order of pages, slots and ranks.

        Returns:
            int64[N], ascending places in ``section_at``; int32[N], comments; int64[N], dwell in
            milliseconds; bool[N], whether the visit ended with it.
        """
        assert self.sections is not None
        read = self.sections.read
        at = np.flatnonzero(self.live_sections()[read.section])
        section = read.section[at]
        last = np.append(section[1:] != section[:-1], True)[: len(section)]
        return section, self.sections.order[section, read.rank[at]], read.dwell_ms[at], last

    def discussed(self) -> tuple[Int64, Int32]:
        """The sections that someone engaged in, and up to three of their comments each.

        Returns:
            int64[D], ascending places in ``section_at``; int32[D, 3], the first comments of each
            that the person liked or replied to, -1 padded.
        """
        assert self.sections is not None
        read = self.sections.read
        touched = np.flatnonzero((read.like | read.reply) & self.live_sections()[read.section])
        section = read.section[touched]
        return _first_touched(section, self.sections.order[section, read.rank[touched]])


def _first_touched(section: Int64, comment: Int32) -> tuple[Int64, Int32]:
    """The sections that occur, ascending, and the first three comments of each, -1 padded.

    Args:
        section: int64[N], ascending.
        comment: int32[N], liked or replied to.
    """
    number = rank_in_run(section)
    new = number == 0
    first = np.flatnonzero(new)
    row = np.cumsum(new) - 1
    kept = number < COMMENTS_PER_EVENT
    chosen = np.full((len(first), COMMENTS_PER_EVENT), -1, dtype=np.int32)
    chosen[row[kept], number[kept]] = comment[kept]
    return section[first], chosen


def record(
    recorder: Recorder,
    turn: Turn,
    pages: PlayedPages,
    *,
    user: Int32,
    session: Int64,
    step: Int64,
    policy: str,
    comments: bool,
) -> None:
    """Write down a finished turn of B people.

    Args:
        recorder: Where to.
        turn: The turn.
        pages: What happened in it.
        user: int32[B], dense user indices.
        session: int64[B], number of the person's session.
        step: int64[B], number of the page within the session.
        policy: What the log's ``policy`` column says.
        comments: Whether the inventory has comments; without any, sections are not recorded.
    """
    shown, read = pages.shown, pages.sections
    recorder.add_page(
        RecordedPage(
            user=user,
            session=session,
            step=step,
            time_ms=turn.time_ms,
            slates_videos=shown.slates.videos,
            propensity=shown.slates.propensity,
            is_rand=shown.slates.is_rand,
            watched=shown.watched,
            reached=pages.reached,
            play_ms=pages.play_ms,
            stay_ms=pages.stay_ms,
            policy=policy,
            candidates=turn.candidates,
            probabilities=shown.slates.probabilities,
        )
    )
    if read is None or not comments:
        return
    assert turn.requests is not None
    at = shown.section_at
    recorder.add_sections(
        Sections(
            user=user[at],
            session=session[at],
            step=step[at],
            time_ms=turn.time_ms[at],
            video=shown.slates.videos[at, shown.section_slot],
            order=read.order,
            read=read.read,
            live=pages.live_sections(),
            propensity=read.propensity,
            candidates=turn.requests.candidates,
            probabilities=read.probabilities,
        )
    )
