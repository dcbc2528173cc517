"""A map brings any table in; expressions are translated, never evaluated."""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from simulator.errors import DataError
from simulator.logs.checks.validate import check
from simulator.logs.dataset import Dataset
from simulator.logs.importers import import_mapped
from simulator.logs.importers.expressions import parse
from simulator.logs.importers.fields import hashed
from simulator.logs.importers.guess import propose

TABLE = """uid;item;when;watched;length;liked;kind
ann;v1;2022-04-08 12:00:00;10.5;12;True;feed
ann;v2;2022-04-08 12:00:30;1;12;False;feed
bob;v1;2022-04-08 13:00:30;9;10;True;search
"""
MAP = """name = "mine"
zone = "Asia/Shanghai"

[impressions]
user_id = { column = "uid", names = true }
video_id = { column = "item", names = true }
time_ms = { column = "when", unit = "text" }
play_time_ms = { column = "watched", unit = "s" }
duration_ms = { column = "length", unit = "s" }
is_click = "watched / length > .8"
is_like = "liked"
is_rand = 0
tab = "3 if kind == 'feed' else 4"
"""


def made(tmp_path: Path, table: str = TABLE, text: str = MAP, **options: Any) -> Dataset:
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    (tmp_path / "map.toml").write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    import_mapped([tmp_path / "t.csv"], out, tmp_path / "map.toml", overwrite=True, **options)
    return Dataset.open(out)


def test_columns_units_zones_names_expressions_and_constants(tmp_path: Path) -> None:
    dataset = made(tmp_path)
    rows = dataset.scan("impressions").collect().sort("time_ms")
    assert rows["time_ms"].to_list() == [1_649_390_400_000, 1_649_390_430_000, 1_649_394_030_000]
    assert rows["user_id"].to_list() == [hashed("ann"), hashed("ann"), hashed("bob")]
    assert rows["play_time_ms"].to_list() == [10_500, 1_000, 9_000]
    assert rows["duration_ms"].to_list() == [12_000, 12_000, 10_000]
    assert rows["is_click"].to_list() == [1, 0, 1]
    assert rows["is_like"].to_list() == [1, 0, 1]
    assert rows["tab"].to_list() == [3, 3, 4]
    users = dataset.scan("users").collect().sort("source_id")
    assert users.rows() == [(hashed("ann"), "ann"), (hashed("bob"), "bob")]
    assert dict(dataset.scan("videos").select("source_id", "duration_ms").collect().rows()) == {
        "v1": 12_000,
        "v2": 12_000,
    }
    assert dataset.info.name == "mine"
    assert [f for f in check(dataset) if f.severity == "error"] == []


