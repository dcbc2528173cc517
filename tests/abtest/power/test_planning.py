"""`abtest power` and `abtest aa` from numbers, tables, logs and runs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.power import TTestIndPower, TTestPower

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """1,200 users of two arms with a day before and two days of experiment."""
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(1_200), 3)
    habit = np.repeat(rng.gamma(2.0, 1.0, 1_200), 3)
    visits = rng.poisson(4.0 * habit) + 1.0
    return pl.DataFrame(
        {
            "buyer": users,
            "group": np.where(users % 2 == 0, "old", "new").tolist(),
            "date": np.tile([-1, 0, 1], 1_200),
            "revenue": habit * rng.lognormal(0.0, 0.5, len(users)),
            "visits": visits,
            "loyal": (habit > 1.5).astype(float),
            "city": ["x"] * len(users),
        }
    )


@pytest.fixture
def table(frame: pl.DataFrame, tmp_path: Path) -> Path:
    frame.write_parquet(tmp_path / "orders.parquet")
    frame.filter(pl.col("date") == 0).write_csv(tmp_path / "orders.csv")
    return tmp_path / "orders.parquet"


COLUMNS = ("--user", "buyer", "--arm", "group", "--control", "old")


def document(result: Result) -> dict:  # type: ignore[name-defined, type-arg]  # noqa: F821
    assert result.code == 0, result.err
    return json.loads(result.out)  # type: ignore[no-any-return]


def test_users_needed_are_those_of_statsmodels(abtest: Run) -> None:
    found = document(abtest("power", "--mean", 550, "--sd", 900, "--mde", "5%", "--json"))
    expected = TTestIndPower().solve_power(0.05 * 550 / 900, alpha=0.05, power=0.8)
    assert found["question"] == "users"
    assert found["metrics"][0]["users"] == [int(np.ceil(expected))] * 2
    text = abtest("power", "--mean", 550, "--sd", 900, "--mde", "5%")
    assert f"{2 * int(np.ceil(expected)):,}" in text.out
    assert max(map(len, text.out.splitlines())) <= 80


def test_effect_and_power_are_the_same_plan(abtest: Run) -> None:
    numbers = ("power", "--mean", 5, "--sd", 3, "--split", "0.1", "--json")
    effect = document(abtest(*numbers, "--users", 40_000))["metrics"][0]["effect"]
    again = document(abtest(*numbers, "--users", 40_000, "--mde", effect))
    assert again["question"] == "power"
    assert again["metrics"][0]["power"] == pytest.approx(0.8, abs=1e-6)
    assert again["metrics"][0]["users"] == [36_000, 4_000]
    less = document(abtest(*numbers, "--users", 40_000, "--mde", "-3%"))["metrics"][0]
    more = document(abtest(*numbers, "--users", 40_000, "--mde", "3%"))["metrics"][0]
    assert less["power"] == pytest.approx(more["power"])


def test_covariates_save_users_and_twins_save_more(abtest: Run) -> None:
    numbers = ("power", "--mean", 5, "--sd", 3, "--mde", "1%", "--json")
    plain, adjusted, twin = (
        document(abtest(*numbers, *extra))["metrics"][0]["total"]
        for extra in ((), ("--variance-removed", "40%"), ("--design", "twin", "--correlation", 0.8))
    )
    assert adjusted == pytest.approx(0.6 * plain, rel=1e-3)
    # Everyone is in both arms: half the people for the same number of observations.
    assert twin == pytest.approx(plain * 0.2 / 2.0, rel=1e-2)
    expected = TTestPower().solve_power(0.05 / (3.0 * np.sqrt(0.4)), alpha=0.05, power=0.8)
    assert twin == int(np.ceil(expected))


def test_a_margin_is_tested_at_one_end_of_the_interval(abtest: Run) -> None:
    found = document(
        abtest("power", "--mean", 5, "--sd", 3, "--margin", "1%", "--users", 300_000, "--json")
    )["metrics"][0]
    assert found["effect"] == 0.0
    again = document(
        abtest("power", "--mean", 5, "--sd", 3, "--margin", found["smallest_margin"], "--json")
    )["metrics"][0]
    assert again["total"] == pytest.approx(300_000, rel=1e-3)


def test_a_table_gives_its_own_variance(abtest: Run, table: Path, frame: pl.DataFrame) -> None:
    found = document(
        abtest("power", "orders.csv", *COLUMNS, "-m", "revenue", "-m", "revenue/visits",
               "-m", "loyal", "--mde", "5%", "--json")
    )["metrics"]  # fmt: skip
    old = frame.filter((pl.col("date") == 0) & (pl.col("group") == "old"))
    revenue, visits = old["revenue"].to_numpy(), old["visits"].to_numpy()
    ratio = revenue.sum() / visits.sum()
    linear = (revenue - ratio * visits) / visits.mean()
    assert [m["metric"] for m in found] == ["revenue", "revenue/visits", "loyal"]
    assert found[0]["deviation"] == pytest.approx(revenue.std(ddof=1), rel=1e-9)
    assert found[1]["value"] == pytest.approx(ratio, rel=1e-9)
    assert found[1]["deviation"] == pytest.approx(linear.std(ddof=1), rel=1e-3)
    rate = float(old["loyal"].to_numpy().mean())
    assert found[2]["deviation"] == pytest.approx(np.sqrt(rate * (1 - rate)), rel=1e-9)


def test_days_before_and_more_days_need_fewer_users(abtest: Run, table: Path) -> None:
    ask = ("power", "orders.parquet", *COLUMNS, "-m", "revenue", "--mde", "5%", "--json")
    once = document(abtest(*ask, "--day", "date", "--start", 0))["metrics"][0]
    longer = document(abtest(*ask, "--day", "date", "--start", 0, "--days", 10))["metrics"][0]
    assert 0.2 < once["variance_removed"] < 0.9
    assert longer["total"] < once["total"]


def test_a_metric_that_is_known_before_cannot_be_planned_for(abtest: Run, table: Path) -> None:
    result = abtest("power", "orders.parquet", *COLUMNS, "--day", "date", "--start", 0,
                    "-m", "loyal", "--mde", "5%")  # fmt: skip
    assert result.code == 3
    assert "covariates determine the metric" in result.err


def test_without_a_question_the_table_s_own_users_are_taken(abtest: Run, table: Path) -> None:
    found = document(abtest("power", "orders.csv", *COLUMNS, "-m", "revenue", "--json"))
    assert (found["question"], found["metrics"][0]["total"]) == ("effect", 1_200)


def test_a_run_is_planned_again_and_calibrated(
    abtest: Run, small_log: Path, tmp_path: Path
) -> None:
    arguments = ("run", "-t", "popular", "-c", "random", "--users", 300, "--data", small_log)
    for design in ("online", "twin"):
        made = abtest(*arguments, "--design", design, "--out", design, "--workers", 1)
        assert made.code in (0, 4), made.err
    online, twin = (
        document(abtest("power", design, "--design", design, "-m", "play_time", "--mde", "2%",
                        "--json"))["metrics"][0]
        for design in ("online", "twin")
    )  # fmt: skip
    assert 0 < twin["total"] < online["total"]
    result = abtest("aa", "online", "--replicates", 300, "--json")
    assert result.code in (0, 4), result.err
    report = json.loads(result.out)
    assert report["replicates"] == 300
    assert {"comment_watch_time", "click_rate"} <= {m["metric"] for m in report["metrics"]}
    assert all(m["covariates"] > 0 for m in report["metrics"])
    results = json.loads((tmp_path / "online" / "results.json").read_text(encoding="utf-8"))
    chips = {check["name"]: check for check in results["health"]}
    assert chips["aa"]["status"] in ("pass", "warn")
    assert "splits of the control arm" in chips["aa"]["detail"]
    assert results["comparisons"][0]["verdict"]["decision"] is not None


@pytest.mark.parametrize("treatments", [("popular",), ("popular", "itemknn")])
def test_power_report_and_warning_of_a_run_say_one_size(
    abtest: Run, small_log: Path, tmp_path: Path, treatments: tuple[str, ...]
) -> None:
    arms = [word for name in treatments for word in ("-t", name)]
    made = abtest("run", *arms, "-c", "random", "--users", 400, "--data", small_log, "--out", "run",
                  "--primary", "play_time", "--workers", 1)  # fmt: skip
    assert made.code in (0, 4), made.err
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    rows = [m for c in results["comparisons"] for m in c["metrics"]]
    sizes = [m["detectable_effect"] for m in rows if m["role"] == "primary"]
    said = f"{100.0 * max(sizes):.1f} %"
    assert f"400 people can detect only +/-{said} in play_time" in made.err
    assert f"\N{PLUS-MINUS SIGN}{said}" in abtest("report", "run").out
    assert f"+/-{said}" in abtest("power", "run").out
    planned = {
        m["metric"]: m["effect"] for m in document(abtest("power", "run", "--json"))["metrics"]
    }
    for name in ("play_time", "sessions", "click_rate"):
        largest = max(m["detectable_effect"] for m in rows if m["metric"] == name)
        assert planned[name] == pytest.approx(largest, rel=0.01), name
    alone = abtest("power", "run", "--control", "random")
    assert "arm random: " in alone.out and "arms random and popular" not in alone.out
    # The size that it takes, in the words of the warning and in those of power.
    again = document(abtest("power", "run", "-m", "play_time", "--mde", max(sizes), "--json"))
    assert again["metrics"][0]["total"] == pytest.approx(400, rel=0.06)


def test_aa_of_a_table_and_of_a_log(abtest: Run, table: Path, small_log: Path) -> None:
    ask = ("aa", "orders.parquet", *COLUMNS, "--day", "date", "--start", 0, "--replicates", 400)
    first = document(abtest(*ask, "--json"))
    assert document(abtest(*ask, "--json")) == first
    assert first["users"] == 600
    assert {m["metric"]: m["word"] for m in first["metrics"]} == {
        "revenue": "calibrated", "visits": "calibrated",
        # Who is loyal is known before: nothing is left to test.
        "loyal": "no data",
    }  # fmt: skip
    text = abtest(*ask)
    assert "400 random splits (50/50) of 600 users" in text.out
    assert max(map(len, text.out.splitlines())) <= 80
    log = abtest("aa", small_log, "--replicates", 200, "-m", "play_time", "--json")
    assert log.code in (0, 4), log.err
    assert json.loads(log.out)["users"] <= 200


def test_a_covariate_column_is_used(abtest: Run, table: Path) -> None:
    ask = ("power", "orders.csv", *COLUMNS, "-m", "revenue", "--mde", "5%", "--json")
    plain = document(abtest(*ask))["metrics"][0]
    adjusted = document(abtest(*ask, "--covariate", "visits"))["metrics"][0]
    assert adjusted["total"] < 0.9 * plain["total"]
    assert plain["variance_removed"] is None and adjusted["variance_removed"] > 0.1


# The same table means the same to analyze, power and aa.


@pytest.fixture
def people(tmp_path: Path) -> pl.DataFrame:
    """One row per user: a profit below zero, a rate, a ratio, a covariate with holes."""
    rng = np.random.default_rng(2)
    users = np.arange(2_000)
    made = pl.DataFrame(
        {
            "user_id": users,
            "arm": [("control", "new")[u % 2] for u in users],
            "profit": rng.normal(-2.0, 5.0, 2_000),
            "clicks": rng.poisson(2.0, 2_000),
            "views": rng.poisson(20.0, 2_000) + 1,
            "bought": [u % 9 == 0 for u in users],
            "age": pl.Series(rng.normal(0.0, 1.0, 2_000)).set(pl.Series(users % 5 == 0), None),
        }
    )
    made.write_csv(tmp_path / "people.csv", null_value="NaN")
    return made


ARMS = ("--arm", "arm", "-c", "control")


@pytest.mark.parametrize("form", ["semicolons", "gzip", "folder", "pattern", "gbk", "capitals"])
def test_power_reads_the_tables_that_analyze_reads(
    abtest: Run, people: pl.DataFrame, tmp_path: Path, form: str
) -> None:
    ask = (*ARMS, "-m", "ctr=clicks/views", "-m", "bought", "--covariate", "age", "--mde", "5%",
           "--json")  # fmt: skip
    text = people.write_csv(null_value="NaN")
    more: tuple[str, ...] = ()
    where: object = tmp_path / "t.csv"
    if form == "semicolons":
        (tmp_path / "t.csv").write_text(people.write_csv(separator=";", null_value="NaN"))
    elif form == "gzip":
        where = tmp_path / "t.csv.gz"
        (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    elif form in ("folder", "pattern"):
        (tmp_path / "many").mkdir()
        for i, part in enumerate(people.iter_slices(700)):
            part.write_csv(tmp_path / "many" / f"{i}.csv", null_value="NaN")
        where = tmp_path / "many" if form == "folder" else tmp_path / "many" / "*.csv"
    elif form == "gbk":
        more = ("--encoding", "gbk")
        named = people.with_columns(city=pl.lit("北京")).write_csv(null_value="NaN")
        (tmp_path / "t.csv").write_bytes(named.encode("gbk"))
    else:
        (tmp_path / "t.csv").write_text(text.replace("true", "True").replace("false", "False"))
    plain = document(abtest("power", "people.csv", *ask))["metrics"]
    assert document(abtest("power", where, *ask, *more))["metrics"] == plain
    assert [m["metric"] for m in plain] == ["ctr", "bought"]
    own = people.filter(arm="control")
    assert plain[0]["value"] == pytest.approx(own["clicks"].sum() / own["views"].sum())


def test_bad_rows_are_skipped_and_told(abtest: Run, people: pl.DataFrame, tmp_path: Path) -> None:
    lines = people.write_csv(null_value="NaN").splitlines()
    (tmp_path / "t.csv").write_text("\n".join([*lines[:5], "1,2", *lines[5:]]) + "\n")
    for command in (("power", "--mde", "5%"), ("aa", "--replicates", 20)):
        ask = (command[0], "t.csv", *ARMS, "-m", "clicks", *command[1:])
        refused = abtest(*ask)
        assert refused.code == 3 and "line 6: 2 cells, expected 7" in refused.err
        skipped = abtest(*ask, "--bad-rows", "skip")
        assert skipped.code in (0, 4) and "1 bad rows" in skipped.err


def test_a_negative_metric_is_planned_in_its_unit(abtest: Run, people: pl.DataFrame) -> None:
    ask = ("power", "people.csv", *ARMS, "-m", "profit", "--json")
    sd = float(people.filter(arm="control")["profit"].to_numpy().std(ddof=1))
    found = document(abtest(*ask, "--mde", "0.5"))["metrics"][0]
    expected = TTestIndPower().solve_power(0.5 / sd, alpha=0.05, power=0.8)
    assert (found["scale"], found["effect"]) == ("absolute", 0.5)
    assert found["users"] == [int(np.ceil(expected))] * 2
    mean = float(people.filter(arm="control")["profit"].to_numpy().mean())
    share = document(abtest(*ask, "--mde", "20%"))["metrics"][0]
    assert share["effect"] == pytest.approx(0.2 * abs(mean))
    users = document(abtest(*ask, "--users", 4_000))["metrics"][0]
    again = document(abtest(*ask, "--users", 4_000, "--mde", users["effect"]))["metrics"][0]
    assert again["power"] == pytest.approx(0.8, abs=1e-6)
    assert "per user" in abtest("power", "people.csv", *ARMS, "-m", "profit", "--mde", "0.5").out


def test_a_margin_in_units_is_one_of_the_difference(abtest: Run, people: pl.DataFrame) -> None:
    ask = ("power", "people.csv", *ARMS, "-m", "profit", "--users", 8_000, "--json")
    found = document(abtest(*ask, "--margin", "0.5"))["metrics"][0]
    sd = float(people.filter(arm="control")["profit"].to_numpy().std(ddof=1))
    expected = TTestIndPower().power(0.5 / sd, 4_000, 0.025, alternative="larger")
    assert found["power"] == pytest.approx(expected, abs=1e-3)
    assert found["margin"] == pytest.approx(0.5)


def test_a_share_of_nothing_is_no_effect(abtest: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pl.DataFrame({"user_id": range(500), "x": rng.normal(0.0, 1.0, 500)}).write_csv(
        tmp_path / "t.csv"
    )
    refused = abtest("power", "t.csv", "-m", "x", "--mde", "5%")
    assert refused.code == 3 and "not clear of zero" in refused.err
    assert document(abtest("power", "t.csv", "-m", "x", "--mde", "0.1", "--json"))["metrics"]


def test_the_plan_corrects_as_the_analysis_does(abtest: Run, people: pl.DataFrame) -> None:
    """Primary over two treatments; two secondary metrics over those and over each other."""
    ask = ("power", "people.csv", *ARMS, "-m", "clicks", "-m", "views", "-m", "bought",
           "--treatments", 2, "--users", 9_000, "--json")  # fmt: skip
    levels = {"both": (2, 4), "treatments": (2, 2), "metrics": (1, 2), "none": (1, 1)}
    for choice, (primary, secondary) in levels.items():
        rows = document(abtest(*ask, "--correct", choice))["metrics"]
        for row, divided in zip(rows, (primary, secondary, secondary), strict=True):
            alone = ("power", "people.csv", *ARMS, "-m", row["metric"], "--treatments", 2,
                     "--users", 9_000, "--json", "--correct", "none")  # fmt: skip
            same = document(abtest(*alone, "--alpha", 0.05 / divided))["metrics"][0]
            assert row["effect"] == pytest.approx(same["effect"], rel=1e-9), (choice, row["metric"])
    wrong = abtest(*ask, "--correct", "treatment")
    assert wrong.code == 2 and "Did you mean 'treatments'?" in wrong.err
