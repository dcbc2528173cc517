"""Importers keep every row or say why not; labels stay as they are; sentinels become null."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from simulator.errors import DataError
from simulator.logs.checks.validate import check
from simulator.logs.dataset import Dataset
from simulator.logs.importers import import_logs
from simulator.logs.schema import TABLES
from tests.simulator.logs.importers.kuairand_files import HEADER, ROW, write


def test_one_log_file_with_values_as_they_are(tmp_path: Path) -> None:
    source = write(
        tmp_path / "log_standard_4_08_to_4_21_1k.csv",
        HEADER,
        # Two quirks that stay: a long view shorter than the rule, midnight as hour 0.
        ROW,
        "7,4,20220408,0,1649349856990,0,0,0,0,0,0,1,-8,0,0,0,0,0,1",
        "2,4,20220408,100,1649349999990,0,0,0,0,0,1,0,900,20000,0,0,0,0,1",
    )
    report = import_logs(source, tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    rows = dataset.scan("impressions").collect()
    assert rows["user_id"].to_list() == [2, 7, 7]
    assert rows["play_time_ms"].to_list() == [900, 43_454, 0]
    assert rows["duration_ms"].to_list() == [20_000, 14_233, None]
    assert rows["long_view"].to_list() == [0, 1, 1]
    assert rows["position"].to_list() == [0, 0, 1]
    assert rows["comment_stay_time"].to_list() == [0, 27_683, 0]
    text = report.render()
    assert "read 3, kept 3, rejected 0" in text
    assert "play_time_ms: slightly negative to 0: 1" in text
    assert "duration_ms: 0 to unknown: 1" in text
    assert check(dataset) == [f for f in check(dataset) if f.severity == "warning"]


def test_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path / "kuairand.csv", HEADER)
    with pytest.raises(DataError, match=r"Nearby: .*kuairand\.csv"):
        import_logs(tmp_path / "kuaiand.csv", tmp_path / "out")


def test_kuairand_directory_joins_all_families(tmp_path: Path) -> None:
    source = tmp_path / "data"
    write(source / "log_standard_4_08_to_4_21_pure.csv", HEADER, ROW)
    no_flag = HEADER.replace(",is_rand", "")
    write(
        source / "log_random_4_22_to_5_08_pure.csv",
        no_flag,
        "9,3,20220422,0,1650559456990,0,0,0,0,0,0,0,863,14233,0,0,0,1",
    )
    write(
        source / "user_features_pure.csv",
        "user_id,user_active_degree,is_live_streamer,follow_user_num,onehot_feat4",
        "7,full_active,-124,514,1.0",
        "8,UNKNOWN,1,0,",
    )
    write(
        source / "video_features_basic_pure.csv",
        "video_id,author_id,video_type,upload_dt,video_duration,tag",
        '3,11,NORMAL,2022-04-10,14233.0,"12,65"',
        "5,12,AD,,,",
    )
    write(
        source / "kuairand_video_captions.csv",
        "final_video_id,caption,show_cover_text,duration",
        "3,好看的视频 #旅行,UNKNOWN,14233.0",
    )
    report = import_logs(source, tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    rows = dataset.scan("impressions").collect()
    assert rows.select("user_id", "is_rand").rows() == [(7, 0), (9, 1)]
    users = dataset.scan("users").collect()
    assert users["user_id"].to_list() == [7, 8, 9]
    assert users["is_live_streamer"].to_list() == [None, 1, None]
    assert users["user_active_degree"].to_list() == ["full_active", None, None]
    videos = dataset.scan("videos").collect()
    first = videos.filter(video_id=3).row(0, named=True)
    assert first["tags"] == ["12", "65"]
    assert first["category"] == "12"
    assert first["caption"] == "好看的视频 #旅行"
    # 10 April 2022, midnight in China.
    assert first["upload_time_ms"] == 1_649_520_000_000
    assert "columns not used: onehot_feat4" in report.render()
    assert "added: 1 row for what only the log mentions" in report.render()


KUAICOMT = {
    "released": {
        "user_video_inter.csv": (
            "user_id,video_id,p_hourmin,time_ms,is_click,is_like,is_collect,play_time_ms,"
            "duration_ms,comment_stay_time",
            "1234567890,12345678901,1500,1696141175214.0,1,1,0,5000.0,11000.0,2500.0",
        ),
        "user_comment_inter.csv": (
            "user_id,comment_id,time_stamp,photo_id,is_like,is_reply",
            "1234567890,500000000001,1696141180,12345678901,1,0",
        ),
        "user_features.csv": (
            "user_id,user_active_degree,is_live_author,follow_count,fans_count",
            "1234567890,high_active,0,12,3",
        ),
        "video_features.csv": (
            "video_id,author_id,video_type,upload_dt,caption,duration,category",
            '12345678901,77,NORMAL,2023-09-30,"标题, 带逗号[捂脸]",11000.0,美食',
        ),
        "comment_features.csv": (
            "comment_id,comment_content,video_id,comment_like_cnt,comment_reply_out,show_comment_cnt_td",
            '500000000001,"哈哈, 笑死[捂脸]",12345678901,112,6,645',
        ),
    },
}


KUAICOMT["authors' code"] = {
    "user_photo_final_filtered_table.csv": tuple(
        line.replace("video_id", "photo_id").replace(",", "\t")
        for line in KUAICOMT["released"]["user_video_inter.csv"]
    ),
    "user_comment_inter.csv": tuple(
        line.replace(",", "\t") for line in KUAICOMT["released"]["user_comment_inter.csv"]
    ),
    "user_table_final.csv": tuple(
        line.replace(",", "\t") for line in KUAICOMT["released"]["user_features.csv"]
    ),
    "photo_table_final.csv": (
        "photo_id\tauthor_id\tphoto_type\tupload_dt\tcaption\tduration\tcategory",
        "12345678901\t77\tNORMAL\t2023-09-30\t标题, 带逗号[捂脸]\t11000.0\t美食",
    ),
    "comment_features.csv": KUAICOMT["released"]["comment_features.csv"],
}


@pytest.mark.parametrize("scheme", list(KUAICOMT))
def test_both_kuaicomt_schemes_give_the_same_tables(tmp_path: Path, scheme: str) -> None:
    for name, lines in KUAICOMT[scheme].items():
        write(tmp_path / "data" / name, *lines)
    report = import_logs(tmp_path / "data", tmp_path / "out")
    assert report.format == "kuaicomt"
    dataset = Dataset.open(tmp_path / "out")
    row = dataset.scan("impressions").collect().row(0, named=True)
    assert row["video_id"] == 12_345_678_901
    assert row["time_ms"] == 1_696_141_175_214
    assert row["comment_stay_time"] == 2_500
    assert row["hourmin"] == 1_500
    event = dataset.scan("comment_events").collect().row(0, named=True)
    assert event["time_ms"] == 1_696_141_180_000
    assert (event["video_id"], event["is_like"], event["is_reply"]) == (12_345_678_901, 1, 0)
    video = dataset.scan("videos").collect().row(0, named=True)
    assert video["caption"] == "标题, 带逗号[捂脸]"
    assert (video["category"], video["duration_ms"]) == ("美食", 11_000)
    comment = dataset.scan("comments").collect().row(0, named=True)
    assert (comment["text"], comment["like_count"]) == ("哈哈, 笑死[捂脸]", 112)
    user = dataset.scan("users").collect().row(0, named=True)
    assert (user["follow_user_num"], user["is_live_streamer"]) == (12, 0)
    assert [f for f in check(dataset) if f.severity == "error"] == []


def test_repeated_identifiers_are_rejected_and_counted(tmp_path: Path) -> None:
    source = tmp_path / "data"
    write(source / "log_standard_a.csv", HEADER, ROW)
    write(source / "user_features_a.csv", "user_id,register_days", "7,10", "7,20")
    report = import_logs(source, tmp_path / "out")
    users = Dataset.open(tmp_path / "out").scan("users").collect()
    assert users["register_days"].to_list() == [10]
    assert "1 rows repeat a user_id" in report.render()


def test_real_slice(real_files: Path, tmp_path: Path) -> None:
    name = "log_standard_4_08_to_4_21_27k_slice.csv"
    report = import_logs(real_files / name, tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    raw = pl.read_csv(real_files / name)
    assert dataset.info.rows["impressions"] == raw.height == 28_117
    assert dataset.info.rows["users"] == 432
    rows = dataset.scan("impressions").select(
        pl.col("is_like").sum(), pl.col("comment_stay_time").sum(), pl.col("play_time_ms").sum()
    )
    expected = raw.select(
        pl.col("is_like").sum(), pl.col("comment_stay_time").sum(), pl.col("play_time_ms").sum()
    )
    assert rows.collect().row(0) == expected.row(0)
    assert "rejected 0" in report.render()
    assert [f for f in check(dataset) if f.severity == "error"] == []


def test_every_real_file_of_a_known_family(real_files: Path, tmp_path: Path) -> None:
    report = import_logs(real_files, tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.info.rows["users"] == 27_285
    assert {t.table for t in report.tables} == {"impressions", "users", "videos"}
    assert any("statistic" in name for name in report.ignored)
    assert set(dataset.info.columns["users"]) <= {c.name for c in TABLES["users"].columns}


@pytest.mark.parametrize(
    ("name", "people", "kept"),
    [
        ("bigfloat", 3, 48),
        ("spaces", 6, 48),
        ("seconds", 0, 0),
        ("overflow", 6, 45),
        ("cut_row", 6, 47),
    ],
)
def test_field_inputs(field_files: Path, tmp_path: Path, name: str, people: int, kept: int) -> None:
    source = field_files / f"log_standard_{name}.csv"
    if kept < 48:
        with pytest.raises(DataError, match="line "):
            import_logs(source, tmp_path / "out")
    if not kept:
        return
    report = import_logs(source, tmp_path / "out", bad_rows="skip")
    dataset = Dataset.open(tmp_path / "out")
    assert (dataset.info.rows["users"], dataset.info.rows["impressions"]) == (people, kept)
    assert f"read 48, kept {kept}, rejected {48 - kept}" in report.render()


def test_a_gap_of_more_than_half_an_hour_starts_a_session_of_that_person(tmp_path: Path) -> None:
    minute, start = 60_000, 1_649_349_856_990
    times = [(7, 0), (7, 30 * minute), (7, 60 * minute + 1), (8, 300 * minute), (8, 301 * minute)]
    rows = [
        ROW.replace("7,3", f"{user},3", 1).replace(str(start), str(start + after), 1)
        for user, after in times
    ]
    source = write(tmp_path / "log_standard_x.csv", HEADER, *rows)
    import_logs(source, tmp_path / "out")
    found = Dataset.open(tmp_path / "out").scan("impressions").collect()
    assert found["session_id"].to_list() == [0, 0, 1, 0, 0]
    assert found["request_id"].to_list() == [1, 2, 3, 1, 2]
