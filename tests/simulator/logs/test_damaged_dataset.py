"""A damaged or misspelt dataset is an error that says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from simulator.errors import DataError
from simulator.logs.dataset import INFO_FILE, Dataset
from tests.simulator.logs.conftest import impressions

Make = Callable[..., Dataset]


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
