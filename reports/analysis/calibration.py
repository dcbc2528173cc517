"""Run A/A tests: split users who were treated alike at random, many times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports import formats
from reports.analysis.rates import Rates
from reports.plan import ACTIVITY, AnalysisPlan, Metric
from reports.results import HealthCheck
from reports.statistics.adjustment import select_covariates
from reports.statistics.checks.aa import Calibration, aa_p_values, any_alarm, calibration
from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Moments
from reports.statistics.rates import Rate
from reports.users.table import Users, UserTable, covariates, matrix

LABEL = "A/A calibration"
CHIP_ALPHA = 0.05
CHIP_CONFIDENCE = 0.99
CHIP_SEED = 1
_CELLS = 20_000_000
_FEWEST_USERS = 100
_MOST_USERS = 200_000


@dataclass(frozen=True)
class MetricCalibration:
    """How one metric behaves where nothing differs.

    Attributes:
        metric: Name.
        label: For people.
        kind: "mean" or "ratio".
        covariates: How many the analysis adjusts for.
        found: The false-positive rate and the uniformity of the p values.
    """

    metric: str
    label: str
    kind: str
    covariates: int
    found: Calibration


@dataclass(frozen=True)
class CalibrationReport:
    """A/A splits of one table.

    Attributes:
        users: In the table, that is in both arms together.
        replicates: Number of splits.
        share: Of users in the second arm.
        seed: Of the splits.
        alpha: Level of every test.
        metrics: One entry per metric.
        family_rate: Share of splits in which Holm's correction over all metrics leaves an alarm.
    """

    users: int
    replicates: int
    share: float
    seed: int
    alpha: float
    metrics: tuple[MetricCalibration, ...]
    family_rate: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = [
            {
                "metric": m.metric,
                "label": m.label,
                "kind": m.kind,
                "covariates": m.covariates,
                **_json_values(m.found),
            }
            for m in self.metrics
        ]
        return {
            "users": self.users,
            "replicates": self.replicates,
            "share": self.share,
            "seed": self.seed,
            "alpha": self.alpha,
            "family_rate": self.family_rate,
            "metrics": rows,
        }


def calibrate(
    columns: Mapping[str, NDArray[np.float64]],
    metrics: Sequence[Metric],
    *,
    replicates: int,
    seed: int,
    share: float = 0.5,
    alpha: float = 0.05,
    confidence: float = 0.95,
    by_score: Sequence[str] = (),
    p_values: NDArray[np.float64] | None = None,
) -> CalibrationReport:
    """Split the users of one arm at random and analyse every metric, many times.

    Args:
        columns: float64[users, k] by metric name, as `user_columns` gives them.
        metrics: What is analysed.
        replicates: Number of splits.
        seed: Of the splits.
        share: Of users in the second arm.
        alpha: Level of every test.
        confidence: That, if all metrics are calibrated, all are called so.
        by_score: Names of 0/1 metrics that the analysis compares by the score method.
        p_values: float64[replicates, metrics], of `splits_of`, if they are known already.

    Raises:
        StatisticsError: too few users or impossible settings.
    """
    if p_values is None:
        p_values = splits_of(
            columns, metrics, range(replicates), seed=seed, share=share, by_score=by_score
        )
    found = tuple(
        MetricCalibration(
            m.name,
            m.label,
            m.kind,
            columns[m.name].shape[1] - 2,
            calibration(
                p_values[:, number],
                alpha=alpha,
                confidence=confidence,
                family=len(metrics),
                discrete=m.name in by_score,
            ),
        )
        for number, m in enumerate(metrics)
    )
    family = float(any_alarm(p_values, alpha=alpha).mean()) if len(metrics) > 1 else None
    users = len(columns[metrics[0].name])
    return CalibrationReport(users, replicates, share, seed, alpha, found, family)


def splits_of(
    columns: Mapping[str, NDArray[np.float64]],
    metrics: Sequence[Metric],
    numbers: range,
    *,
    seed: int,
    share: float,
    by_score: Sequence[str] = (),
) -> NDArray[np.float64]:
    """float64[splits, metrics]: p values of the splits with these numbers.

    Arguments as of `calibrate`. Parts that begin at multiples of
    `reports.statistics.checks.aa.BLOCK` are, one below the other, what all splits at once give.
    """
    return aa_p_values(
        [columns[m.name] for m in metrics],
        replicates=len(numbers),
        seed=seed,
        share=share,
        by_score=[number for number, m in enumerate(metrics) if m.name in by_score],
        begin=numbers.start,
    )


def user_columns(
    table: UserTable, chosen: Metric, arm: str, others: Sequence[str] = ACTIVITY
) -> NDArray[np.float64]:
    """float64[users of the arm, k]: numerator, denominator and all covariates."""
    values = matrix(table.during, chosen, table.days)
    if table.has_pre:
        values = np.concatenate([values, covariates(table.before, chosen, others)], axis=1)
    return np.asarray(values[table.rows(arm)])


def analysed_columns(
    table: Users,
    chosen: Metric,
    arm: str,
    others: Sequence[str] = ACTIVITY,
    *,
    select: bool,
    step: int = 1,
) -> NDArray[np.float64]:
    """``user_columns`` of one user in ``step``, with the covariates that the analysis keeps.

    Args:
        table: Users.
        chosen: The metric.
        arm: Whose users.
        others: Covariates beside the metric's own.
        select: Whether only covariates that explain something are kept. They are chosen from all
            users of the arm, so every split of them has the same ones.
        step: Take one user in so many.
    """
    found, seen = [], 0
    for part in table.parts():
        columns = user_columns(part, chosen, arm, others)
        found.append(columns[-seen % step :: step])
        seen += len(columns)
    every = np.concatenate(found)
    # In an order of their own: the splits must not depend on that of the file or of its parts.
    every = every[np.lexsort(every.T[::-1])]
    if not select or every.shape[1] <= 3:
        return every
    kept = select_covariates(Moments.of(every))
    return every[:, [0, 1, *(2 + k for k in sorted(kept))]]


def scored(columns: Mapping[str, NDArray[np.float64]], plan: AnalysisPlan) -> list[str]:
    """Metrics of 0 and one value per user that the analysis compares by the score method.

    Args:
        columns: float64[users, k] by metric name, of users who are split in two halves.
        plan: How rates are compared.
    """
    found = []
    for name, values in columns.items():
        chosen = plan.metric(name)
        if plan.rates == "welch" or chosen.kind == "ratio" or chosen.cap is not None:
            continue
        numerator, unit = values[:, 0], chosen.scale
        if not (np.isin(numerator, (0.0, unit)).all() and (values[:, 1] == 1.0).all()):
            continue
        half = Rate(int((numerator == unit).sum()) // 2, len(values) // 2)
        rates = Rates(half, half, unit, small_sample=True)
        if plan.rates != "auto" or rates.rare:
            found.append(name)
    return found


def calibration_check(table: Users, plan: AnalysisPlan, design: str) -> HealthCheck:
    """The trust chip: A/A splits of the control arm, for the primary metric and the guardrails.

    It is a warning if there are too many or too few false alarms, or p values that are not uniform:
    each means that the intervals of these people do not cover what they say. Of many users a part
    is taken, and fewer splits, so that it never takes more than a second or two.
    """
    control = table.arms[0]
    users = table.size(control)
    if design == "twin":
        return HealthCheck("aa", LABEL, "not run", "the arms are paired: there is no split to redo")
    metrics = [plan.metric(name) for name in (plan.primary, *plan.guardrails)]
    # The splits redo the plain analysis only; another one would be a promise not kept.
    beyond = {
        "capped metrics": any(m.cap for m in metrics),
        "strata": bool(plan.strata),
        "slopes by arm": plan.slopes != "common",
        "one slope of a ratio's covariate": plan.ratio_covariate == "linear"
        and any(m.denominator for m in metrics),
    }
    if any(beyond.values()):
        names = " and ".join(name for name, used in beyond.items() if used)
        return HealthCheck("aa", LABEL, "not run", f"the splits are not redone for {names}")
    every = -(-users // _MOST_USERS)
    columns = {
        m.name: analysed_columns(table, m, control, plan.covariates, select=plan.select, step=every)
        for m in metrics
    }
    metrics = varying(columns, metrics)
    if users < _FEWEST_USERS:
        return HealthCheck("aa", LABEL, "not run", f"fewer than {_FEWEST_USERS} control users")
    if not metrics:
        return HealthCheck("aa", LABEL, "not run", "nothing varies between the control users")
    replicates = min(max(_CELLS // users, 200), 1_000)
    try:
        report = calibrate(
            columns,
            metrics,
            replicates=replicates,
            seed=CHIP_SEED,
            alpha=CHIP_ALPHA,
            confidence=CHIP_CONFIDENCE,
            by_score=scored({m.name: columns[m.name] for m in metrics}, plan),
        )
    except StatisticsError as error:
        return HealthCheck("aa", LABEL, "not run", str(error).rstrip("."))
    wrong = [m for m in report.metrics if m.found.word not in ("calibrated", "no data")]
    part = "" if every == 1 else f"{report.users:,} users of "
    level = formats.confidence(report.metrics[0].found.confidence)
    rates = "; ".join(f"{m.label.lower()} {_rate_words(m.found)}" for m in report.metrics)
    lead = "; ".join(f"'{m.metric}': {m.found.word}" for m in wrong)
    lead = f"{lead}; " if wrong else ""
    detail = (
        f"{lead}false alarms in {replicates:,} splits of {part}the control arm, {level} CI: "
        f"{rates}; nominal {formats.share(CHIP_ALPHA)}"
    )
    facts = {
        "replicates": replicates,
        "metrics": [{"metric": m.metric, **_json_values(m.found)} for m in report.metrics],
    }
    return HealthCheck("aa", LABEL, "warn" if wrong else "pass", detail, facts=facts)


def varying(columns: Mapping[str, NDArray[np.float64]], metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that can be tested: those that differ between users."""
    return [m for m in metrics if _varies(columns[m.name])]


def _varies(columns: NDArray[np.float64]) -> bool:
    numerator, denominator = columns[:, 0], columns[:, 1]
    total = denominator.sum()
    if not np.isfinite(columns).all():
        return True
    if total == 0.0:
        return False
    # Centred first: an offset of 1e12 leaves few digits for what varies.
    x, y = (own - own[0] for own in (numerator, denominator))
    ratio = numerator.sum() / total
    linear = x - ratio * y + (numerator[0] - ratio * denominator[0])
    eps = float(np.finfo(np.float64).eps)
    noise = 8.0 * eps * (np.abs(numerator).max() + np.abs(ratio * denominator).max())
    return bool(np.abs(linear - linear.mean()).max(initial=0.0) > noise)


def _rate_words(found: Calibration) -> str:
    if found.word == "no data":
        return "not testable"
    low, high = (formats.percent(v, signed=False) for v in (found.low, found.high))
    return f"{formats.percent(found.rate, signed=False)} ({low} to {high})"


def _json_values(found: Calibration) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in found._asdict().items()
    }
