"""What the learned response reads in a log, against a plain loop over a small random log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.response.learned import features, response
from simulator.response.learned.features import (
    Impressions,
    UserFeatures,
    duration_features,
    place_feature,
    video_durations,
)
from simulator.response.learned.heads import COLUMNS, END, OPEN, OUTCOMES, PROFILE

START_MS = 1_649_347_200_000
GAP_MS = 30 * 60_000
WriteDataset = Callable[..., Dataset]
Logged = dict[str, Any]


def impressions(seed: int = 0) -> pl.DataFrame:
    """Pages of two videos whose gaps are often within a second of half an hour."""
    random = np.random.default_rng(seed)
    rows = []
    for person in (4, 9, 17):
        time, session = START_MS, 10 * person
        for page in range(25):
            busy = 0
            for position in range(2):
                play = int(random.integers(1_000, 30_000))
                stay = [None, 0, 1, int(random.integers(500, 9_000))][random.integers(4)]
                rows.append(
                    {
                        "user_id": person,
                        "video_id": int(random.integers(1, 6)),
                        "session_id": session,
                        "request_id": 1_000 * person + page,
                        "position": position,
                        "time_ms": time,
                        "is_click": int(random.integers(2)),
                        "is_like": int(random.integers(2)) if random.random() < 0.8 else None,
                        "play_time_ms": play,
                        "comment_stay_time": stay,
                        "profile_stay_time": [None, -7, 0, 800][random.integers(4)],
                        "duration_ms": int(random.integers(3, 90)) * 1_000,
                    }
                )
                busy = play
            gap = int(random.choice([5_000, GAP_MS, GAP_MS + 1]))
            time += busy + gap
            session += gap > GAP_MS
    types = {"is_click": pl.Int8, "is_like": pl.Int8, "position": pl.Int16}
    frame = pl.DataFrame(rows).cast(types)  # type: ignore[arg-type]
    return frame.sample(fraction=1.0, shuffle=True, seed=seed)


def by_hand(frame: pl.DataFrame) -> list[Logged]:
    """Each impression in order, with where its page and its session began."""
    rows = sorted(
        frame.iter_rows(named=True), key=lambda r: (r["user_id"], r["time_ms"], r["position"])
    )
    session, before = -1, None
    for at, row in enumerate(rows):
        other = before is None or before["user_id"] != row["user_id"]
        row["new page"] = other or before["request_id"] != row["request_id"]
        row["new session"] = other or before["session_id"] != row["session_id"]
        session += row["new session"]
        row["page start"] = at if row["new page"] else before["page start"]
        row["first"] = at if row["new session"] else before["first"]
        row["session"] = session
        before = row
    return rows


@pytest.mark.parametrize("given", [True, False])
def test_pages_sessions_and_outcomes_of_each_impression(
    write_dataset: WriteDataset, tmp_path: Path, given: bool
) -> None:
    frame = impressions()
    logged = frame if given else frame.drop("session_id")
    log = Impressions.read(write_dataset(tmp_path / "log", logged), seed=0)
    rows = by_hand(frame)
    assert log.sessions_given is given and log.rows_in_log == len(rows)
    ids = sorted({row["user_id"] for row in rows})
    assert log.user.tolist() == [ids.index(row["user_id"]) for row in rows]
    assert log.time_ms.tolist() == [row["time_ms"] for row in rows]
    assert log.page_start.tolist() == [row["page start"] for row in rows]
    # Half an hour without playing ends a session only if it is exceeded.
    assert log.session.tolist() == [row["session"] for row in rows]
    assert log.place.tolist() == [at - row["first"] for at, row in enumerate(rows)]
    click, like = OUTCOMES.index("click"), OUTCOMES.index("like")
    for at, row in enumerate(rows):
        stay, found = row["comment_stay_time"], log.outcomes[at]
        assert found[click] == row["is_click"]
        assert found[like] == (-1 if row["is_like"] is None else row["is_like"])
        assert found[OPEN] == (-1 if stay is None else stay > 0)
        assert log.stay_ms[at] == (-1 if stay is None else stay)
        # What is below zero is not known.
        profile = -1 if row["profile_stay_time"] is None else max(row["profile_stay_time"], -1)
        assert found[PROFILE] == (-1 if profile < 0 else profile > 0)
        assert log.profile_stay_ms[at] == profile
        assert log.play_ms[at] == max(row["play_time_ms"] - (stay or 0), 0)
        last = at + 1 == len(rows) or rows[at + 1]["user_id"] != row["user_id"]
        assert found[END] == (-1 if last else rows[at + 1]["new session"])
    absent = [OUTCOMES.index(name) for name in COLUMNS if name not in ("click", "like")]
    assert (log.outcomes[:, absent] == -1).all()


def test_without_request_numbers_a_page_is_what_was_shown_at_one_time(
    write_dataset: WriteDataset, tmp_path: Path
) -> None:
    frame = impressions(1).drop("request_id", "position")
    log = Impressions.read(write_dataset(tmp_path / "log", frame), seed=0)
    start = log.page_start
    np.testing.assert_array_equal(log.time_ms, log.time_ms[start])
    np.testing.assert_array_equal(np.unique(start), np.arange(0, len(log), 2))


def test_time_beside_playing_is_the_mean_step_of_a_session(
    write_dataset: WriteDataset, tmp_path: Path
) -> None:
    frame = impressions(2)
    log = Impressions.read(write_dataset(tmp_path / "log", frame), seed=0)
    idle, steps = 0, 0
    by_session: dict[int, list[Logged]] = {}
    for row in by_hand(frame):
        by_session.setdefault(row["session"], []).append(row)
    for rows in by_session.values():
        # A stay is part of the logged play time, and cannot be longer.
        busy = sum(max(r["play_time_ms"], r["comment_stay_time"] or 0) for r in rows[:-1])
        idle += max(rows[-1]["time_ms"] - rows[0]["time_ms"] - busy, 0)
        steps += len(rows) - 1
    assert response._overhead(log) == pytest.approx(idle / steps)
    user, start, end, last = response._sessions_of(log)
    for at, rows in enumerate(by_session.values()):
        assert start[at] == rows[0]["time_ms"] and last[at] == rows[-1]["time_ms"]
        busy_until = [
            r["time_ms"] + max(r["play_time_ms"], r["comment_stay_time"] or 0) for r in rows
        ]
        assert end[at] == max(busy_until)
    assert len(user) == len(by_session)


def test_a_log_too_large_is_read_for_a_share_of_its_people(
    write_dataset: WriteDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = 400
    frame = pl.DataFrame({"user_id": np.repeat(np.arange(people), 2)}).with_columns(
        video_id=pl.lit(1, pl.Int64),
        time_ms=START_MS + pl.int_range(2 * people),
        is_click=pl.lit(1, pl.Int8),
        play_time_ms=pl.lit(9_000, pl.Int64),
    )
    dataset = write_dataset(tmp_path / "log", frame)
    assert len(Impressions.read(dataset, seed=0)) == 2 * people
    monkeypatch.setattr(features, "MAX_ROWS", people // 2)
    some = Impressions.read(dataset, seed=0)
    # A quarter of the people, whole: 100, give or take five standard errors of a binomial count.
    assert (np.bincount(some.user)[np.unique(some.user)] == 2).all()
    assert abs(len(np.unique(some.user)) - 100) < 5.0 * np.sqrt(people * 0.25 * 0.75)
    assert some.rows_in_log == 2 * people
    other = Impressions.read(dataset, seed=1)
    assert set(other.user) != set(some.user)


def test_people_whom_the_users_table_does_not_know_are_refused(
    write_dataset: WriteDataset, tmp_path: Path
) -> None:
    frame = impressions()
    dataset = write_dataset(tmp_path / "log", frame)
    ids = dataset.user_ids()
    index = dataset.catalogue().video_index
    with pytest.raises(DataError, match="50 impressions are of people"):
        features._from_frame(frame, ids[1:], index, len(frame))
    with pytest.raises(DataError, match="150 impressions are of people"):
        features._from_frame(frame, ids[:0], index, len(frame))


def test_the_catalogue_gives_the_duration_and_else_the_longest_in_the_log(
    write_dataset: WriteDataset, tmp_path: Path
) -> None:
    frame = impressions(3)
    dataset = write_dataset(tmp_path / "log", frame)
    longest = dict(frame.group_by("video_id").agg(pl.col("duration_ms").max()).iter_rows())
    ids = sorted(longest)
    index = dataset.catalogue().video_index(np.array(ids))
    assert video_durations(dataset)[index].tolist() == [longest[i] for i in ids]
    without = write_dataset(tmp_path / "without", frame.drop("duration_ms"))
    assert (video_durations(without) == 0).all()


def test_features_of_durations_and_places() -> None:
    found = duration_features(np.array([0, 20_000, 3_500, 36_000, 120_000, 10_000_000, 10]))
    unknown, log, short, long, longer = found.T.astype(float)
    assert unknown.tolist() == [1, 0, 0, 0, 0, 0, 0]
    half_hour, second = np.log(90.0), np.log(1 / 20.0)
    expected = [0.0, 0.0, np.log(3.5 / 20), np.log(1.8), np.log(6.0), half_hour, second]
    np.testing.assert_allclose(log, np.array(expected) / 1.5, rtol=1e-5)
    np.testing.assert_allclose(short, [0, 0, np.log(2), 0, 0, 0, np.log(7)], rtol=1e-5)
    of_18 = [np.log(20 / 18)] * 2 + [0, np.log(2), np.log(120 / 18), np.log(100), 0]
    np.testing.assert_allclose(long, of_18, rtol=1e-5)
    np.testing.assert_allclose(longer, [0, 0, 0, 0, np.log(2), np.log(30), 0], rtol=1e-5)
    # Impressions after the fiftieth of a session are alike.
    places = place_feature(np.array([0, 1, 49, 50, 51, 900])) * 3.0
    np.testing.assert_allclose(places, np.log([1, 2, 50, 51, 51, 51]))


def test_numbers_of_people_are_standardised_where_they_are_known() -> None:
    known = {"user_id": [3, 5, 7, 9], "user_active_degree": ["full", None, "high", "full"]}
    table = pl.DataFrame(known).with_columns(
        follow_user_num=pl.Series([10, 1_000, None, 0]), fans_user_num=pl.lit(4)
    )

    class Log:
        """The part of a dataset that is read."""

        def user_ids(self) -> np.ndarray:
            return np.array([3, 5, 7, 9, 11])

        def has(self, name: str) -> bool:
            return name == "users"

        def has_column(self, table_name: str, name: str) -> bool:
            return name in table.columns

        def scan(self, name: str) -> pl.LazyFrame:
            return table.lazy()

    found = UserFeatures.read(Log())  # type: ignore[arg-type]
    assert found.level_names == ["full", "high"]
    assert found.level.tolist() == [1, 0, 2, 1, 0]
    log = np.log1p([10.0, 1_000.0, 0.0])
    z = (log - log.mean()) / log.std()
    np.testing.assert_allclose(found.numbers[:, 0], [z[0], z[1], 0.0, z[2], 0.0], rtol=1e-5)
    assert (found.numbers[:, 1:] == 0.0).all()


def test_the_version_of_the_code_follows_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {response.code_version()}
    source = Path(response.__file__)
    for file in source.parent.rglob("*.py"):
        copy = tmp_path / file.relative_to(source.parent)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes())
    monkeypatch.setattr(response, "__file__", str(tmp_path / source.name))
    assert {response.code_version()} == versions, "the same files elsewhere are the same code"
    changed = tmp_path / "heads.py"
    changed.write_text(changed.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    versions.add(response.code_version())
    table = tmp_path / "behaviours.txt"
    table.write_text("another table of behaviours", encoding="utf-8")
    monkeypatch.setattr(response.behaviours, "__file__", str(table))
    versions.add(response.code_version())
    assert len(versions) == 3
