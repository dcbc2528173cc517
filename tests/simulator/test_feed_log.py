"""Outcomes and histories are what anyone can recount from the rows of the log."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from simulator.behaviours import BY_NAME, COUNTED_FLAGS, OUTCOMES
from simulator.calendar import CHINA_OFFSET_MS, DAY_MS
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.initial_history import initial_history
from simulator.logs.schema import TABLES
from simulator.requests import COMMENTS_PER_EVENT, HISTORY_LENGTH, SIGNALS, HistoryState, Slates
from simulator.world.world import World
from tests.simulator.conftest import PAGE, START_MS, Beat, Run, Start

PEOPLE, DAYS = 40, 3
DAY = ((pl.col("time_ms") + CHINA_OFFSET_MS) // DAY_MS).cast(pl.Int32).alias("day")
FIRST_DAY = (START_MS + CHINA_OFFSET_MS) // DAY_MS

# No log tells how long a session's last page took.
COUNTED = tuple(name for name in OUTCOMES if name != "session_time_ms")
BY_HAND = ("click", "long_view", "like", "follow", "comment", "forward", "hate")


@pytest.fixture(scope="module")
def lived(start_run: Start) -> Run:
    return start_run(range(PEOPLE)).until(START_MS + DAYS * DAY_MS)


@pytest.fixture(scope="module")
def outcomes(lived: Run) -> pl.DataFrame:
    return lived.outcomes()


@pytest.fixture(scope="module")
def log(lived: Run, outcomes: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows of the three days, and of ten more, which tell who returned (``later``)."""
    rows = lived.log()
    later = lived.until(START_MS + (DAYS + 10) * DAY_MS).log()["impressions"]
    return {**rows, "later": later}


def by_day(frame: pl.DataFrame, *sums: pl.Expr) -> pl.DataFrame:
    return frame.group_by("user_id", DAY).agg(*sums)


