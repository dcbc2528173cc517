"""Days of a user table: gaps, time zones, users who join late."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abtest.experiment_tables.users import open_users
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, Metric
from reports.users.files import Columns
from reports.users.table import Users
from tests.abtest.tables.field_files import check, first, reported, written

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821


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


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([1769731200, 1769817600], "day is '1769731200' (a time since 1970? Write the date)"),
        ([1769731200000, 1769817600000], "a time since 1970?"),
        ([20260131, 20260132], "line 3: day is '20260132', expected a day"),
        (["20260131", "20260132"], "line 3: day is '20260132', expected a day"),
        (["30/01/2026", "31/01/2026"], "day is '30/01/2026', expected a day"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_times_and_dates_that_are_none_are_no_days(
    abtest: Run, tmp_path: Path, cells: list[Any], said: str, kind: str
) -> None:
    rows = pl.DataFrame(
        {
            "user_id": [i // 2 for i in range(80)],
            "arm": [("control", "new")[i // 2 % 2] for i in range(80)],
            "day": cells * 40,
            "x": 1.0,
        }
    )
    path = tmp_path / f"t.{kind}"
    (rows.write_csv if kind == "csv" else rows.write_parquet)(path)
    refused = abtest("analyze", path, "-m", "x", "--day", "day")
    assert refused.code == 3
    said = said.replace("line 3", "row 2") if kind == "parquet" else said
    assert said in refused.err


def test_dates_written_as_floats_are_dates(abtest: Run, tmp_path: Path) -> None:
    table = by_day([f"{d:%Y%m%d}.0" for d in GAP])
    path = tmp_path / "t.csv"
    table.write_csv(path)
    result = abtest("analyze", path, "-m", "x", "--day", "day", "--json")
    assert [d["day"] for d in daily(result)] == [0, 1, 3, 4, 7]
