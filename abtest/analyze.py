"""Analyse a real experiment, from a table of users to a run directory."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import abtest
from abtest.console import Console
from abtest.experiment_tables.request import (
    ObservedOptions,
    check_split,
    columns_of,
    parse_split,
    plan_of,
)
from abtest.experiment_tables.users import open_users
from abtest.files import new_directory, write_text
from abtest.plugins import sections
from abtest.run.run_directory import RUNS, check_free
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan
from reports.render.html import write_html
from reports.results import ExperimentResult
from reports.users.files import Observed


def analyze_observed(
    options: ObservedOptions, *, out: Path | None, command: str, console: Console
) -> tuple[ExperimentResult, Path]:
    """Read, analyse and write a run directory; its name follows from the arms if none is given.

    Raises:
        UsageError, PlanError, TableError: see `analyze_table`; nothing was written.
    """
    if out is not None:
        check_free(out)
    result, _ = analyze_table(options, out=None, command=command, console=console)
    return result, _write(result, out or _default_path(result), options)


def analyze_table(
    options: ObservedOptions, *, out: Path | None, command: str, console: Console
) -> tuple[ExperimentResult, Path | None]:
    """Read and analyse; write a run directory only if it is named.

    Raises:
        UsageError, PlanError: the options make no sense; nothing was written.
        TableError: the table cannot be analysed; nothing was written.
    """
    if out is not None:
        check_free(out)
    file = open_users(
        options.table,
        encoding=options.encoding,
        delimiter=options.delimiter,
        decimal=options.decimal,
        bad_rows=options.bad_rows,
    )
    plan = plan_of(options, file)
    split = parse_split(options.split)
    with console.stage("read", f"reading {file.source.name}"):
        observed = file.read(
            columns_of(options, plan, file.columns),
            control=options.control,
            start=options.start,
            planned=tuple(split or ()),
        )
    for note in observed.notes:
        console.note(note)
    plan = dataclasses.replace(plan, covariates=observed.covariates)
    control, *treatments = observed.table.arms
    check_split(split, observed.table.arms)
    with console.stage("analyse", "analysing") as stage:
        result = analyze(
            observed.table,
            plan,
            control=control,
            treatments=treatments,
            design="observed",
            planned_split=split,
            simulated=False,
            report=stage.report,
            context=_context(file.source.files, plan, observed, command),
        )
    return result, None if out is None else _write(result, out, options)


def _context(
    files: Sequence[Path], plan: AnalysisPlan, observed: Observed, command: str
) -> dict[str, Any]:
    digest = hashlib.blake2b(digest_size=8)
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    name = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    packages = ("numpy", "scipy", "polars")
    return {
        "command": command,
        "design": "observed",
        "users": sum(observed.table.size(arm) for arm in observed.table.arms),
        "data": {"name": name, "content_hash": digest.hexdigest(), "rows": observed.rows},
        "metrics": {name: _definition(vars(m)) for name, m in plan.metrics.items()},
        "adjustment": {
            "covariates": list(observed.covariates) if observed.table.has_pre else [],
            "slopes": plan.slopes,
            "strata": list(plan.strata),
            "notes": list(observed.notes),
        },
        "versions": {
            "abtest": abtest.__version__,
            **{name: importlib.metadata.version(name) for name in packages},
        },
    }


def _definition(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a metric is, without what it is not."""
    shown = {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}
    return {k: v for k, v in shown.items() if k not in ("name", "label") and v not in ([], None)}


def _default_path(result: ExperimentResult) -> Path:
    first = result.comparisons[0]
    arms = "+".join(c.treatment for c in result.comparisons)
    name = re.sub(r"[^\w.+-]+", "_", f"{arms}-vs-{first.control}")[:80]
    path, number = RUNS / name, 2
    while path.exists():
        path, number = RUNS / f"{name}-{number}", number + 1
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _write(result: ExperimentResult, path: Path, options: ObservedOptions) -> Path:
    """The run directory; complete or absent."""
    asked = {k: _plain(v) for k, v in vars(options).items()}
    plan = {"abtest_version": abtest.__version__, "analyze": asked}
    with new_directory(path) as temporary:
        write_text(temporary / "plan.json", json.dumps(plan, indent=1, sort_keys=True) + "\n")
        write_text(temporary / "results.json", result.to_json())
        write_html(result, temporary / "report.html", sections(result)[0])
    return path
