"""Published layouts, on small files written here: what each becomes, and what it cannot say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from simulator.errors import DataError
from simulator.logs.checks.validate import check
from simulator.logs.dataset import Dataset
from simulator.logs.importers import FORMATS, import_logs
from simulator.logs.importers.fields import hashed

CHINA_MIDNIGHT = 1_593_878_400_000
"""5 July 2020, 00:00 in China."""


@dataclass(frozen=True)
class Case:
    """Files of a format, and values that they must give."""

    format: str
    files: dict[str, str | bytes | pl.DataFrame]
    impressions: list[dict[str, Any]]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    said: tuple[str, ...] = ()


CASES = [
    Case(
        "kuairec",
        {
            "big_matrix.csv": "user_id,video_id,play_duration,video_duration,time,date,timestamp,"
            "watch_ratio\n"
            "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.273\n"
            "0,9598,1200,10984,2020-07-05 00:13:41.297,20200705,1593879221.297,0.109\n",
            "item_categories.csv": 'video_id,feat\n3649,"[27, 9]"\n9598,[8]\n',
            "kuairec_caption_category.csv": "video_id,manual_cover_text,caption,topic_tag,"
            "first_level_category_id,first_level_category_name\n"
            '3649,UNKNOWN,"好看, 真的 ""好""",[],8,颜值\n9598,UNKNOWN,UNKNOWN,[],-124,UNKNOWN\n',
            "item_daily_features.csv": "video_id,date,author_id,video_type,upload_dt,"
            "video_duration,show_cnt\n3649,20200705,7,NORMAL,2020-07-05,10867.0,5\n"
            "3649,20200706,7,NORMAL,2020-07-05,10867.0,6\n",
            "user_features.csv": "user_id,user_active_degree,is_live_streamer\n0,high_active,0\n",
            "social_network.csv": 'user_id,friend_list\n0,"[7]"\n',
        },
        [
            {"user_id": 0, "video_id": 3649, "time_ms": 1_593_878_903_438, "is_click": 1,
             "long_view": 1, "play_time_ms": 13_838, "duration_ms": 10_867, "date": 20_200_705},
            {"video_id": 9598, "is_click": 0, "long_view": 0, "play_time_ms": 1_200},
        ],
        {
            "videos": [
                {"video_id": 3649, "tags": ["27", "9"], "caption": '好看, 真的 "好"',
                 "category": "颜值", "author_id": 7, "upload_time_ms": CHINA_MIDNIGHT},
                {"video_id": 9598, "tags": ["8"], "caption": None, "category": None},
            ],
            "users": [{"user_id": 0, "user_active_degree": "high_active"}],
        },
        ("1 rows repeat a video_id", "not used: social_network.csv"),
    ),
    Case(
        "kuaisar",
        {
            "rec_inter.csv": "user_id,item_id,playing_time,duration_ms,time,timestamp,click,"
            "forward,like,follow,search,search_item_related\n"
            "1,5,60792.0,45400.0,2023-05-22 15:53:20,1684742000000.0,1,0,1,0,0,0\n",
            "item_features.csv": "item_id,caption,author_id,item_type,upload_time,"
            "first_level_category_name\n5,\"[12, 7]\",0,NORMAL,1970-1-1,空\n"
            "6,[],4,NORMAL,2020-07-05,美食\n",
            "src_inter.csv": "user_id,keyword\n1,\"[3]\"\n",
        },
        [{"user_id": 1, "video_id": 5, "time_ms": 1_684_742_000_000, "is_click": 1, "is_like": 1,
          "play_time_ms": 60_792}],
        {
            "videos": [
                {"video_id": 5, "author_id": None, "upload_time_ms": None, "category": None},
                {"video_id": 6, "author_id": 4, "upload_time_ms": CHINA_MIDNIGHT,
                 "category": "美食"},
            ]
        },
        ("balanced by the publisher", "not used: src_inter.csv"),
    ),
    Case(
        "microlens",
        {
            "MicroLens-100k_pairs.csv": "user,item,timestamp\n1,5,1583378629552\n"
            "2,5,1583378629999\n",
            "MicroLens-100k_comment_en.txt": '1\t5\tso "nice", I say\n2\t5\tmeh\n2\t5\tagain\n',
            "MicroLens-100k_title_en.csv": '5,"A cat, a dog"\n6,No title\n',
            "tags_to_summary.csv": "5,pets\n",
        },
        [
            {"user_id": 1, "video_id": 5, "time_ms": 1_583_378_629_552, "is_click": 1,
             "is_comment": 1},
            {"user_id": 2},
        ],
        {
            "comment_events": [
                {"user_id": 1, "video_id": 5, "comment_id": 2**31 + 5, "is_reply": 1},
                {"user_id": 2, "comment_id": 2 * 2**31 + 5},
            ],
            "comments": [
                {"comment_id": 2**31 + 5, "video_id": 5, "text": 'so "nice", I say'},
                {"comment_id": 2 * 2**31 + 5, "video_id": 5, "text": "meh"},
            ],
            "videos": [{"video_id": 5, "caption": "A cat, a dog", "category": "pets"}],
        },
        ("the source has no play_time_ms", "1 rows repeat a comment_id"),
    ),
    Case(
        "vk-lsvd",
        {
            "interactions/train/week_01.parquet": pl.DataFrame(
                {
                    "user_id": [7, 7, 8], "item_id": [5, 6, 5], "place": [0, 1, 1],
                    "platform": [0, 0, 0], "agent": [0, 0, 0], "timespent": [3, 67, 8],
                    "like": [False, True, False], "dislike": [False] * 3, "share": [False] * 3,
                    "bookmark": [True, False, False], "click_on_author": [False] * 3,
                    "open_comments": [False, True, False],
                },
                schema_overrides={
                    "user_id": pl.UInt32, "item_id": pl.UInt32, "timespent": pl.UInt8
                },
            ),
            "metadata/items_metadata.parquet": pl.DataFrame(
                {"item_id": [5, 6], "author_id": [1, 2], "duration": [12, 80]}
            ),
            "metadata/users_metadata.parquet": pl.DataFrame(
                {"user_id": [7, 8], "age": [20, 30], "gender": [1, 2], "geo": [1, 1]}
            ),
        },
        [
            {"user_id": 7, "video_id": 5, "is_click": 0, "is_collect": 1, "comment_stay_time": 0,
             "play_time_ms": 3_000, "time_ms": 1_735_689_600_000 + 7 * 86_400_000, "tab": 0},
            {"user_id": 7, "video_id": 6, "is_click": 1, "is_like": 1, "comment_stay_time": 1,
             "time_ms": 1_735_689_600_000 + 7 * 86_400_000 * 4 // 3},
            {"user_id": 8},
        ],
        {"videos": [{"video_id": 5, "duration_ms": 12_000, "author_id": 1}, {"video_id": 6}]},
        ("no times: times, sessions and hours are made up", "columns not used: age, gender, geo"),
    ),
    Case(
        "tenrec",
        {
            "QK-video.csv": "user_id,item_id,click,follow,like,share,video_category,watching_times,"
            "gender,age,hist_1\n9,5,1,0,1,0,1,3,1,2,0\n9,6,0,0,0,0,\\N,0,1,2,5\n",
        },
        [
            {"user_id": 9, "video_id": 5, "is_click": 1, "is_like": 1, "tab": 1},
            {"video_id": 6, "is_click": 0, "tab": None},
        ],
        {},
        ("the source has no play_time_ms", "the source has no times"),
    ),
    Case(
        "movielens",
        {
            "ratings.dat": "1::1193::5::978300760\n1::661::3::978302109\n",
            "movies.dat": "1193::Café Lumière (1975)::Drama|War\n661::James (1996)::Musical\n"
            .encode("latin-1"),
        },
        [
            {"user_id": 1, "video_id": 1193, "is_like": 1, "time_ms": 978_300_760_000},
            {"video_id": 661, "is_like": 0, "is_click": 1},
        ],
        {"videos": [{"video_id": 661, "tags": ["Musical"]},
                    {"video_id": 1193, "caption": "Café Lumière (1975)", "tags": ["Drama", "War"],
                     "category": "Drama"}]},
        ("a rating is a click",),
    ),
    Case(
        "movielens",
        {
            "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n"
            "1,3,3.5,964981247\n",
            "movies.csv": "movieId,title,genres\n1,Toy Story (1995),Adventure|Animation\n"
            "3,Odd,(no genres listed)\n",
            "links.csv": "movieId,imdbId,tmdbId\n1,0114709,862\n",
        },
        [{"video_id": 3, "is_like": 0}, {"video_id": 1, "is_like": 1}],
        {"videos": [{"video_id": 1, "tags": ["Adventure", "Animation"]},
                    {"video_id": 3, "tags": None}]},
        ("not used: links.csv",),
    ),
    Case(
        "movielens",
        {"u.data": "196\t242\t3\t881250949\n186\t302\t4\t891717742\n"},
        [{"user_id": 186, "is_like": 1}, {"user_id": 196, "time_ms": 881_250_949_000}],
    ),
    Case(
        "amazon",
        {"ratings_Beauty.csv": "A39HTATAQ9V7YF,0205616461,5.0,1369699200\n"},
        [{"user_id": hashed("A39HTATAQ9V7YF"), "video_id": hashed("0205616461"), "is_like": 1}],
        {"users": [{"source_id": "A39HTATAQ9V7YF"}], "videos": [{"source_id": "0205616461"}]},
    ),
    Case(
        "amazon",
        {"All_Beauty.csv": "user_id,parent_asin,rating,timestamp\nAEYO,B07,2.0,1578161212345\n"},
        [{"user_id": hashed("AEYO"), "is_like": 0, "time_ms": 1_578_161_212_345}],
    ),
    Case(
        "recbole",
        {
            "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            "196\t242\t3\t881250949\n",
        },
        [{"user_id": hashed("196"), "time_ms": 881_250_949_000, "is_like": 0}],
        {"users": [{"source_id": "196"}]},
    ),
]  # fmt: skip


