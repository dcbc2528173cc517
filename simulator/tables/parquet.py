"""Read one Parquet file into frames of bounded size, with the number of every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from simulator.errors import DataError
from simulator.tables.delimited import LINE, Piece
from simulator.tables.tally import Tally

_ROWS = 250_000


class ParquetFile:
    """A Parquet file. Opening it reads its schema.

    Args:
        path: The file.

    Raises:
        DataError: it is damaged or empty.
    """

    dialect = "Parquet"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: dict[str, str] = {}
        try:
            self._lazy = pl.scan_parquet(path, glob=False)
            schema = self._lazy.collect_schema()
            self._height = int(self._lazy.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._damaged(error) from None
        except TypeError:
            raise DataError(f"the name of {path} is not UTF-8.", "Rename it") from None
        for name in schema:
            clean = name.strip()
            if clean in self._names:
                raise DataError(f"{path}: column '{clean}' appears twice.")
            self._names[clean] = name
        self.columns = list(self._names)
        self.schema = {clean: schema[name] for clean, name in self._names.items()}

    def pieces(self, columns: Sequence[str], tally: Tally) -> Iterator[Piece]:
        """The rows of the file in order; ``LINE`` counts rows from 1.

        Args:
            columns: Those wanted, all known.
            tally: Receives rows read.

        Raises:
            DataError: the file is damaged.
        """
        wanted = [pl.col(self._names[name]).alias(name) for name in columns]
        first, size = 1, self.path.stat().st_size
        rows = self._lazy.with_row_index(LINE).select(pl.col(LINE), *wanted)
        try:
            for batch in rows.collect_batches(chunk_size=_ROWS, maintain_order=True):
                for part in batch.iter_slices(_ROWS):
                    tally.read += part.height
                    tally.tell(size * part.height / self._height)
                    lines = pl.int_range(first, first + part.height, dtype=pl.Int64, eager=True)
                    yield Piece(part.with_columns(lines.alias(LINE)))
                    first += part.height
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._damaged(error) from None
        if first - 1 != self._height:
            # A reader's thread that fails may end the rows without an error.
            read = f"{first - 1:,} of its {self._height:,} rows can be read"
            raise self._damaged(ValueError(read))

    def _damaged(self, error: Exception) -> DataError:
        first = (str(error).splitlines() or ["unreadable"])[0]
        return DataError(f"{self.path} cannot be read: {first}.", "Copy or download it again")
