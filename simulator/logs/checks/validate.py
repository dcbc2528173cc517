"""Check a dataset, table by table: values, labels, duplicates, dangling references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from simulator.logs.checks.references import (
    ROW_KEY,
    repeated_identifiers,
    repeated_impressions,
    unknown_identifiers,
)
from simulator.logs.checks.sound import hash_problem
from simulator.logs.checks.values import ValueChecks
from simulator.logs.content import hash_of_rows
from simulator.logs.dataset import Dataset
from simulator.logs.scanning import batches
from simulator.logs.schema import EVENT_TABLES, TABLES, TableFormat
from simulator.progress import Meter, Report


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


def check(dataset: Dataset, report: Report | None = None) -> list[Finding]:
    """All problems of a dataset, worst first; an empty list means none was found.

    Args:
        dataset: The log.
        report: Told the share of the cells that are checked.
    """
    meter = Meter(report, _cells(dataset))
    findings: list[Finding] = []
    sums: dict[str, int] = {}
    for table in TABLES.values():
        if not dataset.has(table.name):
            # An empty table has a hash of its own: that of no rows.
            sums[table.name] = 0
            continue
        findings += _values(dataset, table, sums, meter)
        findings += _duplicates(dataset, table, meter)
    findings += _content(dataset, sums)
    findings += _references(dataset, meter)
    findings += _decisions(dataset)
    findings += _emptiness(dataset)
    meter.end()
    return sorted(findings, key=lambda f: (f.severity != "error", f.table, f.column))


def _cells(dataset: Dataset) -> int:
    """Of all passes over the tables: values, repeated rows and references."""
    cells = 0
    for table in TABLES.values():
        if dataset.has(table.name):
            columns = len(dataset.info.columns[table.name]) + len(_referring(dataset, table.name))
            columns += len(ROW_KEY) if table.name == "impressions" else len(table.key[:1])
            cells += dataset.info.rows.get(table.name, 0) * columns
    return cells


def _values(
    dataset: Dataset, table: TableFormat, sums: dict[str, int], meter: Meter
) -> list[Finding]:
    """Nulls, bounds, labels and plausibility of every column, in one pass; and the table's hash."""
    checks = ValueChecks(table, dataset.info.columns[table.name])
    sums[table.name] = 0
    for first, rows in batches(dataset, table.name, meter=meter):
        sums[table.name] += hash_of_rows(rows, first)
        checks.note(rows, first)
    return [
        Finding(
            table.name,
            one.rule.column,
            one.row,
            one.rule.severity,
            f"{table.name} row {one.row}: {one.rule.column} is {one.shown}, expected "
            f"{one.rule.expected}. {_rows(one.count)}.",
            "Correct the source and import again: abtest data import FILES DATASET",
        )
        for one in checks.violations()
    ]


def _content(dataset: Dataset, sums: dict[str, int]) -> list[Finding]:
    problem = hash_problem(dataset, sums)
    if not problem:
        return []
    return [Finding("dataset.json", "", None, "error", problem, "Import or make it again")]


_USUAL_TWICE = 0.02
"""Share of impressions that are there twice; where more are, it was not the platform."""


def _duplicates(dataset: Dataset, table: TableFormat, meter: Meter) -> list[Finding]:
    if table.key:
        key = table.key[0]
        found = repeated_identifiers(dataset, table.name, key, meter)
        what, column = f"{key} is not unique", key
        severity: Literal["error", "warning"] = "error"
        hint = "Keep one row per identifier and import again"
    elif table.name == "impressions":
        found = repeated_impressions(dataset, meter)
        what, column = "the same impression is there twice", ""
        rows = max(dataset.info.rows.get(table.name, 0), 1)
        severity, hint = "warning", "Usual in KuaiRand (0.6 to 0.9 % of rows); they are kept"
        if found.count > _USUAL_TWICE * rows:
            hint = (
                f"{100 * found.count / rows:.1f} % of rows; they are kept. Was a file given twice?"
            )
    else:
        return []
    if not found.count:
        return []
    message = f"{table.name} row {found.first}: {what}. {_rows(found.count)}."
    return [Finding(table.name, column, found.first, severity, message, hint)]


_TARGETS = {"user_id": "users", "video_id": "videos", "comment_id": "comments"}
_REFERRING = (*EVENT_TABLES, "comments")


def _referring(dataset: Dataset, table: str) -> dict[str, str]:
    """Columns of a table that name rows of another, and which."""
    if table not in _REFERRING:
        return {}
    return {
        column: target
        for column, target in _TARGETS.items()
        if target != table and dataset.has(target) and dataset.has_column(table, column)
    }


def _references(dataset: Dataset, meter: Meter) -> list[Finding]:
    findings = []
    for table in _REFERRING:
        if not dataset.has(table):
            continue
        columns = _referring(dataset, table)
        for column, found in unknown_identifiers(dataset, table, columns, meter).items():
            if found.count:
                target = columns[column]
                findings.append(
                    Finding(
                        table,
                        column,
                        found.first,
                        "error",
                        f"{table} row {found.first}: {column} is not in table '{target}'. "
                        f"{_rows(found.count)}.",
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
                "Import a log: abtest data import FILES DATASET",
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
