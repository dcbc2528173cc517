"""The inputs that people reported, each with its right value; and our own of the same kinds.

The reported ones lie beside the project. Where they are absent their tests say so and are skipped;
our own always run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from simulator.logs.dataset import Dataset
from tests.abtest.tables.field_files import ABOVE, arms, check, first, reported, table

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821

NAMES = [
    *("user_id", "video_id", "date", "hourmin", "time_ms"),
    *("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"),
    *("play_time_ms", "duration_ms", "profile_stay_time", "comment_stay_time"),
    *("is_profile_enter", "is_rand", "tab"),
]


def log_rows(count: int = 40) -> pl.DataFrame:
    """Rows of a KuaiRand log, all cells as text."""
    rows = [
        [1 + i % 3, 100 + i % 7, 20220408, 1500, 1649400054123 + 60_000 * i, i % 2, 0, 0, 0, 0, 0,
         i % 2, 9_000 + i, 20_000, 0, 0, 0, 0, 1]
        for i in range(count)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=NAMES, orient="row").cast(pl.String)


def changed(rows: pl.DataFrame, column: str, row: int, cell: str) -> str:
    cells = rows[column].to_list()
    cells[row] = cell
    return rows.with_columns(pl.Series(column, cells)).write_csv()


def imported(abtest: Run, path: Path, *more: str) -> Any:
    return abtest("data", "import", path, "log", *more)


# Seventeen inputs.


def test_ids_with_many_digits_stay_three_people(abtest: Run, tmp_path: Path) -> None:
    result = imported(abtest, reported("log_standard_bigfloat.csv"))
    assert result.code == 0, result.err
    ids = Dataset.open(tmp_path / "log").user_ids().tolist()
    assert ids == [1582218195625938944, 1582218195625938945, 1582218195625938946]


def test_blanks_around_names_and_cells(abtest: Run, tmp_path: Path) -> None:
    result = imported(abtest, reported("log_standard_spaces.csv"))
    assert result.code == 0, result.err
    assert "read 48, kept 48, rejected 0" in result.out
    assert len(Dataset.open(tmp_path / "log").user_ids()) == 6


def test_times_in_seconds_are_refused(abtest: Run) -> None:
    result = imported(abtest, reported("log_standard_seconds.csv"))
    assert result.code == 3
    assert "line 2: time_ms" in result.err and "1970" in result.err and "seconds" in result.err


def test_values_beyond_their_type_are_rejected(abtest: Run) -> None:
    path = reported("log_standard_overflow.csv")
    refused = imported(abtest, path)
    assert refused.code == 3 and "line 6: tab is '70000'" in refused.err
    skipped = imported(abtest, path, "--bad-rows", "skip")
    assert "read 48, kept 45, rejected 3" in skipped.out


def test_a_cut_row_is_rejected(abtest: Run) -> None:
    path = reported("log_standard_cut_row.csv")
    refused = imported(abtest, path)
    assert refused.code == 3 and "line 49: 13 cells, expected 19" in refused.err
    assert "kept 47, rejected 1" in imported(abtest, path, "--bad-rows", "skip").out


def test_line_breaks_and_encodings_and_the_rest_are_where_their_kinds_are() -> None:
    """The other twelve are in the other files named test_field_*."""
    here = Path(__file__).parent
    texts = "".join(p.read_text(encoding="utf-8") for p in here.glob("test_field_*.py"))
    folders = [f / "shared" / "data" / "field" for f in ABOVE]
    found = [p.name for f in folders if f.is_dir() for p in f.iterdir() if p.suffix != ".md"]
    if not found:
        pytest.skip("no field inputs beside the project (../shared/data/field)")
    assert len(found) >= 16
    assert [name for name in found if f'"{name}' not in texts] == []


def test_a_log_with_probabilities_only_says_what_is_missing(abtest: Run) -> None:
    folder = next((f / "shared/data/field/propensity" for f in ABOVE
                   if (f / "shared/data/field/propensity").is_dir()), None)  # fmt: skip
    if folder is None:
        pytest.skip('no field input "propensity" beside the project')
    refused = abtest("replay", "-t", "popular", "-c", "random", "--data", folder)
    assert refused.code == 3
    assert "what else could have been shown" in " ".join(refused.err.split())
    assert "--pool all" in refused.err
    way_out = abtest("replay", "-t", "popular", "-c", "random", "--data", folder, "--pool", "all")
    assert way_out.code in (0, 4), way_out.err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gbk"])
def test_chinese_names_in_any_terminal(
    abtest: Run, terminal: Callable[[str], Any], encoding: str
) -> None:
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
    shown = terminal(encoding)
    for more in ((), ("--json",), ("--out", "结果")):
        assert shown.run(*asked, *more) in (0, 4), shown.error()
    assert Path("结果/results.json").is_file()
    assert ("评论时长" in shown.output()) == (encoding == "gbk")


# The same kinds with inputs of our own.


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("user_id", "1.58E+18", "exponent form"),
        ("user_id", "1.5", "has a fraction"),
        ("video_id", "1e2", "exponent form"),
        ("user_id", "99999999999999999999", "too large"),
        ("is_click", "0.5", "has a fraction"),
        ("is_like", "2", "expected 0 or 1"),
        ("tab", "40000", "larger than 32767"),
        ("time_ms", "1649400054", "is it in seconds?"),
        ("time_ms", "1649400054123456", "is it in microseconds?"),
        ("time_ms", "1.6494E+12", "exponent form"),
        ("play_time_ms", "1e400", "exponent form"),
        ("play_time_ms", "many", "is 'many'"),
    ],
)
def test_nothing_is_rounded_or_nulled_silently(
    abtest: Run, tmp_path: Path, column: str, cell: str, said: str
) -> None:
    path = tmp_path / "log_standard.csv"
    path.write_text(changed(log_rows(), column, 5, cell))
    refused = imported(abtest, path)
    assert refused.code == 3, refused.out
    assert f"line 7: {column} is '{cell}'" in refused.err and said in refused.err
    skipped = imported(abtest, path, "--bad-rows", "skip")
    assert "kept 39, rejected 1" in skipped.out, skipped.err


def test_what_is_repaired_is_counted(abtest: Run, tmp_path: Path) -> None:
    path = tmp_path / "log_standard.csv"
    path.write_text(changed(log_rows(), "play_time_ms", 5, "12.7"))
    assert "play_time_ms: fraction rounded: 1" in imported(abtest, path).out


def test_ids_that_parquet_holds_as_floats(abtest: Run, tmp_path: Path) -> None:
    rows = log_rows().cast(pl.Int64).with_columns(pl.col("user_id").cast(pl.Float64))
    rows.write_parquet(tmp_path / "small.parquet")
    assert imported(abtest, tmp_path / "small.parquet").code == 0
    big = rows.with_columns(pl.col("user_id") + 2.0**60)
    big.write_parquet(tmp_path / "big.parquet")
    refused = abtest("data", "import", tmp_path / "big.parquet", "log2")
    assert refused.code == 3 and "row 1" in refused.err and "lost digits" in refused.err


def test_a_profit_table_of_our_own(abtest: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    profit = rng.normal(-10.0, 8.0, 4_000) + 1.3 * (np.arange(4_000) % 2)
    path = table(tmp_path / "t.csv", user_id=range(4_000), arm=arms(4_000), profit=profit,
                 clicks=rng.poisson(5.0, 4_000))  # fmt: skip
    row = first(abtest("analyze", path, "-m", "profit", "--json").out)
    assert (row["outcome"], row["relative"], row["scale"]) == ("better", None, "absolute")
    assert row["absolute"]["value"] == pytest.approx(
        profit[1::2].mean() - profit[::2].mean(), rel=1e-9
    )
    text = abtest("analyze", path, "-m", "profit").out
    assert "% " not in text.split("Primary metric")[1].split("CI")[0].replace("95 %", "")
    assert "per user (95 % CI" in text
    guarded = abtest("analyze", path, "-m", "clicks", "--guardrail", "profit=-5%").out
    assert "rules out a fall beyond 5 % (p < 0.001, one-sided)" in " ".join(guarded.split())


def test_lifts_that_cannot_be_read_are_differences(abtest: Run, tmp_path: Path) -> None:
    stamps = [10**12 + i % 7 + 2 * (i % 2) for i in range(700)]
    path = table(tmp_path / "t.csv", user_id=range(700), arm=arms(700), stamp=stamps)
    text = abtest("analyze", path, "-m", "stamp").out
    assert "+2.00 per user" in text and "0.00000" not in text


def test_a_split_that_is_broken_in_opposite_ways_is_seen(abtest: Run, tmp_path: Path) -> None:
    users = range(4_000)
    phone = [("ios", "android")[u % 2] for u in users]
    arm = ["control" if (u % 20 < 14) == (u % 2 == 0) else "new" for u in users]
    path = table(tmp_path / "t.csv", user_id=users, arm=arm, phone=phone,
                 x=[float(u % 11) for u in users])  # fmt: skip
    result = abtest("analyze", path, "-m", "x", "--segment", "phone", "--json")
    assert check(result.out, "srm_segments")["status"] == "fail"
    assert check(result.out, "srm_segments")["facts"]["p"] < 1e-12
    assert result.code == 4


def test_metrics_without_data_are_null(abtest: Run, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", user_id=range(300), arm=arms(300), none=[0] * 300,
                 x=[float(i % 13) for i in range(300)])  # fmt: skip
    result = abtest("analyze", path, "-m", "x", "-m", "none", "--json")
    row = json.loads(result.out)["comparisons"][0]["metrics"][1]
    for key in ("absolute", "relative", "p_value", "p_adjusted", "detectable_effect",
                "variance_reduction"):  # fmt: skip
        assert row[key] is None, key


def test_p_values_of_checks_are_numbers(abtest: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(10.0, 2.0, 600)
    path = table(tmp_path / "t.csv", user_id=range(600), arm=arms(600), x=x, pre_x=x + 1.0)
    document = abtest("analyze", path, "-m", "x", "--json").out
    for name in ("srm", "balance"):
        assert 0.0 <= check(document, name)["facts"]["p"] <= 1.0
    plain = abtest("analyze", table(tmp_path / "p.csv", user_id=range(600), arm=arms(600), x=x),
                   "-m", "x", "--json").out  # fmt: skip
    (own,) = check(plain, "aa")["facts"]["metrics"]
    assert 0.0 < own["rate"] < 0.2 and 0.0 <= own["uniform_p"] <= 1.0


def test_the_calibration_runs_in_analyze(abtest: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0.0, 1.0, (800, 3))
    path = table(tmp_path / "t.csv", user_id=range(800), arm=arms(800), x=noise[:, 0] + 9.0,
                 pre_x=noise[:, 0] + noise[:, 1], idle=noise[:, 2])  # fmt: skip
    chosen = check(abtest("analyze", path, "-m", "x", "--covariate", "idle", "--json").out, "aa")
    assert chosen["status"] == "pass" and "1,000 splits" in chosen["detail"]
    strata = table(tmp_path / "s.csv", user_id=range(800), arm=arms(800), x=noise[:, 0],
                   s=["a", "b"] * 400)  # fmt: skip
    skipped = check(abtest("analyze", strata, "-m", "x", "--strata", "s", "--json").out, "aa")
    assert skipped["detail"] == "the splits are not redone for strata"