def write(folder: Path, files: dict[str, str | bytes | pl.DataFrame]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pl.DataFrame):
            content.write_parquet(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def assert_rows(dataset: Dataset, table: str, wanted: list[dict[str, Any]]) -> None:
    key = {"users": "user_id", "videos": "video_id", "comments": "comment_id"}.get(table)
    rows = dataset.scan(table).collect()
    if key:
        rows = (
            rows.filter(pl.col(key).is_in([w[key] for w in wanted])) if key in wanted[0] else rows
        )
    found = rows.to_dicts()
    assert len(found) == len(wanted)
    for row, want in zip(found, wanted, strict=True):
        assert {name: row.get(name) for name in want} == want


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.format}-{next(iter(c.files))}")
def test_published_layouts(case: Case, tmp_path: Path) -> None:
    source = write(tmp_path / "data", case.files)
    report = import_logs(source, tmp_path / "out")
    assert report.format == case.format
    dataset = Dataset.open(tmp_path / "out")
    assert_rows(dataset, "impressions", case.impressions)
    for table, wanted in case.tables.items():
        assert_rows(dataset, table, wanted)
    text = report.render()
    for said in case.said:
        assert said in text
    assert [f for f in check(dataset) if f.severity == "error"] == []
    assert dataset.info.licence == FORMATS[case.format].licence
    unknown = "play_time_ms" in {c.target for r in FORMATS[case.format].roles for c in r.columns
                                 if getattr(c, "stands_for_unknown", False)}  # fmt: skip
    assert ("impressions.play_time_ms" in dataset.info.placeholders) == unknown


def test_a_log_alone_is_recognised_by_its_columns(tmp_path: Path) -> None:
    for number, case in enumerate(CASES):
        name, content = next(iter(case.files.items()))
        if isinstance(content, pl.DataFrame) or "::" in str(content):
            continue
        path = tmp_path / f"{number}" / Path(name).name
        write(path.parent, {path.name: content})
        report = import_logs(path, tmp_path / f"out{number}")
        assert report.format == case.format


def test_rows_of_kuairec_without_a_time_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "small_matrix.csv"
    path.write_text(
        "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
        "14,148,4381,6067,2020-07-05 05:27:48.378,20200705.0,1593898068.378,0.722\n"
        "14,183,11635,6100,,,,1.907\n"
    )
    with pytest.raises(DataError, match="line 3: timestamp is empty"):
        import_logs(path, tmp_path / "out")
    report = import_logs(path, tmp_path / "out", bad_rows="skip")
    assert "kept 1, rejected 1" in report.render()


def test_every_format_says_what_was_seen_of_it() -> None:
    for layout in FORMATS.values():
        assert layout.seen
        assert layout.licence
