"""What is exported comes back: every column that the format can carry, value by value.

The lists of carried columns here are written by hand from the formats' descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.logs.exporters import export_logs
from tests.simulator.logs.conftest import impressions


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
