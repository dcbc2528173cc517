"""Read per-user outcomes of one arm from a run, a table or a log."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abtest.config_sources import suggest
from abtest.console import Console
from abtest.errors import RunDataError, UsageError
from abtest.experiment_tables.request import ObservedOptions, columns_of, plan_of
from abtest.experiment_tables.users import is_pattern, open_users
from abtest.files import read_parquet
from abtest.results.metrics import platform_metrics
from abtest.run.datasets import DEMO, open_dataset
from abtest.run.run_directory import RunDirectory, how_to_go_on
from reports.analysis.calibration import analysed_columns
from reports.analysis.metric_files import parse_metric
from reports.plan import ACTIVITY, AnalysisPlan, Metric, build_plan
from reports.users.files import UserFile
from reports.users.rows import EVERYBODY
from reports.users.table import Users, UserTable
from simulator.tables import is_table_name, nearby

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """Outcomes of people who were all treated alike, and what is measured of them.

    Attributes:
        name: For people: where they come from.
        table: Their outcomes; other arms too, if there are any.
        arm: The arm looked at.
        metrics: What is measured; the first decides.
        covariates: Columns from before the experiment, beside each metric's own.
        select: Whether the analysis keeps only covariates that explain something.
        roles: Metric name to its role where somebody named the metrics; empty otherwise.
        twin_of: Another arm with the same people in it, or None.
        against: Other arms of a run, whose comparisons with ``arm`` are planned again: their
            variance counts as well. Empty where one arm alone is looked at.
    """

    name: str
    table: Users
    arm: str
    metrics: tuple[Metric, ...]
    covariates: tuple[str, ...] = ACTIVITY
    select: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    twin_of: str | None = None
    against: tuple[str, ...] = ()

    @property
    def users(self) -> int:
        """People in the arm."""
        return self.table.size(self.arm)

    @functools.cached_property
    def people(self) -> int:
        """People in all arms of the table together."""
        return sum(part.during["user_id"].n_unique() for part in self.table.parts())

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the people of ``arm`` and of those in ``against``, as they were split."""
        sizes = [self.table.size(arm) for arm in (self.arm, *self.against)]
        return tuple(size / sum(sizes) for size in sizes)

    def columns(self, chosen: Metric, arm: str | None = None) -> Float:
        """float64[users, k] of an arm: numerator, denominator, covariates of the analysis."""
        return analysed_columns(
            self.table, chosen, arm or self.arm, self.covariates, select=self.select
        )


def open_source(
    spec: str,
    *,
    options: ObservedOptions,
    days: int | None,
    console: Console,
) -> Source:
    """A run directory, a table (files, directories, patterns), a dataset directory or ``demo``.

    Args:
        spec: Which.
        options: How to read a table; ``control`` is the arm to look at, ``metrics`` are names,
            columns or ``NAME=NUMERATOR/DENOMINATOR``, all there are if none is named.
        days: Of a log: how many of its last days are the experiment; the others are the
            pre-period. Half of them if None.
        console: For messages.

    Raises:
        UsageError, RunDataError, DataError: nothing there, or nothing that can be measured.
    """
    path = Path(spec)
    kind = _kind(spec)
    if kind != "log" and days is not None:
        raise UsageError(f"--days chooses days of a log; {spec} is a {kind}.")
    if kind == "table":
        return _of_table(dataclasses.replace(options, table=(path,)), console)
    usual = dataclasses.replace(
        ObservedOptions(()), arm=None, control=options.control, metrics=options.metrics
    )
    if dataclasses.replace(options, table=()) != usual:
        raise UsageError(
            f"options about columns and rows are for tables; {spec} is a {kind}.",
            "A table is a CSV or Parquet file, or a directory of them",
        )
    if kind == "run":
        return _of_run(path, options.control, options.metrics)
    return _of_log(spec, options.metrics, days, console)


def _kind(spec: str) -> str:
    """What a source is: a run, a log or a table.

    Raises:
        UsageError: nothing is there.
    """
    path = Path(spec)
    if (path / "plan.json").is_file():
        return "run"
    if path.is_file() or is_pattern(spec):
        return "table"
    if spec == DEMO or (path / "dataset.json").is_file():
        return "log"
    if path.is_dir() and any(is_table_name(inside.name) for inside in path.rglob("*")):
        return "table"
    if path.is_dir():
        return "log"
    raise UsageError(
        f"no run, table or dataset at {spec}.{nearby(path)}", "On the built-in world: demo"
    )


def _of_run(path: Path, control: str | None, metrics: Sequence[str]) -> Source:
    directory = RunDirectory.open(path)
    file = path / "outcomes.parquet"
    if not file.is_file():
        raise RunDataError(f"{path} has no outcomes.", how_to_go_on(path))
    config = directory.configuration()
    plan = build_plan(
        metrics=platform_metrics(), primary=config.primary, guardrails=config.guardrail
    )
    frame = read_parquet(file, f"Delete it. {how_to_go_on(path)}")
    arms = _arms_of(frame, file)
    arm = _chosen_arm(arms, control or config.control, path)
    others = [name for name in arms if name != arm]
    table = UserTable(frame, [arm, *others])
    twin = others[0] if config.design == "twin" and others else None
    chosen = _chosen_metrics(table, metrics, plan, path)
    # Whoever names an arm asks about that arm alone.
    against = tuple(others) if control is None and twin is None else ()
    name = f"{path}, {'arms' if against else 'arm'} {' and '.join((arm, *against))}"
    return Source(
        name, table, arm, chosen, roles=_roles(chosen, plan, metrics), twin_of=twin, against=against
    )


