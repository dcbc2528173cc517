"""Hold out videos for evaluation: leave the last out, or split by time.

Leave-last-out holds back each person's last new video. A time split holds back everything from one
moment on, for everybody: the only split in which nobody's future helps to rank another's (Ji, Sun,
Zhang & Li, "A critical study on data leakage in recommender system offline evaluation", ACM TOIS
41, 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from policies.errors import PolicyError
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.interactions import Interactions, has_events, interactions
from simulator.logs.scanning import batches
from simulator.logs.schema import EVENT_TABLES
from simulator.requests import Int32, Int64, Signal

CASES_PER_PERSON = 20
"""Of a time split: a person's later events are left out, so that nobody costs hours."""


@dataclass(frozen=True)
class HeldOut:
    """Moments at which something is ranked, and what the person then chose.

    Attributes:
        user: int32[n], dense user index, ascending; in order of time for each person.
        video: int32[n], the video chosen, or the one under which comments are ranked.
        time_ms: int64[n], when the request is made: what exists later is no candidate.
        cut_ms: int64[n], what happened at or after it is not known to the request.
        positives: int32[n, P], what the person chose, dense indices, -1 padded.
        left_out: How many events or people are not asked for, by reason.
    """

    user: Int32
    video: Int32
    time_ms: Int64
    cut_ms: Int64
    positives: Int32
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user)

    def number(self) -> Int64:
        """int64[n]: how many cases of the same person come before each one."""
        return np.arange(len(self)) - np.searchsorted(self.user, self.user)


def held_out(dataset: Dataset, signal: Signal, *, since_ms: int | None = None) -> HeldOut:
    """The videos to be ranked, each new to the person, who has an earlier event.

    A video liked again is not asked for: what a person has seen is no candidate, and a target that
    alone were exempt from this would reward whoever ranks the past.

    Args:
        dataset: The whole log.
        signal: Which events.
        since_ms: None for each person's last such event; otherwise all from this time on, the first
            `CASES_PER_PERSON` of each person.

    Raises:
        PolicyError: nothing can be held out.
    """
    events = known_videos(interactions(dataset, signal))
    user, time_ms = events.user, events.time_ms
    pair = user.astype(np.int64) * max(dataset.catalogue().n_videos, 1) + events.video
    new: NDArray[np.bool_] = np.zeros(len(user), dtype=bool)
    new[np.unique(pair, return_index=True)[1]] = True
    # Two events need two times: one page's worth of likes cannot be split into past and future.
    past = time_ms > time_ms[np.searchsorted(user, user)] if len(user) else new
    chosen, left_out = choose(user, time_ms, new & past, since_ms)
    if since_ms is None:
        left_out = {f"people without two {signal} videos at different times": left_out["nothing"]}
    else:
        after = time_ms >= since_ms
        left_out = {
            "events on a video seen before": int((after & ~new).sum()),
            "events of people without an earlier one": int((after & new & ~past).sum()),
            f"events after a person's first {CASES_PER_PERSON}": left_out["beyond"],
        }
    if len(chosen) == 0:
        problem = (
            f"nobody in {dataset.path} has two {signal} videos: nothing can be held out."
            if since_ms is None
            else f"no {signal} video of {dataset.path} after the split can be held out."
        )
        other = "clicked" if signal == "liked" and has_events(dataset, "clicked") else ""
        hint = f"Hold out clicks instead: --signal {other}" if other else ""
        raise PolicyError(problem, hint or f"Look at it: abtest data describe {dataset.path}")
    video = events.video[chosen]
    return HeldOut(
        user[chosen],
        video,
        time_ms[chosen],
        time_ms[chosen],
        video[:, None],
        {reason: count for reason, count in left_out.items() if count},
    )


