"""Value policies whose probabilities stand in the log itself, against what was shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.logs.scanning import BATCH_ROWS
from simulator.progress import Meter, Report
from simulator.replay.estimators.names import asked_for
from simulator.replay.evaluation import metric_results
from simulator.replay.growth import growth
from simulator.replay.identification import Identified
from simulator.replay.interval_method import LIKELIHOOD, STUDENT, Intervals
from simulator.replay.logged import LoggedRows, outcome_arrays
from simulator.replay.metrics import METRICS, OUTCOME_COLUMNS, PRIMARY
from simulator.replay.quantiles import quantile_results, times_of
from simulator.replay.result import CAUTION, UNUSABLE, USABLE, ReplayResult
from simulator.replay.target.targets import Target
from simulator.replay.weighed_log import Question, WeighedLog

AS_LOGGED = "as logged"
_READ, _WEIGHTED = 0.3, 0.5
"""Shares of the time, about, after which rows are read and weights are known."""


def replay_given(
    dataset: Dataset,
    columns: Sequence[str],
    *,
    propensity_column: str = "propensity",
    metrics: Sequence[str] | None = None,
    primary: str | None = None,
    since_ms: int | None = None,
    conservative: bool = False,
    interval: Intervals = STUDENT,
    quantiles: Sequence[float] = (),
    estimators: Sequence[str] = (),
    report: Report | None = None,
) -> ReplayResult:
    """Value policies by columns of impressions that hold their probability of the shown video.

    No ranker, no candidates and no training are needed. As the log does not tell the other
    candidates' probabilities, the effective sample size is known only as drawn, and no verdict is
    better than caution.

    Args:
        dataset: The log.
        columns: One per policy.
        propensity_column: Probability under the log's own policy.
        metrics: Names out of `METRICS`; default: all that the log has.
        primary: Default: comment watch time, or the reward, or the first.
        since_ms: Only impressions at or after this time.
        conservative: Short for ``Intervals("likelihood")``.
        interval: How intervals are computed.
        quantiles: Shares in (0, 1), compared for every metric in ms.
        estimators: Beside the usual ones, see `simulator.replay.estimators.names`.
        report: Told the share that is done: rows read, policies weighted, metrics estimated.

    Raises:
        DataError: no such column, or a value that is no probability: names the row.
    """
    more = asked_for(estimators)
    interval = Intervals(LIKELIHOOD) if conservative else interval
    reading = Meter(report, dataset.info.rows.get("impressions", 0), last=_READ)
    logged, chances = _read(dataset, columns, propensity_column, since_ms, reading)
    reading.end()
    wanted = [
        name
        for name in metrics or METRICS
        if METRICS[name].column in logged.outcomes
        and np.nan_to_num(logged.outcomes[METRICS[name].column]).any()
    ]
    if not wanted:
        raise DataError(
            "the log has no metric that is ever above 0.", "See: abtest data describe DATASET"
        )
    if primary is not None and primary not in wanted:
        raise DataError(f"the log has no metric '{primary}'.", f"It has: {', '.join(wanted)}.")
    times = times_of(wanted, quantiles)
    main = primary or next((n for n in (PRIMARY, "reward") if n in wanted), wanted[0])
    question = Question(tuple(columns), AS_LOGGED, main, interval, tuple(quantiles), more)
    weighing = Meter(report, len(chances) + 1, first=_READ, last=_WEIGHTED)
    stage = WeighedLog.of(logged, (*chances, AS_LOGGED), chances, meter=weighing)
    estimating = Meter(report, len(wanted), first=_WEIGHTED)
    results = metric_results(stage, wanted, question, estimating)
    estimating.end()
    mains = [m.best.verdict for m in results if m.name == main]
    why = f"columns '{propensity_column}' and {', '.join(repr(c) for c in columns)}"
    return ReplayResult(
        treatments=tuple(columns),
        control=AS_LOGGED,
        identification=[Identified("videos", True, why)],
        stages=("videos",),
        rows=logged.accounting,
        eligible=logged.kind,
        eligible_size=(0, 0),
        uniform=False,
        overlap=dict(stage.overlaps),
        metrics=results,
        verdict=next(v for v in (UNUSABLE, CAUTION, USABLE) if v in mains),
        warnings=[],
        definition="Mean outcome of a logged impression if its video had been shown with the "
        "probabilities given in the log, everything before it as logged. Per impression, not per "
        f"user-day. {interval.describe()}",
        growth=growth(stage, question),
        quantiles=quantile_results(stage, times, question),
    )


def _read(
    dataset: Dataset,
    columns: Sequence[str],
    propensity: str,
    since_ms: int | None,
    meter: Meter,
) -> tuple[LoggedRows, dict[str, Target]]:
    for name in (propensity, *columns):
        if not dataset.has_column("impressions", name):
            raise DataError(
                f"the impressions table has no column '{name}'.",
                f"Its columns: {', '.join(dataset.info.columns.get('impressions', []))}.",
            )
    outcomes = [c for c in OUTCOME_COLUMNS if dataset.has_column("impressions", c)]
    scan = dataset.scan("impressions").with_row_index("_row")
    if since_ms is not None:
        scan = scan.filter(pl.col("time_ms") >= since_ms)
    wanted = ["user_id", "video_id", "time_ms", "_row", *outcomes]
    numbers = [pl.col(c).cast(pl.Float64).alias(f"_p{i}") for i, c in enumerate(columns)]
    rows = scan.select(*wanted, pl.col(propensity).cast(pl.Float64).alias("_p"), *numbers)
    table = _collected(rows, meter).sort("user_id", "time_ms", "_row")
    read = table.height
    # Rows whose policy is unknown cannot be weighted; they are counted.
    table = table.filter(pl.col("_p").is_not_null())
    for name, column, low in ((propensity, "_p", "above 0"), *(
        (c, f"_p{i}", "from 0") for i, c in enumerate(columns)
    )):  # fmt: skip
        value = pl.col(column)
        small = value <= 0 if column == "_p" else value < 0
        bad = table.filter(value.is_null() | value.is_nan() | small | (value > 1))
        if bad.height:
            raise DataError(
                f"impressions row {bad['_row'][0] + 1:,}: {name} is {bad[column][0]}, expected a "
                f"probability {low} up to 1. {bad.height:,} such rows.",
                f"Check it: abtest data check {dataset.path}",
            )
    if table.height == 0:
        raise DataError(f"column '{propensity}' is empty.", "Use --propensity COL")
    users = dataset.user_ids()
    n = table.height
    logged = LoggedRows(
        user=np.searchsorted(users, table["user_id"].to_numpy()).astype(np.int32),
        shown=np.asarray(
            dataset.catalogue().video_index(table["video_id"].to_numpy()), dtype=np.int32
        ),
        time_ms=table["time_ms"].to_numpy().astype(np.int64),
        page=np.arange(n),
        position=np.zeros(n, dtype=np.int64),
        propensity=table["_p"].to_numpy(),
        candidates=None,
        logging=None,
        pool=np.zeros(0, dtype=np.int32),
        uniform=False,
        outcomes=outcome_arrays(table),
        accounting={"in_log": read, "without_propensity": read - n, "used": n},
        kind="given",
        warnings=[],
    )
    unknown = np.full(n, np.nan)
    chances = {
        name: Target(table[f"_p{i}"].to_numpy(), unknown, unknown, {})
        for i, name in enumerate(columns)
    }
    return logged, chances


def _collected(rows: pl.LazyFrame, meter: Meter) -> pl.DataFrame:
    """All rows, told as they are read."""
    batches = [rows.clear().collect()]
    for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        batches.append(batch)
        meter.add(batch.height)
    return pl.concat(batches)
