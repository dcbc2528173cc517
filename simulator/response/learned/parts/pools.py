"""Read a log that is too large for memory pool by pool: each pool holds some of the people, whole.

People are dealt into pools by hash, so that every pool is a random sample of them. One pass over
the log writes the rows of each pool to files; a pool is then read as often as training asks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from simulator.logs.dataset import Dataset
from simulator.logs.scanning import batches
from simulator.response.learned import features
from simulator.response.learned.features import Impressions, pool_of, pools_needed, wanted_columns


class Pools:
    """The impressions of a log in pools of about `features.MAX_ROWS` rows.

    Args:
        dataset: The log.
        seed: Deals people into pools.
        folder: Where the rows of pools are written, if there is more than one: about as much as
            the log's own table takes.
    """

    def __init__(self, dataset: Dataset, *, seed: int, folder: Path) -> None:
        self._dataset = dataset
        self._seed = seed
        self._folder = folder
        self.rows = int(dataset.info.rows.get("impressions", 0))
        self.count = pools_needed(self.rows)
        if self.count > 1:
            self._deal()

    def read(self, number: int) -> Impressions:
        """The people of one pool, from 0.

        Raises:
            DataError: there is nothing to learn from.
        """
        if self.count == 1:
            return Impressions.read(self._dataset, seed=self._seed)
        files = sorted(self._folder.glob(f"{number}-*.parquet"))
        columns = wanted_columns(self._dataset)
        empty = self._dataset.scan("impressions").select(columns).head(0)
        rows = pl.scan_parquet(files, glob=False) if files else empty
        return features.from_rows(self._dataset, rows.collect(), self.rows)

    def _deal(self) -> None:
        ids = self._dataset.user_ids()
        pool = pool_of(ids, self.count, self._seed)
        columns = wanted_columns(self._dataset)
        for number, (_, rows) in enumerate(batches(self._dataset, "impressions", columns)):
            at = np.searchsorted(ids, rows["user_id"].to_numpy())
            own = pool[np.minimum(at, len(ids) - 1)]
            dealt = rows.with_columns(pl.Series("_pool", own))
            for key, part in dealt.partition_by("_pool", as_dict=True, include_key=False).items():
                part.write_parquet(
                    self._folder / f"{int(key[0])}-{number:08d}.parquet", compression="lz4"
                )
