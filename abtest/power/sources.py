"""Read per-user outcomes of one arm from a run, a table or a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abtest.config_sources import load_config, suggest
from abtest.console import Console
from abtest.errors import RunDataError, UsageError
from abtest.results.metrics import platform_metrics
from abtest.run.datasets import DEMO, open_dataset
from abtest.run.run_directory import RunDirectory
from reports.analysis.calibration import user_columns
from reports.plan import AnalysisPlan, Metric, build_plan
from reports.users.table import UserTable
from simulator.logs.importers.reading import nearby

TABLES = (".parquet", ".csv")
EVERYBODY = "all"


@dataclass(frozen=True)
class TableOptions:
    """How to read a per-user outcome table; ignored for runs and logs.

    Attributes:
        user: Column of the user id; rows of one user and day are added up.
        arm: Column of the arm; None if there is one arm only.
        day: Column of the day, counted from the first day of the experiment; negative days are
            the pre-period. None if a row is all there is of a user.
        covariates: Numeric columns from before the experiment.
    """

    user: str = "user_id"
    arm: str | None = None
    day: str | None = None
    covariates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Outcomes of people who were all treated alike, and what is measured of them.

    Attributes:
        name: For people: where they come from.
        table: Their outcomes; other arms too, if there are any.
        arm: The arm looked at.
        metrics: What is measured.
        covariates: float64[users of the arm, k]: columns named by the caller.
        twin_of: Another arm with the same people in it, or None.
    """

    name: str
    table: UserTable
    arm: str
    metrics: tuple[Metric, ...]
    covariates: NDArray[np.float64]
    twin_of: str | None = None

    @property
    def users(self) -> int:
        """People in the arm."""
        return len(self.table.rows(self.arm))

    @property
    def people(self) -> int:
        """People in all arms of the table together."""
        return self.table.during["user_id"].n_unique()

    def columns(self, chosen: Metric) -> NDArray[np.float64]:
        """float64[users, k]: numerator, denominator, covariates."""
        return np.concatenate([user_columns(self.table, chosen, self.arm), self.covariates], axis=1)


def open_source(
    spec: str,
    *,
    options: TableOptions,
    control: str | None,
    metrics: Sequence[str],
    days: int | None,
    console: Console,
) -> Source:
    """A run directory, a Parquet or CSV table, a dataset directory or ``demo``.

    Args:
        spec: Which.
        options: How to read a table.
        control: The arm to look at; None takes a run's control, or the only arm.
        metrics: Names of metrics, columns, or ``numerator/denominator``; empty for all.
        days: Of a log: how many of its last days are the experiment; the others are the
            pre-period. Half of them if None.
        console: For messages.

    Raises:
        UsageError, RunDataError, DataError: nothing there, or nothing that can be measured.
    """
    path = Path(spec)
    if path.is_file():
        if days is not None:
            raise UsageError(f"--days chooses days of a log; {spec} is a table.")
        return _of_table(path, options, control, metrics)
    if options != TableOptions():
        raise UsageError(
            f"--user, --arm, --day and --covariate are for tables; {spec} is none.",
            "A table is a .parquet or .csv file",
        )
    if days is not None and (path / "plan.json").is_file():
        raise UsageError(f"--days chooses days of a log; {spec} is a run.")
    if (path / "plan.json").is_file():
        return _of_run(path, control, metrics)
    if spec != DEMO and not path.is_dir():
        raise UsageError(
            f"no run, table or dataset at {spec}.{nearby(path)}", "On the built-in world: demo"
        )
    return _of_log(spec, metrics, days, console)


def _of_run(path: Path, control: str | None, metrics: Sequence[str]) -> Source:
    RunDirectory.open(path)
    file = path / "outcomes.parquet"
    if not file.is_file():
        raise RunDataError(
            f"{path} has no outcomes yet.", f"Continue it: abtest run --resume {path}"
        )
    config = load_config({}, file=path / "config.toml", environment={})
    plan = build_plan(
        metrics=platform_metrics(), primary=config.primary, guardrails=config.guardrail
    )
    frame = _read(file)
    arms = _arms_of(frame, file)
    arm = _chosen_arm(arms, control or config.control, path)
    others = [name for name in arms if name != arm]
    table = UserTable(frame, [arm, *others])
    twin = others[0] if config.design == "twin" and others else None
    chosen = _chosen_metrics(table, metrics, plan, path)
    return Source(f"{path}, arm {arm}", table, arm, chosen, _none(table, arm), twin)


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
    chosen = _chosen_metrics(table, metrics, AnalysisPlan(metrics=platform_metrics()), spec)
    name = f"{spec}, the last {wanted} of {have} days"
    return Source(name, table, EVERYBODY, chosen, _none(table, EVERYBODY))


