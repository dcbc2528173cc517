"""Datasets on disk: all or nothing, one hash per content, and errors that say what to do."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from simulator.errors import DataError
from simulator.logs.dataset import INFO_FILE, Dataset, DatasetWriter
from simulator.logs.schema import TABLES
from tests.simulator.logs.conftest import impressions

Make = Callable[..., Dataset]


def writer(path: Path, **options: Any) -> DatasetWriter:
    return DatasetWriter(path, **{"name": "n", "source": "s", "licence": "l", **options})


def videos(n: int = 3) -> pl.DataFrame:
    """With text, missing values and lists, as real tables have them."""
    return pl.DataFrame(
        {
            "video_id": np.arange(n),
            "category": [None if i % 3 == 0 else f"c{i % 2}" for i in range(n)],
            "tags": [[f"t{j}" for j in range(i % 3)] for i in range(n)],
            "caption": ["猫[捂脸]" if i % 2 else None for i in range(n)],
            "duration_ms": [None if i == 1 else 1_000 + i for i in range(n)],
        },
        schema_overrides={"tags": pl.List(pl.String), "category": pl.String, "caption": pl.String},
    )


def hash_of(path: Path, *parts: pl.DataFrame, table: str = "videos") -> str:
    with writer(path, overwrite=True) as target:
        for part in parts:
            target.append(table, part)
    return Dataset.open(path).info.content_hash


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


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


# -- all or nothing -------------------------------------------------------------------------------


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    class Interrupted(BaseException):
        pass

    with pytest.raises(Interrupted), writer(tmp_path / "a") as target:
        target.append("videos", videos())
        assert left_in(tmp_path) != []
        raise Interrupted
    assert left_in(tmp_path) == []


def test_a_failure_at_the_end_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError), writer(tmp_path / "a", world={"not": object()}) as target:
        target.append("videos", videos())
    assert left_in(tmp_path) == []


def test_nothing_can_be_read_before_the_end(tmp_path: Path) -> None:
    with writer(tmp_path / "a") as target:
        target.append("videos", videos())
        with pytest.raises(DataError, match="no dataset at"):
            Dataset.open(tmp_path / "a")
    Dataset.open(tmp_path / "a")


def test_remains_of_a_killed_writer_do_not_get_in(tmp_path: Path) -> None:
    killed = writer(tmp_path / "a").__enter__()
    killed.append("comments", pl.DataFrame({"comment_id": [1], "video_id": [1]}))
    with writer(tmp_path / "a") as target:
        target.append("videos", videos())
    dataset = Dataset.open(tmp_path / "a")
    assert not dataset.has("comments")
    assert not (tmp_path / "a" / "comments").exists()
    assert left_in(tmp_path) == ["a"]


def test_two_processes_may_write_the_same_dataset(tmp_path: Path) -> None:
    """The first to finish wins; neither disturbs the other's unfinished files."""
    code = (
        "from pathlib import Path; import sys; from tests.simulator.logs.test_dataset import *\n"
        "with writer(Path(sys.argv[1])) as target: target.append('videos', videos(5))"
    )
    with (
        pytest.raises(DataError, match="written by another process meanwhile"),
        writer(tmp_path / "a") as target,
    ):
        target.append("videos", videos())
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True)
    assert Dataset.open(tmp_path / "a").info.rows["videos"] == 5
    assert left_in(tmp_path) == ["a"]


def test_remains_of_other_processes_go_only_with_their_process(tmp_path: Path) -> None:
    over = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    for process in (int(over.stdout), os.getppid()):
        (tmp_path / f".a.{process}.tmp").mkdir()
    hash_of(tmp_path / "a", videos())
    assert left_in(tmp_path) == [f".a.{os.getppid()}.tmp", "a"]


def test_an_existing_dataset_is_left_untouched(tmp_path: Path) -> None:
    before = hash_of(tmp_path / "a", videos())
    with pytest.raises(DataError, match=r"exists and is left untouched\. Replace it: --force"):
        writer(tmp_path / "a")
    with pytest.raises(DataError), writer(tmp_path / "a", overwrite=True) as target:
        target.append("nonsense", videos())
    assert Dataset.open(tmp_path / "a").info.content_hash == before
    assert left_in(tmp_path) == ["a"]


