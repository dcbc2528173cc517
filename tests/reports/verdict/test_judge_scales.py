"""Verdicts of metrics that should fall, and minimum effects on another scale than the effect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.results import ArmValue, Cause, Estimate, MetricComparison, Scale
from reports.verdict.judge import judge
from reports.verdict.rule import DecisionRule
from tests.reports.verdict.test_decision import GUARDRAIL, PRIMARY, RULES, judged, row


def turned(metric: MetricComparison) -> MetricComparison:
    """The same evidence about a metric whose values have the other sign and that should fall."""

    def mirror(effect: Estimate | None) -> Estimate | None:
        if effect is None:
            return None
        low = None if effect.high is None else -effect.high
        high = None if effect.low is None else -effect.low
        return Estimate(-effect.value, low, high)

    return replace(
        metric,
        direction="down",
        relative=mirror(metric.relative),
        absolute=mirror(metric.absolute),
    )


@pytest.mark.parametrize("name", PRIMARY)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_less_is_better_is_the_mirror_of_more_is_better(name: str, rule: DecisionRule) -> None:
    relative, outcome = PRIMARY[name]
    up = row("time", outcome, relative)
    for guardrail in GUARDRAIL:
        found = [
            judged(metric, (guardrail,), rule=rule).verdict
            for metric in (
                up,
                turned(up),
                replace(up, scale="absolute", absolute=relative, relative=None),
                turned(replace(up, scale="absolute", absolute=relative, relative=None)),
            )
        ]
        assert found[0] == found[1]
        assert found[2] == found[3]


def _cause(
    effect: Estimate, scale: Scale, min_effect: float, of: Scale, control: ArmValue
) -> Cause:
    metric = row("time", "better", effect if scale == "relative" else None)
    metric = replace(metric, absolute=effect, scale=scale, control=control, detectable_effect=None)
    found = judge(metric, (), (), min_effect=min_effect, rule=DecisionRule(), min_effect_scale=of)
    return found.cause


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_share_of_the_control_is_compared_with_a_difference(sign: float) -> None:
    """10 % of a control of 20, or of a loss of 20, are 2."""
    control = ArmValue("a", 200, sign * 20.0, 0.5)
    for size, cause in ((2.1, "better"), (1.9, "below minimum")):
        effect = Estimate(size, 1.0, 3.0)
        assert _cause(effect, "absolute", 0.1, "relative", control) == cause


def test_a_size_is_compared_with_a_lift_as_a_share_of_the_control() -> None:
    """2 are 10 % of a control of 20; of a control of zero they are no share."""
    control = ArmValue("a", 200, 20.0, 0.5)
    for lift, cause in ((0.11, "better"), (0.09, "below minimum")):
        effect = Estimate(lift, 0.01, 0.2)
        assert _cause(effect, "relative", 2.0, "absolute", control) == cause
    nothing = ArmValue("a", 200, 0.0, 0.5)
    assert _cause(Estimate(0.11, 0.01, 0.2), "relative", 2.0, "absolute", nothing) == "no control"


@pytest.mark.parametrize(("error", "cause"), [(9.99, "better"), (10.0, "no control")])
def test_a_control_within_two_standard_errors_of_zero_has_no_share(
    error: float, cause: Cause
) -> None:
    control = ArmValue("a", 200, 20.0, error)
    assert _cause(Estimate(2.1, 1.0, 3.0), "absolute", 0.1, "relative", control) == cause
    # What was adjusted is what counts, not what was counted.
    adjusted = replace(control, standard_error=0.1, adjusted=20.0, adjusted_error=error)
    assert _cause(Estimate(2.1, 1.0, 3.0), "absolute", 0.1, "relative", adjusted) == cause


def test_an_effect_without_a_p_value_is_no_data() -> None:
    metric = replace(row("time", "better", Estimate(0.05, 0.02, 0.08)), p_value=None)
    assert judged(metric).verdict.cause == "no data"
    found = judge(
        row("time", "better", Estimate(0.05, 0.02, 0.08)),
        (),
        (),
        min_effect=0.0,
        rule=DecisionRule(),
    )
    assert found.decision == "ship"
