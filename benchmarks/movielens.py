"""Video policies on MovieLens 100k, the log on which public libraries are compared.

    python -m benchmarks.movielens ml-100k.inter popular itemknn ease
    python -m benchmarks.movielens ml-100k.inter itemknn:neighbours=50,shrinkage=10
    python -m benchmarks.movielens ml-100k.inter gru4rec:epochs=8 --seeds 3
    python -m benchmarks.movielens ml-100k.inter unisrec two-tower --items ml-100k.item

The file is ``dataset/ml-100k/ml-100k.inter`` of the repository RUCAIBox/RecBole: tab-separated
user, item, rating and Unix seconds under a header. Leave-last-out, full ranking, rated films
removed, ties against the policy, one thread. Every rating counts as a click and a like. Ratings of
one second keep the file's order.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
import torch

from abtest.tables import table
from benchmarks.captions import with_captions
from policies.evaluate import ranks, summarise
from policies.holdout import held_out, training_part
from policies.registry import create
from simulator.logs.dataset import Dataset, DatasetWriter


def movielens(ratings: Path, target: Path) -> Dataset:
    frame = (
        pl.read_csv(ratings, separator="\t", new_columns=["user_id", "video_id", "rating", "s"])
        .select(
            pl.col("user_id", "video_id").cast(pl.Int64),
            (pl.col("s").cast(pl.Float64).cast(pl.Int64) * 1_000).alias("time_ms"),
            pl.lit(1, pl.Int8).alias("is_click"),
            pl.lit(1, pl.Int8).alias("is_like"),
            pl.lit(10_000, pl.Int64).alias("play_time_ms"),
        )
        .sort("user_id", "time_ms", maintain_order=True)
        .with_columns(pl.col("time_ms") + pl.int_range(pl.len()).over("user_id", "time_ms"))
    )
    with DatasetWriter(target, name="ml-100k", source=ratings.name, licence="GroupLens") as writer:
        writer.append("impressions", frame)
        writer.append("users", frame.select(pl.col("user_id").unique().sort()))
        writer.append("videos", frame.select(pl.col("video_id").unique().sort()))
    return Dataset.open(target)


def named(spec: str) -> tuple[str, dict[str, Any]]:
    name, _, given = spec.partition(":")
    pairs = (part.partition("=") for part in given.split(",") if part)
    return name, {key: json.loads(value) for key, _, value in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", type=Path, help="ml-100k.inter")
    parser.add_argument("policies", nargs="+", help="NAME or NAME:setting=value,...")
    parser.add_argument("--items", type=Path, help="ml-100k.item: titles and genres as captions")
    parser.add_argument("--seeds", type=int, default=1, help="training seeds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        log = movielens(options.ratings, Path(folder) / "log")
        if options.items is not None:
            log = with_captions(log, options.items, Path(folder) / "captions")
        test = held_out(log, "liked")
        training = training_part(log, test, Path(folder) / "training")
        for spec in options.policies:
            name, settings = named(spec)
            per_seed, seconds = [], 0.0
            for seed in range(1, options.seeds + 1):
                policy = create(name, **settings)
                started = time.process_time()
                policy.fit(training, seed=seed)
                seconds += time.process_time() - started
                per_seed.append(ranks(policy, training, test, "liked"))
            found = summarise(spec, log.catalogue().n_videos, per_seed)
            rows.append(
                (
                    spec,
                    *(
                        f"{found.metrics[m]:.4f} +- {found.errors[m]:.4f}"
                        for m in ("HR@10", "NDCG@10")
                    ),
                    f"{seconds / options.seeds:.1f}",
                )
            )
    header = ("policy", "HR@10", "NDCG@10", "CPU s")
    print(table(rows, header=header, right=(1, 2, 3)))
    print(f"\n{len(test):,} users; +- is the standard error over users; {options.seeds} seeds")


if __name__ == "__main__":
    main()
