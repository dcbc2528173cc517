"""A metric of which less is better is judged as the mirror image of one of which more is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.results import Estimate
from reports.verdict.rule import DecisionRule
from tests.reports.verdict.test_decision import PRIMARY, RULES, judged, row

ONE_SIDED: dict[str, tuple[Estimate | None, str]] = {
    "surely better": (Estimate(0.05, 0.02, None), "better"),
    "surely worse": (Estimate(-0.05, None, -0.02), "worse"),
}


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", [*PRIMARY, *ONE_SIDED])
def test_fewer_is_better_is_the_mirror_image(name: str, rule: DecisionRule) -> None:
    estimate, outcome = {**PRIMARY, **ONE_SIDED}[name]
    mirrored = estimate
    if estimate is not None:
        low, high = (None if bound is None else -bound for bound in (estimate.high, estimate.low))
        mirrored = Estimate(-estimate.value, low, high)
    up, down = row("time", outcome, estimate), row("time", outcome, mirrored)
    said = judged(up, rule=rule), judged(replace(down, direction="down"), rule=rule)
    assert said[0].verdict == said[1].verdict
