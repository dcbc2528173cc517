"""Quantiles of times in a whole replay: weights by stage, too few rows, what is no time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.replay import METRICS, ReplayResult, TargetPolicy, replay
from tests.simulator.replay import decision_log as platform

Decisions = Callable[[platform.DecisionLog], Dataset]
SHARE = 0.4


def run(dataset: Dataset, **options: object) -> ReplayResult:
    scorers = {"new": platform.by_item(np.arange(6.0)),
               "old": platform.by_item(platform.LOGGED_VIDEOS)}  # fmt: skip
    settings: dict[str, object] = {
        "treatment": "new", "control": "old", "target": TargetPolicy(explore_share=SHARE),
        "metrics": ["click_rate", "comment_stay_ms"], "quantiles": (0.5, 0.9), **options,
    }  # fmt: skip
    return replay(dataset, scorers, **settings)  # type: ignore[arg-type]


def test_a_quantile_is_the_outcome_at_which_the_weights_reach_its_share(
    decision_dataset: Decisions,
) -> None:
    """By hand: every row's weight from the platform's own formula."""
    log = platform.make(2, users=200)
    result = run(decision_dataset(log))
    rows = log.video_decisions.sort("user_id", "request_id", "position")
    shown = log.impressions.sort("user_id", "request_id", "position")
    stay = shown["comment_stay_time"].to_numpy().astype(float)
    for name, score in (("treated", np.arange(6.0)), ("control", platform.LOGGED_VIDEOS)):
        weights, above = [], []
        for slot, video, chance in rows.select("position", "video_id", "propensities").iter_rows():
            above = [] if slot == 0 else above
            weights.append(platform.chances(score, above, SHARE)[video] / chance[video])
            above = [*above, video]
        order = np.argsort(stay, kind="stable")
        reached = np.cumsum(np.array(weights)[order]) / sum(weights)
        for found in result.quantiles:
            expected = stay[order][np.searchsorted(reached, found.share)]
            assert getattr(found, name).value == expected
    assert {q.metric for q in result.quantiles} == {"comment_stay_ms"}
    assert result.quantiles[0].rows_beyond == pytest.approx(
        min(o.effective for o in result.overlap.values()) / 2
    )
    assert result.to_dict()["quantiles"][1]["share"] == 0.9


def test_orders_of_comments_weigh_by_all_that_was_seen(decision_dataset: Decisions) -> None:
    """An order that puts long comments first has longer stays at the 90th percentile."""
    log = platform.make(3, users=1_500)
    long = platform.DWELL.ravel()
    orders = {"new": platform.by_item(long), "old": platform.by_item(-long)}
    result = run(
        decision_dataset(log), metrics=["comment_stay_ms", "comment_dwell_ms"], stage="comments",
        comment_scorers=orders, comment_target=TargetPolicy(explore_share=SHARE),
    )  # fmt: skip
    found = {(q.metric, q.share): q for q in result.quantiles}
    for name in ("comment_stay_ms", "comment_dwell_ms"):
        gap = found[name, 0.9].difference
        assert gap is not None and gap.low is not None
        assert gap.low > 0.0
    places = min(o.effective for o in result.comment_overlap.values())
    assert found["comment_dwell_ms", 0.9].rows_beyond == pytest.approx(0.1 * places)
    orders_worth = min(o.comment_effective or 0.0 for o in result.overlap.values())
    assert found["comment_stay_ms", 0.9].rows_beyond == pytest.approx(0.1 * orders_worth)


def test_too_few_rows_beyond_a_quantile_give_no_figure(decision_dataset: Decisions) -> None:
    result = run(decision_dataset(platform.make(4, users=250)), quantiles=(0.5, 0.99))
    half, tail = result.quantiles
    assert half.verdict == "usable"
    assert (tail.verdict, tail.treated, tail.difference) == ("unusable", None, None)
    assert "rows beyond this quantile; at least 10" in tail.reasons[-1]


def test_a_policy_against_itself_differs_by_nothing(decision_dataset: Decisions) -> None:
    result = run(decision_dataset(platform.make(4, users=120)), control="new")
    assert [q.difference.width() for q in result.quantiles if q.difference] == [0.0, 0.0]


def test_what_has_no_quantiles_is_refused_with_the_reason(decision_dataset: Decisions) -> None:
    dataset = decision_dataset(platform.make(1, users=30))
    with pytest.raises(DataError, match="no metric that this log identifies here is a time"):
        run(dataset, metrics=["click_rate"])
    with pytest.raises(DataError, match="a quantile is 1, expected"):
        run(dataset, quantiles=(0.5, 1.0))
    assert METRICS["comment_stay_ms"].unit == "ms"
