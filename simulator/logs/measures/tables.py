"""Read a log's tables for statistics, on disk or just simulated; absent columns are null."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.behaviours import of_kind
from simulator.logs.dataset import Dataset

Measures = dict[str, float | None]

_COLUMNS = (
    "user_id", "video_id", "session_id", "time_ms", "play_time_ms", "duration_ms",
    "comment_stay_time", "is_rand", "tab", *(b.column for b in of_kind("flag")),
)  # fmt: skip


class LogTables:
    """Lazily read tables of a log.

    Args:
        tables: Table name to frame; absent tables are simply not there.
        placeholders: Columns, as ``impressions.is_click``, that are not data: taken as absent.
    """

    def __init__(
        self, tables: Mapping[str, pl.LazyFrame], placeholders: Collection[str] = ()
    ) -> None:
        self._tables = dict(tables)
        self._columns = {
            name: {c for c in frame.collect_schema().names() if f"{name}.{c}" not in placeholders}
            for name, frame in self._tables.items()
        }
        self._rows: dict[str, int] = {}

    @classmethod
    def of(cls, dataset: Dataset) -> LogTables:
        """The tables of a dataset directory; nothing is read yet."""
        return cls(
            {name: dataset.scan(name) for name in dataset.info.rows if dataset.has(name)},
            dataset.info.placeholders,
        )

    def rows(self, table: str) -> int:
        """Number of rows; 0 for an absent table."""
        if table not in self._tables:
            return 0
        if table not in self._rows:
            self._rows[table] = int(self._tables[table].select(pl.len()).collect().item())
        return self._rows[table]

    def has_column(self, table: str, column: str) -> bool:
        """Whether the table exists and has the column."""
        return column in self._columns.get(table, ())

    def scan(self, table: str) -> pl.LazyFrame:
        """One table."""
        return self._tables[table]

    def impressions(self) -> pl.LazyFrame:
        """The columns that are needed, absent ones null, plus what is derived from them.

        ``random``: shown at random; ``opened``: the comment section was; ``complete``: played to
        the end; ``pool``: the video is among those shown at random.
        """
        known = self._columns["impressions"]
        rows = self._tables["impressions"].select(
            pl.col(c) if c in known else pl.lit(None, pl.Int64).alias(c) for c in _COLUMNS
        )
        return rows.with_columns(
            (pl.col("is_rand").fill_null(0) == 1).alias("random"),
            (pl.col("comment_stay_time") > 0).alias("opened"),
            (pl.col("play_time_ms") >= pl.col("duration_ms")).alias("complete"),
        )

    def pool(self) -> pl.LazyFrame:
        """Distinct ``video_id`` of the videos that were shown at random."""
        return self.impressions().filter(pl.col("random")).select("video_id").unique()


def row(frame: pl.LazyFrame, wanted: Mapping[str, pl.Expr]) -> Measures:
    """Evaluate scalar expressions in one pass."""
    named = [expression.alias(name) for name, expression in wanted.items()]
    return frame.select(named).collect(engine="streaming").row(0, named=True)


def share(of: pl.Expr, among: pl.Expr) -> pl.Expr:
    """Mean of a 0/1 column over the rows where ``among`` holds."""
    return of.cast(pl.Float64).filter(among).mean()


def quantiles(name: str, values: pl.Series, levels: Sequence[int]) -> Measures:
    """``{name}.p{level}`` of the values that are known."""
    known = values.drop_nulls().drop_nans()
    return {f"{name}.p{q}": known.quantile(q / 100, "linear") for q in levels}


def spearman(x: NDArray[np.floating], y: NDArray[np.floating]) -> float | None:
    """Rank correlation, ties averaged; None below three pairs or where one side is constant."""
    from scipy import stats

    if len(x) < 3 or (x == x[0]).all() or (y == y[0]).all():
        return None
    return float(stats.spearmanr(x, y).statistic)


def gini(ascending: NDArray[np.floating]) -> float:
    """Gini coefficient of non-negative values in ascending order."""
    n = len(ascending)
    rank = np.arange(1, n + 1)
    return float(2.0 * (rank * ascending).sum() / (n * ascending.sum()) - (n + 1) / n)
