"""A file analysed in parts is the file analysed in memory; what is wrong with it is named alike."""

from __future__ import annotations

import dataclasses
import errno
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from abtest.experiment_tables.users import open_users
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, Metric
from reports.statistics.checks.aa import aa_p_values
from reports.users import files
from reports.users.files import Columns, Observed, TableError
from reports.users.parts import UserParts
from reports.users.table import UserTable
from simulator.errors import DataError

ROWS = 3_000
METRICS = {
    "revenue": Metric("revenue", "Revenue", "EUR per user", ("revenue",)),
    "ctr": Metric("ctr", "Click rate", "per view", ("clicks",), ("views",)),
    "capped": Metric("capped", "Capped", "EUR per user", ("revenue",), cap=0.95),
    "bought": Metric("bought", "Bought", "per user", ("bought",)),
}
PLAN = AnalysisPlan(
    "revenue",
    ("ctr", "capped", "bought"),
    {},
    metrics=METRICS,
    covariates=("revenue", "age"),
    select=True,
)


def make_rows(users: int = ROWS, *, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    views = rng.poisson(8, users) + 1
    taste = rng.gamma(2.0, 1.0, users)
    return pl.DataFrame(
        {
            "user_id": rng.permutation(users) * 7,
            "arm": rng.choice(["control", "b", "c"], users, p=[0.5, 0.3, 0.2]),
            "revenue": rng.lognormal(0.0, 1.0, users) * taste * (rng.random(users) < 0.7),
            "clicks": rng.binomial(views, 0.3),
            "views": views,
            "bought": (rng.random(users) < 0.2).astype(np.int8),
            "pre_revenue": taste,
            "age": pl.Series(rng.integers(18, 80, users).astype(float)).set(
                pl.Series(rng.random(users) < 0.05), None
            ),
            "country": rng.choice(["de", "fr", "it"], users),
        }
    )


def repeated(table: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([table, table.sample(fraction=0.2, seed=2)])


def with_days(table: pl.DataFrame) -> pl.DataFrame:
    rng = np.random.default_rng(9)
    days = [
        table.filter(pl.Series(rng.random(table.height) < 0.8)).with_columns(
            pl.col("revenue") * float(day + 2), day=pl.lit(day)
        )
        for day in range(-1, 4)
    ]
    return pl.concat(days).sample(fraction=1.0, shuffle=True, seed=3)


def read(path: Path, wanted: Columns, **options: Any) -> Observed:
    return open_users([path]).read(wanted, control=options.pop("control", "control"), **options)


def wanted(**changes: Any) -> Columns:
    usual = Columns(
        "user_id", "arm", ("revenue", "clicks", "views", "bought"), ("age",), ("country",)
    )
    return dataclasses.replace(usual, **changes)


def numbers(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of a result."""
    items: Any = ()
    if dataclasses.is_dataclass(value):
        items = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {path: value}
    return {k: v for name, one in items for k, v in numbers(one, f"{path}.{name}").items()}


def analysed(observed: Observed, plan: AnalysisPlan) -> dict[str, Any]:
    control, *treatments = observed.table.arms
    return numbers(
        analyze(
            observed.table,
            plan,
            control=control,
            treatments=treatments,
            design="observed",
            simulated=False,
        )
    )


def assert_alike(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        if isinstance(value, float):
            assert found[path] == pytest.approx(value, rel=1e-9, abs=1e-13), path
        else:
            assert found[path] == value, path


@pytest.mark.parametrize(
    ("suffix", "shape", "primary"),
    [
        *[("parquet", "users", name) for name in METRICS],
        *[("csv", shape, "revenue") for shape in ("users", "repeated", "days")],
        *[("parquet", "days", name) for name in ("ctr", "capped")],
    ],
)
def test_parts_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, shape: str, primary: str
) -> None:
    table = make_rows(1_000)
    table = with_days(table) if shape == "days" else table
    table = repeated(table) if shape == "repeated" else table
    path = tmp_path / f"users.{suffix}"
    (table.write_csv if suffix == "csv" else table.write_parquet)(path)
    columns = wanted(day="day" if shape == "days" else None, absent="zero")
    start = "0" if shape == "days" else None
    others = tuple(name for name in METRICS if name != primary)
    plan = dataclasses.replace(PLAN, primary=primary, secondary=others)
    whole = read(path, columns, start=start)
    assert isinstance(whole.table, UserTable)
    monkeypatch.setattr(files, "PART_ROWS", table.height // 3)
    cut = read(path, columns, start=start)
    assert isinstance(cut.table, UserParts)
    assert (cut.rows, cut.covariates) == (whole.rows, whole.covariates)
    assert cut.notes == whole.notes
    assert_alike(analysed(cut, plan), analysed(whole, plan))


def assert_parts_do_not_show(
    path: Path, plan: AnalysisPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same analysis in memory and in parts."""
    whole = analysed(read(path, wanted()), plan)
    monkeypatch.setattr(files, "PART_ROWS", 500)
    assert_alike(analysed(read(path, wanted()), plan), whole)


@pytest.mark.parametrize("slopes", ["common", "by arm"])
@pytest.mark.parametrize("primary", ["revenue", "capped"])
def test_strata_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slopes: Any, primary: str
) -> None:
    make_rows().write_parquet(tmp_path / "t.parquet")
    plan = dataclasses.replace(
        PLAN, primary=primary, secondary=("ctr",), strata=("country",), slopes=slopes
    )
    assert_parts_do_not_show(tmp_path / "t.parquet", plan, monkeypatch)


def test_an_arm_may_be_missing_in_most_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = make_rows().with_columns(
        arm=pl.when(pl.col("user_id") < 14).then(pl.lit("rare")).otherwise(pl.lit("control"))
    )
    rare.write_parquet(tmp_path / "t.parquet")
    plan = dataclasses.replace(PLAN, secondary=("ctr",))
    assert_parts_do_not_show(tmp_path / "t.parquet", plan, monkeypatch)


def test_memory_holds_a_part_and_the_parts_hold_every_user_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = repeated(make_rows())
    table.write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(files, "PART_ROWS", 250)
    users = read(tmp_path / "t.parquet", wanted()).table
    parts = [part.during for part in users.parts()]
    assert max(part.height for part in parts) < 1.5 * 250
    joined = pl.concat(parts).sort("user_id")
    assert joined["user_id"].to_list() == table["user_id"].unique().sort().to_list()
    sums = table.group_by("user_id").agg(pl.col("revenue").sum()).sort("user_id")
    assert joined["revenue"].to_numpy() == pytest.approx(sums["revenue"].to_numpy(), rel=1e-12)
    for arm in users.arms:
        assert users.size(arm) == sum(part.size(arm) for part in users.parts())


def test_the_order_and_the_cut_of_the_file_do_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PART_ROWS", 500)
    table = make_rows().with_columns(pl.col("age").fill_null(40.0))
    table.write_parquet(tmp_path / "a.parquet")
    table.sample(fraction=1.0, shuffle=True, seed=5).write_parquet(
        tmp_path / "b.parquet", row_group_size=101
    )
    first, second = (analysed(read(tmp_path / name, wanted()), PLAN) for name in
                     ("a.parquet", "b.parquet"))  # fmt: skip
    assert first == second


@pytest.mark.parametrize("rows", [100_000, 300])
@pytest.mark.parametrize(("suffix", "place"), [("csv", "line"), ("parquet", "row")])
def test_a_user_in_two_arms_is_named_with_id_and_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, suffix: str, place: str
) -> None:
    monkeypatch.setattr(files, "PART_ROWS", rows)
    table = make_rows()
    moved = table[[5, 17]].with_columns(arm=pl.lit("x"))
    doubled = pl.concat([table, moved])
    path = tmp_path / f"t.{suffix}"
    (doubled.write_csv if suffix == "csv" else doubled.write_parquet)(path)
    with pytest.raises(TableError) as error:
        read(path, wanted())
    by_name = [(str(u) if suffix == "csv" else u, k) for k, u in enumerate(moved["user_id"])]
    user, k = min(by_name)
    first, offset = [5, 17][k], 2 if suffix == "csv" else 1
    said = str(error.value)
    arms = " and ".join(map(repr, sorted([table["arm"][first], "x"])))
    assert f"user_id {user} is in arms {arms}: " in said
    assert f"{place} {first + offset:,}, {place} {ROWS + k + offset:,}." in said
    assert "2 users are in more than one arm" in said


@pytest.mark.parametrize("rows", [100_000, 300])
@pytest.mark.parametrize("bad", [None, float("nan")])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_missing_number_is_no_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, bad: float | None, suffix: str
) -> None:
    monkeypatch.setattr(files, "PART_ROWS", rows)
    ids = make_rows()["user_id"].cast(pl.Float64).to_list()
    ids[1_234] = ids[2_000] = bad
    table = make_rows().with_columns(user_id=pl.Series(ids, dtype=pl.Float64, strict=False))
    path = tmp_path / f"t.{suffix}"
    (table.write_csv if suffix == "csv" else table.write_parquet)(path)
    where = "line 1,236" if suffix == "csv" else "row 1,235"
    said = rf"{where}: user_id is .*, expected the user of the row\. 2 bad rows"
    with pytest.raises(DataError, match=said):
        read(path, wanted())


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("revenue", "much", "revenue is 'much', expected a number (empty is not 0)"),
        ("revenue", "inf", "revenue is 'inf' (above 1e+30), expected a number"),
        ("revenue", None, "revenue is empty, expected a number"),
        ("age", "old", "age is 'old', expected a number. 3 bad rows"),
        ("arm", None, "arm is empty, expected the arm of the row. 3 bad rows"),
        ("day", "monday", "day is 'monday', expected a day"),
    ],
)
def test_bad_rows_are_counted_over_all_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, value: str | None, said: str
) -> None:
    monkeypatch.setattr(files, "PART_ROWS", 300)
    table = make_rows().with_columns(day=pl.lit("2026-11-02"))
    texts = table[column].cast(pl.String).to_list()
    for row in (1_500, 2_200, 2_999):
        texts[row] = value
    table.with_columns(pl.Series(column, texts, dtype=pl.String)).write_csv(tmp_path / "t.csv")
    with pytest.raises(DataError) as error:
        read(tmp_path / "t.csv", wanted(day="day"))
    assert f"line 1,502: {said}" in str(error.value)
    assert "3 bad rows" in str(error.value)


def test_too_many_arms_are_counted(tmp_path: Path) -> None:
    make_rows().with_columns(arm=pl.col("user_id").cast(pl.String)).write_csv(tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"column 'arm' of .* has more than 20 different"):
        read(tmp_path / "t.csv", wanted())


def test_calibration_takes_the_same_users_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One user in a step, whatever the parts; the splits are of these users."""
    from reports.analysis.calibration import analysed_columns, user_columns

    make_rows().write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(files, "PART_ROWS", 400)
    table = read(tmp_path / "t.parquet", wanted()).table
    chosen = METRICS["revenue"]
    every = np.concatenate([user_columns(p, chosen, "control", ()) for p in table.parts()])
    found = analysed_columns(table, chosen, "control", (), select=False, step=7)
    assert sorted(found.tolist()) == sorted(every[::7].tolist())
    assert np.isfinite(aa_p_values([found], replicates=20)).all()


def test_a_full_disk_is_named_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    make_rows().write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(files, "PART_ROWS", 400)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(TableError, match=r"no room .* No space left on device.*TMPDIR="):
        read(tmp_path / "t.parquet", wanted())
