"""A dataset is read back as it was written, and its hash is of the data only."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from simulator.errors import DataError
from simulator.logs.dataset import INFO_FILE, Dataset
from simulator.logs.schema import TABLES
from tests.simulator.logs.conftest import impressions
from tests.simulator.logs.tables import hash_of, left_in, videos, writer

Make = Callable[..., Dataset]


# -- round trip -----------------------------------------------------------------------------------


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    log = impressions(time_ms=[5, 9, 7], is_click=[1, 0, 1])
    about = {"name": "猫", "source": "hand", "licence": "CC0", "language": "zh"}
    world = {"world_version": 1, "seed": 3, "config": {"n_videos": 3}}
    with writer(tmp_path / "a", **about, world=world, notes=["one"]) as target:
        target.append("videos", videos())
        target.append("impressions", log)
        target.append("users", pl.DataFrame({"user_id": [1]}))
        target.notes.append("two")
    dataset = Dataset.open(str(tmp_path / "a"))
    info = dataset.info
    assert {k: getattr(info, k) for k in about} == about
    assert (info.world, info.notes) == (world, ["one", "two"])
    assert info.rows == {"impressions": 3, "users": 1, "videos": 3}
    assert info.time_span_ms == (5, 9)
    assert info.columns["impressions"] == log.columns
    assert_frame_equal(dataset.scan("videos").collect(), videos())
    assert_frame_equal(dataset.scan("impressions").collect(), log)
    assert left_in(tmp_path) == ["a"]
    # dataset.json is for people as well.
    assert "猫" in (tmp_path / "a" / INFO_FILE).read_text(encoding="utf-8")


def test_parts_are_scanned_in_order_as_one_table(tmp_path: Path) -> None:
    whole = impressions(video_id=list(range(40)), time_ms=[100 - i for i in range(40)])
    with writer(tmp_path / "a") as target:
        for start in range(0, 40, 3):
            target.append("impressions", whole.slice(start, 3))
    dataset = Dataset.open(tmp_path / "a")
    assert len(list((tmp_path / "a" / "impressions").iterdir())) == 14
    assert isinstance(dataset.scan("impressions"), pl.LazyFrame)
    assert_frame_equal(dataset.scan("impressions").collect(), whole)
    assert dataset.info.rows["impressions"] == 40
    assert dataset.info.time_span_ms == (61, 100)


def test_tables_that_were_not_written(tmp_path: Path) -> None:
    with writer(tmp_path / "a"):
        pass
    dataset = Dataset.open(tmp_path / "a")
    assert dataset.info.time_span_ms is None
    assert dataset.info.rows == {"impressions": 0, "users": 0, "videos": 0}
    for name, table in TABLES.items():
        assert not dataset.has(name)
        frame = dataset.scan(name).collect()
        assert frame.height == 0
        assert {c.name for c in table.columns if c.required} <= set(frame.columns)
    assert dataset.user_ids().tolist() == []
    assert dataset.catalogue().n_videos == 0
    assert not dataset.has_text()


def test_what_is_there_and_what_is_not(make_dataset: Make) -> None:
    empty = pl.DataFrame(schema={"comment_id": pl.Int64, "video_id": pl.Int64, "text": pl.String})
    dataset = make_dataset(impressions(is_like=[1]), comments=empty)
    assert dataset.has("impressions")
    assert not dataset.has("comments")
    assert not dataset.has("comment_events")
    assert dataset.has_column("impressions", "is_like")
    assert dataset.has_column("comments", "text")
    assert not dataset.has_column("impressions", "is_hate")
    assert not dataset.has_column("comment_events", "is_like")
    assert dataset.has_text()
    with pytest.raises(DataError, match=r"unknown table 'video'\. Known: impressions"):
        dataset.scan("video")


def test_users_are_sorted_and_counted_once(make_dataset: Make) -> None:
    users = pl.DataFrame({"user_id": [9, 3, 9, 5]})
    assert make_dataset(impressions(user_id=[3]), users=users).user_ids().tolist() == [3, 5, 9]


def test_texts_follow_the_catalogue(make_dataset: Make) -> None:
    dataset = make_dataset(
        impressions(video_id=[1]),
        videos=pl.DataFrame({"video_id": [4, 2, 3], "caption": ["four", None, "three"]}),
        comments=pl.DataFrame(
            {
                "comment_id": [10, 11, 12, 13],
                "video_id": [4, 2, 4, 2],
                "text": ["a", "b", "c", None],
                "like_count": [0, 1, 5, 2],
            }
        ),
    )
    assert dataset.catalogue().video_ids.tolist() == [2, 3, 4]
    assert dataset.captions() == ["", "three", "four"]
    assert dataset.catalogue().comment_ids.tolist() == [13, 11, 12, 10]
    assert dataset.comment_texts() == ["", "b", "c", "a"]
    assert dataset.catalogue() is dataset.catalogue()


def test_without_texts_they_are_empty(make_dataset: Make) -> None:
    comments = pl.DataFrame({"comment_id": [1], "video_id": [0]})
    dataset = make_dataset(impressions(video_id=[0, 7]), comments=comments)
    assert dataset.captions() == ["", ""]
    assert dataset.comment_texts() == [""]
    assert not dataset.has_text()


# -- content hash ---------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), cuts=st.sets(st.integers(1, 39), max_size=5))
def test_hash_does_not_depend_on_part_boundaries(
    tmp_path_factory: pytest.TempPathFactory, n: int, cuts: set[int]
) -> None:
    folder, whole = tmp_path_factory.mktemp("hash"), videos(n)
    bounds = [0, *sorted(c for c in cuts if c < n), n]
    parts = [whole[low:high] for low, high in itertools.pairwise(bounds)]
    assert hash_of(folder / "parts", *parts) == hash_of(folder / "whole", whole)


def test_hash_is_of_the_data_only(tmp_path: Path) -> None:
    expected = hash_of(tmp_path / "a", videos())
    assert hash_of(tmp_path / "other name", videos()) == expected
    reordered = videos().select(sorted(videos().columns, reverse=True))
    assert hash_of(tmp_path / "b", reordered) == expected
    assert hash_of(tmp_path / "c", videos().clear(), videos(), videos().clear()) == expected
    about = {"name": "x", "source": "y", "licence": "z", "notes": ["w"], "language": "en"}
    with writer(tmp_path / "d", **about) as target:
        target.append("users", pl.DataFrame(schema={"user_id": pl.Int64}))
        target.append("videos", videos())
    assert Dataset.open(tmp_path / "d").info.content_hash == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.reverse(),
        lambda v: v.head(2),
        lambda v: pl.concat([v, v.tail(1)]),
        lambda v: v.with_columns(duration_ms=pl.col("duration_ms").fill_null(0)),
        lambda v: v.with_columns(duration_ms=pl.col("duration_ms") + 1),
        lambda v: v.with_columns(caption=pl.col("caption").fill_null("")),
        lambda v: v.with_columns(tags=pl.col("tags").list.reverse()),
        lambda v: v.rename({"caption": "title"}),
        lambda v: v.drop("caption"),
        lambda v: v[[1, 0, 2]],
    ],
)
def test_hash_notices_every_change(
    tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    changed = change(videos())
    assert not changed.equals(videos())
    assert hash_of(tmp_path / "a", changed) != hash_of(tmp_path / "b", videos())


def test_hash_tells_tables_apart(tmp_path: Path) -> None:
    rows = pl.DataFrame({"comment_id": [1], "video_id": [1], "user_id": [1]})
    hashes = {hash_of(tmp_path / t, rows, table=t) for t in ("comments", "videos", "users")}
    assert len(hashes) == 3
