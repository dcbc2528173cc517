"""One reader: what it accepts, what it refuses, and where it says the fault is."""

from __future__ import annotations

import datetime as dt
import gzip
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import zstandard

from simulator.errors import DataError
from simulator.tables import Number, Replace, Tally, Text, Time, Whole, label, open_table
from simulator.tables.parquet import ParquetFile

FIELD = next(
    (p / "shared/data/field" for p in Path(__file__).parents if (p / "shared/data/field").is_dir()),
    Path("absent"),
)


def file(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def values(path: Path, **kinds: object) -> list[tuple[object, ...]]:
    return [r for b in open_table(path).read(kinds) for r in b.frame.rows()]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("a,b", ","), ("a\tb", "\t"), ("a;b", ";"), ("a|b", "|"), ('"a,x";b;c', ";"), ("a", ",")],
)
def test_the_delimiter_is_found_in_the_header(tmp_path: Path, header: str, delimiter: str) -> None:
    row = delimiter.join("1" for _ in header.replace("a,x", "a").split(delimiter))
    table = open_table(file(tmp_path / "t.csv", f"{header}\n{row}\n"))
    assert all(value == "1" for b in table.batches() for value in b.frame.row(0))


def test_a_semicolon_file_is_named_as_such(tmp_path: Path) -> None:
    table = open_table(file(tmp_path / "t.csv", "user;x\n1;2\n"))
    with pytest.raises(DataError, match=r"no column 'usr'. It has 'user'.*semicolon-separated"):
        table.column("usr")


def test_identifiers_keep_all_their_digits(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", "id\n1582218195625938944.0\n1582218195625938945.0\n-7\n+8\n")
    assert values(path, id=Whole()) == [
        (1582218195625938944,), (1582218195625938945,), (-7,), (8,)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("1.58E+18", "exponent form: digits may be lost"),
        ("7.5", "has a fraction"),
        ("9223372036854775808", "too large"),
        ("1,000", "has a comma"),
        ("seven", "expected a whole number"),
        ("-1", "expected a whole number"),
        ("70000", "larger than 32767"),
        ("", "x is empty"),
    ],
)
def test_bad_whole_numbers_say_why(tmp_path: Path, cell: str, said: str) -> None:
    path = file(tmp_path / "t.csv", f'x,y\n1,a\n"{cell}",b\n2,c\n')
    kind = Whole(required=True, minimum=0, type=pl.Int16())
    with pytest.raises(DataError, match=r"t\.csv line 3: x is ") as error:
        values(path, x=kind)
    assert said in str(error.value)


def test_bounds_hold_on_plain_columns_and_on_texts(tmp_path: Path) -> None:
    for cells in ("5,9,-3", "5.0,9.0,-3.0"):
        path = file(tmp_path / "t.csv", "x\n" + cells.replace(",", "\n") + "\n")
        tally = Tally("skip")
        kind = Whole(minimum=0, maximum=8)
        read = [v for b in open_table(path).read({"x": kind}, tally) for v in b.frame["x"]]
        assert (read, tally.rejected) == ([5], 2)