def choose(
    user: Int32, time_ms: Int64, eligible: NDArray[np.bool_], since_ms: int | None
) -> tuple[Int64, dict[str, int]]:
    """Which events are asked for, and how many people or events are not.

    Args:
        user: int32[n], ascending.
        time_ms: int64[n], ascending for each person.
        eligible: bool[n].
        since_ms: None for each person's last eligible event; otherwise the first
            `CASES_PER_PERSON` from this time on.

    Returns:
        int64[m], positions; counts "nothing" (people) or "beyond" (events).
    """
    if since_ms is None:
        at = np.flatnonzero(eligible)
        last = np.append(user[at][1:] != user[at][:-1], True)[: len(at)]
        return at[last], {"nothing": len(np.unique(user)) - int(last.sum())}
    at = np.flatnonzero(eligible & (time_ms >= since_ms))
    number = np.arange(len(at)) - np.searchsorted(user[at], user[at])
    kept = number < CASES_PER_PERSON
    return at[kept], {"beyond": int((~kept).sum())}


def split_time(dataset: Dataset, *, days: float | None = None, share: float | None = None) -> int:
    """The moment of a time split, Unix milliseconds.

    Args:
        dataset: The log.
        days: Test on so many days before the last impression, or
        share: on so large a share of the impressions, the latest ones.

    Raises:
        PolicyError: one side of the split would be empty.
    """
    span = dataset.info.time_span_ms
    if span is None:
        raise PolicyError(
            f"{dataset.path} has no impressions to split.",
            f"Look at it: abtest data describe {dataset.path}",
        )
    if days is not None:
        cut = span[1] + 1 - round(days * 86_400_000)
    else:
        assert share is not None
        times = dataset.scan("impressions").select("time_ms").collect()["time_ms"].sort()
        cut = int(times[max(len(times) - max(round(share * len(times)), 1), 0)])
    if not span[0] < cut <= span[1]:
        length = (span[1] - span[0]) / 86_400_000
        raise PolicyError(
            f"the log of {dataset.path} is {length:.3g} days long: nothing would be left on one "
            "side of the split.",
            "Choose another --test-days or --test-share",
        )
    return cut


def training_part(dataset: Dataset, test: HeldOut, target: Path) -> Dataset:
    """The dataset without anything that a held-out person did at or after the held-out event.

    Args:
        dataset: The whole log.
        test: What is held out, one case per person.
        target: Directory to create, or one made before from the same arguments.
    """
    cut = pl.LazyFrame({"user_id": dataset.user_ids()[test.user], "_cut": test.cut_ms})

    def before(rows: pl.LazyFrame) -> pl.LazyFrame:
        return (
            rows.join(cut, on="user_id", how="left", maintain_order="left")
            .filter(pl.col("_cut").is_null() | (pl.col("time_ms") < pl.col("_cut")))
            .drop("_cut")
        )

    return _part(dataset, before, target, "last events held out")


def part_before(dataset: Dataset, cut_ms: int, target: Path) -> Dataset:
    """The dataset without anything that anybody did at or after a moment.

    Args:
        dataset: The whole log.
        cut_ms: The moment.
        target: As for `training_part`.
    """
    return _part(
        dataset, lambda rows: rows.filter(pl.col("time_ms") < cut_ms), target, "before a split"
    )


def known_videos(events: Interactions) -> Interactions:
    """Without events on videos that the catalogue does not have."""
    keep = events.video >= 0
    comments = None if events.comments is None else events.comments[keep]
    begun = None if events.begun_ms is None else events.begun_ms[keep]
    return Interactions(
        events.user[keep], events.video[keep], events.time_ms[keep], comments, begun
    )


def _part(
    dataset: Dataset, before: Callable[[pl.LazyFrame], pl.LazyFrame], target: Path, what: str
) -> Dataset:
    if target.is_dir():
        return Dataset.open(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    info = dataset.info
    with DatasetWriter(
        target,
        name=f"{info.name}, {what}",
        source=info.source,
        licence=info.licence,
        language=info.language,
    ) as writer:
        for table in info.rows:
            cut = before if table in EVENT_TABLES else _whole
            written = False
            # Batch by batch: memory does not grow with the log.
            for _, rows in batches(dataset, table):
                part = cut(rows.lazy()).collect()
                if part.height:
                    writer.append(table, part)
                    written = True
            if not written:
                writer.append(table, dataset.scan(table).head(0).collect())
    return Dataset.open(target)


def _whole(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows
