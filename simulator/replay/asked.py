"""Check what a replay is asked, and choose the metrics that its log can answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.replay.identification import KEEP_BOTH
from simulator.replay.logged import LoggedRows
from simulator.replay.metrics import METRICS
from simulator.replay.target.targets import Scorer


def check_asked(
    dataset: Dataset,
    scorers: Mapping[str, Scorer],
    treatments: tuple[str, ...],
    control: str,
    metrics: Sequence[str] | None,
    primary: str | None,
    rows: str,
    pool: str,
    stage: str,
) -> None:
    """Refuse names and options that are unknown, and logs without impressions.

    Raises:
        DataError: which, with those that are known.
    """
    for name in (*treatments, control):
        if name not in scorers:
            raise DataError(f"no scorer for '{name}'.", f"Given: {', '.join(scorers)}.")
    for name in (*(metrics or ()), *([primary] if primary else [])):
        if name not in METRICS:
            raise DataError(f"unknown replay metric '{name}'.", f"Known: {', '.join(METRICS)}.")
    for option, chosen, allowed in (
        ("rows", rows, ("auto", "random", "all")),
        ("pool", pool, ("auto", "random", "all")),
        ("stage", stage, ("auto", "videos", "comments")),
    ):
        if chosen not in allowed:
            raise DataError(f"{option} is '{chosen}'.", f"Choose one of {', '.join(allowed)}.")
    if not dataset.has("impressions") or dataset.info.rows.get("impressions") == 0:
        raise DataError(
            f"the dataset at {dataset.path} has no impressions, so there is nothing to replay.",
            "Check it: abtest data describe DIR",
        )


def wanted_metrics(
    logged: LoggedRows,
    metrics: Sequence[str] | None,
    changed: frozenset[str],
    treatments: tuple[str, ...],
    control: str,
    ranks: Mapping[str, tuple[str, ...]],
    notes: list[str],
    others: bool,
) -> list[str]:
    """Metrics that the log has and that these policies' identified stages can move."""
    available = [
        name
        for name in metrics or METRICS
        if not METRICS[name].per_comment
        and METRICS[name].column in logged.outcomes
        and not np.isnan(logged.outcomes[METRICS[name].column]).all()
    ]
    silent = [n for n in available if not np.nan_to_num(logged.outcomes[METRICS[n].column]).any()]
    if silent and len(silent) < len(available) and metrics is None:
        available = [name for name in available if name not in silent]
        notes.append(f"0 in every row of the log, left out: {', '.join(silent)}.")
    if changed == {"comments"}:
        available = [name for name in available if METRICS[name].comments]
    rank_comments = any("comments" in ranks[name] for name in (*treatments, control))
    if rank_comments and "comments" not in changed:
        refused = [name for name in available if METRICS[name].comments]
        available = [name for name in available if name not in refused]
        if refused:
            notes.append(
                f"{', '.join(refused)} would also move with the order of comments, which this "
                "log does not identify: no figure."
            )
    if not available and not others:
        raise DataError(
            "no metric of this log can be replayed for these policies.",
            f"Asked for: {', '.join(metrics)}." if metrics else f"See: {KEEP_BOTH}",
        )
    return available


def listed_metrics(
    dataset: Dataset, metrics: Sequence[str] | None, changed: frozenset[str]
) -> list[str]:
    """Metrics per comment seen."""
    if "comments" not in changed or not dataset.has("comment_events"):
        return []
    return [name for name in metrics or METRICS if METRICS[name].per_comment]
