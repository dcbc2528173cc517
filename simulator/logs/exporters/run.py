"""Write a dataset directory as Kuaishou-format files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from simulator.calendar import china_ms
from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.logs.exporters import layout
from simulator.logs.exporters.cells import file_columns
from simulator.logs.exporters.layout import FileLayout
from simulator.logs.exporters.report import ExportReport
from simulator.logs.interactions import ENGAGED
from simulator.progress import Meter, Report

ExportFormat = Literal["kuairand", "kuaicomt"]
SOURCE_FILE = "SOURCE.txt"
# The importer makes these of row order and times.
_IMPLIED = ("session_id", "request_id", "position")
_File = tuple[FileLayout, pl.LazyFrame]


def export_logs(
    dataset: Dataset,
    target: Path | str,
    *,
    format: ExportFormat,
    progress: Report | None = None,
) -> ExportReport:
    """Write a dataset as files of another format, with a note of where they come from.

    Tables stream, so memory does not grow with the log. Everything is written under a temporary
    name and renamed at the end.

    Args:
        dataset: What to export.
        target: Directory to create.
        format: Whose files: names, columns, order, units and sentinels.
        progress: Told the share of the rows that are written.

    Raises:
        DataError: unknown format, the directory exists, or there is no impression to export.
    """
    if format not in get_args(ExportFormat):
        raise DataError(
            f"no export format '{format}'.", f"Known: {', '.join(get_args(ExportFormat))}"
        )
    target = Path(target)
    if target.exists():
        raise DataError(f"{target} exists and is left untouched.", "Choose another directory")
    if not dataset.has("impressions"):
        raise DataError(f"{dataset.path} holds no impressions.", "Nothing was exported")
    report = ExportReport(format)
    files = list(_kuairand(dataset, report) if format == "kuairand" else _kuaicomt(dataset, report))
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        counts = [_count(rows) for _, rows in files]
        meter = Meter(progress, sum(counts))
        for (file, rows), count in zip(files, counts, strict=True):
            name = file.name.format(span=_span(dataset))
            report.rows[name] = count
            _write(dataset, file, rows, temporary / name, meter)
        (temporary / SOURCE_FILE).write_text(_source(dataset, format), encoding="utf-8")
        _remark_losses(dataset, [file for file, _ in files], report)
        temporary.rename(target)
        meter.end()
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return report


def _kuairand(dataset: Dataset, report: ExportReport) -> Iterator[_File]:
    log = dataset.scan("impressions")
    random = pl.lit(False)
    if dataset.has_column("impressions", "is_rand"):
        random = (pl.col("is_rand") == 1).fill_null(False)
    shown_at_random, shown = log.select(random.sum(), pl.len()).collect(engine="streaming").row(0)
    if shown_at_random < shown:
        yield layout.KUAIRAND_STANDARD, log.filter(~random)
    if shown_at_random:
        yield layout.KUAIRAND_RANDOM, log.filter(random)
    if 0 < shown_at_random < shown:
        report.remarks.append(
            "standard and random exposure go to two files, as in KuaiRand: the order of slots on "
            "pages that have both is lost"
        )
    for file in layout.KUAIRAND_FEATURES:
        yield file, dataset.scan(file.table)
    if dataset.has_column("videos", "caption"):
        yield layout.KUAIRAND_CAPTIONS, dataset.scan("videos")
    if _own_categories(dataset):
        yield layout.KUAIRAND_CATEGORIES, dataset.scan("videos")


def _own_categories(dataset: Dataset) -> bool:
    """Whether a category is anything but the first tag, which is what the importer assumes."""
    if not dataset.has_column("videos", "category"):
        return False
    if not dataset.has_column("videos", "tags"):
        return True
    first = pl.col("tags").list.first()
    other = pl.col("category").ne_missing(first).any()
    return bool(dataset.scan("videos").select(other).collect(engine="streaming").item())


def _kuaicomt(dataset: Dataset, report: ExportReport) -> Iterator[_File]:
    yield layout.KUAICOMT_LOG, dataset.scan("impressions")
    if dataset.has("comment_events"):
        positive = ENGAGED
        events = dataset.scan("comment_events")
        yield layout.KUAICOMT_COMMENT_EVENTS, events.filter(positive)
        silent = events.select((~positive).sum()).collect(engine="streaming").item()
        if silent:
            report.remarks.append(
                f"{silent:,} comments seen without a like or a reply: KuaiComt does not hold them"
            )
        report.remarks.append("comment events: times are whole seconds")
    for file in layout.KUAICOMT_FEATURES:
        if file.table != "comments" or dataset.has("comments"):
            yield file, dataset.scan(file.table)


def _count(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect(engine="streaming").item())


def _write(
    dataset: Dataset, file: FileLayout, rows: pl.LazyFrame, path: Path, meter: Meter
) -> None:
    present = set(dataset.info.columns.get(file.table, []))
    text = rows.select(file_columns(file, present))

    def written(part: pl.DataFrame) -> pl.DataFrame:
        meter.add(part.height)
        return part

    text = text.map_batches(written, streamable=True, validate_output_schema=False)
    text.sink_csv(path, quote_style="necessary", line_terminator="\n", maintain_order=True)


def _span(dataset: Dataset) -> str:
    """``4_08_to_4_21``: first and last day, China time, as in KuaiRand's file names."""
    assert dataset.info.time_span_ms is not None
    days = [datetime.fromtimestamp(china_ms(ms) / 1000, UTC) for ms in dataset.info.time_span_ms]
    return "_to_".join(f"{day.month}_{day.day:02d}" for day in days)


def _source(dataset: Dataset, format: str) -> str:
    info = dataset.info
    kind = "recorded" if info.world is None else "simulated: no real person did any of this"
    return (
        f"Files in the format of {format}, written by abtest data export.\n"
        f"Data: {info.name} ({kind})\nSource: {info.source}\nLicence: {info.licence}\n"
        f"Content hash of the dataset: {info.content_hash}\n"
    )


def _remark_losses(dataset: Dataset, files: list[FileLayout], report: ExportReport) -> None:
    for table, present in dataset.info.columns.items():
        if not dataset.has(table):
            continue
        if all(file.table != table for file in files):
            report.left_out[table] = ["the whole table"]
            continue
        carried = {target for file in files if file.table == table for target in file.targets()}
        if table == "videos":
            carried.add("category")
        lost = [name for name in present if name not in carried]
        implied = [name for name in lost if table == "impressions" and name in _IMPLIED]
        lost = [name for name in lost if name not in implied]
        if lost:
            report.left_out[table] = lost
        if implied:
            report.remarks.append(
                f"{', '.join(implied)}: an import makes them of row order and times"
            )
    if dataset.has_column("videos", "upload_time_ms"):
        report.remarks.append("upload_time_ms: the day only, China time")
    if layout.KUAICOMT_VIDEOS in files and dataset.has_column("videos", "tags"):
        report.remarks.append("KuaiComt holds one category per video and no further tags")
