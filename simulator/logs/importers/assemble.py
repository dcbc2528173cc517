"""Put staged rows together: sessions of impressions, and one row per person, video and comment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from simulator.errors import DataError
from simulator.logs.dataset import DatasetWriter
from simulator.logs.importers.report import TableReport
from simulator.logs.importers.staging import Staged, edges_of
from simulator.logs.interactions import rank_in_run
from simulator.logs.schema import TABLES
from simulator.progress import Meter

SESSION_GAP_MS = 30 * 60_000
NAMES = {"user_id": "user_name", "video_id": "video_name", "comment_id": "comment_name"}
"""Of staged columns that hold the text which an identifier was made of."""
_MOST_PENDING = 32


@dataclass
class Seen:
    """Identifiers that the log mentions, each once, with what it says about them.

    Memory grows with the identifiers: about 16 bytes each, and their names where they have some.
    """

    key: str
    extra: dict[str, pl.DataType] = field(default_factory=dict)
    _parts: list[pl.DataFrame] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        """Identifiers of some rows."""
        if self.key not in frame.columns:
            return
        columns = [self.key, *(n for n in self.extra if n in frame.columns)]
        self._parts.append(_once(frame.select(columns), self.key))
        if len(self._parts) > _MOST_PENDING:
            self._parts = [self.frame()]

    def frame(self) -> pl.DataFrame:
        """``key`` ascending, and the largest value of every extra column."""
        if not self._parts:
            return pl.DataFrame(schema={self.key: pl.Int64(), **self.extra})
        both = pl.concat(self._parts, how="diagonal")
        return _once(both, self.key).sort(self.key)


def _once(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    name = NAMES.get(key)
    if name in frame.columns:
        differ = frame.group_by(key).agg(pl.col(name).n_unique().alias("n")).filter(pl.col("n") > 1)
        if differ.height:
            raise DataError(
                f"two names have the same hash {differ[key][0]}: {name} cannot be numbered.",
                "Number them yourself and map the numbers",
            )
    return frame.group_by(key).agg(pl.all().max())


def sessions(rows: pl.DataFrame) -> pl.DataFrame:
    """Impressions of whole people, sorted, with slot, page and session.

    A page is a run of one time; a gap of 30 minutes starts a session.
    """
    user, time = rows["user_id"].to_numpy(), rows["time_ms"].to_numpy()
    before = (user[1:] < user[:-1]) | ((user[1:] == user[:-1]) & (time[1:] < time[:-1]))
    if before.any():
        rows = rows.sort("user_id", "time_ms", maintain_order=True)
        user, time = rows["user_id"].to_numpy(), rows["time_ms"].to_numpy()
    first = np.r_[True, user[1:] != user[:-1]]
    page = first | np.r_[True, time[1:] != time[:-1]]
    away = ~first & np.r_[False, np.diff(time) > SESSION_GAP_MS]
    starts = np.flatnonzero(first)
    lengths = np.diff(np.r_[starts, len(user)])
    pages, gaps = np.cumsum(page), np.cumsum(away)
    slot = np.clip(rank_in_run(pages), 0, 32_767)
    return rows.with_columns(
        pl.Series("request_id", pages - np.repeat(pages[starts] - 1, lengths), dtype=pl.Int64),
        pl.Series("session_id", gaps - np.repeat(gaps[starts], lengths), dtype=pl.Int64),
        pl.Series("position", slot, dtype=pl.Int16),
    )


def write_events(
    writer: DatasetWriter,
    table: str,
    staged: Staged,
    report: TableReport,
    seen: Sequence[Seen],
    meter: Meter,
) -> None:
    """Write impressions or comment events, people in blocks, and note who and what they mention."""
    required = {c.name for c in TABLES[table].columns if c.required}
    names = set(NAMES.values())
    kept = [c for c in staged.columns if c in staged.filled | required and c not in names]
    for rows in staged.blocks(staged.edges()):
        for one in seen:
            one.add(rows)
        found = rows.select(kept)
        if table == "impressions":
            found = sessions(found)
        else:
            found = found.sort("user_id", "time_ms", maintain_order=True)
        report.kept += found.height
        writer.append(table, found)
        meter.add(found.height)


def write_keyed(
    writer: DatasetWriter,
    table: str,
    seen: pl.DataFrame,
    features: Staged | None,
    extras: dict[str, Staged],
    report: TableReport,
    meter: Meter,
) -> None:
    """Write users, videos or comments: one row per identifier, in blocks of identifiers.

    Args:
        writer: Of the dataset.
        table: Which.
        seen: Identifiers that the log mentions, with columns for those without features.
        features: Rows of the files; the first one of an identifier counts.
        extras: Column to staged rows that say more about an identifier and win.
        report: Receives counts.
        meter: Told the rows of the files that have been written.
    """
    key = seen.columns[0]
    known = None if features is None else features.counts()
    counts = seen.select(key, pl.lit(1, pl.Int64).alias("rows"))
    if known is not None:
        counts = pl.concat([counts, known.select(key, "rows")])
        counts = counts.group_by(key).agg(pl.col("rows").sum())
    counts = counts.sort(key)
    edges = edges_of(counts, key)
    columns = _columns(table, seen, features, extras)
    for (low, high), rows, more in _blocks(edges, features, extras):
        mentioned = seen.filter(pl.col(key).is_between(low, high))
        block = _block(mentioned, rows, more, key, report)
        missing = [
            pl.lit(None, dtype).alias(n) for n, dtype in columns.items() if n not in block.columns
        ]
        block = block.with_columns(missing).select(list(columns))
        report.kept += block.height
        writer.append(table, block)
        meter.add(sum(own.height for own in (rows, *more.values()) if own is not None))


def _blocks(
    edges: list[tuple[int, int]], features: Staged | None, extras: dict[str, Staged]
) -> Iterator[tuple[tuple[int, int], pl.DataFrame | None, dict[str, pl.DataFrame]]]:
    own = [None] * len(edges) if features is None else features.blocks(edges)
    others = {name: staged.blocks(edges) for name, staged in extras.items()}
    for edge, rows in zip(edges, own, strict=True):
        yield edge, rows, {name: next(blocks) for name, blocks in others.items()}


def _block(
    mentioned: pl.DataFrame,
    rows: pl.DataFrame | None,
    more: dict[str, pl.DataFrame],
    key: str,
    report: TableReport,
) -> pl.DataFrame:
    block = mentioned
    if rows is not None:
        features = _unique(rows, key, report)
        more_of_log = [n for n in mentioned.columns if n not in features.columns]
        if more_of_log:
            features = features.join(mentioned.select(key, *more_of_log), on=key, how="left")
        unknown = mentioned.join(features, on=key, how="anti")
        report.added += unknown.height
        block = pl.concat([features, unknown], how="diagonal_relaxed").sort(key)
        if "tags" in block.columns and "category" not in block.columns:
            block = block.with_columns(pl.col("tags").list.first().alias("category"))
    for name, extra in more.items():
        found = _unique(extra, key, report)
        block = block.drop(name, strict=False).join(found, on=key, how="left")
    return block.sort(key)


def _columns(
    table: str, seen: pl.DataFrame, features: Staged | None, extras: dict[str, Staged]
) -> dict[str, pl.DataType]:
    """Columns with a value in some row, and required ones."""
    required = {c.name for c in TABLES[table].columns if c.required}
    types: dict[str, pl.DataType] = {} if features is None else dict(features.columns)
    filled = set() if features is None else set(features.filled)
    for name, dtype in seen.schema.items():
        types.setdefault(name, dtype)
        if seen[name].null_count() < seen.height:
            filled.add(name)
    if "tags" in filled and "category" not in types:
        types["category"] = pl.String()
        filled.add("category")
    for name, staged in extras.items():
        types[name] = staged.columns[name]
        filled = filled - {name} | (staged.filled & {name})
    return {n: t for n, t in types.items() if n in filled | required}


def _unique(frame: pl.DataFrame, key: str, report: TableReport) -> pl.DataFrame:
    """One row per identifier; repeats are rejected and counted, the first row stays."""
    kept = frame.unique(key, keep="first", maintain_order=True)
    repeated = frame.height - kept.height
    if repeated:
        report.rejected += repeated
        # Blocks of one table say it once.
        report.remarks = [r for r in report.remarks if " rows repeat a " not in r]
        report.repeated += repeated
        report.remarks.append(
            f"rejected: {report.repeated:,} rows repeat a {key}; the first one is kept"
        )
    return kept
