"""Declare what an experiment measures and when it is a success, before anything is simulated."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from reports.verdict.rule import DecisionRule

RateMethod = Literal["auto", "score", "pooled", "welch"]


class PlanError(Exception):
    """The plan names something that does not exist, or cannot be read."""


@dataclass(frozen=True)
class Metric:
    """One metric of the per-user outcome table.

    Attributes:
        name: For the command line and results.json.
        label: For people.
        unit: What the shown value is in.
        numerator: Outcome columns that are added up.
        denominator: Outcome columns of a ratio, or empty for a mean per user-day.
        scale: Multiplies the numerator before it is shown (0.001 for ms to s).
        direction: Whether more is better.
        percent: Whether a value is shown as a percentage, that is times 100; ``scale`` is for
            other units.
        cap: Quantile of all users at which their values are capped, or None; means only.
        lift: Whether effects are relative to the control, or absolute because the control may be
            zero or negative. A control that is not clear of zero has no relative lift in any case.

    Raises:
        ValueError: a percentage would be multiplied by 100 twice, or columns are a text.
    """

    name: str
    label: str
    unit: str
    numerator: tuple[str, ...]
    denominator: tuple[str, ...] = ()
    scale: float = 1.0
    direction: Literal["up", "down"] = "up"
    percent: bool = False
    cap: float | None = None
    lift: Literal["relative", "absolute"] = "relative"

    def __post_init__(self) -> None:
        for part in ("numerator", "denominator"):
            columns = getattr(self, part)
            if isinstance(columns, str):
                raise ValueError(
                    f"metric '{self.name}': {part} is a text, expected a tuple: (\"{columns}\",)"
                )
        if self.percent and self.scale == 100.0:
            raise ValueError(
                f"metric '{self.name}': percent=True already multiplies by 100; leave scale out"
            )

    @property
    def kind(self) -> str:
        """Either "mean" (per user-day) or "ratio" (of sums, clustered by user)."""
        return "ratio" if self.denominator else "mean"


@dataclass(frozen=True)
class Step:
    """One factor of the primary metric: the sum of its columns over that of the step before.

    The first step is per user-day, so that the product of all steps is the metric.

    Attributes:
        name: For results.json.
        label: For people.
        unit: What the shown value is in.
        columns: Outcome columns that are added up; the last step's are the metric's numerator.
        scale: Multiplies the sum before it is shown.
        percent: Whether the factor is shown as a percentage.
    """

    name: str
    label: str
    unit: str
    columns: tuple[str, ...]
    scale: float = 1.0
    percent: bool = False


SECONDARY = (
    "click_rate",
    "comment_open_rate",
    "stay_per_open",
    "play_time",
    "likes",
    "comment_interactions",
    "sessions",
    "impressions",
    "return_next_day",
)
GUARDRAILS: dict[str, float] = {"hates": 0.10}

ACTIVITY = ("sessions", "impressions", "comment_opens")
"""How active somebody was before the start: covariates of every metric on the platform."""


@dataclass(frozen=True)
class AnalysisPlan:
    """What is tested and what counts.

    Attributes:
        primary: The metric that decides.
        secondary: Tested together, Holm-corrected.
        guardrails: Metric name to the largest harmful relative change that is acceptable (> 0).
        confidence: Of all intervals before correction.
        min_effect: Smallest relative effect of the primary metric worth shipping.
        rule: What else shipping takes.
        metrics: Definitions by name.
        covariates: Columns from before the experiment, beside each metric's own.
        select: Keep only the covariates that explain something; chosen blind to the arms.
        slopes: Of the covariates: common to both arms or one for each.
        ratio_covariate: Of a ratio metric from before: numerator and denominator with a slope each,
            or one linearised column with one slope.
        strata: Segments (without ``segment_``) whose shares are held equal in all arms.
        steps: The primary metric as a product of factors; empty if it is not taken apart.
        rates: How metrics of 0 and 1 per user are compared: by the score method, as a pooled z test
            (the score method without a small-sample factor), by Welch's test, or "auto": by the
            score method where an arm has few users with the event or few without.
        in_units: Guardrails whose margin is in the metric's unit; of others it is a share of the
            control.
        min_effect_in_units: Whether ``min_effect`` is in the primary metric's unit.
        correct: Over what p values and intervals are corrected: treatments (the primary metric's
            and each secondary metric's), secondary metrics, both, or nothing.
        correction: Holm's, against any false alarm, or Benjamini and Hochberg's, for the share of
            false ones among the alarms.
    """

    primary: str = "comment_watch_time"
    secondary: tuple[str, ...] = SECONDARY
    guardrails: dict[str, float] = dataclasses.field(default_factory=lambda: dict(GUARDRAILS))
    confidence: float = 0.95
    min_effect: float = 0.005
    rule: DecisionRule = dataclasses.field(default_factory=DecisionRule)
    metrics: Mapping[str, Metric] = dataclasses.field(kw_only=True)
    covariates: tuple[str, ...] = ACTIVITY
    select: bool = False
    slopes: Literal["common", "by arm"] = "common"
    ratio_covariate: Literal["parts", "linear"] = "parts"
    strata: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    rates: RateMethod = "auto"
    in_units: frozenset[str] = frozenset()
    min_effect_in_units: bool = False
    correct: Literal["both", "treatments", "metrics", "none"] = "both"
    correction: Literal["holm", "bh"] = "holm"

    def metric(self, name: str) -> Metric:
        """The definition of a metric.

        Raises:
            PlanError: no such metric; suggests the nearest.
        """
        return metric(name, self.metrics)


def metric(name: str, metrics: Mapping[str, Metric]) -> Metric:
    """A metric by name.

    Raises:
        PlanError: no such metric; suggests the nearest.
    """
    if name not in metrics:
        close = difflib.get_close_matches(name, metrics, n=1)
        guess = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(metrics)}"
        raise PlanError(f"unknown metric '{name}'. {guess}")
    return metrics[name]


LARGEST_MARGIN = 1e30
"""In the metric's unit; no table has larger values."""


def parse_guardrail(text: str) -> tuple[str, float]:
    """Name and signed margin, as a fraction, of ``METRIC=-1%``.

    Raises:
        PlanError: unreadable.
    """
    name, separator, margin = text.partition("=")
    try:
        value = float(margin.strip().rstrip("%").replace("−", "-"))
    except ValueError:
        value = 0.0
    if not separator or not 0.0 < abs(value) <= LARGEST_MARGIN:
        raise PlanError(f"guardrail '{text}' is not METRIC=MARGIN. Example: click_rate=-1%")
    return name.strip(), value / (100.0 if "%" in margin else 1.0)


def build_plan(
    *,
    metrics: Mapping[str, Metric],
    primary: str = "comment_watch_time",
    guardrails: Iterable[str] = (),
    min_effect: float = 0.005,
    rule: DecisionRule | None = None,
) -> AnalysisPlan:
    """The default plan with a primary metric, further guardrails and a minimum effect.

    Args:
        metrics: Definitions by name.
        primary: Metric name.
        guardrails: ``METRIC=-1%``: the metric may not get worse by more than that.
        min_effect: As a fraction.
        rule: The default rule if None.

    Raises:
        PlanError: unknown metric or unreadable margin.
    """
    metric(primary, metrics)
    margins = dict(GUARDRAILS)
    for text in guardrails:
        name, margin = parse_guardrail(text)
        margins[metric(name, metrics).name] = abs(margin)
    margins.pop(primary, None)
    secondary = tuple(
        name
        for name in dict.fromkeys(("comment_watch_time", *SECONDARY))
        if name != primary and name not in margins
    )
    return AnalysisPlan(
        primary,
        secondary,
        margins,
        min_effect=min_effect,
        rule=rule or DecisionRule(),
        metrics=metrics,
    )
