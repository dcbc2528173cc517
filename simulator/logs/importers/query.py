"""Run an SQL query with DuckDB and hand its result over as a table."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simulator.errors import DataError, MissingPackage
from simulator.progress import Report

RESULT = "query.parquet"
_ASKED_SECONDS = 0.2
"""How often DuckDB is asked how far it is."""


@contextmanager
def query_result(
    sql: str | None, target: Path, report: Report | None = None
) -> Iterator[list[Path]]:
    """The result of a query as a Parquet file beside the target; nothing without a query.

    The query is the user's own: it may read any file that the user may.

    Args:
        sql: One ``SELECT`` statement, or None.
        target: Dataset directory that is to be created.
        report: Told the share of the query that is done, as DuckDB estimates it.

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
                copy = f"COPY ({sql.strip().rstrip(';')}) TO '{quoted}' (FORMAT parquet)"
                if report is None:
                    connection.execute(copy)
                else:
                    _execute(connection, copy, report)
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise DataError(f"the query fails: {first}.", "Try it in duckdb") from None
        yield [result]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _execute(connection: Any, statement: str, report: Report) -> None:
    """Execute a statement beside this thread, which tells how far it is.

    A version of DuckDB that does not say how far it is leaves the share at 0 until the end.
    """
    import duckdb

    # Without these DuckDB does not measure, or draws a bar of its own.
    with contextlib.suppress(duckdb.Error):
        connection.execute("SET enable_progress_bar = true")
        connection.execute("SET enable_progress_bar_print = false")
        connection.execute("SET progress_bar_time = 0")
    failed: list[BaseException] = []

    def work() -> None:
        try:
            connection.execute(statement)
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    told = 0.0
    asked = getattr(connection, "query_progress", lambda: 0.0)
    report(told)
    try:
        while worker.is_alive():
            worker.join(_ASKED_SECONDS)
            # -1 where nothing is known; an estimate may fall when a further step begins.
            told = max(told, min(float(asked()) / 100.0, 1.0))
            report(told)
    except BaseException:
        connection.interrupt()
        worker.join()
        raise
    if failed:
        raise failed[0]
    report(1.0)
