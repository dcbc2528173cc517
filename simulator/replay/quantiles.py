"""Compare quantiles of times under two policies, where the log has enough rows beyond them.

The weights are those of `snips`, as a reward model predicts means and not distributions. A quantile
rests on the rows beyond it: a log worth 1,000 rows has 10 of them above its 99th percentile.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.errors import DataError
from simulator.replay.diagnostics import judge
from simulator.replay.estimators import Estimate
from simulator.replay.estimators.tails import quantile_effect
from simulator.replay.metrics import METRICS
from simulator.replay.result import UNUSABLE, QuantileResult
from simulator.replay.valuation import weighted_outcomes
from simulator.replay.weighed_log import Question, WeighedLog


def times_of(metrics: Sequence[str], quantiles: Sequence[float]) -> list[str]:
    """The metrics that have quantiles worth telling: times.

    Raises:
        DataError: quantiles are asked for, and there is no time; or one is not in (0, 1).
    """
    for share in quantiles:
        if not 0.0 < share < 1.0:
            raise DataError(
                f"a quantile is {share:g}, expected a number between 0 and 1.", "0.5 is the median."
            )
    times = [name for name in metrics if METRICS[name].unit == "ms"]
    if quantiles and not times:
        known = [name for name, metric in METRICS.items() if metric.unit == "ms"]
        raise DataError(
            "quantiles are asked for, but no metric that this log identifies here is a time: "
            f"{', '.join(metrics)}.",
            f"Times are {', '.join(known)}.",
        )
    return times


def quantile_results(
    stage: WeighedLog, times: Sequence[str], question: Question
) -> list[QuantileResult]:
    """Quantiles of times of every treatment beside the control's.

    Args:
        stage: The rows, and how every policy weighs them.
        times: Names of metrics in ms.
        question: What is asked.
    """
    control = question.control
    results = []
    for name in times if question.quantiles else ():
        metric = METRICS[name]
        measured = stage.measured(name)
        found = {p: weighted_outcomes(measured, own) for p, own in stage.weighted.items()}
        for treatment in question.treatments:
            effective = min(found[treatment][1], found[control][1])
            for share in question.quantiles:
                a, b, gap = quantile_effect(found[treatment][0], found[control][0], share)
                beyond = effective * min(share, 1.0 - share)
                verdict, reasons = judge(
                    stage.overlaps_of(treatment, control),
                    effective,
                    beyond,
                    [a, b],
                    counted="rows beyond this quantile",
                )
                if treatment == control and gap is not None:
                    gap = Estimate(0.0, 0.0, 0.0, 0.0)
                told = verdict != UNUSABLE
                results.append(
                    QuantileResult(
                        metric=name,
                        label=metric.label,
                        treatment=treatment,
                        share=share,
                        treated=a if told else None,
                        control=b if told else None,
                        difference=gap if told else None,
                        rows_beyond=beyond,
                        verdict=verdict,
                        reasons=reasons,
                    )
                )
    return results
