"""Show results in Python: as text, as HTML in a notebook, as Polars frames."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from abtest.errors import ExitCode, UsageError
from abtest.evaluate.results import TaskResult, records
from abtest.evaluate.tables import evaluation_tables
from abtest.replay.ask import Replayed
from abtest.replay.text import replay_text
from abtest.results.conclusion import conclude
from reports.render.html import render_html
from reports.render.terminal import render
from reports.results import Estimate, ExperimentResult, MetricComparison

_FRAME = '<iframe srcdoc="{}" width="100%" height="900" style="border:0"></iframe>'
"""A page of its own, so that its styles stay in it."""


@dataclass(frozen=True, repr=False)
class Experiment:
    """An analysed experiment, simulated or real.

    Attributes:
        result: Every number, see `reports.results.ExperimentResult`.
        directory: Its run directory; None if nothing was written.
    """

    result: ExperimentResult
    directory: Path | None

    def __str__(self) -> str:
        """The table of the terminal."""
        return render(self.result, width=None, encoding="utf-8", color=False)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return _FRAME.format(html.escape(render_html(self.result)))

    @property
    def verdict(self) -> str:
        """What was found in the primary metric, of the first treatment: ``"better"``, ..."""
        return self.result.comparisons[0].verdict.state

    @property
    def trustworthy(self) -> bool:
        """Whether no health check failed; otherwise the verdict is "no verdict"."""
        return conclude(self.result, ()) is ExitCode.COMPLETE

    def metrics(self) -> pl.DataFrame:
        """A row per treatment and metric: values, lift with interval, p values, outcome."""
        return pl.DataFrame(
            [
                _metric_row(comparison.treatment, metric)
                for comparison in self.result.comparisons
                for metric in comparison.metrics
            ],
            schema=_METRIC_COLUMNS,
        )

    def outcomes(self) -> pl.DataFrame:
        """A row per user, arm and day of a simulated experiment.

        Raises:
            UsageError: there are none: the experiment was not simulated.
        """
        file = None if self.directory is None else self.directory / "outcomes.parquet"
        if file is None or not file.is_file():
            raise UsageError("there are no outcomes: the experiment was not simulated here.")
        return pl.read_parquet(file, glob=False)

    def to_json(self) -> str:
        """The document of ``--json`` and results.json."""
        return self.result.to_json()


@dataclass(frozen=True, repr=False)
class ReplayOutcome:
    """What a log alone says.

    Attributes:
        result: Every number of the report, see `reports.results.ExperimentResult`.
        replayed: Every estimator and the overlap, see `abtest.replay.ask.Replayed`.
    """

    result: ExperimentResult
    replayed: Replayed

    def __str__(self) -> str:
        """The table of the terminal."""
        return replay_text(self.replayed, self.result)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return _FRAME.format(html.escape(render_html(self.result)))

    def metrics(self) -> pl.DataFrame:
        """A row per treatment and metric: values, lift with interval, p values, outcome."""
        return Experiment(self.result, None).metrics()


@dataclass(frozen=True, repr=False)
class EvaluationResult:
    """Offline metrics of policies, one result per task.

    Attributes:
        tasks: See `abtest.evaluate.results.TaskResult`.
    """

    tasks: tuple[TaskResult, ...] = field(default_factory=tuple)

    def __str__(self) -> str:
        """The tables of the terminal."""
        return evaluation_tables(self.tasks)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return _preformatted(str(self))

    def metrics(self) -> pl.DataFrame:
        """A row per task, policy and metric, with the columns of ``--output FILE.csv``."""
        return pl.DataFrame(records(self.tasks), infer_schema_length=None)


def _preformatted(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


_METRIC_COLUMNS: dict[str, Any] = {
    "treatment": pl.String,
    "metric": pl.String,
    "label": pl.String,
    "role": pl.String,
    "unit": pl.String,
    "control_users": pl.Int64,
    "treatment_users": pl.Int64,
    "control_value": pl.Float64,
    "treatment_value": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
    "lift": pl.Float64,
    "lift_low": pl.Float64,
    "lift_high": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "confidence": pl.Float64,
    "detectable_effect": pl.Float64,
    "margin": pl.Float64,
    "outcome": pl.String,
}


def _metric_row(treatment: str, metric: MetricComparison) -> dict[str, Any]:
    return {
        "treatment": treatment,
        "metric": metric.metric,
        "label": metric.label,
        "role": metric.role,
        "unit": metric.unit,
        "control_users": metric.control.users,
        "treatment_users": metric.treatment.users,
        "control_value": metric.control.value,
        "treatment_value": metric.treatment.value,
        **_bounds("difference", metric.absolute),
        **_bounds("lift", metric.relative),
        "p_value": metric.p_value,
        "p_adjusted": metric.p_adjusted,
        "confidence": metric.confidence,
        "detectable_effect": metric.detectable_effect,
        "margin": metric.margin,
        "outcome": metric.outcome,
    }


def _bounds(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
