"""Say what a log identifies, why, and what would, before anything is trained or computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.replay.decisions import declared_pool, has_decisions, share_left_to_chance
from simulator.replay.logged import Stage

Subject = Literal["videos", "comments", "both"]

_SHOWN = {"videos": "video", "comments": "comment"}
KEEP_VIDEOS = "abtest run --keep-log --explore-share 0.1"
KEEP_COMMENTS = "abtest run --keep-log --explore-comments 0.1"
KEEP_BOTH = "abtest run --keep-log --explore-share 0.1 --explore-comments 0.1"


@dataclass(frozen=True)
class Identified:
    """One line of the identification table.

    Attributes:
        subject: ``"videos"``, ``"comments"`` or ``"both"``.
        identified: Whether the log can answer for other policies of this kind.
        why: What the log holds, or lacks.
        way_out: What would identify it; empty where it is identified.
    """

    subject: Subject
    identified: bool
    why: str
    way_out: str = ""


def identification(dataset: Dataset, propensity_column: str = "propensity") -> list[Identified]:
    """The table of three lines: policies of videos, of comments, and of both.

    Args:
        dataset: The log.
        propensity_column: Impressions column with logging probabilities.
    """
    videos = _videos(dataset, propensity_column)
    comments = _comments(dataset)
    if videos.identified and comments.identified:
        joint = has_decisions(dataset, "videos")
        both = Identified(
            "both",
            joint,
            "decisions of both stages, joined by request"
            if joint
            else "comment decisions have no video decisions to be joined to",
            "" if joint else f"Write both: {KEEP_BOTH}",
        )
    else:
        missing = " and ".join(x.subject for x in (videos, comments) if not x.identified)
        verb = "are" if " and " in missing or missing.endswith("s") else "is"
        both = Identified(
            "both", False, f"{missing} {verb} not identified", f"Write both: {KEEP_BOTH}"
        )
    return [videos, comments, both]


def stages_to_change(
    table: list[Identified], ranks: Mapping[str, tuple[str, ...]], stage: str = "auto"
) -> tuple[frozenset[Stage], list[str]]:
    """Which stages are answered for the policies given, and what has to be said about the others.

    A stage that no policy ranks, or that the log does not identify, stays as logged.

    Args:
        table: From `identification`.
        ranks: By policy, what it ranks.
        stage: ``"auto"``, ``"videos"`` or ``"comments"``.

    Returns:
        The stages, and sentences.

    Raises:
        DataError: nothing that these policies rank is identified.
    """
    lines = {line.subject: line for line in table}
    wanted = [s for s in ("videos", "comments") if any(s in r for r in ranks.values())]
    if stage != "auto":
        wanted = [stage]
    found = [s for s in wanted if lines[s].identified]  # type: ignore[index]
    if not found:
        reasons = "; ".join(f"{s}: {lines[s].why}" for s in wanted)  # type: ignore[index]
        names = " and ".join(ranks)
        rank = " and ".join(wanted)
        raise DataError(
            f"replay needs the probability of each shown {_SHOWN[wanted[0]]}; this log says "
            f"nothing about how {names} rank {rank} ({reasons}).",
            " ".join(lines[s].way_out for s in wanted),  # type: ignore[index]
        )
    if len(found) == 2 and not lines["both"].identified:
        raise DataError(f"{lines['both'].why}.", lines["both"].way_out)
    notes = []
    for other in ("videos", "comments"):
        if other in found:
            continue
        rankers = [name for name, own in ranks.items() if other in own]
        if rankers and stage == "auto":
            notes.append(
                f"{' and '.join(rankers)} also rank{'s' if len(rankers) == 1 else ''} {other}, "
                f"which this log does not identify ({lines[other].why}): "
                f"{other} stay as logged. {lines[other].way_out}"
            )
    return frozenset(found), notes  # type: ignore[arg-type]


def _videos(dataset: Dataset, column: str) -> Identified:
    has_column = dataset.has_column("impressions", column)
    if column != "propensity" and not has_column:
        raise DataError(
            f"the impressions table has no column '{column}'.",
            f"Its columns: {', '.join(dataset.info.columns.get('impressions', []))}.",
        )
    if has_decisions(dataset, "videos"):
        return _from_decisions(dataset, "videos", KEEP_VIDEOS)
    recorded = _any(dataset, pl.col(column).is_not_null()) if has_column else False
    random = dataset.has_column("impressions", "is_rand") and _any(dataset, pl.col("is_rand") == 1)
    if recorded and declared_pool(dataset) == "all":
        return Identified("videos", True, f"column '{column}', declared to be over all videos")
    if recorded and dataset.has_column("impressions", "candidates"):
        return Identified("videos", True, f"columns '{column}' and 'candidates'")
    if random:
        return Identified("videos", True, "rows of uniformly random exposure (is_rand)")
    if recorded:
        return Identified(
            "videos",
            False,
            f"column '{column}' tells how likely the shown video was, nothing tells what else "
            "could have been shown",
            "If every video of the dataset could: --pool all. If the log says how likely another "
            "policy was to show the same: --target-probability COL. Or write a log with "
            f"decisions: {KEEP_VIDEOS}",
        )
    has = f"column '{column}' is empty" if has_column else f"no column '{column}'"
    tail = (
        "no row is marked is_rand"
        if dataset.has_column("impressions", "is_rand")
        else "no column 'is_rand'"
    )
    return Identified(
        "videos",
        False,
        f"no decisions, {has}, {tail}",
        f"Use --propensity COL, a log with random exposure, or write one: {KEEP_VIDEOS}",
    )


def _comments(dataset: Dataset) -> Identified:
    if has_decisions(dataset, "comments"):
        return _from_decisions(dataset, "comments", KEEP_COMMENTS)
    way = f"Write a log with them: {KEEP_COMMENTS}"
    if not dataset.has("comment_events"):
        return Identified("comments", False, "no comment events and no comment decisions", way)
    if dataset.has_column("comment_events", "propensity"):
        some = dataset.scan("comment_events").select(pl.col("propensity").is_not_null().any())
        if some.collect().item():
            return Identified(
                "comments",
                False,
                "comment_events tell how likely the shown comments were, nothing tells which "
                "others could have stood there",
                way,
            )
    return Identified("comments", False, "no probabilities of comment orders", way)


def _from_decisions(dataset: Dataset, stage: Stage, keep: str) -> Identified:
    share = share_left_to_chance(dataset, stage)
    table = "video_decisions" if stage == "videos" else "comment_decisions"
    rows = dataset.info.rows.get(table, 0)
    if share is None:
        chances = pl.col("propensities").list.max() < 1.0 - 1e-6
        varied = bool(dataset.scan(table).select(chances.any()).collect().item())
    else:
        varied = share > 0
    if not varied:
        return Identified(
            stage,
            False,
            f"{rows:,} decisions, but in each the shown one was certain",
            f"Leave some to chance: {keep}",
        )
    explored = f", {100 * share:g} % of the places at random" if share else ""
    return Identified(stage, True, f"{rows:,} decisions with all candidates{explored}")


def _any(dataset: Dataset, condition: pl.Expr) -> bool:
    return bool(dataset.scan("impressions").select(condition.any()).collect().item())
