"""Intervals by the method that is asked for are those of the functions behind it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.replay import MetricResult, TargetPolicy, replay
from simulator.replay.estimators.bootstrap import (
    bootstrap_lift,
    bootstrap_of,
    bootstrap_p_value,
    user_bootstrap,
)
from simulator.replay.estimators.linear import mean
from simulator.replay.interval_method import Intervals
from simulator.replay.summary import at_level
from tests.simulator.replay import decision_log as platform

MakeLog = Callable[[platform.DecisionLog], Dataset]
DRAWN = Intervals("bootstrap", draws=400, seed=7)


def run(dataset: Dataset, **options: object) -> list[MetricResult]:
    scorers = {
        "good": platform.by_item(platform.CLICK),
        "poor": platform.by_item(-platform.CLICK),
    }
    settings: dict[str, object] = {
        "treatment": "good", "control": "poor", "target": TargetPolicy(explore_share=0.3),
        "metrics": ["click_rate", "comment_open_rate"], "primary": "click_rate", **options,
    }  # fmt: skip
    return replay(dataset, scorers, **settings).metrics  # type: ignore[arg-type]


def test_the_bootstrap_takes_the_place_of_students_interval(decision_dataset: MakeLog) -> None:
    dataset = decision_dataset(platform.make(11, users=150))
    plain, drawn = run(dataset), run(dataset, interval=DRAWN)
    again, other = run(dataset, interval=DRAWN), run(dataset, interval=Intervals("bootstrap", 400))
    assert drawn == again
    assert drawn != other
    for usual, one in zip(plain, drawn, strict=True):
        found, before = one.best, usual.best
        assert one.recommended == usual.recommended == "snips"
        assert found.linear is not None
        options = {"draws": 400, "seed": 7}
        treatment, control = found.linear
        paired = treatment - control
        assert found.difference == bootstrap_of(paired, **options)
        assert found.relative == bootstrap_lift(treatment, control, **options)
        assert found.p_value == bootstrap_p_value(paired, **options)
        assert found.difference is not None
        assert before.difference is not None
        assert found.relative is not None
        assert before.relative is not None
        assert found.difference.value == pytest.approx(before.difference.value)
        assert found.relative.value == pytest.approx(before.relative.value)
        assert found.difference.low != before.difference.low
        assert found.difference.width() == pytest.approx(before.difference.width(), rel=0.25)
        assert found.relative.width() == pytest.approx(before.relative.width(), rel=0.25)
        assert found.verdict == before.verdict
        # Another level of confidence is drawn again, not stretched.
        wide, lift = at_level(found, 0.99)
        assert wide == bootstrap_of(paired, level=0.99, **options)
        assert lift == bootstrap_lift(treatment, control, level=0.99, **options)
    # Of what is not read first, only the primary metric is drawn.
    assert drawn[0].estimates["ips"].difference != plain[0].estimates["ips"].difference
    assert drawn[1].estimates["ips"].difference == plain[1].estimates["ips"].difference


def test_few_events_keep_their_own_interval(decision_dataset: MakeLog) -> None:
    dataset = decision_dataset(platform.make(12, users=12))
    plain = run(dataset, metrics=["comment_open_rate"], primary="comment_open_rate")[0]
    drawn = run(
        dataset, metrics=["comment_open_rate"], primary="comment_open_rate", interval=DRAWN
    )[0]
    assert drawn.best.treatment == plain.best.treatment
    assert drawn.best.difference == plain.best.difference


def test_conservative_is_the_older_name_of_likelihood(decision_dataset: MakeLog) -> None:
    dataset = decision_dataset(platform.make(13, users=80))
    assert run(dataset, conservative=True) == run(dataset, interval=Intervals("likelihood"))
    assert run(dataset, conservative=True) != run(dataset)


def test_the_p_value_is_small_exactly_if_the_interval_leaves_out_zero() -> None:
    random = np.random.default_rng(2)
    both = set()
    for shift in np.linspace(-0.3, 0.3, 25):
        linear = mean(random.exponential(1.0, 120) - 1.0 + shift, np.arange(120), 120)
        assert linear is not None
        found, p = bootstrap_of(linear, draws=2_000), bootstrap_p_value(linear, draws=2_000)
        assert found is not None
        assert p is not None
        if abs(p - 0.05) > 0.005:
            assert found.covers(0.0) == (p > 0.05)
            both.add(p > 0.05)
    assert both == {True, False}


def test_a_lift_without_a_shared_user_is_that_of_the_ratio() -> None:
    random = np.random.default_rng(3)
    first, second = random.normal(3.0, 1.0, 300), random.normal(2.0, 1.0, 300)
    a, b = (mean(x, np.arange(300), 300) for x in (first, second))
    assert a is not None
    assert b is not None
    found = bootstrap_lift(a, b, draws=2_000, seed=1)
    plain = user_bootstrap(first, second, draws=2_000, seed=1)
    assert found is not None
    assert plain is not None
    assert found.value == pytest.approx(plain.value - 1.0)
    assert found.low == pytest.approx((plain.low or 0.0) - 1.0, abs=2e-3)
    assert found.high == pytest.approx((plain.high or 0.0) - 1.0, abs=2e-3)


@pytest.mark.parametrize(("options", "said"), [
    (("bayes",), "unknown interval 'bayes'.*student, likelihood, bootstrap"),
    (("bernstein",), "only ips of a share.*--estimators all"),
    (("bootstrap", 50), "50 draws.*200 or more"),
    (("bootstrap", 500, -1), "seed -1"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused_with_the_reason(
    options: tuple[object, ...], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        Intervals(*options)  # type: ignore[arg-type]