def test_parquet_and_partitioned_directories_give_the_same_dataset(tmp_path: Path) -> None:
    first = made(tmp_path)
    frame = pl.read_csv(tmp_path / "t.csv", separator=";", try_parse_dates=True)
    for number, kind in enumerate(("feed", "search")):
        folder = tmp_path / "parts" / f"kind={kind}"
        folder.mkdir(parents=True)
        frame.filter(kind=kind).drop("kind").write_parquet(folder / f"{number}.parquet")
    import_mapped([tmp_path / "parts"], tmp_path / "two", tmp_path / "map.toml")
    second = Dataset.open(tmp_path / "two")
    assert second.info.content_hash == first.info.content_hash


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"uid"', '"usr"', "map.toml line 5: impressions.user_id: "),
        ('"uid"', '"uidd"', "t.csv has no column 'uidd'. It has 'uid'."),
        (
            "is_rand = 0",
            "is_rand = 2",
            "line 12: impressions.is_rand: 2 is no value, expected 0 or",
        ),
        ("is_like =", "is_lik =", "is no column of the log format. Did you mean 'is_like'?"),
        ("watched / length > .8", "open('x')", "'open('x')' is not allowed"),
        ("watched / length > .8", "watched /", "' cannot be read"),
        ("watched / length > .8", "watched", "expected 0 or 1"),
        ('unit = "text"', 'unit = "weeks"', "unit 'weeks' is none of"),
        ('unit = "text"', 'unit = "ms"', "t.csv line 2: when is '2022-04-08 12:00:00'"),
        ('"Asia/Shanghai"', '"Asia/Shanghi"', "there is no time zone 'Asia/Shanghi'"),
        ("is_rand = 0", "session_id = 0", "is made from row order and times"),
        ("[impressions]", "[impression]", "is no table"),
        ('is_click = "watched / length > .8"\n', "", "impressions: has no 'is_click'"),
        ("is_rand = 0", "is_rand = {}", "needs one of column, expression, constant"),
        ("is_rand = 0", "is_rand = ", "map.toml is no map"),
        ("is_rand = 0", 'files = ["other.csv"]', "no file given is other.csv"),
        ('name = "mine"', "mane = 1", "is no setting"),
    ],
)
def test_faults_of_a_map_name_the_line_and_the_entry(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(DataError) as error:
        made(tmp_path, text=MAP.replace(old, new, 1))
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_file_without_a_header_gets_one_from_the_map(tmp_path: Path) -> None:
    header, rows = TABLE.split("\n", 1)
    text = MAP.replace("[impressions]", f"[impressions]\nheader = {header.split(';')}")
    assert made(tmp_path, table=rows, text=text).info.rows["impressions"] == 3


def test_a_label_without_a_value_is_a_bad_row(tmp_path: Path) -> None:
    table = TABLE + "cat;v1;2022-04-08 14:00:00;9;;True;feed\n"
    with pytest.raises(DataError, match=r"t\.csv line 5: is_click = watched / length > \.8 gives"):
        made(tmp_path, table=table)
    assert made(tmp_path, table=table, bad_rows="skip").info.rows["impressions"] == 3


def test_a_query_is_one_more_table(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    (tmp_path / "t.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "map.toml").write_text(MAP, encoding="utf-8")
    query = f"select * from read_csv('{tmp_path}/t.csv', delim=';') where uid = 'ann';"
    import_mapped([], tmp_path / "out", tmp_path / "map.toml", sql=query)
    assert Dataset.open(tmp_path / "out").info.rows["impressions"] == 2
    with pytest.raises(DataError, match="the query fails"):
        import_mapped([], tmp_path / "no", tmp_path / "map.toml", sql="select * from nothing")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.toml", "out", "t.csv"]


# -- expressions ----------------------------------------------------------------------------------

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "<": operator.lt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne, "//": operator.floordiv, "%": operator.mod,
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    a=st.integers(-50, 50),
    b=st.integers(1, 50),
    op=st.sampled_from(list(_OPERATORS)),
    outer=st.sampled_from(["{}", "not ({})", "-abs({})", "1 if {} else 0", "({}) and b > 3"]),
)
def test_expressions_mean_what_python_means(a: int, b: int, op: str, outer: str) -> None:
    text = outer.format(f"a {op} b")
    value = _OPERATORS[op](a, b)
    expected = {
        "{}": value,
        "not ({})": not value,
        "-abs({})": -abs(value),
        "1 if {} else 0": 1 if value else 0,
        "({}) and b > 3": bool(value) and b > 3,
    }[outer]
    frame = pl.DataFrame({"a": [float(a)], "b": [float(b)]})
    assert float(frame.select(parse(text).value).item()) == pytest.approx(float(expected))


def test_functions_and_missing_values() -> None:
    frame = pl.DataFrame({"x": [1.4, None, -2.6], "t": ["Ab", None, "c"]})

    def found(text: str) -> list[Any]:
        return frame.select(parse(text).value).to_series().to_list()

    assert found("round(x)") == [1.0, None, -3.0]
    assert found("floor(x) + ceil(x)") == [3.0, None, -5.0]
    assert found("if_null(x, 7)") == [1.4, 7.0, -2.6]
    assert found("is_null(x)") == [False, True, False]
    assert found("min(x, 0)") == [0.0, 0.0, -2.6]
    assert found("is_in(t, 'c', 'd')") == [False, None, True]
    assert found("lower(t) == 'ab'") == [True, None, False]
    assert found("contains(t, 'b')") == [True, None, False]
    assert found("-1 < x <= 1.4") == [True, None, False]
    assert parse("col('a b') > 1").numbers == ("a b",)
    assert math.isclose(frame.select(parse("x * .5").value).to_series()[0], 0.7)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('id')", "x.__class__", "[x for x in y]", "lambda: 1", "x[0]",
        "f'{x}'", "(x := 1)", "x ** 9999", "b'x'", "x and", "", "1; 2", "print(x)", "x if y",
        "is_in(x, y)", "min(x)", "x < 1 < 'a' is None", "9" * 30, "-" * 500 + "1", "a" * 3000,
        "(" * 500 + "1" + ")" * 500, "x @ y", "x & y", "*x", "{1: 2}", "await x",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="expression"):
        parse(text)


# -- proposals ------------------------------------------------------------------------------------


def test_a_proposed_map_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE, encoding="utf-8")
    text = propose([tmp_path / "t.csv"])
    assert 'user_id = { column = "uid", names = true }' in text
    assert 'time_ms = { column = "when", unit = "text" }  # ' in text
    assert 'play_time_ms = { column = "watched", unit = "s" }  # guessed: seconds' in text
    assert 'is_click = "watched / length > .8"  # guessed' in text
    assert 'is_like = "liked"' in text
    dataset = made(tmp_path, text=text)
    assert dataset.info.rows["impressions"] == 3


