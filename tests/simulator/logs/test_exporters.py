"""What is exported comes back: every column that the format can carry, value by value.

The lists of carried columns here are written by hand from the formats' descriptions.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from simulator.errors import DataError
from simulator.logs.checks.validate import check
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.exporters import export_logs
from simulator.logs.importers import import_logs
from simulator.logs.importers.columns import SENTINELS
from simulator.logs.schema import TABLES
from tests.simulator.logs.conftest import impressions

DAY_MS, CHINA_MS = 86_400_000, 8 * 3_600_000
START_MS = 1_650_000_000_000

_LABELS = ["is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"]
_TIMES = ["play_time_ms", "duration_ms", "profile_stay_time", "comment_stay_time"]
CARRIED: dict[str, dict[str, list[str]]] = {
    "kuairand": {
        "impressions": [
            "user_id", "video_id", "time_ms", *_LABELS, *_TIMES, "is_profile_enter", "is_rand",
            "tab", "date", "hourmin",
        ],
        "users": [c.name for c in TABLES["users"].columns],
        "videos": [
            "video_id", "author_id", "video_type", "upload_time_ms", "duration_ms", "tags",
            "caption", "category",
        ],
    },
    "kuaicomt": {
        "impressions": [
            "user_id", "video_id", "time_ms", *_LABELS, "is_collect", *_TIMES, "hourmin",
        ],
        "comment_events": ["user_id", "video_id", "comment_id", "time_ms", "is_like", "is_reply"],
        "users": [
            "user_id", "user_active_degree", "is_live_streamer", "follow_user_num",
            "follow_user_num_range", "fans_user_num", "fans_user_num_range",
            "friend_user_num_range", "register_days",
        ],
        "videos": [
            "video_id", "author_id", "video_type", "upload_time_ms", "caption", "duration_ms",
            "category",
        ],
        "comments": ["comment_id", "video_id", "text", "like_count", "reply_count"],
    },
}  # fmt: skip
LOST = {
    "kuairand": {
        "impressions": {"is_collect", "policy", "arm", "propensity"},
        "comment_events": {"the whole table"},
        "video_decisions": {"the whole table"},
        "comment_decisions": {"the whole table"},
        "users": set(),
        "videos": {"comment_count"},
        "comments": {"the whole table"},
    },
    "kuaicomt": {
        "impressions": {
            "is_profile_enter", "is_rand", "tab", "date", "policy", "arm", "propensity",
        },
        "comment_events": {"position", "is_shown", "dwell_ms", "propensity", "policy", "arm"},
        "video_decisions": {"the whole table"},
        "comment_decisions": {"the whole table"},
        "users": {"friend_user_num", "register_days_range", "is_video_author"},
        "videos": {"comment_count"},
        "comments": {"time_ms"},
    },
}  # fmt: skip

# -- any valid dataset ----------------------------------------------------------------------------

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


def expected(frame: pl.DataFrame, table: str, format: str) -> pl.DataFrame:
    """What has to come back of a table, by the description of the format."""
    if table == "impressions" and format == "kuairand" and "is_rand" in frame.columns:
        frame = frame.sort(
            "user_id", "time_ms", (pl.col("is_rand") != 1).fill_null(True), maintain_order=True
        )
    if table == "comment_events":
        frame = frame.filter((pl.col("is_like") == 1) | (pl.col("is_reply") == 1))
        frame = frame.with_columns(pl.col("time_ms") // 1000 * 1000)
    if "upload_time_ms" in frame.columns:
        midnight = (pl.col("upload_time_ms") + CHINA_MS) // DAY_MS * DAY_MS - CHINA_MS
        frame = frame.with_columns(midnight)
    if table == "videos" and "tags" in frame.columns:
        first = pl.col("tags").list.first()
        if "category" not in frame.columns:
            frame = frame.with_columns(first.alias("category"))
        elif format == "kuaicomt":
            frame = frame.with_columns(pl.coalesce("category", first))
    return _comparable(frame, table, format)


def _comparable(frame: pl.DataFrame, table: str, format: str) -> pl.DataFrame:
    """Carried columns that hold anything; rows of tables without an order are sorted."""
    if table == "impressions":
        columns = [c for c in CARRIED[format][table] if c not in ("date", "hourmin")]
    else:
        columns = CARRIED[format][table]
    kept = [c for c in columns if c in frame.columns and frame[c].null_count() < frame.height]
    frame = frame.select(kept)
    return frame if table == "impressions" else frame.sort([c for c in kept if c != "tags"])


def assert_comes_back(dataset: Dataset, folder: Path, format: str) -> Dataset:
    report = export_logs(dataset, folder / "files", format=format)  # type: ignore[arg-type]
    imported = import_logs(folder / "files", folder / "back")
    assert imported.format == format
    assert all(t.rejected == 0 for t in imported.tables)
    assert imported.ignored == []
    back = Dataset.open(folder / "back")
    for table in CARRIED[format]:
        want = expected(dataset.scan(table).collect(), table, format)
        found = back.scan(table).collect()
        if want.height == 0:
            # Comments that only events mention are added.
            events = back.scan("comment_events").collect()["comment_id"].unique().to_list()
            assert found.height == (len(events) if table == "comments" else 0)
            continue
        assert_frame_equal(_comparable(found, table, format), want)
    for name in ("date", "hourmin"):
        if name in CARRIED[format]["impressions"] and dataset.has_column("impressions", name):
            given = dataset.scan("impressions").drop_nulls(name)
            rows = given.select("user_id", "video_id", "time_ms", name).collect()
            assert rows.join(
                back.scan("impressions").collect(), on=rows.columns, how="anti"
            ).is_empty()
    for table, columns in dataset.info.columns.items():
        if dataset.has(table):
            lost = LOST[format][table]
            missing = lost if "the whole table" in lost else lost & set(columns)
            assert set(report.left_out.get(table, [])) == missing
    return back


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


# -- logs as they are -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world_log(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A day of 40 people in the built-in world."""
    from abtest.console import Console
    from abtest.run.datasets import synthesise

    path = tmp_path_factory.mktemp("world") / "log"
    synthesise(path, preset="small", seed=1, users=40, days=1, console=Console())
    return Dataset.open(path)


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


