"""Read the tables of a dataset in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.progress import Meter

BATCH_ROWS = 500_000


def batches(
    dataset: Dataset,
    table: str,
    columns: Sequence[str] | None = None,
    meter: Meter | None = None,
) -> Iterator[tuple[int, pl.DataFrame]]:
    """(number of the first row, rows) in the order of the part files.

    Args:
        dataset: The log.
        table: Name of a table that it has.
        columns: Those wanted; None for all.
        meter: Told the cells that have been dealt with.

    Raises:
        DataError: a file is damaged.
    """
    first = 0
    rows = dataset.scan(table)
    if columns is not None:
        rows = rows.select(columns)
    try:
        for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            for part in batch.iter_slices(BATCH_ROWS):
                yield first, part
                first += part.height
                if meter is not None:
                    meter.add(part.height * part.width)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{dataset.path / table} is damaged: {str(error).splitlines()[0]}.",
            "Import it again: abtest data import FILES DATASET",
        ) from None
