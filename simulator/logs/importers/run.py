"""From Kuaishou-format files to a dataset directory."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from simulator.errors import DataError
from simulator.logs.dataset import DatasetWriter
from simulator.logs.importers import columns
from simulator.logs.importers.columns import Field
from simulator.logs.importers.reading import BadRows, header_of, nearby, read_typed
from simulator.logs.importers.report import ImportReport, TableReport
from simulator.logs.schema import TABLES

Format = Literal["auto", "kuairand", "kuaicomt"]
SESSION_GAP_MS = 30 * 60_000
_ROWS_AT_ONCE = 4_000_000

_ROLES: dict[str, tuple[tuple[str, str], ...]] = {
    "kuairand": (
        ("impressions", r"log_(standard|random)_.*\.csv"),
        ("users", r"user_features.*\.csv"),
        ("videos", r"video_features_basic.*\.csv"),
        ("captions", r".*video_captions\.csv"),
        ("categories", r".*video_categories\.csv"),
    ),
    "kuaicomt": (
        ("impressions", r"user_(video_inter|photo_final_filtered_table)\.(csv|tsv)"),
        ("comment_events", r"user_comment_inter\.(csv|tsv)"),
        ("users", r"user_(features|table_final)\.(csv|tsv)"),
        ("videos", r"(video_features|photo_table_final)\.(csv|tsv)"),
        ("comments", r"comment_features\.(csv|tsv)"),
    ),
}
_FIELDS: dict[str, tuple[Field, ...]] = {
    "impressions": columns.IMPRESSIONS,
    "comment_events": columns.COMMENT_EVENTS,
    "users": columns.USERS,
    "videos": columns.VIDEOS,
    "comments": columns.COMMENTS,
    "captions": columns.CAPTIONS,
    "categories": columns.CATEGORIES,
}
_LICENCES = {
    "kuairand": "CC BY-SA 4.0 (KuaiRand; Gao et al., CIKM 2022)",
    "kuaicomt": "CC BY-NC-SA 4.0 and a confidentiality agreement (KuaiComt)",
}


def import_logs(
    source: Path,
    target: Path,
    *,
    format: Format = "auto",
    bad_rows: BadRows = "fail",
    overwrite: bool = False,
) -> ImportReport:
    """Import a log file, or a directory of them with features of users, videos and comments.

    Files stream through temporary Parquet, people in blocks: memory does not grow with the log.

    Args:
        source: File or directory.
        target: Dataset directory to create.
        format: Naming scheme; "auto" recognises it by file names and columns.
        bad_rows: "fail" on the first row that cannot be read, or "skip" and count them.
        overwrite: Replace an existing dataset.

    Raises:
        DataError: nothing to import, or bad input; nothing is written then.
    """
    plan = _plan(Path(source), format)
    reports = {name: TableReport(name) for name in TABLES}
    writer = DatasetWriter(
        target,
        name=Path(source).name,
        source=f"{plan.format} files from {Path(source).name}",
        licence=_LICENCES[plan.format],
        language="zh",
        overwrite=overwrite,
    )
    with tempfile.TemporaryDirectory(prefix="abtest-import-") as scratch, writer:
        staged = {
            role: _stage(Path(scratch), role, paths, reports, bad_rows)
            for role, paths in plan.files.items()
        }
        log = pl.scan_parquet(staged["impressions"])
        for block in _people(log):
            reports["impressions"].kept += block.height
            writer.append("impressions", block)
        if reports["impressions"].kept == 0:
            raise DataError(f"{source} holds no impressions: every row was rejected or none given.")
        if "comment_events" in staged:
            events = pl.scan_parquet(staged["comment_events"])
            _append(writer, reports, "comment_events", events.sort("user_id", "time_ms").collect())
        _append(writer, reports, "users", _users(log, staged, reports["users"]))
        videos = _videos(log, staged, reports["videos"])
        _append(writer, reports, "videos", videos)
        if "comments" in staged:
            frame = pl.scan_parquet(staged["comments"]).collect()
            _append(writer, reports, "comments", _unique(frame, "comment_id", reports["comments"]))
        used = [r for r in reports.values() if r.kept or r.files]
        report = ImportReport(plan.format, used, plan.ignored)
        writer.notes.extend(report.render().splitlines())
    return report


@dataclass(frozen=True)
class _Plan:
    format: str
    files: dict[str, list[Path]]
    ignored: list[str]


def _plan(source: Path, format: str) -> _Plan:
    if source.is_file():
        header, _ = header_of(source)
        guessed = "kuaicomt" if "p_hourmin" in header or "photo_id" in header else "kuairand"
        chosen = guessed if format == "auto" else format
        return _Plan(chosen, {"impressions": [source]}, [])
    if not source.is_dir():
        raise DataError(f"no file at {source}.{nearby(source)}", "Without data: abtest demo")
    present = sorted(p for p in source.rglob("*") if p.suffix in (".csv", ".tsv"))
    formats = list(_ROLES) if format == "auto" else [format]
    plans = [_assign(name, present, source) for name in formats]
    best = max(plans, key=lambda p: (bool(p.files.get("impressions")), len(p.files)))
    if not best.files.get("impressions"):
        names = ", ".join(p.name for p in present[:5]) or "no .csv files"
        raise DataError(
            f"{source} holds no log: found {names}.",
            "A log is named log_standard_*.csv, log_random_*.csv or user_video_inter.csv; "
            "or give the file itself",
        )
    return best


def _assign(name: str, present: list[Path], root: Path) -> _Plan:
    files: dict[str, list[Path]] = {}
    ignored = []
    for path in present:
        role = next((r for r, p in _ROLES[name] if re.fullmatch(p, path.name)), None)
        if role is None:
            ignored.append(str(path.relative_to(root)))
        else:
            files.setdefault(role, []).append(path)
    return _Plan(name, files, ignored)


def _stage(
    scratch: Path,
    role: str,
    paths: list[Path],
    reports: dict[str, TableReport],
    bad_rows: BadRows,
) -> list[Path]:
    """Typed Parquet files, one per source file, all with the same columns."""
    table = role if role in TABLES else "videos"
    staged = []
    for number, path in enumerate(paths):
        frame = read_typed(path, _FIELDS[role], reports[table], bad_rows)
        if role == "impressions":
            frame = _with_exposure(frame, path)
        missing = [
            pl.lit(None, f.dtype).alias(f.target)
            for f in _FIELDS[role]
            if f.target not in frame.collect_schema()
        ]
        columns_in_order = [f.target for f in _FIELDS[role]]
        staged.append(scratch / f"{role}-{number:03d}.parquet")
        frame.with_columns(missing).select(columns_in_order).sink_parquet(staged[-1])
    return staged


def _with_exposure(frame: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    """Where a log does not say, KuaiRand's file name does."""
    if "is_rand" in frame.collect_schema():
        return frame
    match = re.match(r"log_(standard|random)_", path.name)
    known = None if match is None else int(match.group(1) == "random")
    return frame.with_columns(pl.lit(known, pl.Int8).alias("is_rand"))


