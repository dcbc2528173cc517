"""Tables of users as people have them: dialects, encodings, days, zones, late joiners."""

from __future__ import annotations

import datetime
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abtest.experiment_tables.users import open_users
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, Metric
from reports.users.files import Columns
from reports.users.table import Users
from simulator.errors import DataError
from tests.abtest.test_field_faults import arms, check, first, reported

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821


def users(count: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "user_id": np.arange(count),
            "arm": arms(count),
            "x": rng.normal(10.0, 2.0, count).round(6),
            "pre_x": pl.Series(rng.normal(10.0, 2.0, count).round(6)).set(
                pl.Series(np.arange(count) % 9 == 0), None
            ),
        }
    )


def lift(result: Any) -> dict[str, Any]:
    assert result.code == 0, result.err
    found: dict[str, Any] = first(result.out)["absolute"]
    return found


DIALECTS: dict[str, Callable[[pl.DataFrame, Path], Path]] = {}


def dialect(write: Callable[[pl.DataFrame, Path], Path]) -> Callable[[pl.DataFrame, Path], Path]:
    DIALECTS[write.__name__] = write
    return write


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


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


# Days.


def by_day(dates: list[Any], people: int = 60) -> pl.DataFrame:
    """The treatment gains more from day to day; the last day most."""
    rng = np.random.default_rng(5)
    rows = [
        {"user_id": u, "arm": ("control", "new")[u % 2], "day": day,
         "x": float(10.0 + (u % 2) * k + rng.normal())}
        for k, day in enumerate(dates)
        for u in range(people)
    ]  # fmt: skip
    return pl.DataFrame(rows)


GAP = [datetime.date(2026, 11, 27), datetime.date(2026, 11, 28), datetime.date(2026, 11, 30),
       datetime.date(2026, 12, 1), datetime.date(2026, 12, 4)]  # fmt: skip


def daily(result: Any) -> list[dict[str, Any]]:
    assert result.code == 0, result.err
    found: list[dict[str, Any]] = json.loads(result.out)["comparisons"][0]["daily"]
    return found