@pytest.mark.parametrize(
    ("scale", "unit"), [(1e-3, '"s"'), (1.0, None), (1e3, '"us"'), (1e6, '"ns"')]
)
def test_the_unit_of_times_is_told_by_their_size(
    tmp_path: Path, scale: float, unit: str | None
) -> None:
    stamp = int(1_649_390_400_000 * scale)
    content = f"user_id,item_id,timestamp\n1,2,{stamp}\n1,3,{stamp}\n"
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    line = next(x for x in propose([tmp_path / "t.csv"]).splitlines() if x.startswith("time_ms"))
    assert (f"unit = {unit}" in line) if unit else line == 'time_ms = "timestamp"'


@pytest.mark.parametrize(("scale", "unit"), [(1e-3, 'unit = "s"'), (1.0, '"started"  #')])
def test_a_column_of_times_is_found_by_its_values(tmp_path: Path, scale: float, unit: str) -> None:
    stamp = int(1_649_390_400_000 * scale)
    content = f"user_id,item_id,size,started\n1,2,700,{stamp}\n1,3,800,{stamp}\n"
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    line = next(x for x in propose([tmp_path / "t.csv"]).splitlines() if x.startswith("time_ms"))
    assert unit in line and "guessed from the values" in line
    (tmp_path / "t.csv").write_text(content.replace(str(stamp), "17"), encoding="utf-8")
    assert "# time_ms = " in propose([tmp_path / "t.csv"])


def test_tables_of_several_files_are_told_apart(tmp_path: Path) -> None:
    files = {
        "log.csv": "user,item,ts\n1,2,1649390400\n",
        "people.csv": "user_id,register_days\n1,30\n",
        "films.csv": "movieId,title,genres\n2,A film,Drama\n",
        "notes.csv": "comment_id,video_id,content\n5,2,nice\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    text = propose([tmp_path / name for name in files])
    for header in ("[impressions]", "[users]", "[videos]", "[comments]"):
        assert header in text
    (tmp_path / "map.toml").write_text(text, encoding="utf-8")
    sources = [tmp_path / name for name in files]
    import_mapped(sources, tmp_path / "out", tmp_path / "map.toml")
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.scan("videos").collect()["caption"].to_list() == ["A film"]
    assert dataset.scan("comments").collect()["text"].to_list() == ["nice"]
    assert dataset.scan("impressions").collect()["time_ms"].to_list() == [1_649_390_400_000]


def test_one_bad_row_does_not_hide_a_column_from_the_proposal(tmp_path: Path) -> None:
    rows = [f"{i % 9},{i % 7},{1_700_000_000_000 + i},{i % 2},9000" for i in range(400)]
    whole = "user,item,ts,click,watch\n"
    (tmp_path / "t.csv").write_text(whole + "\n".join(rows), encoding="utf-8")
    good = propose([tmp_path / "t.csv"])
    assert '\ntime_ms = "ts"' in good and "not used" not in good
    broken = ["1,1,never,1,9000", "1,1,1700000000000,maybe,9000", "1,1,1700000000000,1,n/a?"]
    (tmp_path / "t.csv").write_text(whole + "\n".join([*rows, *broken]), encoding="utf-8")
    assert propose([tmp_path / "t.csv"]) == good
    # A column of which a tenth is no time is none.
    (tmp_path / "t.csv").write_text(whole + "\n".join([*rows, *broken[:1] * 40]), encoding="utf-8")
    assert "# time_ms = " in propose([tmp_path / "t.csv"])


def test_columns_of_lists_and_structures_do_not_stop_a_proposal(tmp_path: Path) -> None:
    rows = {"user": [1, 2], "item": [3, 4], "ts": [1_700_000_000_000, 1_700_000_001_000]}
    nested = {"page": [{"slot": 1}, {"slot": 2}], "tags": [["a"], ["b", "c"]]}
    pl.DataFrame({**rows, **nested}).write_parquet(tmp_path / "t.parquet")
    text = propose([tmp_path / "t.parquet"])
    assert '\ntime_ms = "ts"' in text
    assert "# not used, lists or structures: page, tags" in text


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("%d.%m.%Y %H:%M:%S%.f", "%d.%m.%Y %H:%M:%S"),
        ("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M"),
        ("%m/%d/%Y %H:%M:%S%.f", "%m/%d/%Y %H:%M:%S"),
        ("%Y%m%d %H:%M:%S%.f", "%Y%m%d %H:%M:%S"),
        ("%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M:%S %p"),
        ("%a, %d %b %Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S GMT"),
        ("%d.%m.%Y", "%d.%m.%Y"),
        ("%Y%m%d", "%Y%m%d"),
    ],
)
def test_times_in_other_forms_are_proposed_and_read(
    tmp_path: Path, form: str, written: str
) -> None:
    start = dt.datetime(2022, 4, 8, 9, 30, tzinfo=dt.UTC)
    moments = [start + dt.timedelta(hours=13 * i) for i in range(20)]
    rows = [f'{i % 4};{i % 5};"{m.strftime(written)}";1;9000\n' for i, m in enumerate(moments)]
    table = "user;item;ts;click;watch\n" + "".join(rows)
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    text = propose([tmp_path / "t.csv"])
    assert f'time_ms = {{ column = "ts", unit = "text", form = "{form}" }}' in text
    assert "fits as well" not in text
    found = made(tmp_path, table, text).scan("impressions").select("time_ms").collect()["time_ms"]
    kept = [dt.datetime.strptime(m.strftime(written), written) for m in moments]
    assert sorted(found) == [int(m.replace(tzinfo=dt.UTC).timestamp() * 1000) for m in kept]