def _people(log: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Impressions in blocks of whole people, sorted by person and time, file order kept."""
    counts = log.group_by("user_id").agg(pl.len()).sort("user_id").collect(engine="streaming")
    if counts.height == 0:
        return
    block = (counts["len"].cum_sum() - 1) // _ROWS_AT_ONCE
    edges = counts.with_columns(block.alias("block")).group_by("block", maintain_order=True)
    absent = None
    for low, high in (
        edges.agg(pl.col("user_id").min().alias("low"), pl.col("user_id").max().alias("high"))
        .select("low", "high")
        .iter_rows()
    ):
        rows = log.filter(pl.col("user_id").is_between(low, high)).collect(engine="streaming")
        if absent is None:
            empty = log.select(pl.all().null_count() == pl.len()).collect(engine="streaming")
            absent = [name for name, gone in empty.row(0, named=True).items() if gone]
        yield _derived(rows.drop(absent))


def _derived(rows: pl.DataFrame) -> pl.DataFrame:
    """Slot on the page, page and session: what row order and times imply."""
    rows = rows.sort("user_id", "time_ms", maintain_order=True)
    changed = pl.col("time_ms") != pl.col("time_ms").shift(1).over("user_id")
    gap = pl.col("time_ms") - pl.col("time_ms").shift(1).over("user_id")
    return rows.with_columns(
        changed.fill_null(True).cum_sum().over("user_id").cast(pl.Int64).alias("request_id"),
        (gap > SESSION_GAP_MS)
        .fill_null(False)
        .cum_sum()
        .over("user_id")
        .cast(pl.Int64)
        .alias("session_id"),
        pl.int_range(pl.len())
        .over("user_id", "time_ms")
        .clip(0, 32_767)
        .cast(pl.Int16)
        .alias("position"),
    )


def _users(log: pl.LazyFrame, staged: dict[str, list[Path]], report: TableReport) -> pl.DataFrame:
    seen = log.select("user_id").unique().collect(engine="streaming")
    if "users" not in staged:
        return seen.sort("user_id")
    features = _unique(pl.scan_parquet(staged["users"]).collect(), "user_id", report)
    unknown = seen.join(features, on="user_id", how="anti")
    report.repair("people of the log without features: added", unknown.height)
    return pl.concat([features, unknown], how="diagonal").sort("user_id")


def _videos(log: pl.LazyFrame, staged: dict[str, list[Path]], report: TableReport) -> pl.DataFrame:
    """Features where given; videos of the log without any are added with their duration."""
    seen = (
        log.group_by("video_id")
        .agg(pl.col("duration_ms").max())
        .sort("video_id")
        .collect(engine="streaming")
    )
    videos = seen
    if "videos" in staged:
        features = _unique(pl.scan_parquet(staged["videos"]).collect(), "video_id", report)
        unknown = seen.join(features, on="video_id", how="anti")
        report.repair("videos of the log without features: added", unknown.height)
        videos = pl.concat([features, unknown], how="diagonal").sort("video_id")
        videos = videos.with_columns(pl.col("tags").list.first().alias("category"))
    for role in ("captions", "categories"):
        if role in staged:
            extra = _unique(pl.scan_parquet(staged[role]).collect(), "video_id", report)
            name = "caption" if role == "captions" else "category"
            if name in videos.columns:
                videos = videos.drop(name)
            videos = videos.join(extra, on="video_id", how="left")
    return videos.drop([c for c in videos.columns if videos[c].null_count() == videos.height])


def _unique(frame: pl.DataFrame, key: str, report: TableReport) -> pl.DataFrame:
    """One row per identifier; repeats are rejected and counted, the first row stays."""
    kept = frame.unique(key, keep="first", maintain_order=True)
    repeated = frame.height - kept.height
    if repeated:
        report.rejected += repeated
        report.rejections.append(f"{repeated:,} rows repeat a {key}; the first one is kept")
    return kept


def _append(
    writer: DatasetWriter, reports: dict[str, TableReport], table: str, frame: pl.DataFrame
) -> None:
    reports[table].kept = frame.height
    gone = [c for c in frame.columns if frame.height and frame[c].null_count() == frame.height]
    required = {c.name for c in TABLES[table].columns if c.required}
    writer.append(table, frame.drop([c for c in gone if c not in required]))
