"""Find opened comment sections to rank, and the comments engaged with in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from policies.errors import PolicyError
from policies.evaluation.holdout import CASES_PER_PERSON, HeldOut, choose
from simulator.logs.catalogue import lookup
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import ENGAGED, NEW_VISIT, Interactions, rank_in_run
from simulator.requests import COMMENTS_PER_EVENT, Int32, Int64

WATCHING_MS = 30 * 60_000
"""An impression this long before a visit's first interaction is still the one being watched."""


def visits_held_out(dataset: Dataset, *, since_ms: int | None = None) -> HeldOut:
    """The comment sections to be ranked: what was liked or replied to there is to be on top.

    A visit is a person's interactions with one section without another one between them, as in
    `simulator.logs.interactions`. It is ranked when it is opened, so its cut is the impression of
    the video being watched, and a comment written later, or engaged with on an earlier visit, is
    neither a positive nor a candidate.

    Args:
        dataset: The whole log.
        since_ms: None for each person's last such visit; otherwise all from this time on, the first
            `CASES_PER_PERSON` of each person.

    Raises:
        PolicyError: the log has no comments, or nothing can be held out; the sentence says why.
    """
    reason = why_no_comments(dataset)
    if reason:
        raise PolicyError(reason, "See docs/log-format.md, tables comments and comment_events")
    visits, rows = _visits(dataset)
    user = visits["user"].to_numpy()
    positives = _positives(dataset, visits, rows)
    start, end = visits["start"].to_numpy(), visits["end"].to_numpy()
    past = end[np.searchsorted(user, user)] < visits["cut"].to_numpy()
    answerable = (positives >= 0).any(axis=1)
    cut = visits["cut"].to_numpy()
    chosen, left_out = choose(user, cut, answerable & past, since_ms)
    if since_ms is None:
        reasons = {"people without two comment visits at different times": left_out["nothing"]}
    else:
        after = cut >= since_ms
        reasons = {
            "visits without a comment that was new and there when it was opened": int(
                (after & ~answerable).sum()
            ),
            "visits of people without an earlier one": int((after & answerable & ~past).sum()),
            f"visits after a person's first {CASES_PER_PERSON}": left_out["beyond"],
        }
    if len(chosen) == 0:
        raise PolicyError(
            f"nobody in {dataset.path} liked or replied to comments twice"
            + (": nothing can be held out." if since_ms is None else ", the second time in it."),
            f"Look at it: abtest data describe {dataset.path}",
        )
    kept = positives[chosen]
    width = int((kept >= 0).sum(axis=1).max())
    return HeldOut(
        user[chosen],
        visits["video"].to_numpy()[chosen],
        start[chosen],
        cut[chosen],
        kept[:, :width],
        {reason: count for reason, count in reasons.items() if count},
    )


def why_no_comments(dataset: Dataset) -> str:
    """Why comments cannot be ranked offline on this log; empty if they can."""
    if not dataset.has("comments"):
        return f"{dataset.path} has no comments: there is nothing to rank under its videos."
    if not dataset.has("comment_events"):
        return (
            f"{dataset.path} does not say who liked or replied to which comment "
            "(no table comment_events)."
        )
    return ""


class VisitsBegun(NamedTuple):
    """Visits by the time at which they begin, for what is known in the middle of one.

    Attributes:
        events: As `simulator.logs.interactions.interactions` gives them, but for ``time_ms``, the
            first interaction's.
        comment_ms: int64[n, 3], the time of each of ``events.comments``.
    """

    events: Interactions
    comment_ms: Int64


def visits_begun(dataset: Dataset) -> VisitsBegun:
    """All visits of a log with comment events."""
    rows = _interactions(dataset)
    visit = rows["visit"].to_numpy()
    first = np.flatnonzero(np.append(True, visit[1:] != visit[:-1])[: len(visit)])
    column = rank_in_run(visit)
    kept = column < COMMENTS_PER_EVENT
    shape = (len(first), COMMENTS_PER_EVENT)
    comments: Int32 = np.full(shape, -1, dtype=np.int32)
    comment_ms: Int64 = np.full(shape, np.iinfo(np.int64).max, dtype=np.int64)
    comments[visit[kept], column[kept]] = rows["comment"].to_numpy()[kept]
    comment_ms[visit[kept], column[kept]] = rows["time_ms"].to_numpy()[kept]
    user, video, start = (rows[name].to_numpy()[first] for name in ("user", "video", "time_ms"))
    return VisitsBegun(Interactions(user, video, start, comments), comment_ms)