def _of_table(
    path: Path, options: TableOptions, control: str | None, metrics: Sequence[str]
) -> Source:
    if path.suffix.lower() not in TABLES:
        raise UsageError(f"{path} is not a table: expected {' or '.join(TABLES)}.")
    raw = _read(path)
    keys = [options.user, options.day, options.arm]
    for column, flag in zip(keys, ("user", "day", "arm"), strict=True):
        if column is not None:
            _check_column(raw, column, path, f"--{flag}")
    for column in options.covariates:
        _check_column(raw, column, path, "--covariate")
    if raw.height == 0:
        raise RunDataError(f"{path} has no rows.")
    missing = int(raw[options.user].is_null().sum())
    if missing:
        row = int(raw[options.user].is_null().arg_true()[0])
        raise RunDataError(
            f"{path} row {row + 1}: {options.user} is empty ({missing:,} such rows).",
            "Drop those rows: an outcome without a user cannot be analysed",
        )
    used = {column for column in keys if column}
    numeric = [c for c in raw.columns if c not in used and _is_number(raw[c].dtype)]
    wanted = _columns_named(metrics, raw, path)
    for column in [*wanted, *options.covariates]:
        _check_numbers(raw, column, path)
    values = [c for c in numeric if c not in options.covariates or c in wanted]
    if not values:
        raise RunDataError(f"{path} has no column of numbers besides {', '.join(sorted(used))}.")
    frame = raw.select(
        pl.col(options.user).alias("user_id"),
        _arm_column(options),
        _day_column(raw, options, path),
        *[pl.col(c).cast(pl.Float64) for c in values if c not in ("user_id", "arm", "day")],
        *[
            pl.col(c).cast(pl.Float64).alias(f"segment_covariate_{i}")
            for i, c in enumerate(options.covariates)
        ],
    )
    arms = _arms_of(frame, path)
    arm = _chosen_arm(arms, control, path)
    extra = (
        frame.filter(arm=arm)
        .group_by("user_id")
        .agg(pl.col("^segment_covariate_.*$").mean())
        .sort("user_id")
        .drop("user_id")
    )
    table = UserTable(frame, [arm, *[name for name in arms if name != arm]])
    chosen = _chosen_metrics(table, metrics, AnalysisPlan(metrics=platform_metrics()), path)
    for column in {c for m in chosen for c in (*m.numerator, *m.denominator)}:
        _check_numbers(raw, column, path)
    name = str(path) if options.arm is None else f"{path}, arm {arm}"
    covariates = extra.to_numpy().astype(np.float64).reshape(len(table.rows(arm)), extra.width)
    return Source(name, table, arm, chosen, covariates)


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() == ".csv":
            return pl.read_csv(path, infer_schema_length=None)
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        first = (str(error).splitlines() or ["unreadable"])[0]
        raise RunDataError(f"{path} cannot be read: {first}.") from None


def _is_number(kind: pl.DataType) -> bool:
    return bool(kind.is_numeric() or kind == pl.Boolean)


def _check_column(frame: pl.DataFrame, column: str, path: Path, flag: str) -> None:
    if column not in frame.columns:
        raise UsageError(
            f"{path} has no column '{column}'.{suggest(column, frame.columns)} "
            f"Columns: {_listed(frame.columns)}.",
            f"Name it with {flag}",
        )


