"""Replay of logged decisions: videos, comments beneath them, and both, against exact truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.replay import ReplayResult, TargetPolicy, replay
from simulator.replay.models.regression import for_outcome
from tests.simulator.replay import decision_log as platform

MakeLog = Callable[[platform.DecisionLog], Dataset]

GOOD, POOR = platform.CLICK.copy(), -platform.CLICK
LONG = platform.DWELL.ravel()
SHARE, COMMENT_SHARE = 0.3, 0.5
TARGET, ORDER = TargetPolicy(explore_share=SHARE), TargetPolicy(explore_share=COMMENT_SHARE)


def run(dataset: Dataset, **options: object) -> ReplayResult:
    settings: dict[str, object] = {
        "treatment": "good", "control": "poor", "target": TARGET, "comment_target": ORDER,
        "metrics": ["click_rate"], **options,
    }  # fmt: skip
    scorers = {"good": platform.by_item(GOOD), "poor": platform.by_item(POOR)}
    return replay(dataset, scorers, **settings)  # type: ignore[arg-type]


def test_weights_are_the_targets_probability_over_the_logged_one(decision_dataset: MakeLog) -> None:
    log = platform.make(1, users=40)
    result = run(decision_dataset(log))
    assert (result.eligible, result.stages) == ("decisions", ("videos",))
    weights = []
    for row in log.video_decisions.iter_rows(named=True):
        above = log.video_decisions.filter(
            (pl.col("user_id") == row["user_id"])
            & (pl.col("request_id") == row["request_id"])
            & (pl.col("position") < row["position"])
        )["video_id"].to_list()
        p = platform.chances(GOOD, above, SHARE)[row["video_id"]]
        weights.append(p / row["propensities"][row["video_id"]])
    found = result.overlap["good"]
    assert found.mean_weight == pytest.approx(np.mean(weights))
    assert found.max_weight == pytest.approx(max(weights))
    assert found.expected_effective is not None
    assert found.unsupported_share == pytest.approx(0.0)


TRUTHS = {
    "snips": (platform.slot_truth(GOOD, SHARE, platform.CLICK),
              platform.slot_truth(POOR, SHARE, platform.CLICK)),
    "page": (platform.page_truth(GOOD, SHARE, platform.CLICK),
             platform.page_truth(POOR, SHARE, platform.CLICK)),
}  # fmt: skip


def test_intervals_of_every_estimator_cover_the_truth(decision_dataset: MakeLog) -> None:
    covered: dict[str, list[bool]] = {}
    for seed in range(60):
        dataset = decision_dataset(platform.make(seed, users=60, pages=2))
        metric = run(dataset, model=for_outcome).metrics[0]
        for name, found in metric.estimates.items():
            truth = TRUTHS["page" if name == "page" else "snips"]
            if name in ("dm", "switch_dr", "dr_os"):
                # They accept bias for less noise, and their verdict says so.
                assert found.verdict != "usable"
                assert found.reasons
                continue
            pairs = zip(
                (found.treatment, found.control, found.difference),
                (*truth, truth[0] - truth[1]),
                strict=True,
            )
            for estimate, exact in pairs:
                assert estimate is not None
                covered.setdefault(name, []).append(estimate.covers(exact))
    assert {"ips", "snips", "page", "dr", "sndr", "blend"} == set(covered)
    for name, hits in covered.items():
        # 180 correlated intervals of 95 %.
        assert np.mean(hits) > 0.89, (name, np.mean(hits))


def test_a_winsorised_mean_of_times_says_what_it_leaves_out(decision_dataset: MakeLog) -> None:
    log = platform.make(5, users=300, pages=3)
    long = log.impressions.with_columns(
        play_time_ms=pl.when(pl.int_range(pl.len()) == 3)
        .then(9_000_000)
        .otherwise(pl.col("play_time_ms"))
    )
    dataset = decision_dataset(dataclasses.replace(log, impressions=long))
    found = run(dataset, metrics=["play_time_ms"]).metrics[0]
    capped, plain = found.estimates["winsorised"], found.estimates["snips"]
    assert capped.verdict == "caution"
    rest = (log.impressions.height - 1) * 9_000
    share = 100 * (9_000_000 - 9_000) / (rest + 9_000_000)
    assert f"amounts above 9 s count as that, which takes {share:.0f} %" in capped.reasons[-1]
    assert capped.treatment is not None
    assert capped.treatment.value == pytest.approx(9_000)
    assert plain.treatment is not None
    assert plain.treatment.value != pytest.approx(9_000)
    assert found.recommended == "snips"


def _stays(score: np.ndarray) -> np.ndarray:
    order = score.reshape(platform.VIDEOS, platform.COMMENTS)
    return np.array([platform.stay_of(v, order[v], COMMENT_SHARE) for v in range(platform.VIDEOS)])


def test_comment_orders_are_valued_where_their_decisions_are_logged(
    decision_dataset: MakeLog,
) -> None:
    """Videos as logged: opening chances of the logged videos times the stay of each order."""
    shown = [
        platform.slot_truth(platform.LOGGED_VIDEOS, 0.5, platform.OPEN * _stays(score))
        for score in (LONG, -LONG)
    ]
    orders = {"good": platform.by_item(LONG), "poor": platform.by_item(-LONG)}
    covered: dict[str, list[bool]] = {}
    for seed in range(40):
        result = run(
            decision_dataset(platform.make(seed, users=80)),
            comment_scorers=orders, stage="comments", metrics=["comment_stay_ms"],
        )  # fmt: skip
        assert result.stages == ("comments",)
        for name, found in result.metrics[0].estimates.items():
            assert found.treatment is not None
            assert found.difference is not None
            covered.setdefault(name, []).append(found.treatment.covers(shown[0]))
            covered[name].append(found.difference.covers(shown[0] - shown[1]))
    assert set(covered) == {"ips", "snips", "nested", "cascade"}
    for name, hits in covered.items():
        assert np.mean(hits) > 0.87, (name, np.mean(hits))


def test_one_place_of_a_section_is_worth_what_the_policy_would_put_there(
    decision_dataset: MakeLog,
) -> None:
    """Mean time on the comment at a place that was reached, those above it as shown."""
    orders = {"good": platform.by_item(LONG), "poor": platform.by_item(-LONG)}
    result = run(
        decision_dataset(platform.make(8, users=1_200)), comment_scorers=orders,
        stage="comments", metrics=["comment_dwell_ms"],
    )  # fmt: skip
    weights = np.array([platform.page_weight(v) for v in range(platform.VIDEOS)]) * platform.OPEN
    for name, sign in (("good", 1.0), ("poor", -1.0)):
        top = sum(
            w * platform.place_truth(v, sign * LONG.reshape(platform.VIDEOS, -1)[v], COMMENT_SHARE)
            for v, w in enumerate(weights)
        )
        truth = top / (weights.sum() * (1 + platform.GO_ON + platform.GO_ON**2))
        metric = result.metrics[0].estimates["snips"]
        found = metric.treatment if name == "good" else metric.control
        assert found is not None
        assert abs(found.value - truth) < 4 * found.standard_error
        assert found.standard_error < 0.05 * truth
    assert result.comment_overlap["good"].expected_effective is not None


def test_both_stages_at_once(decision_dataset: MakeLog) -> None:
    worth = [platform.OPEN * _stays(score) for score in (LONG, -LONG)]
    truth = [
        platform.slot_truth(GOOD, SHARE, worth[0]),
        platform.slot_truth(POOR, SHARE, worth[1]),
    ]
    result = run(
        decision_dataset(platform.make(7, users=1_500)),
        comment_scorers={"good": platform.by_item(LONG), "poor": platform.by_item(-LONG)},
        metrics=None,
        model=for_outcome,
    )
    assert result.stages == ("videos", "comments")
    stay = next(m for m in result.metrics if m.name == "comment_stay_ms")
    assert (stay.role, stay.recommended) == ("primary", "sndr")
    for name in ("ips", "snips", "nested", "cascade", "dr", "sndr"):
        found = stay.estimates[name]
        for estimate, exact in zip((found.treatment, found.control), truth, strict=True):
            assert estimate is not None
            assert abs(estimate.value - exact) < 4 * estimate.standard_error, name
            assert estimate.standard_error < 0.2 * exact, name
    # Clicks come before any comment is seen: only the videos' weights touch them.
    click = next(m for m in result.metrics if m.name == "click_rate")
    assert "cascade" not in click.estimates


def test_rows_in_any_order_give_the_same_numbers(decision_dataset: MakeLog) -> None:
    log = platform.make(3, users=30)
    shuffled = dataclasses.replace(
        log,
        **{
            name: getattr(log, name).sample(fraction=1.0, shuffle=True, seed=1)
            for name in ("impressions", "video_decisions", "comment_decisions", "comment_events")
        },
    )
    orders = {"good": platform.by_item(LONG), "poor": platform.by_item(-LONG)}
    results = [
        run(decision_dataset(x), metrics=None, comment_scorers=orders) for x in (log, shuffled)
    ]
    assert results[0].to_dict() == results[1].to_dict()


def test_comment_policies_are_refused_without_comment_decisions(
    decision_dataset: MakeLog,
) -> None:
    """What was +0.0 % (-0.0 to +0.0), "ok", where the truth is +16.9 %."""
    log = dataclasses.replace(platform.make(1, users=30), comment_decisions=None)
    scorers = {"likes": platform.by_item(GOOD), "newest": platform.by_item(GOOD)}
    with pytest.raises(
        DataError, match=r"nothing about how likes and newest rank comments.*keep-log"
    ):
        replay(
            decision_dataset(log), scorers, treatment="likes", control="newest",
            ranks={"likes": ("comments",), "newest": ("comments",)},
        )  # fmt: skip
    both = {"likes": ("videos", "comments"), "newest": ("videos",)}
    result = replay(
        decision_dataset(log), scorers, treatment="likes", control="newest", ranks=both,
        target=TARGET,
    )  # fmt: skip
    assert result.stages == ("videos",)
    assert {"comment_stay_ms", "play_time_ms"}.isdisjoint(m.name for m in result.metrics)
    assert any("no figure" in w for w in result.warnings)
    assert any("comments stay as logged" in w for w in result.warnings)


def test_a_log_in_which_nothing_was_left_to_chance_identifies_nothing(
    decision_dataset: MakeLog,
) -> None:
    with pytest.raises(DataError, match="the shown one was certain"):
        run(decision_dataset(platform.make(1, users=20, video_share=0.0, comment_share=0.0)))


def test_an_exact_target_needs_few_rows_and_a_deterministic_one_says_how_few(
    decision_dataset: MakeLog,
) -> None:
    dataset = decision_dataset(platform.make(2, users=300))
    near, far = run(dataset), run(dataset, target=TargetPolicy())
    assert near.overlap["poor"].effective > far.overlap["poor"].effective
    expected = far.overlap["poor"].expected_effective
    assert expected is not None
    # By design a place that the log's policy fills otherwise matches with share / candidates left.
    assert expected < 0.25 * far.overlap["poor"].rows


def test_improper_decisions_are_counted_with_their_page(decision_dataset: MakeLog) -> None:
    log = platform.make(4, users=30)
    broken = log.video_decisions.with_columns(
        pl.when((pl.col("user_id") == 3) & (pl.col("request_id") == 1) & (pl.col("position") == 1))
        .then(pl.lit([0.1] * platform.VIDEOS))
        .otherwise("propensities")
        .alias("propensities")
    )
    result = run(decision_dataset(dataclasses.replace(log, video_decisions=broken)))
    assert result.rows["without_valid_propensities"] == 1
    assert result.rows["on_a_page_with_such_a_row"] == 2
    assert result.rows["used"] == len(log.video_decisions) - 3


def test_several_treatments_share_one_control(decision_dataset: MakeLog) -> None:
    dataset = decision_dataset(platform.make(5, users=60))
    scorers = {n: platform.by_item(s) for n, s in (("a", GOOD), ("b", POOR), ("c", -(GOOD**2)))}
    result = replay(
        dataset, scorers, treatment=["a", "b"], control="c", target=TARGET, metrics=["click_rate"]
    )
    assert [m.treatment for m in result.metrics] == ["a", "b"]
    alone = replay(
        dataset, scorers, treatment="b", control="c", target=TARGET, metrics=["click_rate"]
    )
    assert alone.metrics[0] == result.metrics[1]


def test_the_same_policy_twice_differs_by_exactly_nothing(decision_dataset: MakeLog) -> None:
    result = run(decision_dataset(platform.make(6, users=30)), control="good")
    found = result.metrics[0].estimates["snips"]
    assert found.difference is not None
    assert (found.difference.low, found.difference.high) == (0.0, 0.0)
    assert any("0 by construction" in w for w in result.warnings)


def test_conservative_intervals_contain_the_usual_ones(decision_dataset: MakeLog) -> None:
    dataset = decision_dataset(platform.make(6, users=60))
    usual, wide = run(dataset), run(dataset, conservative=True)
    for name in ("ips", "snips"):
        a, b = (r.metrics[0].estimates[name].treatment for r in (usual, wide))
        assert a is not None
        assert b is not None
        assert b.low <= a.low  # type: ignore[operator]
        assert b.high >= a.high  # type: ignore[operator]
