"""Write a dataset of some of the people of a log, in one pass over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from simulator.errors import DataError
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.scanning import BATCH_ROWS, batches
from simulator.randomness import purpose_key, uniform


def sample_people(
    dataset: Dataset, target: Path, users: int, *, seed: int = 1, overwrite: bool = False
) -> Dataset:
    """The same log with a random part of its people; videos and comments stay whole.

    Who is drawn depends on the identifiers and the seed alone, and a smaller sample is part of a
    larger one. Every table is read once, in batches; memory grows with the number of people.

    Args:
        dataset: The log.
        target: Dataset directory to create.
        users: How many people.
        seed: Another seed draws other people.
        overwrite: Replace an existing dataset.

    Raises:
        DataError: more people than there are, or none; or ``target`` exists.
    """
    ids = dataset.user_ids()
    if not 1 <= users <= len(ids):
        raise DataError(
            f"a sample of {users:,} people was asked for, {dataset.path} has {len(ids):,}."
        )
    draw = uniform(purpose_key(seed, "logs.sample"), ids)
    # Stable: equal draws go by identifier.
    chosen = pl.Series("user_id", np.sort(ids[np.argsort(draw, kind="stable")[:users]]))
    info = dataset.info
    writer = DatasetWriter(
        target,
        name=f"{info.name}, {users:,} people",
        source=info.source,
        licence=info.licence,
        language=info.language,
        notes=[*info.notes, f"a sample of {users:,} of {len(ids):,} people, seed {seed}"],
        randomisation=info.randomisation,
        overwrite=overwrite,
    )
    writer.placeholders += info.placeholders
    with writer:
        for table in info.columns:
            for part in _parts(dataset, table, chosen):
                writer.append(table, part)
    return Dataset.open(target)


def _parts(dataset: Dataset, table: str, chosen: pl.Series) -> Iterator[pl.DataFrame]:
    """The rows of the chosen people, in parts of bounded size; at least one part."""
    pending: list[pl.DataFrame] = []
    written = False
    for _, rows in batches(dataset, table):
        if "user_id" in rows.columns:
            rows = rows.join(chosen.to_frame(), on="user_id", how="semi", maintain_order="left")
        pending.append(rows)
        if sum(part.height for part in pending) >= BATCH_ROWS:
            yield pl.concat(pending)
            pending, written = [], True
    if pending and (not written or sum(part.height for part in pending)):
        yield pl.concat(pending)
