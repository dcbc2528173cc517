"""Whatever a format carries comes back from an export and import."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from polars.testing import assert_frame_equal

from simulator.logs.checks.validate import check
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.importers import import_logs
from simulator.logs.importers.columns import SENTINELS
from simulator.logs.schema import TABLES
from tests.simulator.logs.exporters.round_trip import CARRIED, START_MS, assert_comes_back

DAY_MS, CHINA_MS = 86_400_000, 8 * 3_600_000


texts = (
    st.text(st.sampled_from("ab ,\"'\n;\t|[1,好哈😂#-"), min_size=1, max_size=8)
    .map(str.strip)
    .filter(lambda text: text and text not in SENTINELS)
)


words = st.text(st.sampled_from('ab12好 "'), min_size=1, max_size=4).map(str.strip).filter(bool)


_SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "time_ms": st.integers(START_MS, START_MS + 3),
    "upload_time_ms": st.integers(START_MS - 30 * DAY_MS, START_MS),
    "date": st.integers(20220408, 20220508),
    "hourmin": st.integers(0, 23).map(lambda hour: 100 * hour),
    "tags": st.lists(words, min_size=1, max_size=3),
    # The formats separate tags, and KuaiComt's categories, by commas.
    "category": words,
    "propensity": st.just(0.5),
    "tab": st.integers(0, 14),
    "position": st.integers(0, 5),
    "candidates": st.lists(st.integers(0, 2**40), min_size=1, max_size=3),
    "propensities": st.lists(st.just(0.5), min_size=1, max_size=3),
}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, pl.DataFrame]:
    """Valid tables with any subset of the optional columns, nulls included."""
    keys = {
        "user_id": draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True)),
        "video_id": draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True)),
        "comment_id": draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=4, unique=True)),
    }
    made = {}
    for name, table in TABLES.items():
        if not table.required and not draw(st.booleans()):
            continue
        if name == "comment_events" and "comments" not in made and not draw(st.booleans()):
            continue
        own = {"users": "user_id", "videos": "video_id", "comments": "comment_id"}.get(name)
        rows = len(keys[own]) if own else draw(st.integers(1, 8))
        data: dict[str, pl.Series] = {}
        for column in table.columns:
            if not column.required and draw(st.booleans()):
                continue
            if column.name == own:
                values: list[Any] = sorted(keys[own])
            else:
                value = _value(column.name, column.dtype, column.unit, keys)
                if column.nullable:
                    value = st.none() | value
                values = draw(st.lists(value, min_size=rows, max_size=rows))
            data[column.name] = pl.Series(values, dtype=column.dtype)
        made[name] = pl.DataFrame(data)
        if not own:
            made[name] = made[name].sort("user_id", "time_ms", maintain_order=True)
    return made


def _value(
    name: str, dtype: pl.DataType, unit: str, keys: dict[str, list[int]]
) -> st.SearchStrategy[Any]:
    if name in keys:
        return st.sampled_from(keys[name])
    if name in _SPECIAL:
        return _SPECIAL[name]
    if unit == "0/1":
        return st.integers(0, 1)
    return texts if dtype == pl.String else st.integers(1, 10**9)


# Shrinking a failure would take minutes, as every attempt writes and reads a dozen files.
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(made=tables(), format=st.sampled_from(["kuairand", "kuaicomt"]))
def test_any_dataset_comes_back(
    tmp_path_factory: pytest.TempPathFactory, made: dict[str, pl.DataFrame], format: str
) -> None:
    folder = tmp_path_factory.mktemp("export")
    with DatasetWriter(folder / "made", name="made", source="test", licence="none") as writer:
        for table, frame in made.items():
            writer.append(table, frame)
    dataset = Dataset.open(folder / "made")
    try:
        assert_comes_back(dataset, folder, format)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("format", list(CARRIED))
def test_the_built_in_worlds_log_comes_back(
    world_log: Dataset, tmp_path: Path, format: str
) -> None:
    back = assert_comes_back(world_log, tmp_path, format)
    assert [f for f in check(back) if f.severity == "error"] == []
    assert back.info.rows["impressions"] == world_log.info.rows["impressions"] > 1_000
    source = (tmp_path / "files" / "SOURCE.txt").read_text(encoding="utf-8")
    assert "simulated: no real person did any of this" in source
    assert world_log.info.content_hash in source
    if format == "kuaicomt":
        # Whole pages come back in order, so sessions and slots can be made again.
        keys = ["user_id", "time_ms", "video_id", "position"]
        assert_frame_equal(
            back.scan("impressions").select(keys).collect(),
            world_log.scan("impressions").select(keys).collect(),
        )


def test_real_features_and_logs_come_back(real_files: Path, tmp_path: Path) -> None:
    import_logs(real_files, tmp_path / "real")
    dataset = Dataset.open(tmp_path / "real")
    assert_comes_back(dataset, tmp_path, "kuairand")
    # The exported cells are the published ones, column by column.
    for name, exported in (
        ("user_features_pure.csv", "user_features.csv"),
        ("video_features_basic_pure.csv", "video_features_basic.csv"),
    ):
        raw = pl.read_csv(real_files / name, infer_schema=False)
        ours = pl.read_csv(tmp_path / "files" / exported, infer_schema=False)
        assert ours.columns == raw.columns
        filled = [c for c in ours.columns if ours[c].null_count() < ours.height]
        assert len(filled) >= 6
        key = raw.columns[0]
        assert_frame_equal(
            ours.join(raw.select(key), on=key, how="semi").select(filled), raw.select(filled)
        )


def test_a_real_slice_gives_the_same_values(real_files: Path, tmp_path: Path) -> None:
    name = "log_standard_4_08_to_4_21_27k_slice.csv"
    import_logs(real_files / name, tmp_path / "real")
    dataset = Dataset.open(tmp_path / "real")
    assert_comes_back(dataset, tmp_path, "kuairand")
    (exported,) = (tmp_path / "files").glob("log_*.csv")
    raw, ours = pl.read_csv(real_files / name), pl.read_csv(exported)
    ordered = raw.sort("user_id", "time_ms", maintain_order=True)
    # Play times of a few ms below 0 are repaired on import.
    ordered = ordered.with_columns(pl.col("play_time_ms").clip(0))
    assert_frame_equal(ours.select(raw.columns), ordered)