def test_overwriting_replaces_every_table(tmp_path: Path) -> None:
    hash_of(tmp_path / "a", pl.DataFrame({"comment_id": [1], "video_id": [1]}), table="comments")
    with writer(tmp_path / "a", overwrite=True) as target:
        target.append("videos", videos())
    assert not Dataset.open(tmp_path / "a").has("comments")
    assert left_in(tmp_path / "a") == [INFO_FILE, "impressions", "users", "videos"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_not_a_dataset_is_never_replaced(tmp_path: Path, kind: str) -> None:
    mine = tmp_path / "mine"
    if kind == "folder":
        mine.mkdir()
    diary = mine / "diary.txt" if kind == "folder" else mine
    diary.write_text("dear")
    with pytest.raises(DataError, match="is not a dataset; it is left untouched"):
        writer(mine, overwrite=True)
    assert diary.read_text() == "dear"


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert hash_of(tmp_path / "a", videos())


# -- refused tables -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "frame", "expected"),
    [
        ("video", videos(), "unknown table 'video'. Known: impressions"),
        (
            "impressions",
            impressions(is_click=[1]).drop("time_ms"),
            "table 'impressions' has no column 'time_ms'",
        ),
        (
            "users",
            pl.DataFrame({"user_id": ["7"]}),
            "column 'user_id' of table 'users' is String, expected Int64",
        ),
    ],
)
def test_tables_outside_the_format_are_refused(
    tmp_path: Path, table: str, frame: pl.DataFrame, expected: str
) -> None:
    with pytest.raises(DataError) as error, writer(tmp_path / "a") as target:
        target.append(table, frame)
    assert expected in str(error.value)
    assert left_in(tmp_path) == []


def test_parts_must_have_the_same_columns(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="parts of table 'videos' differ"),
        writer(tmp_path / "a") as target,
    ):
        target.append("videos", videos())
        target.append("videos", videos().drop("caption"))


def test_columns_unknown_to_the_format_pass_through(tmp_path: Path) -> None:
    hash_of(tmp_path / "a", videos().with_columns(mood=pl.lit("good")))
    assert Dataset.open(tmp_path / "a").scan("videos").collect()["mood"].to_list() == ["good"] * 3


# -- damage ---------------------------------------------------------------------------------------


@pytest.fixture
def written(make_dataset: Make) -> Path:
    return make_dataset(impressions(is_click=[1, 0]), name="kuaishou-log").path


def problem(path: Path) -> DataError:
    with pytest.raises(DataError) as error:
        Dataset.open(path)
    return error.value


def edit(path: Path, without: str = "", **changes: Any) -> None:
    """Change entries of dataset.json and remove one."""
    info = json.loads((path / INFO_FILE).read_text(encoding="utf-8")) | changes
    info.pop(without, None)
    (path / INFO_FILE).write_text(json.dumps(info), encoding="utf-8")


def test_a_misspelt_path_names_the_neighbour(written: Path) -> None:
    error = problem(written.with_name("kuaishu-log"))
    assert error.problem.startswith(f"no dataset at {written.with_name('kuaishu-log')}.")
    assert f"Nearby: {written}." in error.problem
    assert error.hint
    # Only what could be meant is suggested.
    assert "Nearby" not in problem(written.with_name("zzz")).problem
    assert "Nearby" not in problem(written.parent / "no" / "such" / "place").problem


def test_a_folder_without_dataset_json_is_offered_to_the_importer(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    error = problem(tmp_path / "raw")
    assert "has no dataset.json" in error.problem
    assert f"abtest data import {tmp_path / 'raw'}" in error.hint


@pytest.mark.parametrize("version", [0, 2, "1"])
def test_another_version_is_named_with_the_one_that_is_read(written: Path, version: Any) -> None:
    edit(written, format_version=version, later_field=1)
    assert f"format version {version}, this program reads 1" in problem(written).problem


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", "\xff"])
def test_unreadable_dataset_json(written: Path, text: str) -> None:
    (written / INFO_FILE).write_bytes(text.encode("latin-1"))
    assert f"{written / INFO_FILE} is damaged" in problem(written).problem


def test_untouched_dataset_json_is_no_damage(written: Path) -> None:
    edit(written)
    assert Dataset.open(written).info.rows["impressions"] == 2


@pytest.mark.parametrize(
    "changes",
    [{"without": "rows"}, {"without": "world"}, {"surprise": 1}, {"time_span_ms": [1]}],
)
def test_incomplete_dataset_json(written: Path, changes: dict[str, Any]) -> None:
    edit(written, **changes)
    assert f"{written / INFO_FILE} is damaged" in problem(written).problem


def test_missing_part_files(written: Path) -> None:
    (written / "impressions" / "part-00000.parquet").unlink()
    error = problem(written)
    assert f"{written / 'impressions'} has no part files" in error.problem
    assert error.hint


def test_missing_required_table(written: Path) -> None:
    edit(written, columns={"impressions": ["user_id"], "users": ["user_id"]})
    assert "has no table 'videos'" in problem(written).problem


def test_damaged_part_file(written: Path) -> None:
    (written / "users" / "part-00000.parquet").write_bytes(b"not parquet")
    assert f"{written / 'users'} is damaged" in problem(written).problem


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (pl.DataFrame({"video_id": ["a"]}), "column 'video_id' of table 'videos' is String"),
        (pl.DataFrame({"id": [1]}), "table 'videos' has no column 'video_id'"),
    ],
)
def test_part_files_of_another_schema(written: Path, frame: pl.DataFrame, expected: str) -> None:
    frame.write_parquet(written / "videos" / "part-00000.parquet")
    error = problem(written)
    assert expected in error.problem
    assert str(written) in error.problem
    assert error.hint