# -- files ----------------------------------------------------------------------------------------


def test_kuairand_files_follow_the_published_quirks(
    make_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    log = impressions(
        user_id=[1, 1, 2],
        video_id=[3, 4, 3],
        # 8 April 2022 00:10 China time; midnight is hour 0.
        time_ms=[1_649_347_800_000, 1_649_347_800_000, 1_650_500_000_000],
        is_rand=[0, 1, None],
        duration_ms=[None, 5_000, 9_000],
    )
    users = pl.DataFrame(
        {"user_id": [1, 2], "is_live_streamer": pl.Series([1, None], dtype=pl.Int8)}
    )
    videos = pl.DataFrame(
        {
            "video_id": [3, 4],
            "tags": [["12", "65"], None],
            "category": ["12", None],
            "duration_ms": [None, 5_000],
        }
    )
    dataset = make_dataset(log, users=users, videos=videos)
    export_logs(dataset, tmp_path / "files", format="kuairand")
    assert sorted(p.name for p in (tmp_path / "files").iterdir()) == [
        "SOURCE.txt",
        "log_random_4_08_to_4_21.csv",
        "log_standard_4_08_to_4_21.csv",
        "user_features.csv",
        "video_features_basic.csv",
    ]

    def lines(name: str) -> list[str]:
        return (tmp_path / "files" / name).read_text(encoding="utf-8").split("\n")

    standard = lines("log_standard_4_08_to_4_21.csv")
    assert standard[0].split(",")[:5] == ["user_id", "video_id", "date", "hourmin", "time_ms"]
    assert standard[1].startswith("1,3,20220408,0,1649347800000,0,,,,,,,1000,0,")
    assert len(standard) == 4
    assert standard[3] == ""
    assert lines("log_random_4_08_to_4_21.csv")[1].split(",")[-3:] == ["", "1", ""]
    assert lines("user_features.csv")[1:3] == [
        "1,UNKNOWN,,1," + "," * 26,
        "2,UNKNOWN,,-124," + "," * 26,
    ]
    assert lines("video_features_basic.csv")[1:3] == [
        '3,,UNKNOWN,,,,,,,,,"12,65"',
        "4,,UNKNOWN,,,,5000.0,,,,,",
    ]


def test_kuaicomt_times_are_floats_and_seconds(
    make_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    events = pl.DataFrame(
        {
            "user_id": [1, 1],
            "video_id": [0, 0],
            "comment_id": [9, 8],
            "time_ms": [1_696_141_180_999, 1_696_141_181_000],
            "is_like": pl.Series([1, 0], dtype=pl.Int8),
            "is_reply": pl.Series([0, 0], dtype=pl.Int8),
        }
    )
    dataset = make_dataset(impressions(time_ms=[1_696_141_175_214]), comment_events=events)
    report = export_logs(dataset, tmp_path / "files", format="kuaicomt")
    log = (tmp_path / "files" / "user_video_inter.csv").read_text().split("\n")
    assert log[1].startswith("1,0,1400,1696141175214.0,0,")
    comments = (tmp_path / "files" / "user_comment_inter.csv").read_text().split("\n")
    assert comments == [
        "user_id,comment_id,time_stamp,photo_id,is_like,is_reply",
        "1,9,1696141180,0,1,0",
        "",
    ]
    assert "1 comments seen without a like or a reply" in report.render()


def test_nothing_is_overwritten_and_nothing_is_left_behind(
    make_dataset: Callable[..., Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(impressions(user_id=[1]))
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="exists and is left untouched"):
        export_logs(dataset, tmp_path / "there", format="kuairand")
    with pytest.raises(DataError, match=re.escape("no export format 'kuairec'. Known: kuairand")):
        export_logs(dataset, tmp_path / "files", format="kuairec")  # type: ignore[arg-type]
    empty = make_dataset(impressions(user_id=[1]).clear(), name="empty")
    with pytest.raises(DataError, match="holds no impressions"):
        export_logs(empty, tmp_path / "files", format="kuairand")

    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pl.LazyFrame, "sink_csv", broken)
    with pytest.raises(OSError, match="disk full"):
        export_logs(dataset, tmp_path / "files", format="kuairand")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "made", "there"]


def test_the_command_says_what_the_format_cannot_carry(world_log: Dataset, tmp_path: Path) -> None:
    from abtest.cli import app

    run = CliRunner().invoke(
        app, ["data", "export", str(world_log.path), str(tmp_path / "f"), "--format", "kuairand"]
    )
    assert run.exit_code == 0, run.output
    assert re.search(r"not carried: impressions: .*\bpolicy, propensity", run.output)
    assert "not carried: comments: the whole table" in run.output
    assert "log_random_10_01_to_10_01.csv" in run.output
    assert (tmp_path / "f" / "user_features.csv").is_file()
