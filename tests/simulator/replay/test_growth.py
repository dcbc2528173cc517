"""Nested parts of a log tell what a replay of each part alone tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from simulator.logs.dataset import Dataset
from simulator.replay import ReplayResult, TargetPolicy, replay
from simulator.replay.growth import PARTS, parts_of
from simulator.replay.models.regression import for_outcome
from simulator.replay.result import OverlapPoint, PrecisionPoint
from tests.simulator.replay import decision_log as platform
from tests.simulator.replay.test_replay import VIDEOS, by_video, uniform_log

Decisions = Callable[[platform.DecisionLog], Dataset]
Make = Callable[[pl.DataFrame, int], Dataset]

SCORES = {"new": np.arange(6.0), "old": platform.LOGGED_VIDEOS}
ORDERS = {"new": platform.by_item(np.arange(18.0)), "old": platform.by_item(-np.arange(18.0))}
SOFT, HALF = TargetPolicy(explore_share=0.2), TargetPolicy(explore_share=0.5)


def of_users(log: platform.DecisionLog, users: np.ndarray) -> platform.DecisionLog:
    kept = {
        f.name: frame.filter(pl.col("user_id").is_in(users.tolist()))
        for f in dataclasses.fields(log)
        if "user_id" in (frame := getattr(log, f.name)).columns
    }
    return dataclasses.replace(log, **kept)


def decided(dataset: Dataset, **options: object) -> ReplayResult:
    scorers = {name: platform.by_item(score) for name, score in SCORES.items()}
    settings: dict[str, object] = {
        "treatment": "new", "control": "old", "target": SOFT, **options
    }  # fmt: skip
    return replay(dataset, scorers, **settings)  # type: ignore[arg-type]


def members(users: int, part: int) -> np.ndarray:
    return np.flatnonzero(parts_of(np.arange(users)) <= part)


def check_overlap(point: OverlapPoint, whole: ReplayResult, policy: str) -> None:
    alone = whole.overlap[policy]
    assert (point.rows, point.users) == (alone.rows, alone.users)
    assert point.matched_rows == alone.matched_rows
    assert point.expected_effective == pytest.approx(alone.expected_effective, rel=1e-10)
    assert point.effective_sample_size == pytest.approx(alone.effective_sample_size, rel=1e-10)
    assert point.comment_effective == pytest.approx(alone.comment_effective, rel=1e-10)
    assert point.unsupported_share == pytest.approx(alone.unsupported_share, abs=1e-12)


def check_precision(point: PrecisionPoint, alone: ReplayResult) -> None:
    found = next(m for m in alone.metrics if m.role == "primary")
    assert point.rows == found.rows
    relative = found.best.relative
    assert relative is not None
    assert relative.low is not None and relative.high is not None
    assert point.lift == pytest.approx(relative.value, rel=1e-9)
    assert point.half_width == pytest.approx((relative.high - relative.low) / 2, rel=1e-7)
    assert point.detectable == pytest.approx(found.best.detectable, rel=1e-9)


@pytest.mark.parametrize("primary", ["click_rate", "comment_stay_ms"])
def test_a_part_tells_what_a_replay_of_its_users_alone_tells(
    decision_dataset: Decisions, primary: str
) -> None:
    """Without a reward model: snips of clicks, cascade of the time on comment lists."""
    log = platform.make(3, users=120)
    options = {"primary": primary, "comment_scorers": ORDERS, "comment_target": HALF}
    grown = decided(decision_dataset(log), **options).growth
    assert grown is not None
    assert grown.metric == primary
    assert [p.users for p in grown.overlap["new"]] == [15 * k for k in range(1, 9)]
    for k in (1, 4, PARTS - 1):
        alone = decided(decision_dataset(of_users(log, members(120, k))), **options)
        for policy in SCORES:
            check_overlap(grown.overlap[policy][k], alone, policy)
        check_precision(grown.precision["new"][k], alone)


def test_the_places_of_comment_sections_grow_by_their_own_rows(decision_dataset: Decisions) -> None:
    log = platform.make(5, users=120)
    options = {"primary": "comment_dwell_ms", "stage": "comments", "comment_scorers": ORDERS,
               "comment_target": HALF}  # fmt: skip
    whole = decided(decision_dataset(log), **options)
    assert whole.growth is not None
    readers = log.comment_events["user_id"].unique().sort().to_numpy()
    mine = readers[parts_of(readers) <= 3]
    alone = decided(decision_dataset(of_users(log, mine)), **options)
    check_precision(whole.growth.precision["new"][3], alone)
    point, there = whole.growth.overlap["new"][3], alone.comment_overlap["new"]
    assert (point.rows, point.matched_rows) == (there.rows, there.matched_rows)
    assert point.rows != alone.overlap["new"].rows


def test_with_a_reward_model_the_last_part_is_the_answer_itself(
    decision_dataset: Decisions,
) -> None:
    whole = decided(
        decision_dataset(platform.make(4, users=120)), primary="click_rate", model=for_outcome
    )
    primary = next(m for m in whole.metrics if m.role == "primary")
    assert primary.recommended == "sndr"
    assert whole.growth is not None
    check_precision(whole.growth.precision["new"][-1], whole)
    assert len({p.lift for p in whole.growth.precision["new"]}) == PARTS


def test_what_a_random_log_has_not_shown_shrinks_as_it_grows(memory_dataset: Make) -> None:
    log = uniform_log(2, users=40)
    scorers = {"a": by_video(np.arange(VIDEOS)), "b": by_video(-np.arange(VIDEOS))}

    def run(frame: pl.DataFrame) -> ReplayResult:
        return replay(
            memory_dataset(frame, VIDEOS), scorers, treatment="a", control="b",  # type: ignore[arg-type]
            metrics=["click_rate"], top_share=0.5,
        )  # fmt: skip

    grown = run(log).growth
    assert grown is not None
    first, last = grown.overlap["a"][0], grown.overlap["a"][-1]
    assert first.unsupported_share is not None and last.unsupported_share is not None
    assert first.unsupported_share > last.unsupported_share
    alone = run(log.filter(pl.col("user_id").is_in(members(40, 0).tolist())))
    assert first.unsupported_share == alone.overlap["a"].unsupported_share


def test_the_tail_is_the_weight_of_the_heaviest_hundredth(decision_dataset: Decisions) -> None:
    log = platform.make(6, users=100, video_share=0.3)
    whole = decided(decision_dataset(log), primary="click_rate")
    assert whole.growth is not None
    score = {
        (user, request, slot): (video, list(chance))
        for user, request, slot, _, video, _, chance in log.video_decisions.sort(
            "user_id", "request_id", "position"
        ).iter_rows()
    }
    weights = []
    above: list[int] = []
    for (_, _, slot), (video, chance) in score.items():
        above = [] if slot == 0 else above
        weights.append(platform.chances(SCORES["new"], above, 0.2)[video] / chance[video])
        above = [*above, video]
    heavy = np.sort(weights)[::-1]
    share = heavy[: round(0.01 * len(heavy))].sum() / heavy.sum()
    assert whole.growth.overlap["new"][-1].tail_share == pytest.approx(share, rel=1e-6)


def test_the_parts_are_nested_equal_and_do_not_follow_the_order_of_users() -> None:
    part = parts_of(np.arange(800))
    assert (np.bincount(part) == 100).all()
    assert abs(np.corrcoef(part, np.arange(800))[0, 1]) < 0.1
    assert set(parts_of(np.arange(3))) <= set(range(PARTS))