def _of_log(spec: str, metrics: Sequence[str], days: int | None, console: Console) -> Source:
    from simulator.log_outcomes import user_days_of_log

    dataset = open_dataset(spec, console)
    frame = user_days_of_log(dataset, dataset.user_ids())
    if frame.height == 0:
        raise RunDataError(
            f"{dataset.path} has no impressions: nobody did anything.",
            f"Check it: abtest data check {dataset.path}",
        )
    first, last = (int(frame["day"].cast(pl.Int64).sort()[i]) for i in (0, -1))
    have = last - first + 1
    wanted = max(have // 2, 1) if days is None else days
    if not 1 <= wanted <= have:
        raise UsageError(f"--days is {wanted}, but {spec} has {have} days.")
    frame = frame.with_columns(
        (pl.col("day") - (last - wanted + 1)).cast(pl.Int32), pl.lit(EVERYBODY).alias("arm")
    )
    table = UserTable(frame, [EVERYBODY])
    plan = AnalysisPlan(metrics=platform_metrics())
    chosen = _chosen_metrics(table, metrics, plan, spec)
    name = f"{spec}, the last {wanted} of {have} days"
    return Source(name, table, EVERYBODY, chosen, roles=_roles(chosen, plan, metrics))


def _of_table(options: ObservedOptions, console: Console) -> Source:
    """A table, read as `abtest analyze` reads it."""
    file = open_users(
        options.table,
        encoding=options.encoding,
        delimiter=options.delimiter,
        decimal=options.decimal,
        bad_rows=options.bad_rows,
    )
    named = bool(options.metrics or options.metrics_file)
    if not named:
        options = dataclasses.replace(options, metrics=_all_metrics(options, file))
    plan = plan_of(options, file)
    observed = file.read(
        columns_of(options, plan, file.columns),
        control=options.control,
        start=options.start,
        alone=True,
    )
    for note in observed.notes:
        console.note(note)
    names = (plan.primary, *plan.guardrails, *plan.secondary)
    arm = observed.table.arms[0]
    where = file.source.name if options.arm is None else f"{file.source.name}, arm {arm}"
    chosen = tuple(plan.metric(name) for name in names)
    return Source(
        where,
        observed.table,
        arm,
        chosen,
        observed.covariates,
        select=plan.select,
        roles=_roles(chosen, plan, names) if named else {},
    )


def _all_metrics(options: ObservedOptions, file: UserFile) -> tuple[str, ...]:
    """The platform's metrics if the table has their columns, else all columns of numbers."""
    columns = set(file.columns)
    plan = AnalysisPlan(metrics=platform_metrics())
    standard = [plan.metric(n) for n in (plan.primary, *plan.guardrails, *plan.secondary)]
    found = [m.name for m in standard if {*m.numerator, *m.denominator} <= columns]
    if found:
        return tuple(found)
    covariates = [text.rpartition(":")[0] or text for text in options.covariates]
    keys = [options.user, options.arm, options.day, options.joined, *covariates]
    # Without any numbers the reading says what is there instead.
    return tuple(file.numbers(keys) or [c for c in file.columns if c not in keys][:1])


def _arms_of(frame: pl.DataFrame, path: Path) -> list[str]:
    if "arm" not in frame.columns:
        raise RunDataError(f"{path} has no column 'arm'.")
    return [str(arm) for arm in frame["arm"].unique().sort().to_list()]


def _chosen_arm(arms: Sequence[str], control: str | None, path: Path) -> str:
    if control is None and len(arms) == 1:
        return arms[0]
    if control is None:
        raise UsageError(
            f"{path} has {len(arms)} arms: {', '.join(arms)}.",
            "Say whose users to take: --control NAME",
        )
    if control not in arms:
        raise UsageError(f"{path} has no arm '{control}'.{suggest(control, arms)} "
                         f"Arms: {', '.join(arms)}.")  # fmt: skip
    return control


def _chosen_metrics(
    table: UserTable, metrics: Sequence[str], plan: AnalysisPlan, path: object
) -> tuple[Metric, ...]:
    """The metrics that were named, or those of the plan whose columns are there."""
    columns = table.columns
    found = []
    for text in dict.fromkeys(metrics):
        chosen = parse_metric(text, columns, per="user-day", built_in=platform_metrics())
        for column in (*chosen.numerator, *chosen.denominator):
            if column not in columns:
                known = [*columns, *platform_metrics()]
                raise UsageError(
                    f"unknown metric '{text}' of {path}.{suggest(column, known)}",
                    f"Columns: {', '.join(columns[:30])}",
                )
        found.append(chosen)
    if found:
        return tuple(found)
    standard = [plan.metric(n) for n in (plan.primary, *plan.guardrails, *plan.secondary)]
    there = [m for m in standard if {*m.numerator, *m.denominator} <= set(columns)]
    if not there:
        raise UsageError(f"{path} has none of the platform's metrics.", "Name one: --metric COLUMN")
    return tuple(there)


def _roles(chosen: Sequence[Metric], plan: AnalysisPlan, named: Sequence[str]) -> dict[str, str]:
    """What each metric is for: as planned, or, of metrics that were named, the first decides."""
    names = [m.name for m in chosen]
    if named and plan.primary not in names:
        return {name: "primary" if name == names[0] else "secondary" for name in names}
    return {
        name: "primary"
        if name == plan.primary
        else "guardrail"
        if name in plan.guardrails
        else "secondary"
        for name in names
    }
