"""Import a table of logged choices: who, what, how likely it was, what it earned.

A bandit log has a row per choice. The columns wanted are named ``NAME=COLUMN`` with the names

    action       what was chosen (required)
    reward       what it earned, a number (required)
    propensity   probability with which it was chosen, above 0 up to 1 (required)
    user         who; without it each row is a person of its own
    time         when, as ISO text or Unix milliseconds; without it rows count as seconds
    position     place on a page, a whole number
    target       probability of the same choice under another policy, 0 to 1; may be given twice or
                 more as ``target.NAME=COLUMN``

Open Bandit's files (item_id, click, propensity_score, position, timestamp) need no names. The
reward is kept as column ``reward`` of impressions, and as ``is_click`` where it is 0 or 1. Other
behaviours are not in such a log; ``play_time_ms`` is required by the format and stands at 0.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.logs.dataset import DatasetWriter
from simulator.logs.importers.report import ImportReport, TableReport
from simulator.progress import Meter, Report
from simulator.tables import BadRows, Kind, Number, Table, Text, Time, Whole, open_table

FORMAT = "open-bandit"
OPEN_BANDIT = {
    "action": "item_id",
    "reward": "click",
    "propensity": "propensity_score",
    "position": "position",
    "time": "timestamp",
}
NAMES = ("action", "reward", "propensity", "user", "time", "position", "target")
REQUIRED = ("action", "reward", "propensity")
TARGET = "target_probability"
"""Column of impressions that holds an unnamed target; named ones are ``target_NAME``."""
_LEAST = 5e-324


@dataclass(frozen=True)
class _Codes:
    """Values of a column as dense numbers, in order of the values."""

    numbers: NDArray[np.int64]
    values: list[str]


def parse_columns(text: str) -> dict[str, str]:
    """``"action=item,reward=click,propensity=p"`` as a mapping.

    Raises:
        DataError: a name that is none, or a required one that is missing.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, column = (x.strip() for x in part.partition("="))
        base = name.partition(".")[0]
        if not equals or not column:
            raise DataError(f"'{part.strip()}' is not NAME=COLUMN.", "Example: action=item_id")
        if base not in NAMES or (base != name and base != "target"):
            close = difflib.get_close_matches(name, NAMES, n=1)
            guess = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(NAMES)}."
            raise DataError(f"a choice has no '{name}'.", guess)
        if name in found:
            raise DataError(f"'{name}' is named twice.", "")
        found[name] = column
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise DataError(
            f"no column is named for {', '.join(missing)}.",
            "Example: --propensities action=item_id,reward=click,propensity=p",
        )
    return found