@pytest.mark.parametrize(
    "write",
    [
        lambda d: d.isoformat(),
        lambda d: d.strftime("%Y%m%d"),
        lambda d: int(d.strftime("%Y%m%d")),
        lambda d: d.strftime("%Y/%m/%d"),
        lambda d: f"{d.isoformat()} 23:30:00",
        lambda d: (d - datetime.date(2026, 11, 20)).days,
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_days_are_counted_on_the_calendar(
    abtest: Run, tmp_path: Path, write: Callable[[datetime.date], Any], kind: str
) -> None:
    """Gaps and a month's end: each day is shown once, and so far ends at the result."""
    table = by_day([write(d) for d in GAP])
    path = tmp_path / f"t.{kind}"
    (table.write_csv if kind == "csv" else table.write_parquet)(path)
    result = abtest("analyze", path, "-m", "x", "--day", "day", "--json")
    found = daily(result)
    assert [d["day"] for d in found] == [0, 1, 3, 4, 7]
    last = found[-1]["cumulative"]
    row = first(result.out)["relative"]
    assert [last[k] for k in ("value", "low", "high")] == pytest.approx(
        [row[k] for k in ("value", "low", "high")], rel=1e-9
    )
    lifts = [d["lift"]["value"] for d in found]
    assert lifts == sorted(lifts) and lifts[-1] > 0.3


def test_a_time_belongs_to_the_day_of_its_own_zone(abtest: Run, tmp_path: Path) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    times = [datetime.datetime(2026, 3, d, 6, 30, tzinfo=zone) for d in (1, 2, 3)]
    table = by_day(times).with_columns(pl.col("day").dt.convert_time_zone("Asia/Shanghai"))
    table.write_parquet(tmp_path / "t.parquet")
    asked = ("analyze", tmp_path / "t.parquet", "-m", "x", "--day", "day", "--json")
    found = daily(abtest(*asked, "--start", "2026-03-02"))
    # 06:30 on the second is still the first in Greenwich.
    assert [d["day"] for d in found] == [0, 1]


def test_the_reported_gap(abtest: Run) -> None:
    path = reported("days_gap.csv")
    result = abtest("analyze", path, "-m", "minutes", "--day", "day", "--json")
    found = daily(result)
    assert found[-1]["lift"] is not None
    assert found[-1]["cumulative"]["value"] == pytest.approx(
        first(result.out)["relative"]["value"], rel=1e-12
    )


def late_joiners(people: int = 400, days: int = 10) -> pl.DataFrame:
    """Everybody does about 10 a day from the day on which they join."""
    rng = np.random.default_rng(7)
    rows = []
    for u in range(people):
        join = int(rng.integers(0, days))
        stays = int(rng.integers(1, days))
        rows += [
            {"user_id": u, "arm": ("control", "new")[u % 2], "day": day, "joined": join,
             "x": float(rng.normal(10.0, 1.0)), "active": 1.0}
            for day in range(join, days) if day - join <= stays
        ]  # fmt: skip
    return pl.DataFrame(rows)


def test_absent_days_are_an_error_until_they_mean_something(abtest: Run, tmp_path: Path) -> None:
    table = late_joiners()
    path = written(tmp_path / "t.csv", table.write_csv())
    asked = ("analyze", path, "-m", "x", "--day", "day", "--json")
    refused = abtest(*asked)
    assert refused.code == 3
    absent = 400 * 10 - table.height
    assert f"{absent:,} user-days are absent" in refused.err and "--absent zero" in refused.err
    zero = first(abtest(*asked, "--absent", "zero").out)
    per_day = table.filter(arm="control")["x"].sum() / (200 * 10)
    assert zero["control"]["value"] == pytest.approx(per_day, rel=1e-9)
    there = first(abtest(*asked, "--absent", "not-at-risk").out)
    assert there["control"]["value"] == pytest.approx(
        table.filter(arm="control")["x"].mean(), rel=1e-9
    )
    wide, narrow = (r["absolute"]["high"] - r["absolute"]["low"] for r in (zero, there))
    assert narrow < wide / 4


def test_days_after_joining_count_as_zero_and_days_before_do_not(
    abtest: Run, tmp_path: Path
) -> None:
    table = late_joiners()
    path = written(tmp_path / "t.csv", table.write_csv())
    asked = ("analyze", path, "-m", "x", "--day", "day", "--joined", "joined", "--json")
    row = first(abtest(*asked).out)
    sums = table.group_by("user_id", "arm").agg(pl.col("x").sum(), pl.col("joined").first())
    control = sums.filter(arm="control")
    exposed = (10 - control["joined"]).sum()
    assert row["control"]["value"] == pytest.approx(control["x"].sum() / exposed, rel=1e-9)
    wrong = table.with_columns(
        pl.when(pl.col("user_id") == 5).then(9).otherwise("joined").alias("joined")
    )
    moved = written(tmp_path / "w.csv", wrong.write_csv())
    refused = abtest("analyze", moved, *asked[2:])
    assert refused.code == 3 and "user_id 5 has rows before it joined" in refused.err


def test_retention_is_of_those_whose_day_has_come(abtest: Run, tmp_path: Path) -> None:
    table = late_joiners()
    path = written(tmp_path / "t.csv", table.write_csv())
    asked = ("analyze", path, "-m", "d3=active@3", "--day", "day", "--json")
    assert "needs the day on which each user joined" in abtest(*asked).err
    row = first(abtest(*asked, "--joined", "joined").out)
    for arm in ("control", "new"):
        own = table.filter(arm=arm)
        mature = own.filter(pl.col("joined") + 3 < 10)["user_id"].unique()
        kept = own.filter(pl.col("day") == pl.col("joined") + 3)["user_id"].n_unique()
        side = row["control" if arm == "control" else "treatment"]
        assert side["value"] == pytest.approx(100.0 * kept / len(mature), rel=1e-9)
    assert row["unit"] == "%"


def test_a_split_that_breaks_while_users_join_is_found(abtest: Run, tmp_path: Path) -> None:
    """Balanced in the end, but at first nearly all went to the control, then to the other."""
    rows = []
    for u in range(1_200):
        join = u * 6 // 1_200
        late = join >= 3
        arm = "control" if (u % 10 < (2 if late else 8)) else "new"
        rows += [{"user_id": u, "arm": arm, "day": d, "joined": join, "x": float((u * 7 + d) % 11)}
                 for d in range(join, 6)]  # fmt: skip
    path = written(tmp_path / "t.csv", pl.DataFrame(rows).write_csv())
    result = abtest("analyze", path, "-m", "x", "--day", "day", "--joined", "joined", "--json")
    assert check(result.out, "srm")["status"] == "pass"
    found = check(result.out, "srm_days")
    assert found["status"] == "fail" and found["facts"]["p"] < 1e-6
    assert result.code == 4


# Properties.

cells = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\x00", exclude_categories=["Cs", "Cc"]),
    min_size=1, max_size=6,
).map(str.strip).filter(lambda s: s and s.lower() not in ("nan", "null"))  # fmt: skip
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


@settings(deadline=None, max_examples=40)
@given(
    start=st.dates(datetime.date(1990, 1, 1), datetime.date(2090, 1, 1)),
    offsets=st.lists(st.integers(0, 70), min_size=1, max_size=8, unique=True),
    form=st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d"]),
    as_number=st.booleans(),
)
def test_random_days_are_those_of_the_calendar(
    start: datetime.date, offsets: list[int], form: str, as_number: bool
) -> None:
    from reports.users.days import Days

    dates = [start + datetime.timedelta(days=k) for k in offsets]
    texts = pl.Series("day", [d.strftime(form) for d in dates])
    column = texts.cast(pl.Int64) if as_number and form == "%Y%m%d" else texts
    days = Days()
    values, bad = days.read(column)
    assert not bad.any()
    first_day = min(offsets)
    assert [int(v) - days.first for v in values] == [k - first_day for k in offsets]
    assert days.calendar == sorted(k - first_day for k in offsets)
    assert days.shown(0) == (start + datetime.timedelta(days=first_day)).isoformat()


def test_parts_and_memory_agree_about_late_joiners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = late_joiners()
    table.write_parquet(tmp_path / "t.parquet")
    metrics = {
        "x": Metric("x", "X", "", ("x",)),
        "d3": Metric("d3", "D3", "%", ("active@3",), ("mature@3",)),
    }
    plan = AnalysisPlan("x", ("d3",), {}, metrics=metrics, covariates=())
    wanted = Columns(
        "user_id", "arm", ("x", "active"), day="day", joined="joined", retention=(("active", 3),)
    )

    def analysed() -> Any:
        observed = open_users([tmp_path / "t.parquet"]).read(wanted, control="control")
        people: Users = observed.table
        return analyze(people, plan, control="control", treatments=["new"], design="observed")

    whole = analysed()
    monkeypatch.setattr("reports.users.files.PART_ROWS", 500)
    cut = analysed()
    for one, other in zip(whole.comparisons[0].metrics, cut.comparisons[0].metrics, strict=True):
        assert one.absolute is not None and other.absolute is not None
        assert other.absolute.value == pytest.approx(one.absolute.value, rel=1e-9)
        assert other.absolute.low == pytest.approx(one.absolute.low, rel=1e-9)
    assert [d.day for d in cut.comparisons[0].daily] == list(range(10))
