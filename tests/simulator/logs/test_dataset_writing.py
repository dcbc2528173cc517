"""A dataset is written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from simulator.errors import DataError
from simulator.logs.dataset import INFO_FILE, Dataset
from tests.simulator.logs.conftest import impressions
from tests.simulator.logs.tables import hash_of, left_in, videos, writer

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
        "from pathlib import Path; import sys; from tests.simulator.logs.tables import *\n"
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
