"""What is held out, what may be known, and that nothing later leaks in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from policies.comments.orders import Likes
from policies.errors import PolicyError
from policies.evaluation.candidates import CommentCandidates, VideoCandidates
from policies.evaluation.case_history import history_at
from policies.evaluation.comment_visits import visits_held_out
from policies.evaluation.evaluate import rank_cases
from policies.evaluation.holdout import (
    CASES_PER_PERSON,
    HeldOut,
    held_out,
    part_before,
    split_time,
    training_part,
)
from policies.videos.itemknn import ItemKNN
from simulator.comment_sections import CommentSections
from simulator.logs import scanning
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import initial_history
from simulator.requests import SIGNALS, HistoryState
from tests.policies.comment_log import MINUTE, PER_VIDEO, START_MS, random_log, write

CUT = START_MS + 250 * MINUTE


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("comments") / "log", random_log(1))


def likes(dataset: Dataset) -> pl.DataFrame:
    frame = dataset.scan("impressions").with_row_index("row").filter(pl.col("is_like") == 1)
    return frame.collect().sort("user_id", "time_ms", "row")


def equal(one: HistoryState, other: HistoryState) -> bool:
    rows = np.arange(one.n_users)
    a, b = one.view(rows), other.view(rows)
    return all(np.array_equal(a.videos(s), b.videos(s)) for s in SIGNALS) and np.array_equal(
        a.comments(), b.comments()
    )


def test_the_last_new_video_is_held_out(log: Dataset) -> None:
    expected = {}
    for (user,), rows in likes(log).group_by("user_id", maintain_order=True):
        seen: set[int] = set()
        first = rows["time_ms"][0]
        for video, time in rows.select("video_id", "time_ms").iter_rows():
            if video not in seen and time > first:
                expected[user] = (video, time)
            seen.add(video)
    test = held_out(log, "liked")
    ids = log.user_ids()[test.user].tolist()
    videos = log.catalogue().video_ids[test.video].tolist()
    assert dict(zip(ids, zip(videos, test.time_ms.tolist(), strict=True), strict=True)) == expected
    assert sum(test.left_out.values()) == likes(log)["user_id"].n_unique() - len(expected)


def test_a_time_split_asks_for_every_new_video_after_it(log: Dataset) -> None:
    expected = []
    for (user,), rows in likes(log).group_by("user_id", maintain_order=True):
        seen: set[int] = set()
        first = rows["time_ms"][0]
        for video, time in rows.select("video_id", "time_ms").iter_rows():
            if video not in seen and time > first and time >= CUT:
                expected.append((user, video, time))
            seen.add(video)
    test = held_out(log, "liked", since_ms=CUT)
    found = zip(
        log.user_ids()[test.user].tolist(),
        log.catalogue().video_ids[test.video].tolist(),
        test.time_ms.tolist(),
        strict=True,
    )
    assert list(found) == expected
    total = int((likes(log)["time_ms"] >= CUT).sum())
    assert len(test) + sum(test.left_out.values()) == total


def test_nobody_is_asked_for_ever(tmp_path: Path) -> None:
    tables = random_log(2)
    count = CASES_PER_PERSON + 15
    tables["videos"] = pl.DataFrame({"video_id": np.arange(200)})
    tables["impressions"] = pl.DataFrame(
        {
            "user_id": np.full(count, 100),
            "video_id": np.arange(count),
            "time_ms": START_MS + MINUTE * np.arange(count),
            "is_click": np.ones(count, dtype=np.int8),
            "is_like": np.ones(count, dtype=np.int8),
            "play_time_ms": np.full(count, 9_000),
        }
    )
    del tables["comment_events"], tables["comments"]
    test = held_out(write(tmp_path / "log", tables), "liked", since_ms=START_MS + MINUTE)
    assert test.video.tolist() == list(range(1, CASES_PER_PERSON + 1))
    assert sum(test.left_out.values()) == 14


def test_positives_are_what_was_taken_up_in_the_section(log: Dataset) -> None:
    """Against a walk over the log: new, under this video, and written when it was opened."""
    events = log.scan("comment_events").with_row_index("row").filter(pl.col("is_like") == 1)
    written = dict(log.scan("comments").select("comment_id", "time_ms").collect().iter_rows())
    expected = {}
    for (user,), rows in (
        events.collect().sort("user_id", "time_ms", "row").group_by("user_id", maintain_order=True)
    ):
        visits: list[tuple[int, int, list[int]]] = []
        for video, time, comment in rows.select("video_id", "time_ms", "comment_id").iter_rows():
            if not visits or visits[-1][0] != video:
                visits.append((video, time, []))
            visits[-1][2].append(comment)
        ends = rows["time_ms"].to_list()
        known: set[int] = set()
        first_end = None
        at = 0
        for video, start, comments in visits:
            at += len(comments)
            first_end = ends[at - 1] if first_end is None else first_end
            new = {c for c in comments if c not in known and written[c] <= start}
            known |= set(comments)
            # Impressions are 20 seconds before their visit.
            if new and first_end < start - 20_000:
                expected[user] = (video, start, new)
    test = visits_held_out(log)
    catalogue = log.catalogue()
    found = {
        user: (video, time, {int(catalogue.comment_ids[c]) for c in row if c >= 0})
        for user, video, time, row in zip(
            log.user_ids()[test.user].tolist(),
            catalogue.video_ids[test.video].tolist(),
            test.time_ms.tolist(),
            test.positives,
            strict=True,
        )
    }
    assert found == expected
    assert (test.time_ms - test.cut_ms == 20_000).all()
    assert any(len(new) > 1 for _, _, new in expected.values())


def test_the_first_comment_of_the_catalogue_can_be_a_positive(tmp_path: Path) -> None:
    tables = random_log(5)
    first = write(tmp_path / "log", tables).catalogue()
    video, wanted = int(first.video_ids[0]), int(first.comment_ids[0])
    visits = [(video + 7, wanted + PER_VIDEO, 1), (video, wanted, 100)]
    own = pl.DataFrame(
        [(100, v, c, START_MS + 400 * MINUTE + at * MINUTE, 1, 0) for v, c, at in visits],
        schema=tables["comment_events"].schema,
        orient="row",
    )
    tables["comment_events"] = own
    seen = own.select("user_id", "video_id", "time_ms").with_columns(
        pl.col("time_ms") - 20_000,
        is_click=pl.lit(1, pl.Int8),
        is_like=pl.lit(0, pl.Int8),
        play_time_ms=pl.lit(9_000, pl.Int64),
        comment_stay_time=pl.lit(5_000, pl.Int64),
    )
    tables["impressions"] = seen.select(tables["impressions"].columns)
    test = visits_held_out(write(tmp_path / "own", tables))
    assert test.positives.tolist() == [[0]]


def test_candidates_of_a_section_are_those_the_feed_would_list(log: Dataset) -> None:
    test = visits_held_out(log, since_ms=CUT)
    sections = CommentSections(log.catalogue(), limit=100)
    for block in CommentCandidates(log, test).blocks():
        expected = sections.candidates(test.video[block.rows], test.time_ms[block.rows])
        assert np.array_equal(block.candidates[:, : expected.shape[1]], expected)
        assert (block.candidates[:, expected.shape[1] :] < 0).all()
        assert block.competes[block.positive].all()
        held = (test.positives[block.rows] >= 0).sum(axis=1)
        assert np.array_equal(block.positive.sum(axis=1), held)
        assert not block.competes[block.candidates < 0].any()
    assert not all(
        b.competes[b.candidates >= 0].all() for b in CommentCandidates(log, test).blocks()
    )


def test_candidates_of_a_video_case_are_new_and_exist(log: Dataset) -> None:
    test = held_out(log, "liked", since_ms=CUT)
    rows = likes(log)
    catalogue = log.catalogue()
    for block in VideoCandidates(log, test, "liked").blocks():
        for line, case in enumerate(block.rows):
            user, time = log.user_ids()[test.user[case]], test.time_ms[case]
            seen = rows.filter((pl.col("user_id") == user) & (pl.col("time_ms") < time))
            there = (catalogue.upload_ms <= time) & ~np.isin(
                catalogue.video_ids, seen["video_id"].to_numpy()
            )
            there[test.video[case]] = True
            assert np.array_equal(block.competes[line], there)


@pytest.mark.parametrize("task", ["videos", "comments"])
def test_history_is_that_of_the_training_part(log: Dataset, tmp_path: Path, task: str) -> None:
    test = held_out(log, "liked") if task == "videos" else visits_held_out(log)
    training = training_part(log, test, tmp_path / "part")
    assert equal(history_at(log, test), initial_history(training, test.user))


def later_changed(tables: dict[str, pl.DataFrame], cut: dict[int, int]) -> dict[str, pl.DataFrame]:
    """The same log up to each person's cut; after it, everything is about other things."""
    changed = dict(tables)
    for name in ("impressions", "comment_events"):
        frame = tables[name]
        limit = frame["user_id"].replace_strict(cut, default=np.iinfo(np.int64).max)
        later = frame["time_ms"] >= limit
        changed[name] = frame.with_columns(
            pl.when(later)
            .then(7 * ((pl.col("video_id") // 7 + 5) % 20))
            .otherwise(pl.col("video_id"))
            .alias("video_id"),
            pl.when(later)
            .then(1 - pl.col("is_like"))
            .otherwise(pl.col("is_like"))
            .cast(pl.Int8)
            .alias("is_like"),
        ).filter(~later | (pl.int_range(pl.len()) % 3 > 0))
        assert later.any()
    return changed


@pytest.mark.parametrize("split", ["last videos", "last comments", "time"])
def test_changing_the_future_changes_nothing_that_is_learned_or_known(
    tmp_path: Path, split: str
) -> None:
    """Neither the training part, nor a fitted policy's ranks, nor the histories."""
    tables = random_log(3)
    log = write(tmp_path / "log", tables)
    if split == "time":
        test, task = held_out(log, "liked", since_ms=CUT), "videos"
        # Only what the first case of each person may know is the same in both logs.
        first = np.flatnonzero(test.number() == 0)
        test = HeldOut(
            *(getattr(test, n)[first] for n in ("user", "video", "time_ms", "cut_ms", "positives"))
        )
        cut = dict.fromkeys(log.user_ids().tolist(), CUT)
        test = HeldOut(
            test.user, test.video, test.time_ms, np.full_like(test.cut_ms, CUT), test.positives
        )
    else:
        task = split.split()[1]
        test = held_out(log, "liked") if task == "videos" else visits_held_out(log)
        cut = dict(zip(log.user_ids()[test.user].tolist(), test.cut_ms.tolist(), strict=True))
    other = write(tmp_path / "other", later_changed(tables, cut))
    assert other.info.content_hash != log.info.content_hash
    parts = [
        part_before(d, CUT, tmp_path / f"part{i}")
        if split == "time"
        else training_part(d, test, tmp_path / f"part{i}")
        for i, d in enumerate((log, other))
    ]
    # Weights are kept by this hash: the same part is not trained on twice either.
    assert parts[0].info.content_hash == parts[1].info.content_hash
    assert equal(history_at(log, test), history_at(other, test))
    ranks = []
    for dataset, part in zip((log, other), parts, strict=True):
        policy = ItemKNN() if task == "videos" else Likes()
        policy.fit(part, seed=1)
        candidates = (
            VideoCandidates(dataset, test, "liked")
            if task == "videos"
            else CommentCandidates(dataset, test)
        )
        ranked = rank_cases(policy, test, candidates, history_at(dataset, test))
        assert ranked is not None
        ranks.append(ranked)
    assert np.array_equal(ranks[0].ranks, ranks[1].ranks)
    assert np.array_equal(ranks[0].top, ranks[1].top)


@pytest.mark.parametrize("rows", [500_000, 7])
def test_the_part_before_a_split_ends_there(
    log: Dataset, tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = part_before(log, CUT, tmp_path / "whole")
    monkeypatch.setattr(scanning, "BATCH_ROWS", rows)
    part = part_before(log, CUT, tmp_path / "part")
    assert part.info == whole.info
    for table in ("impressions", "comment_events"):
        expected = log.scan(table).filter(pl.col("time_ms") < CUT).collect()
        assert part.scan(table).collect().equals(expected)
    assert part.catalogue().n_comments == log.catalogue().n_comments


def test_split_time(log: Dataset, tmp_path: Path) -> None:
    span = log.info.time_span_ms
    assert span is not None
    assert split_time(log, days=0.1) == span[1] + 1 - 8_640_000
    cut = split_time(log, share=0.25)
    times = log.scan("impressions").collect()["time_ms"]
    assert (times >= cut).mean() == pytest.approx(0.25, abs=0.02)
    assert split_time(log, share=1e-9) == span[1], "the last impression alone is a test"
    for days in (0, 30):
        with pytest.raises(PolicyError, match=r"0\.27[0-9] days long"):
            split_time(log, days=days)


@pytest.mark.parametrize("kind", ["videos", "comments"])
def test_samples_are_the_same_for_every_call_and_uniform(log: Dataset, kind: str) -> None:
    """And hold the positives. Uniformity: chi-square over seeds, wrong alarms 1 in 10,000."""
    test = held_out(log, "liked") if kind == "videos" else visits_held_out(log)

    def made(seed: int, cases: HeldOut = test) -> list[frozenset[int]]:
        pool = (
            VideoCandidates(log, cases, "liked", sample=5, seed=seed)
            if kind == "videos"
            else CommentCandidates(log, cases, sample=5, seed=seed)
        )
        rows: dict[int, frozenset[int]] = {}
        for block in pool.blocks():
            for line, case in enumerate(block.rows.tolist()):
                real = block.candidates[line][block.candidates[line] >= 0]
                assert np.array_equal(real, np.sort(real))
                positives = block.candidates[line][block.positive[line]]
                assert set(positives) == set(cases.positives[case][cases.positives[case] >= 0])
                rows[case] = frozenset(real.tolist())
        return [rows[i] for i in range(len(rows))]

    assert made(1) == made(1)
    assert made(1) != made(2)
    # A person's sample does not depend on who else is asked.
    half = np.arange(0, len(test), 2)
    some = HeldOut(
        test.user[half],
        test.video[half],
        test.time_ms[half],
        test.cut_ms[half],
        test.positives[half],
    )
    assert made(1, some) == made(1)[::2]
    pool = VideoCandidates(log, test, "liked") if kind == "videos" else CommentCandidates(log, test)
    block = next(pool.blocks())
    line = int(np.argmax((block.competes & ~block.positive).sum(axis=1)))
    free = block.candidates[line][block.competes[line] & ~block.positive[line]]
    seeds = 400
    drawn = [made(seed)[int(block.rows[line])] for seed in range(seeds)]
    counts = np.array([sum(int(c) in d for d in drawn) for c in free])
    size = 5 - int(block.positive[line].sum())
    assert counts.sum() == seeds * size
    share = size / len(free)
    # Draws without replacement: the variance of counts is smaller by 1 - share.
    statistic = (
        ((counts - seeds * share) ** 2).sum()
        / (seeds * share * (1 - share))
        * (len(free) - 1)
        / len(free)
    )
    from scipy import stats

    assert stats.chi2.sf(statistic, len(free) - 1) > 1e-4