def recounted(log: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Every metric, from the rows alone; one row per user and day, silent days included."""
    impressions, events = log["impressions"], log["comment_events"]
    sessions = impressions.group_by("user_id", "session_id").agg(pl.col("time_ms").min())
    active = pl.concat([impressions, log["later"]]).select("user_id", DAY).unique()
    tomorrow = active.with_columns(pl.col("day") - 1, returned=pl.lit(1))
    later_flags = {flag: to for flag, to in COUNTED_FLAGS.items() if flag not in BY_HAND}
    parts = [
        by_day(
            impressions,
            pl.lit(1).alias("active"),
            pl.len().alias("impressions"),
            pl.col("is_click").sum().alias("clicks"),
            pl.col("long_view").sum().alias("long_views"),
            pl.col("play_time_ms").sum(),
            pl.col("is_like").sum().alias("likes"),
            pl.col("is_follow").sum().alias("follows"),
            pl.col("is_comment").sum().alias("comments_written"),
            pl.col("is_forward").sum().alias("forwards"),
            pl.col("is_hate").sum().alias("hates"),
            (pl.col("comment_stay_time") > 0).sum().alias("comment_opens"),
            pl.col("comment_stay_time").sum().alias("comment_watch_time_ms"),
            *(pl.col(BY_NAME[flag].column).sum().alias(to) for flag, to in later_flags.items()),
        ).join(tomorrow, on=["user_id", "day"], how="left"),
        by_day(sessions, pl.len().alias("sessions")),
        by_day(
            events,
            pl.col("is_like").sum().alias("comment_likes"),
            pl.col("is_reply").sum().alias("comment_replies"),
            pl.col("is_shown").sum().alias("comments_shown"),
        ),
    ]
    grid = pl.DataFrame({"user_id": np.arange(PEOPLE)}).join(
        pl.DataFrame({"day": np.arange(FIRST_DAY, FIRST_DAY + DAYS, dtype=np.int32)}), how="cross"
    )
    for part in parts:
        grid = grid.join(part, on=["user_id", "day"], how="left")
    return grid.select(
        "user_id", "day", *[pl.col(m).fill_null(0).cast(pl.Float64) for m in COUNTED]
    )


@pytest.mark.parametrize("metric", COUNTED)
def test_outcomes_are_what_the_log_says(
    outcomes: pl.DataFrame, log: dict[str, pl.DataFrame], metric: str
) -> None:
    expected = recounted(log)
    columns = ["user_id", "day", metric]
    assert_frame_equal(outcomes.select(columns), expected.select(columns).sort("user_id", "day"))
    # The check is idle for a metric that is the same for everyone.
    assert expected[metric].n_unique() > 1


def test_days_that_are_over_do_not_change(
    lived: Run, outcomes: pl.DataFrame, log: dict[str, pl.DataFrame]
) -> None:
    assert log["later"].height > 0
    now = lived.outcomes()
    assert now["day"].n_unique() == DAYS + 10
    assert_frame_equal(now.filter(pl.col("day") < FIRST_DAY + DAYS), outcomes)


def test_every_row_is_in_the_format(log: dict[str, pl.DataFrame]) -> None:
    order = {
        "impressions": ["user_id", "time_ms", "position"],
        "comment_events": ["user_id", "time_ms", "video_id", "position"],
    }
    for table, columns in order.items():
        frame, known = log[table], TABLES[table]
        assert frame.schema == {c.name: c.dtype for c in known.columns if c.name in frame.columns}
        assert {c.name for c in known.columns if c.required} <= set(frame.columns)
        assert_frame_equal(frame, frame.sort(columns))
        for column in known.columns:
            if column.name not in frame.columns:
                continue
            values = frame[column.name]
            assert column.nullable or values.null_count() == 0, column.name
            assert column.minimum is None or (values.drop_nulls() >= column.minimum).all()
            assert column.maximum is None or (values.drop_nulls() <= column.maximum).all()


def test_comment_events_belong_to_opened_sections_of_impressions(
    log: dict[str, pl.DataFrame], lively_world: World
) -> None:
    impressions, events = log["impressions"], log["comment_events"]
    page = ["user_id", "video_id", "time_ms"]
    opened = impressions.filter(pl.col("comment_stay_time") > 0).select(page)
    assert events.join(opened, on=page, how="anti").height == 0
    video_of = lively_world.catalogue().comment_video
    assert video_of[events["comment_id"].to_numpy()].tolist() == events["video_id"].to_list()
    # What is seen in a section is a run from the top, each rank once.
    ranks = events.group_by(page).agg(pl.col("position").sort())
    assert all(r == list(range(len(r))) for r in ranks["position"].to_list())
    dwell = events.group_by(page).agg(pl.col("dwell_ms").sum()).join(impressions, on=page)
    assert (dwell["dwell_ms"] <= dwell["comment_stay_time"]).all()


# -- histories ------------------------------------------------------------------------------------


def expected_events(
    log: dict[str, pl.DataFrame],
) -> dict[str, dict[int, list[tuple[int, int, list[int]]]]]:
    """Per signal and user: (time, video, comments) in the order in which it happened."""
    impressions = log["impressions"].sort("user_id", "time_ms", "position")
    slot = impressions.select("user_id", "time_ms", "video_id", pl.col("position").alias("slot"))
    touched = (
        log["comment_events"]
        .filter((pl.col("is_like") == 1) | (pl.col("is_reply") == 1))
        .join(slot, on=["user_id", "time_ms", "video_id"])
        .sort("user_id", "time_ms", "slot", "position")
    )
    found: dict[str, dict[int, list[tuple[int, int, list[int]]]]] = {
        signal: {user: [] for user in range(PEOPLE)} for signal in SIGNALS
    }
    for signal, label in (("clicked", "is_click"), ("liked", "is_like")):
        rows = impressions.filter(pl.col(label) == 1).select("user_id", "time_ms", "video_id")
        for user, time_ms, video in rows.iter_rows():
            found[signal][user].append((time_ms, video, []))
    for user, time_ms, video, comment in touched.select(
        "user_id", "time_ms", "video_id", "comment_id"
    ).iter_rows():
        visits = found["discussed"][user]
        if not visits or visits[-1][:2] != (time_ms, video):
            visits.append((time_ms, video, []))
        visits[-1][2].append(comment)
    return found


@pytest.mark.parametrize("signal", SIGNALS)
def test_history_is_the_log_of_the_past_and_nothing_else(
    lived: Run, log: dict[str, pl.DataFrame], signal: str
) -> None:
    events = expected_events(log)[signal]
    longest = 0
    for request in lived.asked:
        if int(request["time_ms"].max()) >= START_MS + DAYS * DAY_MS:
            continue
        for at, (user, time_ms) in enumerate(
            zip(request["user"].tolist(), request["time_ms"].tolist(), strict=True)
        ):
            past = [e for e in events[user] if e[0] < time_ms]
            longest = max(longest, len(past))
            kept = past[-HISTORY_LENGTH:]
            videos = [video for _, video, _ in kept] + [-1] * (HISTORY_LENGTH - len(kept))
            assert request[signal][at].tolist() == videos
            if signal == "discussed":
                comments = [c[:COMMENTS_PER_EVENT] for _, _, c in kept]
                comments = [c + [-1] * (COMMENTS_PER_EVENT - len(c)) for c in comments]
                assert request["comments"][at, : len(kept)].tolist() == comments
    assert longest > (HISTORY_LENGTH if signal == "clicked" else 10)


def test_history_read_back_from_the_log_is_the_one_the_feed_holds(
    start_run: Start, lively_world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A log cut where the run was cut hands over the same starting point."""
    run = start_run(range(12)).until(START_MS + 2 * DAY_MS)
    target = tmp_path_factory.mktemp("feed") / "log"
    with DatasetWriter(target, name="feed", source="test", licence="none") as writer:
        writer.append("users", pl.DataFrame({"user_id": np.arange(12)}))
        writer.append("videos", lively_world.videos_frame())
        writer.append("comments", lively_world.comments_frame())
        for table, frame in run.log().items():
            writer.append(table, frame)
    read = initial_history(Dataset.open(target), np.arange(12, dtype=np.int32))
    held: HistoryState = run.feed._history
    rows = np.arange(12)
    for signal in ("clicked", "liked"):
        assert np.array_equal(read.view(rows).videos(signal), held.view(rows).videos(signal))
    # The log does not say in which order two sections of one page were discussed.
    for row in rows:
        first, second = (
            {
                (video, tuple(comments))
                for video, comments in zip(
                    state.view(rows).videos("discussed")[row].tolist(),
                    state.view(rows).comments()[row].tolist(),
                    strict=True,
                )
            }
            for state in (read, held)
        )
        assert first == second


# -- one life, by hand ----------------------------------------------------------------------------


def test_one_life_counted_by_hand(scripted_feed: Callable[..., tuple]) -> None:
    """Two sessions on the first day, one over midnight, then two days of silence."""
    evening = DAY_MS - 3_600_000
    script = [
        Beat(clicks=(0, 2), likes=(2,), opens=(0, 3), comment_likes=(0,), elapsed_ms=20_000),
        Beat(reached=4, follows=(3, 5), pause_ms=evening - 21_000 - 5_000),
        # Starts an hour before midnight; the next page is 40 minutes after it.
        Beat(clicks=(1,), elapsed_ms=100 * 60_000),
        Beat(opens=(5,), comment_replies=(1,), comments_read=3, pause_ms=2 * DAY_MS),
        Beat(reached=1),
    ]
    feed, _, recorder = scripted_feed(script, days=5)
    dispatched = []
    while (requests := feed.video_requests()) is not None:
        dispatched.append(int(requests.time_ms[0]) - START_MS)
        page = np.sort(requests.candidates, axis=1)[:, -PAGE:]
        sections = feed.show(Slates(page))
        if sections is not None:
            feed.show_comments(sections.candidates)
    second = 21_000 + evening - 21_000 - 5_000 + 10_000
    fourth = second + 100 * 60_000
    assert dispatched == [1_000, 21_000, second, fourth, fourth + 10_000 + 2 * DAY_MS]
    frame = feed.outcomes.to_frame(np.array([77]))
    assert frame["day"].to_list() == list(range(FIRST_DAY, FIRST_DAY + 5))
    assert frame["user_id"].to_list() == [77] * 5
    expected = {
        "active": [1, 1, 0, 1, 0],
        "returned": [1, 0, 0, 0, 0],
        "sessions": [2, 0, 0, 1, 0],
        "session_time_ms": [20_000 + 10_000 + 100 * 60_000, 10_000, 0, 10_000, 0],
        "impressions": [16, 6, 0, 1, 0],
        "clicks": [3, 0, 0, 0, 0],
        "likes": [1, 0, 0, 0, 0],
        "follows": [1, 0, 0, 0, 0],
        "comment_opens": [2, 1, 0, 0, 0],
        "comment_watch_time_ms": [8_000, 4_000, 0, 0, 0],
        "play_time_ms": [16 * 2_000 + 8_000, 6 * 2_000 + 4_000, 0, 2_000, 0],
        "comment_likes": [2, 0, 0, 0, 0],
        "comment_replies": [0, 1, 0, 0, 0],
        "comments_shown": [4, 3, 0, 0, 0],
    }
    for metric in OUTCOMES:
        assert frame[metric].to_list() == expected.get(metric, [0] * 5), metric
    rows = dict(recorder.drain())
    assert rows["impressions"]["session_id"].to_list() == [0] * 10 + [1] * 12 + [2]
    pages = [0] * 6 + [1] * 4 + [100_000] * 6 + [100_001] * 6 + [200_000]
    assert rows["impressions"]["request_id"].to_list() == pages
    assert rows["comment_events"].height == 7
