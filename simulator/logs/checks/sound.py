"""Refuse a dataset whose values or files are not what it says, before anything learns from it.

One pass over all tables: the content hash, and the bounds of every column. What was found sound is
remembered by the sizes and times of its files, so that the pass is made once.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from simulator.errors import DataError
from simulator.logs.checks.values import ValueChecks
from simulator.logs.content import HASHED_BY, content_hash, hash_of_rows
from simulator.logs.dataset import INFO_FILE, Dataset
from simulator.logs.scanning import batches
from simulator.logs.schema import TABLES


def ensure_sound(dataset: Dataset, memory: Path | None = None) -> None:
    """Check values and content hash, unless this was done before and no file has changed.

    Args:
        dataset: The log.
        memory: Directory in which to remember sound datasets; None to check every time.

    Raises:
        DataError: a value cannot be, or the files are not those that the hash was made of.
    """
    mark = None if memory is None else memory / f"{_signature(dataset)}.sound"
    if mark is not None and mark.is_file():
        return
    sums: dict[str, int] = {}
    for name in dataset.info.columns:
        checks = ValueChecks(TABLES[name], dataset.info.columns[name])
        sums[name] = 0
        for first, rows in batches(dataset, name):
            sums[name] += hash_of_rows(rows, first)
            checks.note(rows, first)
        for violation in checks.violations():
            if violation.rule.severity == "error":
                raise DataError(
                    f"{dataset.path}: {name} row {violation.row:,}: {violation.rule.column} is "
                    f"{violation.shown}, expected {violation.rule.expected}. "
                    f"{violation.count:,} such values.",
                    f"All problems: abtest data check {dataset.path}",
                )
    problem = hash_problem(dataset, sums)
    if problem:
        raise DataError(problem, "Import or make the dataset again")
    if mark is not None:
        try:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        except OSError:
            # A cache that cannot be written to costs time, nothing else.
            return


def hash_problem(dataset: Dataset, sums: dict[str, int]) -> str:
    """What is wrong with the content hash; empty if nothing is, or if it cannot be checked.

    Args:
        dataset: The log.
        sums: Of `hash_of_rows`, for every table.
    """
    if dataset.info.hashed_by != HASHED_BY:
        return ""
    found = content_hash(dataset.info.columns, dataset.info.rows, sums)
    if found == dataset.info.content_hash:
        return ""
    return (
        f"{dataset.path}: the tables are not those that {INFO_FILE} describes (its content hash is "
        "another): they were changed or damaged after they were written."
    )


def _signature(dataset: Dataset) -> str:
    """Of the names, sizes and times of all files."""
    digest = hashlib.blake2b(digest_size=16)
    files = [dataset.path / INFO_FILE]
    for name in dataset.info.columns:
        files += sorted((dataset.path / name).glob("part-*.parquet"))
    for file in files:
        status = file.stat()
        digest.update(os.fsencode(file.resolve()))
        digest.update(f":{status.st_size}:{status.st_mtime_ns}:{status.st_ino};".encode())
    return digest.hexdigest()