def import_bandit(
    source: Path | Sequence[Path],
    target: Path,
    columns: Mapping[str, str] | None = None,
    *,
    bad_rows: BadRows = "fail",
    encoding: str | None = None,
    decimal: str | None = None,
    overwrite: bool = False,
    report: Report | None = None,
) -> ImportReport:
    """Import a bandit log as a dataset that `abtest replay` reads.

    Args:
        source: A table (CSV, Parquet), or several files of one.
        target: Dataset directory to create.
        columns: From `parse_columns`; None for Open Bandit's names.
        bad_rows: "fail" on rows that cannot be read, or "skip" and count them.
        encoding: As of `simulator.tables.open_table`.
        decimal: As of `simulator.tables.open_table`.
        overwrite: Replace an existing dataset.
        report: Told the share of the files' bytes that have been read.

    Raises:
        DataError: no such column, or bad input: names file, line and column; nothing is written.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(p) for p in source]
    table = open_table(paths[0] if len(paths) == 1 else paths, encoding=encoding, decimal=decimal)
    names = dict(columns) if columns is not None else _open_bandit(table)
    meter = Meter(report, sum(path.stat().st_size for path in table.files))
    counts = TableReport(bad_rows=bad_rows, told=meter.add)
    counts.table, counts.files = "impressions", [f"{p.name} ({table.dialect})" for p in table.files]
    kinds: dict[str, Kind] = {name: _kind(name, table, column) for name, column in names.items()}
    batches = [batch.frame for batch in table.read(kinds, counts, sources=names)]
    frame = pl.concat(batches) if batches else pl.DataFrame()
    if frame.height == 0:
        raise DataError(f"{paths[0]} has no row that can be imported.", "")
    action = _codes(frame["action"])
    user = _codes(frame["user"]) if "user" in names else None
    impressions = _impressions(frame, names, action, user).sort("user_id", "time_ms", "position")
    counts.kept = impressions.height
    counts.remarks += _remarks(names, impressions)
    with DatasetWriter(
        target, name=paths[0].stem, source=f"bandit log {paths[0].name}", licence="as its source",
        notes=counts.remarks,
        randomisation={"videos": {"mechanism": "recorded", "pool": "all", "table": "impressions"}},
        overwrite=overwrite,
    ) as writer:  # fmt: skip
        writer.placeholders += ["impressions.play_time_ms"]
        writer.append("impressions", impressions)
        writer.append("users", impressions.select("user_id").unique().sort("user_id"))
        writer.append(
            "videos",
            pl.DataFrame({"video_id": np.arange(len(action.values)), "caption": action.values}),
        )
    meter.end()
    return ImportReport(FORMAT if columns is None else "propensities", [counts])


def _open_bandit(table: Table) -> dict[str, str]:
    missing = [c for c in ("item_id", "click", "propensity_score") if c not in table.columns]
    if missing:
        raise DataError(
            f"{table.files[0]} is no Open Bandit log: no column '{missing[0]}'.",
            "Name its columns: --propensities action=...,reward=...,propensity=...",
        )
    return {name: column for name, column in OPEN_BANDIT.items() if column in table.columns}


def _kind(name: str, table: Table, column: str) -> Kind:
    if name in ("action", "user"):
        return Text(required=True)
    if name == "propensity":
        return Number(required=True, minimum=_LEAST, maximum=1.0, expected="above 0, at most 1")
    if name.startswith("target"):
        return Number(required=True, minimum=0.0, maximum=1.0, expected="a probability, 0 to 1")
    if name == "position":
        return Whole(required=True, minimum=0)
    if name == "time":
        first = next(iter(table.batches([table.column(column)]))).frame[column].drop_nulls()
        number = len(first) == 0 or first.dtype.is_numeric() or str(first[0]).lstrip("-").isdigit()
        return Time(required=True, unit="ms" if number else "text")
    return Number(required=True, expected="a number")


def _codes(values: pl.Series) -> _Codes:
    """Whole numbers in order of size, texts in alphabetical order."""
    distinct = values.unique()
    whole = distinct.cast(pl.Int64, strict=False)
    order = distinct.to_frame("v").with_columns(n=whole).sort("n", "v", nulls_last=True)["v"]
    place = {value: number for number, value in enumerate(order.to_list())}
    numbers = values.replace_strict(place, return_dtype=pl.Int64).to_numpy()
    return _Codes(numbers, order.cast(pl.String).to_list())


def _impressions(
    frame: pl.DataFrame, names: Mapping[str, str], action: _Codes, user: _Codes | None
) -> pl.DataFrame:
    n = frame.height
    reward = frame["reward"].cast(pl.Float64)
    binary = bool(reward.is_in([0.0, 1.0]).all())
    position = frame["position"] if "position" in names else pl.Series(np.zeros(n, np.int16))
    data = {
        "user_id": np.arange(n) if user is None else user.numbers,
        "video_id": action.numbers,
        "request_id": np.arange(n),
        "position": position.cast(pl.Int16),
        "time_ms": frame["time"] if "time" in names else pl.Series(1_000 * np.arange(1, n + 1)),
        "is_click": (reward if binary else reward > 0).cast(pl.Int8),
        "play_time_ms": np.zeros(n, dtype=np.int64),
        "propensity": frame["propensity"].cast(pl.Float32),
        "reward": reward,
    }
    for name in names:
        if name.startswith("target"):
            data[target_column(name)] = frame[name].cast(pl.Float64)
    return pl.DataFrame(data)


def target_column(name: str) -> str:
    """Column of impressions for ``target`` or ``target.NAME``."""
    _, dot, own = name.partition(".")
    return f"target_{own}" if dot else TARGET


def _remarks(names: Mapping[str, str], impressions: pl.DataFrame) -> list[str]:
    said = ["play_time_ms stands at 0: the log does not hold it"]
    if "user" not in names:
        said.append("no user column: every row counts as a person of its own")
    if "time" not in names:
        said.append("no time column: rows are a second apart, in the file's order")
    if not impressions["reward"].is_in([0.0, 1.0]).all():
        said.append("the reward is not 0 or 1: is_click says whether it is above 0")
    return said
