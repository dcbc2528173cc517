"""A covariate is one number per user, however many rows a user has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from statsmodels.regression.linear_model import OLS

from abtest.experiment_tables.users import open_users
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, Metric
from reports.users import files
from reports.users.files import Columns, Observed

SPEND = Metric("spend", "Spend", "per user", ("spend",))
PLAN = AnalysisPlan("spend", (), {}, metrics={"spend": SPEND}, covariates=("spend",))


def one_row_each(users: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    taste = rng.gamma(2.0, 1.0, users)
    arm = np.arange(users) % 2
    return pl.DataFrame(
        {
            "user_id": np.arange(users),
            "arm": np.where(arm == 1, "new", "control"),
            "spend": taste * (1.0 + 0.2 * arm) + rng.normal(0.0, 0.3, users),
            "pre_spend": pl.Series(taste).set(pl.Series(rng.random(users) < 0.1), None),
        }
    )


def scattered(table: pl.DataFrame) -> pl.DataFrame:
    """One to four rows a user; the covariate stands in one of them only."""
    rng = np.random.default_rng(2)
    rows = []
    for user, arm, spend, before in table.iter_rows():
        count = int(rng.integers(1, 5))
        place = int(rng.integers(0, count))
        rows += [(user, arm, spend / count, before if i == place else None) for i in range(count)]
    return pl.DataFrame(rows, schema=table.schema, orient="row").sample(
        fraction=1.0, shuffle=True, seed=3
    )


def read(table: pl.DataFrame, path: Path, **more: Any) -> Observed:
    table.write_parquet(path)
    return open_users([path]).read(Columns("user_id", "arm", ("spend",), **more), control="control")


def lift(observed: Observed) -> tuple[float, float | None, float | None]:
    found = analyze(observed.table, PLAN, control="control", treatments=["new"], design="observed")
    absolute = found.comparisons[0].metrics[0].absolute
    assert absolute is not None
    return absolute.value, absolute.low, absolute.high


@pytest.fixture(params=["in memory", "in parts"])
def most_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in parts":
        monkeypatch.setattr(files, "PART_ROWS", 100)


@pytest.mark.usefixtures("most_rows")
def test_scattered_rows_are_analysed_like_one_row_a_user(tmp_path: Path) -> None:
    """The oracle is ordinary least squares on one row a user, missing ones at their mean."""
    table = one_row_each()
    found = read(scattered(table), tmp_path / "rows.parquet")
    treated = (table["arm"] == "new").to_numpy().astype(float)
    known = table["pre_spend"].fill_null(table["pre_spend"].mean()).to_numpy()
    fitted = OLS(
        table["spend"].to_numpy(), np.column_stack([np.ones(len(treated)), treated, known])
    ).fit()
    value, low, high = lift(found)
    assert value == pytest.approx(fitted.params[1], rel=1e-9)
    assert high is not None and low is not None
    assert high - low == pytest.approx(2 * 1.96 * fitted.bse[1], rel=0.02)
    missing = table["pre_spend"].null_count()
    assert found.notes == (f"{missing} users have no 'pre_spend'; the mean of all users was taken",)


@pytest.mark.usefixtures("most_rows")
def test_users_are_weighted_once_in_the_mean_that_stands_in(tmp_path: Path) -> None:
    """A user with a hundred rows does not pull the mean of the others."""
    table = one_row_each()
    heavy = pl.concat([table, *[table.head(1).with_columns(spend=pl.lit(0.0))] * 99])
    assert lift(read(heavy, tmp_path / "b.parquet")) == pytest.approx(
        lift(read(table, tmp_path / "a.parquet")), rel=1e-9
    )


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (None, [1.0, 5.0]),
        ("last", [3.0, 5.0]),
        ("mean", [2.0, 5.0]),
        ("sum", [4.0, 5.0]),
        ("min", [1.0, 5.0]),
        ("max", [3.0, 5.0]),
    ],
)
def test_several_values_of_a_user_are_aggregated_as_declared(
    tmp_path: Path, how: str | None, expected: list[float]
) -> None:
    table = pl.DataFrame(
        {
            "user_id": [1, 1, 1, 2, 3, 4],
            "arm": ["control", "control", "control", "control", "new", "new"],
            "spend": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "age": [None, 1.0, 3.0, 5.0, None, 2.0],
        }
    )
    chosen = {} if how is None else {"age": how}
    found = read(table, tmp_path / "t.parquet", covariates=("age",), aggregations=chosen)
    (part,) = found.table.parts()
    assert part.before.filter(pl.col("arm") == "control")["age"].to_list() == expected
    said = [note for note in found.notes if "several values of 'age'" in note]
    assert bool(said) == (how is None)
    # Users 1, 2 and 4 have a value; user 3 gets their mean.
    others = (expected[0] + 5.0 + 2.0) / 3
    assert part.before.filter(pl.col("user_id") == 3)["age"].item() == pytest.approx(others)
