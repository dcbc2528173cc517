"""Write the log of an experiment: parts per group of people, then one dataset.

While a group lives, a recorder writes parts to the group's own directory whenever it holds more
than `SPILL_BYTES`. Once all groups are done, `assemble` puts their rows in the order of the log
format and makes a dataset of them. Decisions are most of the bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abtest.errors import RunDataError
from abtest.files import temporary_name
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.schema import EVENT_TABLES, TABLES
from simulator.progress import Meter, Report
from simulator.recorder import ORDER, RecordedPage, Recorder

SPILL_BYTES = 256 << 20
_PLATFORM = "platform"
_PEOPLE_AT_ONCE = 512
"""People whose rows are sorted together; a group's decisions do not fit in memory at once."""


class GroupLog:
    """The log of one group of people, in a directory that appears when it is complete.

    Args:
        directory: To be made.
    """

    def __init__(self, directory: Path) -> None:
        self._target = directory
        self._folder = temporary_name(directory)
        self._folder.mkdir(parents=True)
        self._parts = 0
        self._recorder: _SpillingRecorder | None = None

    def add_users(self, users: pl.DataFrame) -> None:
        """Rows of the table ``users``."""
        self.add("users", users)

    def add(self, table: str, frame: pl.DataFrame) -> None:
        """A part of a table."""
        frame.write_parquet(self._folder / f"{table}-{self._parts:05d}.parquet", compression="zstd")
        self._parts += 1

    def recorder(
        self,
        catalogue: Catalogue,
        user_ids: NDArray[np.int64] | None,
        people: pl.DataFrame,
        start_ms: int,
    ) -> Recorder:
        """A recorder that writes here.

        Args:
            catalogue: See `simulator.recorder.Recorder`.
            user_ids: The same.
            people: ``user_id``, ``arm`` and ``policy`` of everyone in the group.
            start_ms: Start of the experiment; before it the platform's own ranker served all.
        """
        self._recorder = _SpillingRecorder(catalogue, user_ids, people, start_ms, self)
        return self._recorder

    def finish(self) -> None:
        """Write the rest, and let the directory appear."""
        if self._recorder is not None:
            self._recorder.spill()
        if self._target.exists():
            shutil.rmtree(self._target)
        self._folder.rename(self._target)


class _SpillingRecorder(Recorder):
    """Drains itself to a `GroupLog` between two turns of the feed."""

    def __init__(
        self,
        catalogue: Catalogue,
        user_ids: NDArray[np.int64] | None,
        people: pl.DataFrame,
        start_ms: int,
        log: GroupLog,
    ) -> None:
        super().__init__(catalogue, user_ids)
        self._people = people
        self._start_ms = start_ms
        self._log = log

    def add_page(self, page: RecordedPage) -> None:
        """Make room, then add the page."""
        if self.bytes > SPILL_BYTES:
            self.spill()
        super().add_page(page)

    def spill(self) -> None:
        """Write what has been collected."""
        for table, frame in self.drain():
            self._log.add(table, self._labelled(table, frame))

    def _labelled(self, table: str, frame: pl.DataFrame) -> pl.DataFrame:
        """With the arm and the policy of each row, where the table has a place for them."""
        if TABLES[table].column("arm") is None:
            return frame
        during = pl.col("time_ms") >= self._start_ms
        known = frame.drop("policy", "arm", strict=False).join(
            self._people, on="user_id", how="left", maintain_order="left"
        )
        return known.with_columns(
            pl.when(during).then("arm"),
            pl.when(during).then("policy").otherwise(pl.lit(_PLATFORM)).alias("policy"),
        )


def assemble(
    target: Path,
    groups: Sequence[Path],
    dataset: Dataset,
    *,
    name: str,
    source: str,
    randomisation: dict[str, Any],
    report: Report | None = None,
) -> Dataset:
    """Make one dataset of the groups' logs.

    Args:
        target: Directory to create.
        groups: Directories of the groups, in order.
        dataset: What the policies were trained on; its videos and comments are the inventory.
        name: See `simulator.logs.dataset.DatasetInfo`, as for the next two.
        source: Where it comes from.
        randomisation: What was left to chance.
        report: Told the share of the groups' bytes that are written.

    Raises:
        RunDataError: a group's log is missing.
    """
    for folder in groups:
        if not folder.is_dir():
            raise RunDataError(
                f"{folder} is missing: the log of these people was not kept.",
                "Run the experiment again with --keep-log and another --out",
            )
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in groups]
    meter = Meter(report, sum(sizes))
    info = dataset.info
    notes = [f"simulated people, inventory of '{info.name}' ({info.content_hash})"]
    if info.world is None:
        notes.append("what these people did before the experiment is in that dataset")
    with DatasetWriter(
        target,
        name=name,
        source=source,
        licence=info.licence,
        language=info.language,
        world=info.world,
        notes=notes,
        randomisation=randomisation,
    ) as writer:
        for table in ("videos", "comments"):
            if dataset.has(table):
                writer.append(table, dataset.scan(table).collect())
        for folder in groups:
            for table in ("users", *EVENT_TABLES):
                for frame, size in _sorted_rows(folder, table):
                    writer.append(table, frame)
                    meter.add(size)
    meter.end()
    return Dataset.open(target)


def _sorted_rows(folder: Path, table: str) -> Iterator[tuple[pl.DataFrame, float]]:
    """The rows of a group, ordered as the format asks, some people at a time; bytes of files."""
    files = sorted(folder.glob(f"{table}-*.parquet"))
    if not files:
        return
    rows = pl.scan_parquet(files, glob=False)
    size = sum(file.stat().st_size for file in files)
    if table not in ORDER:
        yield rows.sort("user_id").collect(), size
        return
    users = rows.select(pl.col("user_id").unique().sort()).collect()["user_id"]
    columns = [n for n in TABLES[table].dtypes() if n in rows.collect_schema()]
    for first in range(0, len(users), _PEOPLE_AT_ONCE):
        chosen = users[first : first + _PEOPLE_AT_ONCE]
        some = rows.filter(pl.col("user_id").is_between(chosen[0], chosen[-1]))
        frame = some.select(columns).collect().sort(ORDER[table], maintain_order=True)
        yield frame, size * len(chosen) / len(users)
