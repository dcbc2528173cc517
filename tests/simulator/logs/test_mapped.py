"""A catalogue in mapped files is the catalogue that was written; damage is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.errors import DataError
from simulator.logs.catalogue import Catalogue
from simulator.logs.mapped import map_catalogue, write_catalogue


def catalogue(comments: int = 5) -> Catalogue:
    return Catalogue.from_frames(
        pl.DataFrame(
            {"video_id": [30, 10, 20], "author_id": [7, None, 7], "category": ["b", None, "猫"]}
        ),
        pl.DataFrame(
            {"comment_id": range(comments), "video_id": [10, 20, 10, 30, 20][:comments]},
            schema={"comment_id": pl.Int64, "video_id": pl.Int64},
        ),
    )


@pytest.mark.parametrize("comments", [5, 0])
def test_the_same_columns_come_back(tmp_path: Path, comments: int) -> None:
    written = catalogue(comments)
    write_catalogue(written, tmp_path)
    found = map_catalogue(tmp_path)
    for field in fields(Catalogue):
        before, after = getattr(written, field.name), getattr(found, field.name)
        np.testing.assert_array_equal(before, after, err_msg=field.name)
        assert getattr(after, "dtype", None) == getattr(before, "dtype", None)
    assert (
        found.comment_index(np.array([3, 77])).tolist()
        == written.comment_index(np.array([3, 77])).tolist()
    )


def test_columns_are_files_and_not_memory(tmp_path: Path) -> None:
    write_catalogue(catalogue(), tmp_path)
    column = map_catalogue(tmp_path).video_ids
    assert isinstance(column.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 1


@pytest.mark.parametrize("name", ["author.npy", "catalogue.json"])
def test_a_changed_byte_is_refused(tmp_path: Path, name: str) -> None:
    write_catalogue(catalogue(), tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"rm -r "):
        map_catalogue(tmp_path)


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    write_catalogue(catalogue(), tmp_path)
    (tmp_path / "category.npy").unlink()
    with pytest.raises(DataError, match="damaged"):
        map_catalogue(tmp_path)
