"""Import the two public logs on which sequential recommenders are compared.

``ml-100k.inter``: ``dataset/ml-100k`` of the repository RUCAIBox/RecBole; tab-separated user, item,
rating and Unix seconds under a header. ``Video.txt``: ``python/data`` of pmixer/SASRec.pytorch;
user and item by spaces, each user's in order of time, without times.

Every line counts as a click and a like. The order within a user is by second, and lines of one
second (half of ml-100k) keep the file's order, so that "the last" is one and the same event for
every policy and every library; no line is dropped.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from simulator.logs.dataset import Dataset, DatasetWriter


def read_ratings(path: Path) -> pl.DataFrame:
    """Columns user_id, video_id and time_ms, sorted by user and time; times differ within a user.

    Raises:
        SystemExit: a file of another form.
    """
    if path.suffix == ".inter":
        frame = pl.read_csv(
            path, separator="\t", new_columns=["user_id", "video_id", "rating", "s"]
        )
        frame = frame.with_columns(pl.col("s").cast(pl.Float64).cast(pl.Int64) * 1_000)
    elif path.suffix == ".txt":
        frame = pl.read_csv(
            path, separator=" ", has_header=False, new_columns=["user_id", "video_id"]
        ).with_columns((pl.int_range(pl.len()) * 1_000).alias("s"))
    else:
        raise SystemExit(
            f"{path}: expected ml-100k.inter or Video.txt, see benchmarks/lib/ratings.py"
        )
    return (
        frame.select(pl.col("user_id", "video_id").cast(pl.Int64), pl.col("s").alias("time_ms"))
        .sort("user_id", "time_ms", maintain_order=True)
        .with_columns(pl.col("time_ms") + pl.int_range(pl.len()).over("user_id", "time_ms"))
    )


def ratings_dataset(path: Path, target: Path) -> Dataset:
    """The file as a dataset in a directory to create."""
    frame = read_ratings(path).with_columns(
        pl.lit(1, pl.Int8).alias("is_click"),
        pl.lit(1, pl.Int8).alias("is_like"),
        pl.lit(10_000, pl.Int64).alias("play_time_ms"),
    )
    with DatasetWriter(target, name=path.stem, source=path.name, licence="research") as writer:
        writer.append("impressions", frame)
        writer.append("users", frame.select(pl.col("user_id").unique().sort()))
        writer.append("videos", frame.select(pl.col("video_id").unique().sort()))
    return Dataset.open(target)