def test_labels_booleans_and_missing_numbers(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", "l,x\nTrue,NaN\nfalse,1e3\n1.0,\n0,True\n,nan\n")
    assert values(path, l=label(), x=Number()) == [
        (1, None), (0, 1000.0), (1, None), (0, 1.0), (None, None)
    ]  # fmt: skip
    for bad in ("0.5", "2", "yes", "1e0"):
        with pytest.raises(DataError, match="line 2: l is "):
            values(file(tmp_path / "t.csv", f"l\n{bad}\n"), l=label())
    with pytest.raises(DataError, match="x is 'inf', expected a number"):
        values(file(tmp_path / "t.csv", "x\ninf\n"), x=Number())
    with pytest.raises(DataError, match="has a comma"):
        values(file(tmp_path / "t.csv", "x;y\n1,500;2\n"), x=Number())


def test_repairs_are_counted_and_bad_rows_are_not_counted_twice(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", "play,x\n-8,1\n-3,bad\n14.5,1\n-124,1\nUNKNOWN,1\n7,1\n")
    slightly = Replace(-10, -1, 0, "slightly negative to 0")
    kind = Whole(minimum=0, rounds=True, unknown=("UNKNOWN", "-124.0"), replace=(slightly,))
    tally = Tally("skip")
    table = open_table(path).read({"play": kind, "x": Whole()}, tally)
    assert [v for b in table for v in b.frame["play"]] == [0, 15, None, None, 7]
    assert tally.repaired == {
        "play: slightly negative to 0": 1,
        "play: fraction rounded": 1,
        "play: sentinel to unknown": 2,
    }
    assert (tally.read, tally.rejected) == (6, 1)


def test_seconds_become_exact_milliseconds(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", "t\n1593878903.438\n1593878903\n1593878903.4385\n")
    tally = Tally()
    read = [v for b in open_table(path).read({"t": Time(unit="s")}, tally) for v in b.frame["t"]]
    assert read == [1593878903438, 1593878903000, 1593878903439]
    assert tally.repaired == {"t: fraction rounded": 1}


@pytest.mark.parametrize(
    ("unit", "cell", "said"),
    [
        ("ms", "1649400054", "in the year 1970; is it in seconds?"),
        ("ms", "1649400054123456", "is it in microseconds?"),
        ("s", "1649400054123", "is it in milliseconds?"),
        ("ms", "1.649E+12", "exponent form"),
        ("text", "yesterday", "expected a date or a time"),
    ],
)
def test_times_in_another_unit_are_refused(tmp_path: Path, unit: str, cell: str, said: str) -> None:
    path = file(tmp_path / "t.csv", f"t,x\n{cell},1\n")
    with pytest.raises(DataError, match="line 2: t is ") as error:
        values(path, t=Time(unit=unit))  # type: ignore[arg-type]
    assert said in str(error.value)


def test_texts_of_times_with_and_without_zones(tmp_path: Path) -> None:
    cells = [
        "2020-07-05 01:00:25.5", "2020-07-05T01:00:25.500", "2020/07/05 01:00:25.50",
        "2020-07-04T17:00:25.5Z", "2020-07-05 02:00:25.5+09:00", "2020-07-04 13:30:25.5 -0330",
    ]  # fmt: skip
    path = file(tmp_path / "t.csv", "t\n" + "\n".join(cells) + "\n2020-07-05\nNaT\n")
    read = [v for (v,) in values(path, t=Time(unit="text", zone="Asia/Shanghai"))]
    there = dt.timezone(dt.timedelta(hours=8))
    moment = dt.datetime(2020, 7, 5, 1, 0, 25, 500_000, tzinfo=there)
    midnight = dt.datetime(2020, 7, 5, tzinfo=there)
    expected = int(moment.timestamp() * 1000)
    assert read == [expected] * 6 + [int(midnight.timestamp() * 1000), None]


def test_parquet_times_decimals_dictionaries_and_lost_digits(tmp_path: Path) -> None:
    moment = dt.datetime(2020, 7, 5, 1, 0, tzinfo=dt.UTC)
    path = tmp_path / "t.parquet"
    pl.DataFrame(
        {
            "utc": pl.Series([moment], dtype=pl.Datetime("us", "UTC")),
            "zoned": pl.Series([moment]).dt.convert_time_zone("Asia/Shanghai"),
            "naive": pl.Series([moment]).dt.replace_time_zone(None),
            "whole": pl.Series([Decimal("1582218195625938944")], dtype=pl.Decimal(38, 0)),
            "part": pl.Series([Decimal("2.50")], dtype=pl.Decimal(10, 2)),
            "name": pl.Series(["x"], dtype=pl.Categorical),
            "float": [float(2**60)],
            "big": pl.Series([2**63], dtype=pl.UInt64),
            "nan": [float("nan")],
            "bytes": [b"abc"],
            "list": [[1, 2]],
        }
    ).write_parquet(path)
    ms = int(moment.timestamp() * 1000)
    kinds = {"utc": Time(), "zoned": Time(), "naive": Time(zone="Asia/Shanghai")}
    assert values(path, **kinds) == [(ms, ms, ms - 8 * 3_600_000)]
    assert values(path, whole=Whole(), part=Number()) == [(1582218195625938944, 2.5)]
    assert values(path, name=Text(), bytes=Text(), nan=Whole()) == [("x", "abc", None)]
    for column, said in (
        ("part", "has a fraction"), ("float", "lost digits"), ("big", "too large"),
        ("list", "expected single values"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=said):
            values(path, **{column: Whole()})
    with pytest.raises(DataError, match=r"t\.parquet row 1: part is '2\.50'"):
        values(path, part=Whole())


def test_short_long_and_blank_lines(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", "a,b\n1,2\n\n3\n4,5,6\n  \n7,8\n\n")
    tally = Tally("skip")
    batches = list(open_table(path).read({"a": Whole(), "b": Whole()}, tally))
    assert [r for b in batches for r in b.frame.rows()] == [(1, 2), (7, 8)]
    assert [int(n) for b in batches for n in b.lines] == [2, 7]
    assert (tally.read, tally.rejected) == (4, 2)
    assert "line 4: 1 cell, expected 2" in tally.examples[0]
    assert "line 5: 3 cells, expected 2" in tally.examples[1]


def test_a_short_and_a_long_row_do_not_make_up_for_each_other(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", "a,b\n1\n4,5,6\n")
    with pytest.raises(DataError, match=r"line 2: 1 cell.*2 bad rows"):
        values(path, a=Whole())


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('a,b\n1,2\n3,"open\n5,6\n', 3),
        ('a,b\n1,"x"\n3,"4\n5,"6"\n7,"8', 5),
    ],
)
def test_an_unclosed_quote_is_named(tmp_path: Path, content: str, line: int) -> None:
    with pytest.raises(DataError, match=rf"line {line}: a quoted cell .* is not closed"):
        list(open_table(file(tmp_path / "t.csv", content)).batches(tally=Tally("skip")))


def test_one_broken_byte_is_named_and_skipped(tmp_path: Path) -> None:
    content = "a,b\n1,视频\n2,评\n3,好\n".encode().replace("评".encode(), b"\xff")
    path = file(tmp_path / "t.csv", content)
    with pytest.raises(DataError, match=r"line 3: byte 0xFF is not UTF-8\. Name the encoding"):
        values(path, a=Whole())
    tally = Tally("skip")
    assert [v for b in open_table(path).read({"a": Whole()}, tally) for v in b.frame["a"]] == [1, 3]
    assert tally.rejected == 1


@pytest.mark.parametrize(("encoding", "word"), [("gbk", "视频评论的时间"), ("latin-1", "éèüñ")])
def test_other_encodings_are_guessed_in_the_message_and_read_when_named(
    tmp_path: Path, encoding: str, word: str
) -> None:
    path = file(tmp_path / "t.csv", f"a,b\n1,{word}\n".encode(encoding))
    with pytest.raises(DataError, match=rf"line 2: byte 0x.. is not UTF-8.*--encoding {encoding}"):
        values(path, a=Whole())
    table = open_table(path, encoding=encoding)
    assert [r for b in table.batches() for r in b.frame.rows()] == [("1", word)]
    path = file(tmp_path / "t.csv", f"{word},b\n1,2\n".encode(encoding))
    with pytest.raises(DataError, match=rf"line 1: byte .*--encoding {encoding}"):
        open_table(path)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig"])
def test_utf_16_and_marks_are_found_out(tmp_path: Path, codec: str) -> None:
    content = "user_id,x\n" + "".join(f"{i},2\n" for i in range(30))
    table = open_table(file(tmp_path / "t.csv", content.encode(codec)))
    assert table.columns == ["user_id", "x"]
    assert sum(b.frame.height for b in table.batches()) == 30


def test_old_macintosh_line_ends(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", "a,b\r1,2\r3,4\r")
    assert values(path, a=Whole(), b=Whole()) == [(1, 2), (3, 4)]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_file_that_is_cut_off_is_damaged(tmp_path: Path, pack: object) -> None:
    rows = "".join(f"{i},{i * 7919 % 10007}\n" for i in range(5000))
    packed = pack(f"a,b\n{rows}".encode())  # type: ignore[operator]
    path = file(tmp_path / "t.csv.packed", packed)
    assert len(values(path, a=Whole())) == 5000
    path.write_bytes(packed[:-100])
    with pytest.raises(DataError, match="is damaged"):
        values(path, a=Whole())


def test_names_are_literal_and_directories_name_columns(tmp_path: Path) -> None:
    file(tmp_path / "u1.csv", "x\n1\n")
    with pytest.raises(DataError, match="no file at"):
        open_table(tmp_path / "u[1].csv")
    path = file(tmp_path / "u[2].csv", "x\n2\n")
    assert values(path, x=Whole()) == [(2,)]
    frame = pl.DataFrame({"x": [3]})
    folder = tmp_path / "p[1]" / "day=2022-04-08"
    folder.mkdir(parents=True)
    frame.write_parquet(folder / "a[b].parquet")
    file(tmp_path / "p[1]" / "day=2022-04-09" / "b.csv", "x\n4\n")
    file(tmp_path / "p[1]" / "_SUCCESS.csv", "nothing")
    assert values(tmp_path / "p[1]", x=Whole(), day=Text()) == [
        (3, "2022-04-08"), (4, "2022-04-09")
    ]  # fmt: skip


def test_files_of_one_table_have_the_same_columns(tmp_path: Path) -> None:
    first = file(tmp_path / "a.csv", "x,y\n1,2\n")
    second = file(tmp_path / "b.csv", "y,x\n2,1\n")
    both = open_table([first, second]).read({"x": Whole()})
    assert [row for batch in both for row in batch.frame.rows()] == [(1,), (1,)]
    third = file(tmp_path / "c.csv", "x,z\n1,2\n")
    with pytest.raises(DataError, match=r"c\.csv lacks a column 'y'|c\.csv has a column"):
        open_table([first, third])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xef\xbb\xbf\r", "is empty"),
        (b"a,a\n1,2\n", "column 'a' appears twice"),
        (b"a\rb,c\n1,2\n", "line 1: the header cannot be read"),
        (b"PK\x03\x04....", "zip archive"),
        (b"a\x00b,\x01\x02" * 9, "not a text file"),
        (b"PAR1xxxx", "cannot be read"),
        (b"a,b\n" + b"x" * 200, "1 cell, expected 2"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        list(open_table(file(tmp_path / "t.csv", content)).batches())


def test_blanks_around_names_and_cells(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", ' a , b,c\n 1 , x,  "q,r" \n2,y ,z\n')
    assert values(path, a=Whole(), b=Text(), c=Text()) == [(1, "x", "q,r"), (2, "y", "z")]


def test_delimiters_of_two_signs_and_files_without_a_header(tmp_path: Path) -> None:
    path = file(tmp_path / "r.dat", "1::2::5\n1::3::4\n")
    table = open_table(path, delimiter="::", names=["user", "film", "stars"])
    read = [r for b in table.read({"film": Whole(), "stars": Whole()}) for r in b.frame.rows()]
    assert read == [(2, 5), (3, 4)]


def test_a_record_without_end_is_refused_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulator.tables import records, streams

    monkeypatch.setattr(records, "MOST_BYTES", 1 << 12)
    monkeypatch.setattr(streams, "BLOCK", 1 << 10)
    path = file(tmp_path / "t.csv", "a,b\n1,2\n" + "3," + "x" * 20_000 + "\n5,6\n")
    with pytest.raises(DataError, match="line 3: a record that begins here does not end"):
        values(path, a=Whole())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("log_standard_cut_row.csv", "line 49: 13 cells, expected 19"),
        ("log_standard_seconds.csv", "line 2: time_ms is '1649400054'"),
        ("latin1.csv", "line 2: byte 0xE9 is not UTF-8"),
        ("line_breaks_bad.csv", "line 62 to 63: x is 'oops'"),
    ],
)
def test_field_cases(name: str, said: str) -> None:
    path = FIELD / name
    if not path.is_file():
        pytest.skip("the field inputs are not beside the project")
    column = {"time_ms": Time()} if name.startswith("log") else {"x": Number()}
    with pytest.raises(DataError) as error:
        list(open_table(path).read(column))  # type: ignore[arg-type]
    assert said in str(error.value)


def test_a_row_with_line_breaks_is_named_by_its_first_and_last_line(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", 'note,x\n"one\n\ntwo",1\n"three\nfour",bad\nfive,6\n')
    with pytest.raises(DataError, match=r"t\.csv line 5 to 6: x is 'bad'"):
        values(path, x=Whole())
    batch = next(open_table(path).batches())
    assert [batch.place(i).split("csv ")[1] for i in range(3)] == [
        "line 2 to 4", "line 5 to 6", "line 7"
    ]  # fmt: skip


def test_floats_are_exact_up_to_two_to_the_53rd(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"x": [2.0**53 - 1, 2.0**53, -(2.0**53)]}).write_parquet(path)
    tally = Tally("skip")
    read = [v for b in open_table(path).read({"x": Whole()}, tally) for v in b.frame["x"]]
    assert (read, tally.rejected) == ([2**53 - 1], 2)


def test_a_scaled_number_that_overflows_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"x": [5, 2**62]}).write_parquet(path)
    tally = Tally("skip")
    read = [v for b in open_table(path).read({"x": Whole(scale=1000)}, tally) for v in b.frame["x"]]
    assert (read, tally.rejected) == ([5_000], 1)


def test_microseconds_are_rounded_to_the_nearest_millisecond(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", "t\n1649400054123499\n1649400054123500\n")
    assert values(path, t=Time(unit="us")) == [(1649400054123,), (1649400054124,)]


def test_several_broken_bytes_are_each_found_on_their_line(tmp_path: Path) -> None:
    lines = [b"1,a\xffb\xfec", b"2,x", b"3,\xfd", b"4,y"] * 2
    tally = Tally("skip")
    table = open_table(file(tmp_path / "t.csv", b"a,b\n" + b"\n".join(lines) + b"\n"))
    read = [int(n) for b in table.read({"a": Whole()}, tally) for n in b.lines]
    assert (read, tally.rejected) == ([3, 5, 7, 9], 4)


def test_rows_that_are_lost_on_the_way_are_missed(tmp_path: Path) -> None:
    pl.DataFrame({"x": range(5)}).write_parquet(tmp_path / "t.parquet")
    file = ParquetFile(tmp_path / "t.parquet")
    file._height += 2
    with pytest.raises(DataError, match="5 of its 7 rows"):
        list(file.pieces(["x"], Tally()))
