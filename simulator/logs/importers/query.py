"""Run an SQL query with DuckDB and hand its result over as a table."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator.errors import DataError, MissingPackage

RESULT = "query.parquet"


@contextmanager
def query_result(sql: str | None, target: Path) -> Iterator[list[Path]]:
    """The result of a query as a Parquet file beside the target; nothing without a query.

    The query is the user's own: it may read any file that the user may.

    Args:
        sql: One ``SELECT`` statement, or None.
        target: Dataset directory that is to be created.

    Raises:
        DataError: the query fails.
        MissingPackage: duckdb is not installed.
    """
    if sql is None:
        yield []
        return
    try:
        import duckdb
    except ImportError:
        raise MissingPackage("--sql needs duckdb.", "pip install 'abtest[sql]'") from None
    folder = target.with_name(f".{target.name}.query.{os.getpid()}.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    result = folder / RESULT
    try:
        quoted = str(result).replace("'", "''")
        try:
            with duckdb.connect() as connection:
                connection.execute(
                    f"COPY ({sql.strip().rstrip(';')}) TO '{quoted}' (FORMAT parquet)"
                )
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise DataError(f"the query fails: {first}.", "Try it in duckdb") from None
        yield [result]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
