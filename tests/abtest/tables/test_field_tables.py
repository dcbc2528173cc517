"""Tables of users as people have them: dialects, encodings, days, zones, late joiners."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abtest.experiment_tables.users import open_users
from reports.users.files import Columns
from simulator.errors import DataError
from tests.abtest.tables.field_files import lift, reported, users, written

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821


DIALECTS: dict[str, Callable[[pl.DataFrame, Path], Path]] = {}


def dialect(write: Callable[[pl.DataFrame, Path], Path]) -> Callable[[pl.DataFrame, Path], Path]:
    DIALECTS[write.__name__] = write
    return write


@dialect
def semicolons(table: pl.DataFrame, folder: Path) -> Path:
    return written(folder / "t.csv", table.write_csv(separator=";"))


@dialect
def tabs_packed(table: pl.DataFrame, folder: Path) -> Path:
    packed = gzip.compress(table.write_csv(separator="\t").encode())
    (folder / "t.tsv.gz").write_bytes(packed)
    return folder / "t.tsv.gz"


@dialect
def utf16(table: pl.DataFrame, folder: Path) -> Path:
    return written(folder / "t.csv", table.write_csv(), "utf-16")


@dialect
def blanks(table: pl.DataFrame, folder: Path) -> Path:
    return written(folder / "t.csv", table.write_csv().replace(",", " , "))


@dialect
def windows_line_ends(table: pl.DataFrame, folder: Path) -> Path:
    return written(folder / "t.csv", table.write_csv(line_terminator="\r\n") + "\r\n")


@dialect
def quoted_line_breaks(table: pl.DataFrame, folder: Path) -> Path:
    noted = table.with_columns(note=pl.lit('two\nlines, "quoted"'))
    return written(folder / "t.csv", noted.write_csv())


@dialect
def words_for_missing(table: pl.DataFrame, folder: Path) -> Path:
    return written(folder / "t.csv", table.write_csv(null_value="NaN"))


@dialect
def parquet(table: pl.DataFrame, folder: Path) -> Path:
    table.write_parquet(folder / "t.parquet")
    return folder / "t.parquet"


@dialect
def parquet_of_other_types(table: pl.DataFrame, folder: Path) -> Path:
    changed = table.with_columns(
        pl.col("arm").cast(pl.Categorical), pl.col("x").cast(pl.Decimal(18, 6))
    )
    changed.write_parquet(folder / "t.parquet")
    return folder / "t.parquet"


@dialect
def parquet_with_nan(table: pl.DataFrame, folder: Path) -> Path:
    table.with_columns(pl.col("pre_x").fill_null(float("nan"))).write_parquet(folder / "t.parquet")
    return folder / "t.parquet"


@dialect
def several_files(table: pl.DataFrame, folder: Path) -> Path:
    (folder / "many").mkdir()
    for i, piece in enumerate(table.iter_slices(150)):
        piece.write_csv(folder / "many" / f"{i}.csv")
    return folder / "many"


@pytest.mark.parametrize("name", DIALECTS)
def test_a_table_means_the_same_however_it_is_written(
    abtest: Run, tmp_path: Path, name: str
) -> None:
    table = users()
    plain = written(tmp_path / "plain.csv", table.write_csv())
    expected = lift(abtest("analyze", plain, "-m", "x", "--json"))
    path = DIALECTS[name](table, tmp_path)
    found = lift(abtest("analyze", path, "-m", "x", "--json"))
    assert found == pytest.approx(expected, rel=1e-9)


def test_patterns_and_several_files_are_one_table(abtest: Run, tmp_path: Path) -> None:
    table = users()
    whole = lift(
        abtest("analyze", written(tmp_path / "w.csv", table.write_csv()), "-m", "x", "--json")
    )
    for i, piece in enumerate(table.iter_slices(150)):
        piece.write_csv(tmp_path / f"part-{i}.csv")
    pieces = sorted(tmp_path.glob("part-*.csv"))
    assert lift(abtest("analyze", *pieces, "-m", "x", "--json")) == pytest.approx(whole)
    pattern = tmp_path / "part-*.csv"
    assert lift(abtest("analyze", pattern, "-m", "x", "--json")) == pytest.approx(whole)
    starred = written(tmp_path / "a[1]*.csv", table.write_csv())
    assert lift(abtest("analyze", starred, "-m", "x", "--json")) == pytest.approx(whole)


def test_true_and_false_are_one_and_zero(abtest: Run, tmp_path: Path) -> None:
    table = users().with_columns(conv=pl.col("user_id") % 7 == 0)
    texts = written(tmp_path / "t.csv", table.write_csv().replace("true", "True"))
    table.write_parquet(tmp_path / "t.parquet")
    ones = written(tmp_path / "o.csv", table.with_columns(pl.col("conv").cast(pl.Int8)).write_csv())
    expected = lift(abtest("analyze", ones, "-m", "conv", "--json"))
    for path in (texts, tmp_path / "t.parquet"):
        assert lift(abtest("analyze", path, "-m", "conv", "--json")) == pytest.approx(expected)


def test_other_encodings_are_named_or_given(abtest: Run, tmp_path: Path) -> None:
    table = users().with_columns(pl.col("arm").replace("new", "Grün"))
    path = written(tmp_path / "t.csv", table.write_csv(), "latin-1")
    refused = abtest("analyze", path, "-m", "x")
    assert refused.code == 3
    assert "line 3" in refused.err and "--encoding" in refused.err
    assert abtest("analyze", path, "-m", "x", "--encoding", "latin-1").code == 0


def test_the_reported_encoding(abtest: Run) -> None:
    path = reported("latin1.csv")
    refused = abtest("analyze", path, "-m", "x")
    assert refused.code == 3 and " line " in refused.err and "--encoding" in refused.err
    assert abtest("analyze", path, "-m", "x", "--encoding", "latin-1").code in (0, 4)


def test_lines_are_true_after_quoted_line_breaks(abtest: Run, tmp_path: Path) -> None:
    table = users(100).with_columns(note=pl.lit("two\nlines"), x=pl.col("x").cast(pl.String))
    table = table.with_columns(
        x=pl.when(pl.col("user_id") == 30).then(pl.lit("?")).otherwise(pl.col("x"))
    )
    path = written(tmp_path / "t.csv", table.write_csv())
    # The header is one line, 30 users take two each.
    assert "line 62 to 63: x is '?'" in abtest("analyze", path, "-m", "x").err


def test_the_reported_line_breaks(abtest: Run) -> None:
    refused = abtest("analyze", reported("line_breaks_bad.csv"), "-m", "x")
    assert refused.code == 3 and "line 62" in refused.err and "63" in refused.err


def test_bad_rows_are_skipped_and_counted(abtest: Run, tmp_path: Path) -> None:
    table = users()
    lines = table.write_csv().splitlines()
    damaged = [*lines[:11], "9999,new", "9998,new,abc,1", *lines[11:]]
    path = written(tmp_path / "t.csv", "\n".join(damaged) + "\n")
    refused = abtest("analyze", path, "-m", "x")
    assert refused.code == 3 and "line 12" in refused.err and "2 bad rows" in refused.err
    skipped = abtest("analyze", path, "-m", "x", "--bad-rows", "skip", "--json")
    assert "2 bad rows" in skipped.err and "skipped" in skipped.err
    whole = written(tmp_path / "w.csv", table.write_csv())
    assert lift(skipped) == pytest.approx(lift(abtest("analyze", whole, "-m", "x", "--json")))


def test_ids_that_lost_digits_are_no_users(abtest: Run, tmp_path: Path) -> None:
    table = users().with_columns(pl.col("user_id").cast(pl.Float64) + 2.0**60)
    table.write_parquet(tmp_path / "t.parquet")
    refused = abtest("analyze", tmp_path / "t.parquet", "-m", "x")
    assert refused.code == 3 and "lost digits" in refused.err


def test_chinese_names_in_an_ascii_terminal(abtest: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = reported("中文 表.csv")
    asked = (
        "analyze",
        path,
        "--user",
        "用户",
        "--arm",
        "组",
        "--control",
        "对照组",
        "-m",
        "评论时长",
    )
    for more in ((), ("--json",), ("--out", "结果")):
        assert abtest(*asked, *more).code in (0, 4)


# Properties.

ODD = re.compile(r"(?i)nan|null|none|n/?a|<?na>?|nat|\\n|-+|[+-]?[\d.,]+(e[+-]?\d+)?")
"""Cells that stand for nobody, and numbers that were written otherwise: other tests have them."""

cells = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\x00", exclude_categories=["Cs", "Cc"]),
    min_size=1, max_size=6,
).map(str.strip).filter(lambda s: s and not ODD.fullmatch(s))  # fmt: skip


names = st.lists(cells, min_size=4, max_size=12, unique_by=lambda s: s.casefold())


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ids=names,
    values=st.lists(st.floats(-1e9, 1e9), min_size=12, max_size=12),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoted=st.booleans(),
    bad=st.one_of(st.none(), st.integers(0, 11)),
)
def test_random_tables_in_random_dialects_read_back_equal_or_fail_with_their_line(
    tmp_path: Path,
    ids: list[str],
    values: list[float],
    separator: str,
    encoding: str,
    line_end: str,
    quoted: bool,
    bad: int | None,
) -> None:
    table = pl.DataFrame(
        {
            "user": ids,
            "arm": [("a", "b")[i % 2] for i in range(len(ids))],
            "x": [repr(v) for v in values[: len(ids)]],
        }
    )
    wrong = bad is not None and bad < len(ids)
    if wrong:
        texts = table["x"].to_list()
        texts[bad] = "zwölf"  # type: ignore[index]
        table = table.with_columns(x=pl.Series(texts))
    text = table.write_csv(
        separator=separator, line_terminator=line_end,
        quote_style="always" if quoted else "necessary",
    )  # fmt: skip
    path = written(tmp_path / "t.csv", text, encoding)
    file = open_users([path], delimiter=separator)
    wanted = Columns("user", "arm", ("x",))
    if wrong:
        with pytest.raises(DataError, match=f"line {bad + 2}: x is 'zwölf'"):  # type: ignore[operator]
            file.read(wanted, control="a")
        return
    (part,) = file.read(wanted, control="a").table.parts()
    found = dict(zip(part.during["user_id"], part.during["x"], strict=True))
    assert found == dict(zip(ids, values, strict=False))
