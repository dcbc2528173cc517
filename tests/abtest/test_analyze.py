"""`abtest analyze`: a real experiment from a file of users to a report."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821


def make_users(users: int = 2_000, seed: int = 1, lift: float = 1.3) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    taste = rng.gamma(2.0, 1.0, users)
    arm = rng.permutation(np.arange(users) % 2)
    views = rng.poisson(10 * taste) + 1
    return pl.DataFrame(
        {
            "user_id": np.arange(users),
            "arm": np.where(arm == 1, "new", "control"),
            "revenue": rng.gamma(2.0, taste) * np.where(arm == 1, lift, 1.0),
            "clicks": rng.binomial(views, 0.3),
            "views": views,
            "pre_revenue": rng.gamma(2.0, taste),
            "country": rng.choice(["de", "fr"], users),
        }
    )


@pytest.fixture
def users(tmp_path: Path) -> Path:
    make_users().write_parquet(tmp_path / "users.parquet")
    return tmp_path / "users.parquet"


def rows(result: Result) -> dict[str, dict[str, object]]:  # type: ignore[name-defined]  # noqa: F821
    document = json.loads(result.out)
    return {m["metric"]: m for m in document["comparisons"][0]["metrics"]}


def test_report_results_and_table_never_say_simulated(abtest: Run, users: Path) -> None:
    asked = ("analyze", users, "-m", "revenue", "-m", "ctr=clicks/views", "-m", "views")
    extra = ("--guardrail", "views=-1%", "--segment", "country", "--out", "run")
    result = abtest(*asked, *extra)
    assert result.code == 0, result.err
    assert "Better: revenue" in result.out
    report = Path("run/report.html").read_text(encoding="utf-8")
    written = Path("run/results.json").read_text(encoding="utf-8")
    for text in (result.out, report, written.replace('"simulated": false', "")):
        assert "simulated" not in text.lower()
        assert "user-day" not in text
    again = abtest("report", "run")
    assert again.out.splitlines()[:5] == result.out.splitlines()[:5]
    refused = abtest(*asked, "--out", "run")
    assert refused.code == 2
    assert "left untouched" in refused.err


def test_plain_means_are_welchs_test(abtest: Run, users: Path) -> None:
    table = pl.read_parquet(users).drop("pre_revenue")
    table.write_csv("plain.csv")
    row = rows(abtest("analyze", "plain.csv", "-m", "revenue", "--json"))["revenue"]
    a, b = (table.filter(pl.col("arm") == arm)["revenue"].to_numpy() for arm in ("control", "new"))
    welch = stats.ttest_ind(b, a, equal_var=False)
    assert row["p_value"] == pytest.approx(welch.pvalue, rel=1e-9)
    assert row["absolute"]["low"] == pytest.approx(welch.confidence_interval().low, rel=1e-9)  # type: ignore[index]


def test_the_time_before_is_the_analysis_of_covariance(abtest: Run, users: Path) -> None:
    table = pl.read_parquet(users)
    row = rows(abtest("analyze", users, "-m", "revenue", "--json"))["revenue"]
    treated = (table["arm"] == "new").to_numpy().astype(float)
    design = np.column_stack([np.ones(len(treated)), treated, table["pre_revenue"]])
    fitted = OLS(table["revenue"].to_numpy(), design).fit()
    assert row["absolute"]["value"] == pytest.approx(fitted.params[1], rel=1e-9)  # type: ignore[index]
    assert row["variance_reduction"] > 0.1  # type: ignore[operator]
    interacted = rows(abtest("analyze", users, "-m", "revenue", "--slopes", "by-arm", "--json"))
    c = table["pre_revenue"].to_numpy() - table["pre_revenue"].to_numpy().mean()
    design = np.column_stack([np.ones(len(treated)), treated, c, treated * c])
    fitted = OLS(table["revenue"].to_numpy(), design).fit()
    value = interacted["revenue"]["absolute"]["value"]  # type: ignore[index]
    assert value == pytest.approx(fitted.params[1], rel=1e-9)


def test_rows_of_a_user_are_added_up(abtest: Run, users: Path) -> None:
    table = pl.read_parquet(users)
    halves = pl.concat([table.with_columns(pl.col("revenue") / 2)] * 2).sample(
        fraction=1.0, shuffle=True, seed=2
    )
    halves.write_parquet("halves.parquet")
    whole = rows(abtest("analyze", users, "-m", "revenue", "--json"))["revenue"]
    joined = rows(abtest("analyze", "halves.parquet", "-m", "revenue", "--json"))["revenue"]
    assert joined["p_value"] == pytest.approx(whole["p_value"], rel=1e-9)


def test_days_before_the_start_are_the_covariate(abtest: Run, users: Path) -> None:
    table = pl.read_parquet(users).select("user_id", "arm", "revenue", "pre_revenue")
    first, one = datetime.date(2026, 11, 2), datetime.timedelta(1)
    keys = ["user_id", "arm"]
    days = [
        table.select(*keys, day=pl.lit(first - one), revenue="pre_revenue"),
        table.select(*keys, day=pl.lit(first), revenue=pl.col("revenue") / 3),
        table.select(*keys, day=pl.lit(first + one), revenue=pl.col("revenue") * 2 / 3),
    ]
    pl.concat(days).write_csv("days.csv")
    by_day = abtest(
        "analyze", "days.csv", "-m", "revenue", "--day", "day", "--start", "2026-11-02", "--json"
    )
    whole = rows(abtest("analyze", users, "-m", "revenue", "--json"))["revenue"]
    assert rows(by_day)["revenue"]["p_value"] == pytest.approx(whole["p_value"], rel=1e-9)
    assert len(json.loads(by_day.out)["comparisons"][0]["daily"]) == 2


def test_strata_capping_and_a_file_of_metrics(abtest: Run, users: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.toml").write_text(
        '[metrics.revenue]\nnumerator = "revenue"\nrole = "primary"\ncap = 0.95\n'
        'unit = "EUR per user"\n\n[metrics.ctr]\nlabel = "Click rate"\nnumerator = ["clicks"]\n'
        'denominator = "views"\npercent = true\nrole = "guardrail"\nmargin = "2%"\n'
    )
    result = abtest("analyze", users, "--metrics", "metrics.toml", "--strata", "country", "--json")
    assert result.code == 0, result.err
    found = rows(result)
    assert (found["revenue"]["role"], found["revenue"]["unit"]) == ("primary", "EUR per user")
    assert (found["ctr"]["margin"], found["ctr"]["unit"]) == (0.02, "%")
    plain = rows(abtest("analyze", users, "-m", "revenue", "--json"))["revenue"]
    assert found["revenue"]["control"]["adjusted"] < plain["control"]["adjusted"]  # type: ignore[index]


def test_an_unplanned_split_is_untrustworthy(abtest: Run, users: Path) -> None:
    table = pl.read_parquet(users).filter(
        (pl.col("arm") == "control") | (pl.col("user_id") % 3 > 0)
    )
    table.write_parquet("skewed.parquet")
    result = abtest("analyze", "skewed.parquet", "-m", "revenue")
    assert result.code == 4
    assert "No verdict" in result.out
    planned = abtest("analyze", "skewed.parquet", "-m", "revenue", "--split", "control=60,new=40")
    assert planned.code == 0


def changed(table: pl.DataFrame, name: str, row: int, value: object) -> pl.DataFrame:
    texts = table[name].cast(pl.String).to_list()
    texts[row] = value
    return table.with_columns(pl.Series(name, texts, dtype=pl.String))


@pytest.mark.parametrize(
    ("change", "arguments", "code", "expected"),
    [
        (None, ("-m", "revnue"), 3, "no column 'revnue'. Did you mean 'revenue'?"),
        (None, ("-m", "revenue", "--user", "user"), 3, "Did you mean 'user_id'?"),
        (None, (), 2, "no metric to analyse. Add: --metric"),
        (None, ("-m", "a=b=c/d/e"), 2, "cannot be read"),
        (None, ("-m", "revenue", "-m", "revenue"), 2, "declared twice"),
        (None, ("-m", "revenue", "--primary", "revenu"), 2, "Did you mean 'revenue'?"),
        (None, ("-m", "revenue", "--control", "contrl"), 3, "Did you mean 'control'?"),
        (None, ("-m", "revenue", "--covariate", "revenue"), 3, "cannot be a covariate"),
        (
            None,
            ("-m", "revenue", "--split", "control=1"),
            2,
            "--split plans 'control', the table has",
        ),
        (
            ("revenue", 1202, "abc"),
            ("-m", "revenue"),
            3,
            "line 1,204: revenue is 'abc', expected a number (empty is not 0). 1 bad",
        ),
        (
            ("revenue", 7, "inf"),
            ("-m", "revenue"),
            3,
            "line 9: revenue is 'inf' (above 1e+30), expected a number",
        ),
        (("revenue", 0, "NaN"), ("-m", "revenue"), 3, "line 2: revenue is 'nan'"),
        (("revenue", 3, None), ("-m", "revenue"), 3, "line 5: revenue is empty"),
        (("arm", 4, None), ("-m", "revenue"), 3, "line 6: arm is empty"),
    ],
)
def test_bad_input_is_named(
    abtest: Run,
    tmp_path: Path,
    change: tuple[str, int, object] | None,
    arguments: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    table = make_users()
    (table if change is None else changed(table, *change)).write_csv("users.csv")
    result = abtest("analyze", "users.csv", *arguments)
    assert result.code == code, result.err
    assert expected in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["users.csv"]


def test_users_in_two_arms_and_single_arms_are_errors(abtest: Run) -> None:
    table = make_users()
    moved = table.head(3).with_columns(arm=pl.Series(["x", "x", "x"]))
    pl.concat([table, moved]).write_parquet("twice.parquet")
    twice = abtest("analyze", "twice.parquet", "-m", "revenue")
    assert twice.code == 3
    assert "user_id 0 is in arms" in twice.err
    assert "3 users are in more than one arm" in twice.err
    table.filter(pl.col("arm") == "new").write_parquet("one.parquet")
    assert "one arm only ('new')" in abtest("analyze", "one.parquet", "-m", "revenue").err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[metrics.r]\nnumertor = "x"', "line 2: metric 'r': unknown key 'numertor'. Did you mean"),
        ('[metric.r]\nnumerator = "x"', "unknown key 'metric'. Did you mean 'metrics'?"),
        ('[metrics.r]\nlabel = "x"', "it has no numerator"),
        (
            '[metrics.r]\nnumerator = "x"\ndirection = "sideways"',
            "line 3: metric 'r': direction is 'sideways', expected 'up'",
        ),
        ('[metrics.r]\nnumerator = "x"\nrole = "guardrail"', "needs a margin"),
        ('[metrics.r]\nnumerator = "x"\ndenominator = "y"\ncap = 0.9', "only means can be capped"),
        ('[metrics.r]\nnumerator = "x"\ncap = 2', "expected a quantile"),
        ("[metrics.r\n", "is not TOML"),
        ("", "declares no metrics"),
    ],
)
def test_metric_files_that_make_no_sense(
    abtest: Run, users: Path, tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "metrics.toml").write_text(text)
    result = abtest("analyze", users, "--metrics", "metrics.toml")
    assert result.code == 2, result.err
    assert expected in result.err
