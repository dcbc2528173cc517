"""Say which commands a log is good for, and which feature the others lack."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from simulator.errors import DataError
from simulator.logs.dataset import Dataset


@dataclass(frozen=True)
class Need:
    """One thing that a command does with a log.

    Attributes:
        command: As typed, and what of it.
        possible: Whether the log has what it needs.
        why_not: What is missing; empty where it is possible.
        remark: What to know where it is possible all the same; may be empty.
    """

    command: str
    possible: bool
    why_not: str = ""
    remark: str = ""


class _Log:
    """What a log has."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._counts = _counted(dataset)

    def lacks(self, table: str, column: str) -> str:
        """Why a column cannot be used; empty if it can."""
        if not self._dataset.has(table):
            return f"the log has no {table}"
        if not self._dataset.has_column(table, column):
            return f"{table} has no {column}"
        if f"{table}.{column}" in self._dataset.info.placeholders:
            return f"{column} is a placeholder: the source does not say it"
        return ""

    def without(self, table: str) -> str:
        return "" if self._dataset.has(table) else f"the log has no {table}"

    def any_of(self, *reasons: str) -> str:
        """Empty if one of the reasons is."""
        return "" if "" in reasons else " and ".join(dict.fromkeys(reasons))

    def all_of(self, *reasons: str) -> str:
        return "; ".join(dict.fromkeys(r for r in reasons if r))

    def no_negatives(self) -> str:
        """Why nothing can be learned about clicks."""
        rows, clicks = self._counts["rows"], self._counts["is_click"]
        if rows and clicks == rows:
            return "every impression is a click: nobody can learn what is not clicked"
        if rows and not clicks:
            return "no impression is a click"
        return ""

    def selection(self) -> str:
        """Which rows the log lacks by the look of the others; empty if nothing shows it."""
        rows, clicks, marked = (self._counts[name] for name in ("rows", "is_click", "marked"))
        if rows and clicks == rows:
            return "every impression is a click: what is not clicked is missing"
        if rows and marked == rows:
            return (
                "every impression is liked, hated, followed, commented on or forwarded: it holds "
                "only rows with a reaction, and people learned from it react far too often"
            )
        return ""

    def no_likes(self) -> str:
        missing = self.lacks("impressions", "is_like")
        return missing or ("" if self._counts["is_like"] else "no impression is liked")

    def no_random_rows(self) -> str:
        missing = self.lacks("impressions", "is_rand")
        return missing or ("" if self._counts["is_rand"] else "no impression has is_rand = 1")


def selection(dataset: Dataset) -> str:
    """Which impressions a log lacks by the look of the others; empty if nothing shows it.

    People learned from a log know only what it holds: where nobody passes by without a reaction,
    rates are those of the rows that were kept.
    """
    return _Log(dataset).selection()


LEARNED = ("is_click", "play_time_ms")
"""Columns of impressions without which nobody can learn how people respond."""


def refuse_placeholders(dataset: Dataset, *columns: str) -> None:
    """Refuse a log whose source lacks what a command would read as data.

    Args:
        dataset: The log.
        columns: Of impressions, which the command reads.

    Raises:
        DataError: one of them is a placeholder.
    """
    for column in columns:
        if f"impressions.{column}" in dataset.info.placeholders:
            constant = "If every row is a click, say so in the map: is_click = 1. "
            raise DataError(
                f"{dataset.path} does not say {column}: it is a placeholder, the same in every "
                "row.",
                (constant if column == "is_click" else "")
                + f"What the log is good for: abtest data check {dataset.path}",
            )


_REACTIONS = ("is_like", "is_hate", "is_follow", "is_comment", "is_forward")


def _counted(dataset: Dataset) -> dict[str, int]:
    """Rows, and how many of them are clicked, have a rarer reaction, are randomly shown."""
    told = ("is_click", "is_like", "is_rand")
    present = [c for c in told if dataset.has_column("impressions", c)]
    rare = [c for c in _REACTIONS if dataset.has_column("impressions", c)]
    names = (*told, "marked")
    found = {"rows": dataset.info.rows.get("impressions", 0), **dict.fromkeys(names, 0)}
    sums = [(pl.col(name) == 1).sum() for name in present]
    if rare:
        marked = pl.any_horizontal((pl.col(name) == 1).fill_null(False) for name in rare)
        sums.append(marked.sum().alias("marked"))
    if dataset.has("impressions") and sums:
        row = (
            dataset.scan("impressions").select(sums).collect(engine="streaming").row(0, named=True)
        )
        found.update({name: int(count or 0) for name, count in row.items()})
    return found


_BY_CLICKS = '{}: add --signal clicked, and let policies learn from it (signal = "clicked")'


def needs(dataset: Dataset) -> list[Need]:
    """What each command could do with a log, in the order of the README."""
    log = _Log(dataset)
    clicks = log.all_of(log.without("impressions"), log.lacks("impressions", "is_click"))
    learn = log.all_of(
        clicks, log.no_negatives(), log.lacks("impressions", "play_time_ms") if not clicks else ""
    )
    stay = log.lacks("impressions", "comment_stay_time")
    likes = log.no_likes()
    events = log.without("comment_events")
    texts = log.any_of(log.lacks("comments", "text"), log.lacks("videos", "caption"))
    sections = log.any_of(events, stay)
    shown = log.any_of(
        log.without("video_decisions"), log.lacks("impressions", "propensity"), log.no_random_rows()
    )
    rows: list[tuple[str, str, str]] = [
        ("abtest run --data: videos", learn, _remarks(log.selection(), _duration(log))),
        ("abtest run --data: comment watch time", log.all_of(learn, stay), log.selection()),
        ("abtest run --data: ranking comments", log.all_of(learn, log.without("comments")), ""),
        ("abtest run --data -t lsvcr", log.all_of(learn, sections), texts and f"IDs only: {texts}"),
        ("abtest evaluate: videos", log.any_of(clicks, likes), likes and _BY_CLICKS.format(likes)),
        ("abtest evaluate: comments", log.all_of(log.without("comments"), events), ""),
        ("abtest replay: videos", log.all_of(clicks, shown), ""),
        ("abtest replay: comments", log.without("comment_decisions"), ""),
        (
            "abtest data describe --against kuaishou",
            log.without("impressions"),
            _remarks(clicks, stay),
        ),
    ]
    return [Need(name, not why, why, "" if why else remark) for name, why, remark in rows]


def _remarks(*remarks: str) -> str:
    return "; ".join(remark for remark in remarks if remark)


def _duration(log: _Log) -> str:
    missing = log.any_of(
        log.lacks("impressions", "duration_ms"), log.lacks("videos", "duration_ms")
    )
    return "durations are unknown" if missing else ""