def earlier_comments(dataset: Dataset, test: HeldOut) -> tuple[Int64, Int32]:
    """Comments under a case's video that its person engaged with before its cut.

    Returns:
        int64[m], case; int32[m], comment.
    """
    rows = _interactions(dataset).select("user", "comment", "time_ms", "video")
    cases = pl.DataFrame(
        {
            "case": np.arange(len(test)),
            "user": test.user,
            "video": test.video,
            "cut": test.cut_ms,
        }
    )
    found = cases.join(rows, on=["user", "video"]).filter(pl.col("time_ms") < pl.col("cut"))
    return found["case"].to_numpy(), found["comment"].to_numpy()


def _interactions(dataset: Dataset) -> pl.DataFrame:
    """Likes and replies with dense indices and the number of their visit, by user and time."""
    catalogue = dataset.catalogue()
    frame = (
        dataset.scan("comment_events")
        .with_row_index("_row")
        .filter(ENGAGED)
        .select("_row", "user_id", "video_id", "comment_id", "time_ms")
        .collect()
        .sort("user_id", "time_ms", "_row")
    )
    return (
        frame.with_columns(
            pl.Series("user", lookup(dataset.user_ids(), frame["user_id"].to_numpy())),
            pl.Series("video", catalogue.video_index(frame["video_id"].to_numpy())),
            pl.Series("comment", catalogue.comment_index(frame["comment_id"].to_numpy())),
            NEW_VISIT.cum_sum().alias("visit"),
        )
        .filter((pl.col("user") >= 0) & (pl.col("video") >= 0))
        .with_columns(pl.col("visit").rank("dense").cast(pl.Int64) - 1)
    )


def _visits(dataset: Dataset) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Visits (user, video, start, end, cut), and the interactions with their ``visit``."""
    rows = _interactions(dataset)
    visits = rows.group_by("visit", maintain_order=True).agg(
        pl.col("user", "video").first(),
        pl.col("time_ms").first().alias("start"),
        pl.col("time_ms").last().alias("end"),
    )
    cut = shown_ms(dataset, *(visits[name].to_numpy() for name in ("user", "video", "start")))
    return visits.with_columns(pl.Series("cut", cut)), rows


def shown_ms(
    dataset: Dataset,
    user: NDArray[np.integer],
    video: NDArray[np.integer],
    time_ms: Int64,
) -> Int64:
    """When the video that somebody watches at some moment was shown to them.

    Args:
        dataset: The log.
        user: int[n], dense.
        video: int[n], dense.
        time_ms: int64[n].

    Returns:
        int64[n], time of the latest impression of the video in the half hour up to the moment;
        the moment itself where there is none.
    """
    moments = pl.DataFrame(
        {
            "user_id": dataset.user_ids()[user],
            "video_id": dataset.catalogue().video_ids[video],
            "time_ms": time_ms,
            "moment": np.arange(len(user)),
        }
    )
    key = ["user_id", "video_id"]
    shown = (
        dataset.scan("impressions")
        .select(*key, "time_ms")
        .join(moments.lazy(), on=key, how="semi")
        .sort("time_ms")
        .with_columns(pl.col("time_ms").alias("shown"))
        .collect()
    )
    found = (
        moments.sort("time_ms")
        .join_asof(
            shown,
            on="time_ms",
            by=key,
            strategy="backward",
            tolerance=WATCHING_MS,
            check_sortedness=False,
        )
        .sort("moment")
    )
    return found.select(pl.coalesce("shown", "time_ms"))["shown"].to_numpy().astype(np.int64)


def _positives(dataset: Dataset, visits: pl.DataFrame, rows: pl.DataFrame) -> Int32:
    """int32[n, P]: the comments of each visit that were new to the person and there already."""
    catalogue = dataset.catalogue()
    new = rows.filter(pl.col("comment") >= 0).unique(
        ["user", "comment"], keep="first", maintain_order=True
    )
    visit, comment = new["visit"].to_numpy(), new["comment"].to_numpy()
    opened = visits["start"].to_numpy()[visit]
    there = (catalogue.comment_time_ms[comment] <= opened) & (
        catalogue.comment_video[comment] == new["video"].to_numpy()
    )
    visit, comment = visit[there], comment[there]
    column = np.arange(len(visit)) - np.searchsorted(visit, visit)
    table = np.full((visits.height, int(column.max(initial=0)) + 1), -1, dtype=np.int32)
    table[visit, column] = comment
    return table
