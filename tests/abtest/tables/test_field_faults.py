"""What people's real files do to `abtest analyze`: each kind with a file of its own.

The inputs that were reported lie outside the project; where they are present they are tried too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.abtest.tables.field_files import arms, check, first, reported, table

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821


def test_a_large_offset_keeps_its_effect(abtest: Run, tmp_path: Path) -> None:
    stamps = [10**12 + i % 7 + 2 * (i % 2) for i in range(700)]
    path = table(tmp_path / "t.csv", user_id=range(700), arm=arms(700), stamp=stamps)
    row = first(abtest("analyze", path, "-m", "stamp", "--json").out)
    plain = table(
        tmp_path / "p.csv", user_id=range(700), arm=arms(700), stamp=[s - 10**12 for s in stamps]
    )
    expected = first(abtest("analyze", plain, "-m", "stamp", "--json").out)
    assert row["absolute"]["value"] == pytest.approx(expected["absolute"]["value"], abs=1e-3)
    assert row["absolute"]["low"] == pytest.approx(expected["absolute"]["low"], abs=1e-3)


def test_the_reported_offset(abtest: Run) -> None:
    row = first(abtest("analyze", reported("offset_1e12.csv"), "-m", "stamp", "--json").out)
    assert row["absolute"]["value"] == pytest.approx(2.0, abs=1e-3)
    width = row["absolute"]["high"] - row["absolute"]["low"]
    assert width / 2 / 1.963 == pytest.approx(0.151, abs=1e-3)


def test_the_reported_loss_and_the_same_as_a_guardrail(abtest: Run) -> None:
    path = reported("negative_mean.csv")
    result = abtest("analyze", path, "-m", "profit", "--json")
    row = first(result.out)
    assert (row["outcome"], row["relative"]) == ("better", None)
    assert row["control"]["value"] == pytest.approx(-9.77, abs=0.005)
    assert row["treatment"]["value"] == pytest.approx(-8.51, abs=0.005)
    assert row["p_value"] == pytest.approx(5e-7, rel=0.2)
    guarded = abtest("analyze", path, "-m", "clicks", "--guardrail", "profit=-5%", "--json")
    found = {m["metric"]: m for m in json.loads(guarded.out)["comparisons"][0]["metrics"]}
    assert found["profit"]["outcome"] == "within margin"
    assert found["profit"]["margin_p"] < 1e-6


def test_a_margin_in_units(abtest: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    profit = rng.normal(-1.0, 3.0, 4_000) - 0.3 * (np.arange(4_000) % 2)
    path = table(
        tmp_path / "t.csv", user_id=range(4_000), arm=arms(4_000), profit=profit,
        clicks=rng.poisson(3.0, 4_000),
    )  # fmt: skip
    asked = ("analyze", path, "-m", "clicks", "-m", "profit", "--absolute", "profit", "--json")
    for margin, outcome in (
        ("-1", "within margin"),
        ("-0.05", "margin broken"),
        ("-90%", "within margin"),
    ):
        found = json.loads(abtest(*asked, "--guardrail", f"profit={margin}").out)
        row = found["comparisons"][0]["metrics"][1]
        assert (row["metric"], row["outcome"]) == ("profit", outcome)
        assert row["margin_scale"] == ("relative" if "%" in margin else "absolute")
    (tmp_path / "m.toml").write_text(
        '[metrics.clicks]\nnumerator = "clicks"\n[metrics.profit]\nnumerator = "profit"\n'
        'scale = "absolute"\nfactor = 100\nrole = "guardrail"\nmargin = 100\n'
    )
    filed = json.loads(abtest("analyze", path, "--metrics", tmp_path / "m.toml", "--json").out)
    row = filed["comparisons"][0]["metrics"][1]
    assert (row["margin"], row["margin_scale"], row["outcome"]) == (
        100,
        "absolute",
        "within margin",
    )
    assert row["control"]["value"] == pytest.approx(100 * profit[::2].mean())


def test_the_reported_rare_events(abtest: Run) -> None:
    row = first(abtest("analyze", reported("zero_treatment.csv"), "-m", "conv", "--json").out)
    assert (row["relative"]["value"], row["relative"]["low"]) == (-1.0, -1.0)
    assert row["relative"]["high"] == pytest.approx(-0.808, abs=5e-4)
    assert (row["method"], row["relative_method"]) == ("score", "score")


def test_a_rate_has_no_outliers(abtest: Run, tmp_path: Path) -> None:
    conv = [int(i % 100 < 3 + i % 2) for i in range(6_000)]
    path = table(tmp_path / "t.csv", user_id=range(6_000), arm=arms(6_000), conv=conv)
    assert (
        check(abtest("analyze", path, "-m", "conv", "--json").out, "outliers")["status"] == "pass"
    )


def test_the_reported_rate_has_no_outliers(abtest: Run) -> None:
    result = abtest("analyze", reported("conversion_3pct.csv"), "-m", "conv", "--json")
    assert check(result.out, "outliers")["status"] == "pass"


def test_a_silent_arm_is_a_broken_split(abtest: Run, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", user_id=range(700), arm=arms(700, ("control", "b")),
                 x=[float(i % 13) for i in range(700)])  # fmt: skip
    asked = ("analyze", path, "-m", "x", "--split")
    result = abtest(*asked, "control=35,b=35,c=30")
    assert result.code == 4
    assert "arm 'c' has no users" in " ".join(result.out.split())
    assert "Decision: none before the cause is found" in result.out
    assert abtest(*asked, "control=50,b=50").code == 0
    unknown = abtest(*asked, "control=50,treatment=50")
    assert unknown.code == 2 and "--split plans" in unknown.err


def test_the_reported_silent_arm(abtest: Run) -> None:
    asked = ("-m", "x", "--split", "control=40,b=30,c=30")
    result = abtest("analyze", reported("silent_arm.csv"), *asked)
    assert result.code == 4
    assert "arm 'c' has no users" in " ".join(result.out.split())


@pytest.mark.parametrize("name", ["new ", "New", " new"])
def test_arms_that_differ_by_blanks_or_case_are_a_question(
    abtest: Run, tmp_path: Path, name: str
) -> None:
    names = ("control", "new", name)
    path = tmp_path / "t.parquet"
    pl.DataFrame(
        {"user_id": range(600), "arm": arms(600, names), "x": [float(i % 7) for i in range(600)]}
    ).write_parquet(path)
    result = abtest("analyze", path, "-m", "x")
    assert result.code == 3
    assert "the same arm as" in result.err and "blanks or case" in result.err
    assert repr(name) in result.err


def test_one_covariate_per_user(abtest: Run) -> None:
    row = first(abtest("analyze", reported("pre_second_row.csv"), "-m", "spend", "--json").out)
    relative = row["relative"]
    assert [round(100 * relative[k], 1) for k in ("value", "low", "high")] == [5.3, 3.0, 7.7]


def test_an_aggregation_of_a_covariate_is_declared_by_name(abtest: Run, tmp_path: Path) -> None:
    users = np.repeat(np.arange(400), 2)
    path = table(
        tmp_path / "t.csv", user_id=users, arm=[("control", "new")[u % 2] for u in users],
        x=np.random.default_rng(1).normal(5.0, 1.0, 800), age=np.tile([1.0, 3.0], 400) + users / 9,
    )  # fmt: skip
    asked = ("analyze", path, "-m", "x", "--covariate")
    said = abtest(*asked, "age")
    assert "400 users have several values of 'age'; the first was taken" in said.err
    assert "several values" not in abtest(*asked, "age:mean").err
    wrong = abtest(*asked, "age:median")
    assert wrong.code == 2 and "Known: first, last, mean" in wrong.err


def test_an_analysis_without_data_is_untrustworthy(abtest: Run, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", user_id=range(300), arm=arms(300), x=[0] * 300)
    result = abtest("analyze", path, "-m", "x", "--json")
    assert result.code == 4
    assert first(result.out)["p_value"] is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--confidence", "20"), "--confidence is 20, expected"),
        (("--rates", "wald"), "Known: auto, score, pooled, welch"),
        (("--correct", "treatment"), "Did you mean 'treatments'?"),
        (("--correction", "dunnet"), "Known: holm, bh"),
        (("--min-effect", "-1%"), "expected 0 or more"),
        (("--rule", "effect=interva"), "is not effect=estimate or effect=interval"),
        (("--absolute", "y"), "unknown metric 'y'"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(
    abtest: Run, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    path = table(tmp_path / "t.csv", user_id=range(300), arm=arms(300), x=range(300))
    result = abtest("analyze", path, "-m", "x", *options)
    assert result.code == 2, result.err
    assert said in result.err


def test_confidence_and_rule_reach_the_verdict(abtest: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(10.0, 2.0, 3_000) + 0.22 * (np.arange(3_000) % 2)
    path = table(tmp_path / "t.csv", user_id=range(3_000), arm=arms(3_000), x=x)
    asked = ("analyze", path, "-m", "x", "--json", "--min-effect", "2%")
    usual = json.loads(abtest(*asked).out)["comparisons"][0]
    strict = json.loads(abtest(*asked, "--rule", "effect=interval").out)["comparisons"][0]
    assert usual["verdict"]["decision"] == "ship"
    assert strict["verdict"]["cause"] == "interval reaches below minimum"
    wide = json.loads(abtest(*asked, "--confidence", "99%").out)
    row, narrow = wide["comparisons"][0]["metrics"][0], usual["metrics"][0]
    assert row["confidence"] == 0.99
    assert row["absolute"]["low"] < narrow["absolute"]["low"]
    assert "--confidence 99%" in wide["context"]["command"]
