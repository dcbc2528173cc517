"""Add captions to a log whose films are named in a table of its own, as in MovieLens."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from simulator.logs.dataset import Dataset, DatasetWriter


def with_captions(log: Dataset, items: Path, target: Path) -> Dataset:
    """The log again, title and genres of each video as its caption.

    Args:
        log: Without captions.
        items: ``ml-100k.item``: tab-separated item, title, year and genres under a header.
        target: Directory to create.
    """
    films = pl.read_csv(
        items,
        separator="\t",
        quote_char=None,
        new_columns=["video_id", "title", "year", "genres"],
        schema_overrides=[pl.Int64, pl.String, pl.String, pl.String],
    ).select("video_id", caption=pl.concat_str("title", "genres", separator=" "))
    info = log.info
    with DatasetWriter(
        target, name=info.name, source=info.source, licence=info.licence, language="en"
    ) as writer:
        for table in info.rows:
            rows = log.scan(table).collect()
            if table == "videos":
                rows = rows.join(films, on="video_id", how="left", maintain_order="left")
            writer.append(table, rows)
    return Dataset.open(target)
