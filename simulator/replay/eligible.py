"""Select the logged impressions that can be used, with their alternatives and propensities."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.replay.logged import LoggedRows, outcome_arrays, padded_lists
from simulator.replay.metrics import OUTCOME_COLUMNS
from simulator.requests import Int32

Float64 = NDArray[np.float64]
Rows = Literal["auto", "random", "all"]
Pool = Literal["auto", "random", "all"]

REMEDY = (
    "Use --propensity COL, a log with random exposure (is_rand) or with decisions, "
    "or simulate: abtest run"
)


def logged_rows(
    dataset: Dataset,
    *,
    propensity_column: str,
    rows: Rows,
    pool: Pool,
    since_ms: int | None = None,
) -> LoggedRows:
    """Read what replay can use, or refuse.

    Args:
        dataset: The log.
        propensity_column: Impressions column with the logging probability.
        rows: ``"random"``: randomly exposed rows; ``"all"``: every row; ``"auto"``: all rows if
            propensities and candidates are recorded or the pool is ``"all"``, else random rows.
        pool: ``"random"``: the videos of the random rows; ``"all"``: every video of the dataset
            (propensities are then over all videos); ``"auto"``: the ``candidates`` column if there
            is one, else ``"random"``.
        since_ms: Use only impressions at or after this time.

    Raises:
        DataError: the log cannot tell how likely its impressions were.
    """
    has_random = dataset.has_column("impressions", "is_rand")
    has_propensity = dataset.has_column("impressions", propensity_column)
    has_candidates = pool == "auto" and dataset.has_column("impressions", "candidates")
    if propensity_column != "propensity" and not has_propensity:
        raise DataError(
            f"the impressions table has no column '{propensity_column}'.",
            f"Its columns: {', '.join(dataset.info.columns.get('impressions', []))}.",
        )
    if rows == "auto":
        recorded = has_propensity and (has_candidates or pool == "all")
        rows = "all" if recorded else "random"
    frame, read = _read(dataset, propensity_column, has_propensity, has_candidates, rows, since_ms)
    ids = dataset.user_ids()
    place = np.clip(np.searchsorted(ids, frame["user_id"].to_numpy()), 0, len(ids) - 1)
    stranger = ids[place] != frame["user_id"].to_numpy()
    frame = frame.filter(pl.Series(~stranger))
    read["user_unknown"] = int(stranger.sum())
    random = _flag(frame)
    recorded_any = has_propensity and frame["propensity"].is_not_null().any()
    if not recorded_any and not random.any():
        raise DataError(_refusal(propensity_column, has_propensity, has_random), REMEDY)
    if has_candidates:
        return _with_candidates(dataset, frame, random, read)
    if pool == "all":
        videos = np.arange(dataset.catalogue().n_videos, dtype=np.int32)
        return _with_pool(dataset, frame, random, read, videos, "all videos")
    if rows == "all":
        raise DataError(
            "--rows all needs to know what could have been shown in every row: the log has no "
            "decisions and no 'candidates' column.",
            "Use --rows random, or if every video of the dataset could have been shown: --pool all",
        )
    if not random.any():
        raise DataError(
            f"replay needs the videos that could have been shown: column '{propensity_column}' "
            "holds probabilities, but the log has no decisions and no 'candidates' column.",
            "If they are over all videos of the dataset: --pool all. Or write a log with "
            "decisions: abtest run --keep-log",
        )
    not_random = int((~random).sum())
    frame, random = frame.filter(pl.Series(random)), random[random]
    read = {**read, "not_randomly_exposed": read["not_randomly_exposed"] + not_random}
    shown = dataset.catalogue().video_index(frame["video_id"].to_numpy())
    videos = np.unique(shown[shown >= 0]).astype(np.int32)
    return _with_pool(dataset, frame, random, read, videos, "random pool")


def _refusal(column: str, has_propensity: bool, has_random: bool) -> str:
    found = f"column '{column}' is empty" if has_propensity else f"no '{column}' column"
    tail = ", and no row is marked is_rand" if has_random else ", and no 'is_rand' column"
    return f"replay needs the probability of each shown video; {found}{tail}."


def _read(
    dataset: Dataset,
    propensity_column: str,
    has_propensity: bool,
    has_candidates: bool,
    rows: Rows,
    since_ms: int | None,
) -> tuple[pl.DataFrame, dict[str, int]]:
    columns = [c for c in OUTCOME_COLUMNS if dataset.has_column("impressions", c)]
    exprs = [pl.col("user_id"), pl.col("video_id"), pl.col("time_ms"), *map(pl.col, columns)]
    sort = ["user_id", "time_ms"]
    if dataset.has_column("impressions", "position"):
        exprs.append(pl.col("position"))
        sort.append("position")
    if has_propensity:
        exprs.append(pl.col(propensity_column).cast(pl.Float64).alias("propensity"))
    else:
        exprs.append(pl.lit(None, dtype=pl.Float64).alias("propensity"))
    if has_candidates:
        exprs.append(pl.col("candidates"))
    if dataset.has_column("impressions", "is_rand"):
        exprs.append((pl.col("is_rand").fill_null(0) == 1).alias("random"))
    else:
        exprs.append(pl.lit(False).alias("random"))
    scan = dataset.scan("impressions").select(exprs)
    total = int(dataset.scan("impressions").select(pl.len()).collect().item())
    if total == 0:
        raise DataError("the log has no impressions, so there is nothing to replay.", "")
    later = total
    if since_ms is not None:
        scan = scan.filter(pl.col("time_ms") >= since_ms)
        later = int(scan.select(pl.len()).collect().item())
    if rows == "random":
        scan = scan.filter(pl.col("random"))
    frame = scan.collect().sort(sort, maintain_order=True)
    read = {"in_log": total, "before_the_replayed_part": total - later}
    return frame, {**read, "not_randomly_exposed": later - frame.height}


def _flag(frame: pl.DataFrame) -> NDArray[np.bool_]:
    return frame["random"].to_numpy().astype(bool)


def _with_candidates(
    dataset: Dataset, frame: pl.DataFrame, random: NDArray[np.bool_], read: dict[str, int]
) -> LoggedRows:
    catalogue = dataset.catalogue()
    row, _, identifiers, _ = padded_lists(frame["candidates"])
    index = np.asarray(catalogue.video_index(identifiers), dtype=np.int32)
    # A video listed twice counts once; one that the catalogue lacks cannot be scored.
    known = pl.DataFrame({"row": row, "video": index}).filter(pl.col("video") >= 0)
    known = known.unique(maintain_order=True)
    row, index = known["row"].to_numpy(), known["video"].to_numpy()
    counts = np.bincount(row, minlength=frame.height)
    first = np.cumsum(counts) - counts
    candidates = np.full((frame.height, max(int(counts.max(initial=0)), 1)), -1, dtype=np.int32)
    candidates[row, np.arange(len(row)) - first[row]] = index
    video = np.asarray(catalogue.video_index(frame["video_id"].to_numpy()), dtype=np.int32)
    present = (candidates == video[:, None]).any(axis=1) & (video >= 0)
    recorded = frame["propensity"].to_numpy().astype(np.float64)
    equal = 1.0 / np.maximum(counts, 1)
    propensity = np.where(np.isnan(recorded) & random, equal, recorded)
    valid = (propensity > 0) & (propensity <= 1)
    keep = present & valid
    read = {
        **read,
        "without_candidates": int((counts == 0).sum()),
        "shown_video_not_among_candidates": int((~present & (counts > 0)).sum()),
        "without_valid_propensity": int((present & ~valid).sum()),
    }
    uniform = bool(np.allclose(propensity[keep], equal[keep], rtol=1e-3))
    return _rows(
        dataset, frame, video, propensity, keep, read, "candidates", uniform, candidates, None, []
    )


def _with_pool(
    dataset: Dataset,
    frame: pl.DataFrame,
    random: NDArray[np.bool_],
    read: dict[str, int],
    pool: Int32,
    kind: str,
) -> LoggedRows:
    video = np.asarray(
        dataset.catalogue().video_index(frame["video_id"].to_numpy()), dtype=np.int32
    )
    recorded = frame["propensity"].to_numpy().astype(np.float64)
    equal = 1.0 / max(len(pool), 1)
    warnings = []
    if kind == "random pool":
        known = ~np.isnan(recorded)
        ratio = float(recorded[known].mean() / equal) if known.any() else 1.0
        if not 0.5 < ratio < 2.0:
            warnings.append(
                f"recorded propensities average {recorded[known].mean():.3g}, but one of "
                f"{len(pool):,} equally likely videos has {equal:.3g}: they were over other sets. "
                "They are ignored, and every video of the pool counts as equally likely; "
                "a 'candidates' column would settle it."
            )
            recorded = np.full_like(recorded, np.nan)
    propensity = np.where(np.isnan(recorded) & random, equal, recorded)
    valid = (propensity > 0) & (propensity <= 1)
    keep = valid & (video >= 0)
    read = {
        **read,
        "video_unknown": int((video < 0).sum()),
        "without_valid_propensity": int(((video >= 0) & ~valid).sum()),
    }
    uniform = bool(np.allclose(propensity[keep], equal, rtol=1e-3))
    if uniform:
        warnings += _uneven(video[keep], len(pool))
    return _rows(dataset, frame, video, propensity, keep, read, kind, uniform, None, pool, warnings)


def _uneven(video: Int32, pool_size: int) -> list[str]:
    """Warn if pool videos were shown far from equally often (chi-square dispersion)."""
    if pool_size < 2 or len(video) < 5 * pool_size:
        return []
    counts = np.bincount(np.unique(video, return_inverse=True)[1], minlength=pool_size)
    expected = len(video) / pool_size
    dispersion = float(((counts - expected) ** 2).sum() / expected / (pool_size - 1))
    # Under equal chances the dispersion is 1 with standard deviation sqrt(2 / (pool - 1)).
    if dispersion < 1.0 + 6.0 * np.sqrt(2.0 / (pool_size - 1)):
        return []
    return [
        f"the rows marked random do not show the pool's videos equally often (dispersion "
        f"{dispersion:.1f}, expected 1.0): equal chances are assumed, and may be wrong."
    ]


def _rows(
    dataset: Dataset,
    frame: pl.DataFrame,
    video: Int32,
    propensity: Float64,
    keep: NDArray[np.bool_],
    accounting: dict[str, int],
    kind: str,
    uniform: bool,
    candidates: Int32 | None,
    pool: Int32 | None,
    warnings: list[str],
) -> LoggedRows:
    if not keep.any():
        reasons = ", ".join(f"{k.replace('_', ' ')}: {v:,}" for k, v in accounting.items() if v)
        raise DataError(f"no impression can be replayed ({reasons}).", REMEDY)
    kept = frame.filter(pl.Series(keep))
    user = np.searchsorted(dataset.user_ids(), kept["user_id"].to_numpy()).astype(np.int32)
    return LoggedRows(
        user=user,
        shown=video[keep],
        time_ms=kept["time_ms"].to_numpy().astype(np.int64),
        page=np.arange(int(keep.sum())),
        position=np.zeros(int(keep.sum()), dtype=np.int64),
        propensity=propensity[keep],
        candidates=None if candidates is None else candidates[keep],
        logging=None,
        pool=pool,
        uniform=uniform,
        outcomes=outcome_arrays(kept),
        accounting={**accounting, "used": int(keep.sum())},
        kind=kind,
        warnings=warnings,
    )