def test_a_form_of_times_is_checked_and_bad_times_name_it(tmp_path: Path) -> None:
    table = "uid;item;when;watched\nann;v;31.01.2022 10:00;5\nann;v;31.02.2022 10:00;5\n"
    text = """[impressions]
user_id = { column = "uid", names = true }
video_id = { column = "item", names = true }
time_ms = { column = "when", unit = "text", form = "FORM" }
play_time_ms = "watched"
is_click = 1
"""
    with pytest.raises(
        DataError, match=r"line 3: when is '31\.02\.2022 10:00', expected a time wri"
    ):
        made(tmp_path, table, text.replace("FORM", "%d.%m.%Y %H:%M"))
    with pytest.raises(DataError, match=r'the map can say how: form = "%d.%m.%Y'):
        made(tmp_path, table, text.replace(', form = "FORM"', ""))
    for wrong in ("%H:%M", "%Q", "%d.%m.%Y %H", "day"):
        with pytest.raises(DataError, match=r"map.toml line 4: .*is no form of dates"):
            made(tmp_path, table, text.replace("FORM", wrong))
    with pytest.raises(DataError, match="form is of texts"):
        made(tmp_path, table, text.replace('"text"', '"s"').replace("FORM", "%d.%m.%Y"))


def test_yes_and_no_are_proposed_as_labels(tmp_path: Path) -> None:
    rows = "".join(
        f"{i % 3},{i % 4},{1_700_000_000 + i},{'Yes' if i % 4 else 'no'},5\n" for i in range(8)
    )
    table = "user,item,ts,click,watch\n" + rows
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    text = propose([tmp_path / "t.csv"])
    assert "not used" not in text
    clicks = made(tmp_path, table, text).scan("impressions").select("is_click").collect()
    assert clicks["is_click"].sum() == 6


def test_a_folder_whose_files_differ_in_types_is_proposed_from_the_first(tmp_path: Path) -> None:
    rows = pl.DataFrame({"user": [1], "item": [3], "ts": [1_700_000_000_000], "watch": [5]})
    folder = tmp_path / "days"
    folder.mkdir()
    rows.write_parquet(folder / "1.parquet")
    rows.with_columns(pl.col("watch").cast(pl.Float64)).write_parquet(folder / "2.parquet")
    rows.write_csv(folder / "3.csv")
    assert '\ntime_ms = "ts"' in propose([folder])