def _check_numbers(frame: pl.DataFrame, column: str, path: Path) -> None:
    values = frame[column]
    if not _is_number(values.dtype):
        texts = values.cast(pl.String)
        bad = (texts.is_not_null() & texts.cast(pl.Float64, strict=False).is_null()).arg_true()
        where = f" Row {int(bad[0]) + 1} is '{texts[int(bad[0])]}'." if len(bad) else ""
        raise RunDataError(f"{path}: column '{column}' holds no numbers.{where}")
    empty = values.is_null()
    if values.dtype.is_float():
        empty = empty | ~values.is_finite()
    rows = empty.fill_null(True).arg_true()
    if len(rows):
        raise RunDataError(
            f"{path} row {int(rows[0]) + 1}: '{column}' is empty or not finite "
            f"({len(rows):,} such rows).",
            "Fill them (a silent user counts as 0) or drop these users from every arm",
        )


def _arm_column(options: TableOptions) -> pl.Expr:
    if options.arm is None:
        return pl.lit(EVERYBODY).alias("arm")
    return pl.col(options.arm).cast(pl.String).fill_null("(empty)").alias("arm")


def _day_column(frame: pl.DataFrame, options: TableOptions, path: Path) -> pl.Expr:
    if options.day is None:
        return pl.lit(0, dtype=pl.Int32).alias("day")
    if not frame[options.day].dtype.is_integer():
        raise RunDataError(
            f"{path}: column '{options.day}' is {frame[options.day].dtype}, "
            "expected whole numbers.",
            "Count days from the first day of the experiment; earlier days are negative",
        )
    return pl.col(options.day).cast(pl.Int32).alias("day")


def _arms_of(frame: pl.DataFrame, path: Path) -> list[str]:
    if "arm" not in frame.columns:
        raise RunDataError(f"{path} has no column 'arm'.")
    return [str(arm) for arm in frame["arm"].unique().sort().to_list()]


def _chosen_arm(arms: Sequence[str], control: str | None, path: Path) -> str:
    if control is None and len(arms) == 1:
        return arms[0]
    if control is None:
        raise UsageError(
            f"{path} has {len(arms)} arms: {_listed(arms)}.",
            "Say whose users to take: --control NAME",
        )
    if control not in arms:
        raise UsageError(f"{path} has no arm '{control}'.{suggest(control, arms)} "
                         f"Arms: {_listed(arms)}.")  # fmt: skip
    return control


def _columns_named(metrics: Sequence[str], frame: pl.DataFrame, path: Path) -> list[str]:
    """Columns that metrics of a table name, other than the built-in metrics."""
    names = []
    for text in metrics:
        if text in platform_metrics() and text not in frame.columns:
            continue
        for column in text.split("/"):
            if column.strip() not in frame.columns:
                known = [*frame.columns, *platform_metrics()]
                raise UsageError(
                    f"{path} has no column '{column.strip()}'.{suggest(column.strip(), known)} "
                    f"Columns: {_listed(frame.columns)}.",
                    "A metric is a column, NUMERATOR/DENOMINATOR or a built-in metric",
                )
            names.append(column.strip())
    return names


def _chosen_metrics(
    table: UserTable, metrics: Sequence[str], plan: AnalysisPlan, path: object
) -> tuple[Metric, ...]:
    if metrics:
        return tuple(_metric_of(text, table, path) for text in dict.fromkeys(metrics))
    standard = [plan.metric(n) for n in (plan.primary, *plan.guardrails, *plan.secondary)]
    found = [m for m in standard if _has(table, m)]
    if found:
        return tuple(found)
    return tuple(_plain(column) for column in table.columns)


def _metric_of(text: str, table: UserTable, path: object) -> Metric:
    top, slash, bottom = (part.strip() for part in text.partition("/"))
    if text in platform_metrics() and _has(table, platform_metrics()[text]):
        return platform_metrics()[text]
    for column in (top, bottom) if slash else (top,):
        if column not in table.columns:
            known = [*table.columns, *platform_metrics()]
            raise UsageError(
                f"unknown metric '{text}' of {path}.{suggest(column, known)}",
                f"Columns: {_listed(table.columns)}",
            )
    if not slash:
        return _plain(top)
    return Metric(text, text, "", (top,), (bottom,))


def _plain(column: str) -> Metric:
    return Metric(column, column, "per user", (column,))


def _has(table: UserTable, chosen: Metric) -> bool:
    return set(chosen.numerator) | set(chosen.denominator) <= set(table.columns)


def _none(table: UserTable, arm: str) -> NDArray[np.float64]:
    return np.zeros((len(table.rows(arm)), 0))


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
