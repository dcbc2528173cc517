"""Lives do not depend on grouping, pauses, recording, or on what a copy goes through."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import polars as pl
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from simulator.calendar import DAY_MS
from tests.simulator.conftest import START_MS, Run, Start


def same_log(first: dict[str, pl.DataFrame], second: dict[str, pl.DataFrame]) -> None:
    assert first.keys() == second.keys()
    for table, frame in first.items():
        assert frame.height > 0
        assert_frame_equal(frame, second[table], check_exact=True)


def joined(parts: list[dict[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """One log of several groups' logs."""
    order = {
        "impressions": ["user_id", "time_ms", "position"],
        "comment_events": ["user_id", "time_ms", "video_id", "position"],
    }
    return {
        table: pl.concat([part[table] for part in parts if table in part]).sort(columns)
        for table, columns in order.items()
    }


def test_same_seed_same_bytes_and_another_seed_another_life(start_run: Start) -> None:
    first, again, other = (
        start_run(range(12), seed=seed).until(START_MS + DAY_MS) for seed in (1, 1, 2)
    )
    assert first.feed.outcomes.values.tobytes() == again.feed.outcomes.values.tobytes()
    assert not np.array_equal(first.feed.outcomes.values, other.feed.outcomes.values)
    same_log(first.log(), again.log())


def test_recording_changes_nothing(start_run: Start) -> None:
    seen, unseen = (
        start_run(range(12), record=record).until(START_MS + DAY_MS) for record in (True, False)
    )
    assert_frame_equal(seen.outcomes(), unseen.outcomes(), check_exact=True)


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(14)), cuts=st.sets(st.integers(1, 13), max_size=3))
def test_how_people_are_grouped_does_not_matter(
    start_run: Start, order: list[int], cuts: set[int]
) -> None:
    end_ms = START_MS + DAY_MS
    together = start_run(range(14)).until(end_ms)
    bounds = [0, *sorted(cuts), 14]
    groups = [order[low:high] for low, high in itertools.pairwise(bounds)]
    apart = [start_run(group).until(end_ms) for group in groups]
    assert_frame_equal(
        pl.concat([run.outcomes() for run in apart]).sort("user_id", "day"),
        together.outcomes(),
        check_exact=True,
    )
    same_log(together.log(), joined([run.log() for run in apart]))


@settings(max_examples=4, deadline=None)
@given(pauses=st.lists(st.integers(1, 2 * DAY_MS - 1), max_size=3))
def test_pausing_and_going_on_does_not_matter(start_run: Start, pauses: list[int]) -> None:
    at_once = start_run(range(14)).until(START_MS + 2 * DAY_MS)
    paused = start_run(range(14))
    for pause in sorted(pauses):
        paused.until(START_MS + pause)
        assert paused.feed.video_requests() is None
    paused.until(START_MS + 2 * DAY_MS)
    assert_frame_equal(paused.outcomes(), at_once.outcomes(), check_exact=True)
    same_log(at_once.log(), paused.log())


def test_extending_to_an_earlier_end_keeps_the_end(start_run: Start) -> None:
    run = start_run(range(3)).until(START_MS + DAY_MS)
    before = run.outcomes()
    run.until(START_MS + 1)
    assert run.feed.end_ms == START_MS + DAY_MS
    assert_frame_equal(run.outcomes(), before)


def test_copy_lives_the_same_life_under_the_same_ranker(start_run: Start) -> None:
    original = start_run(range(14)).until(START_MS + DAY_MS)
    twin = Run(original.feed.copy(), None)
    for run in (twin, original):
        run.until(START_MS + 2 * DAY_MS)
    assert_frame_equal(twin.outcomes(), original.outcomes(), check_exact=True)
    assert original.outcomes().filter(pl.col("impressions") > 0)["day"].n_unique() == 2


def test_original_is_untouched_by_what_its_copy_goes_through(start_run: Start) -> None:
    undisturbed = start_run(range(14)).until(START_MS + 2 * DAY_MS)
    original = start_run(range(14)).until(START_MS + DAY_MS)
    twin = Run(original.feed.copy(), None, salt=99).until(START_MS + 2 * DAY_MS)
    original.until(START_MS + 2 * DAY_MS)
    assert_frame_equal(original.outcomes(), undisturbed.outcomes(), check_exact=True)
    same_log(original.log(), undisturbed.log())
    # The other ranker did make another second day, and left the common first day alone.
    first_day = int(twin.feed.outcomes.first_day)
    shared = pl.col("day") == first_day
    kept = [c for c in twin.outcomes().columns if c != "returned"]
    assert not twin.outcomes().filter(~shared).equals(original.outcomes().filter(~shared))
    assert_frame_equal(
        twin.outcomes().filter(shared).select(kept), original.outcomes().filter(shared).select(kept)
    )


def test_two_arms_that_show_the_same_page_see_the_same_luck(start_run: Start) -> None:
    one = start_run(range(14), record=False).until(START_MS + DAY_MS)
    two = Run(one.feed.copy(), None)
    for run in (one, two):
        run.feed.extend(START_MS + 2 * DAY_MS)
    first, second = one.feed.video_requests(), two.feed.video_requests()
    assert first is not None
    assert second is not None
    assert np.array_equal(first.key, second.key)
    assert np.array_equal(first.candidates, second.candidates)
    assert np.array_equal(first.time_ms, second.time_ms)
