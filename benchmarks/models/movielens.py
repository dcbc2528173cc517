"""Evaluate video policies on MovieLens 100k, the log on which public libraries are compared.

    python -m benchmarks.models.movielens ml-100k.inter popular itemknn ease
    python -m benchmarks.models.movielens ml-100k.inter itemknn:neighbours=50,shrinkage=10
    python -m benchmarks.models.movielens ml-100k.inter gru4rec:epochs=8 --seeds 3
    python -m benchmarks.models.movielens ml-100k.inter unisrec two-tower --items ml-100k.item

The file is ml-100k.inter or Video.txt, see `benchmarks.lib.ratings`. Leave-last-out, full ranking,
rated films removed, ties against the policy, one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from abtest.tables import table
from benchmarks.lib.captions import with_captions
from benchmarks.lib.ratings import ratings_dataset
from benchmarks.lib.settings import settings_of
from policies.evaluation.evaluate import ranks, summarise
from policies.evaluation.holdout import held_out, training_part
from policies.registry import create


def named(spec: str) -> tuple[str, dict[str, Any]]:
    name, _, given = spec.partition(":")
    return name, settings_of(given.split(","))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", type=Path, help="ml-100k.inter or Video.txt")
    parser.add_argument("policies", nargs="+", help="NAME or NAME:setting=value,...")
    parser.add_argument("--items", type=Path, help="ml-100k.item: titles and genres as captions")
    parser.add_argument("--seeds", type=int, default=1, help="training seeds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        log = ratings_dataset(options.ratings, Path(folder) / "log")
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
