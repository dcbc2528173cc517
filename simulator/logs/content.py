"""Hash the values of tables, whatever parts they are written in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

HASHED_BY = f"polars {pl.__version__}"
"""Another version of polars may hash rows otherwise."""
_SEED = 11


def hash_of_rows(frame: pl.DataFrame, start: int) -> int:
    """The sum over rows of a mix of the row's hash and its number, modulo 2^64.

    Sums of parts add up, so the hash depends on the order of rows and not on the parts.

    Args:
        frame: Rows, all columns.
        start: Number of the first row within its table.
    """
    if frame.height == 0:
        return 0
    rows = frame.select(sorted(frame.columns)).hash_rows(seed=_SEED).to_numpy()
    with np.errstate(over="ignore"):
        weight = (
            np.arange(start, start + frame.height, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        ) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (rows ^ weight) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = mixed ^ (mixed >> np.uint64(31))
        return int(np.add.reduce(mixed * np.uint64(0x94D049BB133111EB)))


def content_hash(
    columns: Mapping[str, Iterable[str]], rows: Mapping[str, int], sums: Mapping[str, int]
) -> str:
    """The hash of a dataset: names, columns, numbers of rows and sums of `hash_of_rows`."""
    digest = hashlib.blake2b(digest_size=16)
    for table in sorted(columns):
        names = sorted(columns[table])
        digest.update(f"{table}:{names}:{rows[table]}:{sums[table] % 2**64}".encode())
    return digest.hexdigest()
