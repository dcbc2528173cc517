"""Check a dataset, table by table: values, labels, duplicates, dangling references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from simulator.logs.dataset import Dataset
from simulator.logs.schema import TABLES, Column, Table


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes:
        table, column: Where; ``column`` is empty for problems of whole rows.
        row: Number of the first bad row, from 0, in the order of the part files; None if not
            about a row.
        severity: "error" if a run would be wrong, "warning" otherwise.
        message: What is wrong, with counts.
        hint: What to do about it.
    """

    table: str
    column: str
    row: int | None
    severity: Literal["error", "warning"]
    message: str
    hint: str


def check(dataset: Dataset) -> list[Finding]:
    """All problems of a dataset, worst first; an empty list means none was found."""
    findings: list[Finding] = []
    for table in TABLES.values():
        if not dataset.has(table.name):
            continue
        findings += _values(dataset, table)
        findings += _duplicates(dataset, table)
    findings += _references(dataset)
    findings += _decisions(dataset)
    findings += _emptiness(dataset)
    return sorted(findings, key=lambda f: (f.severity != "error", f.table, f.column))


def _values(dataset: Dataset, table: Table) -> list[Finding]:
    """Nulls, bounds and labels of every column, in one pass; values of the bad ones in another."""
    present = [c for c in table.columns if dataset.has_column(table.name, c.name)]
    checks = [(c, *found) for c in present for found in _rules(c)]
    rows = dataset.scan(table.name).with_row_index("_row")
    if not checks:
        return []
    wanted = []
    for number, (_, _, bad) in enumerate(checks):
        bad = bad.fill_null(False)
        wanted.append(bad.sum().alias(f"count {number}"))
        wanted.append(pl.col("_row").filter(bad).min().alias(f"row {number}"))
    found = rows.select(wanted).collect(engine="streaming").row(0, named=True)
    wrong = [number for number in range(len(checks)) if found[f"count {number}"]]
    first = {found[f"row {number}"] for number in wrong}
    names = list(dict.fromkeys(checks[number][0].name for number in wrong))
    shown = rows.filter(pl.col("_row").is_in(list(first))).select("_row", *names) if wrong else None
    values = (
        {} if shown is None else shown.collect(engine="streaming").rows_by_key("_row", named=True)
    )
    findings = []
    for number in wrong:
        column, rule, _ = checks[number]
        count, row = found[f"count {number}"], found[f"row {number}"]
        value = values[row][0][column.name]
        findings.append(
            Finding(
                table.name,
                column.name,
                row,
                "error",
                f"{table.name} row {row}: {column.name} is {'empty' if value is None else value}, "
                f"expected {rule}. {_rows(count)}.",
                "Correct the source and import again: abtest data import",
            )
        )
    return findings


def _rules(column: Column) -> list[tuple[str, pl.Expr]]:
    """(what is expected, where it is violated)."""
    value = pl.col(column.name)
    rules = []
    if not column.nullable:
        rules.append(("a value", value.is_null()))
    if column.unit == "0/1":
        rules.append(("0 or 1", ~value.is_in([0, 1])))
        return rules
    if column.minimum is not None:
        rules.append((f"at least {column.minimum}", value < column.minimum))
    if column.maximum is not None:
        rules.append((f"at most {column.maximum}", value > column.maximum))
    return rules


def _duplicates(dataset: Dataset, table: Table) -> list[Finding]:
    if table.key:
        key, what = list(table.key), f"{table.key[0]} is not unique"
        severity: Literal["error", "warning"] = "error"
        hint = "Keep one row per identifier and import again"
    elif table.name == "impressions":
        key, what = ["user_id", "video_id", "time_ms"], "the same impression is there twice"
        severity, hint = "warning", "Usual in KuaiRand (0.6 to 0.9 % of rows); they are kept"
    else:
        return []
    count, row = _repeated(dataset, table.name, key)
    if not count:
        return []
    message = f"{table.name} row {row}: {what}. {_rows(count)}."
    column = key[0] if len(key) == 1 else ""
    return [Finding(table.name, column, row, severity, message, hint)]


