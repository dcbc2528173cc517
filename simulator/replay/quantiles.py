"""Compare quantiles of times under two policies, where the log has enough rows beyond them.

The weights are those of `snips`, as a reward model predicts means and not distributions. A quantile
rests on the rows beyond it: a log worth 1,000 rows has 10 of them above its 99th percentile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulator.errors import DataError
from simulator.replay.diagnostics import judge
from simulator.replay.estimators import Estimate
from simulator.replay.estimators.tails import quantile_effect
from simulator.replay.logged import LoggedRows
from simulator.replay.metrics import METRICS
from simulator.replay.result import UNUSABLE, Overlap, QuantileResult
from simulator.replay.valuation import Measured, Weighted, weighted_outcomes


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
    logged: LoggedRows,
    weighted: Mapping[str, Weighted],
    overlaps: Mapping[str, Overlap],
    times: Sequence[str],
    quantiles: Sequence[float],
    treatments: tuple[str, ...],
    control: str,
) -> list[QuantileResult]:
    """Quantiles of times of every treatment beside the control's.

    Args:
        logged: The rows of one stage.
        weighted: Per policy.
        overlaps: Per policy.
        times: Names of metrics in ms.
        quantiles: Shares in (0, 1).
        treatments: Policies to be compared with the control.
        control: The policy that they are compared with.
    """
    results = []
    for name in times if quantiles else ():
        metric = METRICS[name]
        measured = Measured.of(name, logged.outcomes)
        found = {policy: weighted_outcomes(measured, own) for policy, own in weighted.items()}
        for treatment in treatments:
            effective = min(found[treatment][1], found[control][1])
            for share in quantiles:
                a, b, gap = quantile_effect(found[treatment][0], found[control][0], share)
                beyond = effective * min(share, 1.0 - share)
                verdict, reasons = judge(
                    [overlaps[treatment], overlaps[control]],
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