def _repeated(dataset: Dataset, table: str, key: list[str]) -> tuple[int, int | None]:
    """How many rows repeat the key of an earlier row, and the first that does.

    Only rows whose hash occurs twice are looked at again, and of the hashes one part at a time is
    kept: memory does not grow with the table, unless most of it is repeated.
    """
    rows = dataset.scan(table).with_row_index("_row").select("_row", *key)
    parts = -(-dataset.info.rows[table] // _HASHES) or 1
    hashed = pl.struct(key).hash(seed=1)
    count, first = 0, None
    for part in range(parts):
        chosen = rows.filter(pl.col(key[0]).hash(seed=2) % parts == part) if parts > 1 else rows
        hashes = chosen.select(hashed.alias("hash")).collect(engine="streaming")["hash"].sort()
        twice = hashes.filter(hashes == hashes.shift(1)).unique()
        if len(twice) == 0:
            continue
        again = (
            chosen.filter(hashed.is_in(twice.implode())).collect(engine="streaming").sort("_row")
        )
        repeats = again.filter(~pl.struct(key).is_first_distinct())
        if repeats.height:
            count += repeats.height
            earliest = int(repeats["_row"][0])
            first = earliest if first is None else min(first, earliest)
    return count, first


_HASHES = 8_000_000
"""Hashes of rows that are kept at a time, eight bytes each."""


_REFERENCES = (
    ("impressions", "user_id", "users"),
    ("impressions", "video_id", "videos"),
    ("comments", "video_id", "videos"),
    ("comment_events", "user_id", "users"),
    ("comment_events", "video_id", "videos"),
    ("comment_events", "comment_id", "comments"),
    ("video_decisions", "user_id", "users"),
    ("video_decisions", "video_id", "videos"),
    ("comment_decisions", "user_id", "users"),
    ("comment_decisions", "video_id", "videos"),
    ("comment_decisions", "comment_id", "comments"),
)


def _references(dataset: Dataset) -> list[Finding]:
    findings = []
    for table, column, target in _REFERENCES:
        if not dataset.has(table) or not dataset.has(target):
            continue
        rows = dataset.scan(table).select(column).with_row_index("_row")
        known = dataset.scan(target).select(column).unique()
        found = (
            rows.join(known, on=column, how="anti")
            .select(pl.len().alias("count"), pl.col("_row").min().alias("row"))
            .collect(engine="streaming")
            .row(0, named=True)
        )
        if found["count"]:
            findings.append(
                Finding(
                    table,
                    column,
                    found["row"],
                    "error",
                    f"{table} row {found['row']}: {column} is not in table '{target}'. "
                    f"{_rows(found['count'])}.",
                    f"Add it to '{target}', or leave the rows out",
                )
            )
    return findings


def _decisions(dataset: Dataset) -> list[Finding]:
    """Probabilities of candidates that are none, or that do not belong to what was shown."""
    findings = []
    p = pl.col("propensities")
    rules = {
        "candidates and propensities differ in length": pl.col("candidates").list.len()
        != p.list.len(),
        "a propensity is not between 0 and 1": (p.list.min() < 0.0)
        | (p.list.max() > 1.0 + _ROUNDING)
        | p.list.eval(pl.element().is_nan() | pl.element().is_null()).list.any(),
        "propensities do not sum to 1": (p.list.sum() - 1.0).abs() > _ROUNDING,
    }
    for table, shown in (("video_decisions", "video_id"), ("comment_decisions", "comment_id")):
        if not dataset.has(table):
            continue
        own = {
            **rules,
            f"the {shown} shown is not among the candidates": ~pl.col("candidates").list.contains(
                pl.col(shown)
            ),
        }
        rows = dataset.scan(table).with_row_index("_row")
        checks = [
            pl.col("_row").filter(bad).min().alias(f"first {number}")
            for number, bad in enumerate(own.values())
        ]
        counts = [bad.sum().alias(f"count {number}") for number, bad in enumerate(own.values())]
        found = rows.select(*checks, *counts).collect(engine="streaming").row(0, named=True)
        for number, what in enumerate(own):
            if found[f"count {number}"]:
                row = found[f"first {number}"]
                findings.append(
                    Finding(
                        table,
                        "propensities",
                        row,
                        "error",
                        f"{table} row {row}: {what}. {_rows(found[f'count {number}'])}.",
                        "Replay cannot use them; see docs/log-format.md",
                    )
                )
    return findings


_ROUNDING = 1e-3
"""Of float32 probabilities that are summed up."""


def _emptiness(dataset: Dataset) -> list[Finding]:
    findings = []
    if dataset.info.rows.get("impressions", 0) == 0:
        findings.append(
            Finding(
                "impressions", "", None, "error", "impressions is empty.",
                "Import a log: abtest data import",
            )
        )  # fmt: skip
    if dataset.info.rows.get("comments", 0) == 0:
        findings.append(
            Finding(
                "comments", "", None, "warning",
                "there are no comments: sections can be opened, but not ranked.",
                "Import comment_features, or go on without",
            )
        )  # fmt: skip
    return findings


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
