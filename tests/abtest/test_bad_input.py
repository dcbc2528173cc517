"""Whatever is wrong, one line says what, where and what to do; nothing is left half-written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from simulator.logs.dataset import Dataset, DatasetWriter

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821

POLICIES = ("--treatment", "popular", "--control", "random")


def rewritten(source: Path, target: Path, **tables: object) -> Path:
    """A copy of a dataset with some tables replaced (None leaves a table out)."""
    dataset = Dataset.open(source)
    with DatasetWriter(target, name="copy", source="test", licence="none") as writer:
        for name in dataset.info.rows:
            change = tables.get(name, lambda frame: frame)
            if change is not None:
                writer.append(name, change(dataset.scan(name).collect()))  # type: ignore[operator]
    return target


def left_behind(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("run", "-t", "lsvrc", "-c", "random"), 2, "Did you mean 'lsvcr'?"),
        (("run", "-t", "popular", "-c", "random", "--users", "0"), 2, "users"),
        (("run", "-t", "popular", "-c", "random", "--days", "0"), 2, "days"),
        (("run", "-t", "popular", "-c", "random", "--primary", "clicks"), 2, "unknown metric"),
        (("run", "-t", "popular", "-c", "random", "--world", "defualt"), 3, "'default'"),
        (("run", "-t", "popular", "-c", "random", "--data", "nowhere"), 3, "nowhere"),
        (("run", "--tretment", "popular"), 2, "--treatment"),
        (("run", "--resume", "nowhere"), 2, "no run at nowhere"),
        (("run", "-t", "popular", "-c", "random", "--fail-on", "srn"), 2, "srm"),
        (("report", "nowhere"), 2, "no run at nowhere. Make one: abtest demo"),
        (("compare", "one"), 2, "two runs"),
        (("data", "import", "nowhere.csv", "out"), 3, "no file at nowhere.csv"),
        (("data", "import", ".", "/proc/x"), 2, "cannot write to /proc. Choose another directory"),
        (("data", "synth", "/proc/x"), 2, "cannot write to /proc. Choose another directory"),
        (("data", "describe", "nowhere"), 3, "nowhere"),
        (("policy", "show", "nobody"), 2, "unknown policy 'nobody'"),
        (("policy", "new", "not a name"), 2, "not a Python module name"),
        (("replay", "-t", "popular", "-c", "random", "--data", "nowhere"), 3, "nowhere"),
        (("evaluate", "popular", "--data", "nowhere"), 3, "nowhere"),
        (("run", "-t", "popular", "-c", "random", "--rule", "guardrail=proven"), 2, "'guardrails'"),
        (("aa", "nowhere"), 2, "no run, table or dataset at nowhere"),
        (("aa", "demo", "--split", "1.5"), 2, "--split is 1.5"),
        (("aa", "demo", "--user", "buyer"), 2, "for tables"),
        (("power",), 2, "--mde 1% or --users 20000"),
        (("power", "--mde", "1%"), 2, "--mean and --sd, or --rate"),
        (("power", "--mean", "5", "--sd", "0", "--mde", "1%"), 2, "users who differ"),
        (("power", "--rate", "140%", "--mde", "1%"), 3, "the rate is not possible"),
        (("power", "--rate", "60%", "--mde", "90%"), 3, "the lift is not possible"),
        (("power", "--rate", "4%", "--mde", "0%"), 3, "no number of users"),
        (("power", "--rate", "4%", "--users", "3"), 2, "a test needs two"),
        (("power", "--rate", "4%", "--mde", "1%", "--split", "half"), 2, "--split is 'half'"),
        (
            ("power", "--rate", "4%", "--mde", "1%", "--split", "0.6", "--treatments", "2"),
            2,
            "does not divide users",
        ),
        (("power", "--rate", "4%", "--mde", "1%", "--power", "120%"), 2, "--power is 120%"),
        (("power", "--rate", "4%", "--mde", "x"), 2, "'x' is not a number"),
        (("power", "--rate", "4%", "--mde", "1%", "--design", "twim"), 2, "online or twin"),
        (
            ("power", "--mean", "5", "--sd", "3", "--mde", "1%", "--design", "twin"),
            2,
            "--correlation",
        ),
        (("power", "runs/x", "--rate", "4%"), 2, "give one"),
        (("power", "--rate", "4%", "--mde", "1%", "--days", "7"), 2, "scatter"),
    ],
)
def test_mistakes_name_the_problem(
    abtest: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    result = abtest(*arguments)
    assert result.code == code, result.err
    assert expected in result.err
    assert "Traceback" not in result.err
    assert left_behind(tmp_path) == []


def test_empty_log_is_refused(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    data = rewritten(
        small_log,
        tmp_path / "empty",
        impressions=lambda f: f.clear(),
        comment_events=lambda f: f.clear(),
    )
    result = abtest("run", *POLICIES, "--data", data)
    assert result.code == 3
    assert "no impressions" in result.err
    assert left_behind(tmp_path) == ["empty"]


def test_one_person_or_one_video_is_refused(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    seen = pl.read_parquet(small_log / "impressions").group_by("user_id").len()
    one = pl.col("user_id") == seen.sort("len", "user_id")["user_id"][-1]
    person = rewritten(
        small_log,
        tmp_path / "person",
        impressions=lambda f: f.filter(one),
        comment_events=lambda f: f.filter(one),
        users=lambda f: f.filter(one),
    )
    result = abtest("run", *POLICIES, "--data", person)
    assert (result.code, "1 person" in result.err) == (3, True)
    first = pl.col("video_id") == pl.col("video_id").min()
    video = rewritten(
        small_log,
        tmp_path / "video",
        impressions=lambda f: f.filter(first),
        comment_events=None,
        videos=lambda f: f.filter(first),
        comments=None,
    )
    result = abtest("run", *POLICIES, "--data", video)
    assert (result.code, "1 video" in result.err) == (3, True)


def test_dataset_without_comments_still_runs(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    data = rewritten(small_log, tmp_path / "plain", comments=None, comment_events=None)
    result = abtest("run", *POLICIES, "--data", data, "--out", "run", "--workers", 1,
                    "--users", 50)  # fmt: skip
    assert result.code in (0, 4), result.err
    assert (tmp_path / "run" / "report.html").is_file()
    # Of the 120 people of the log as many as were asked for, not the first ones.
    people = pl.read_parquet(tmp_path / "run" / "outcomes.parquet")["user_id"].unique()
    assert len(people) == 50
    everyone = Dataset.open(data).user_ids().tolist()
    assert set(people) < set(everyone) and set(people) != set(everyone[:50])


def test_more_people_than_the_log_has(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    data = rewritten(small_log, tmp_path / "real")
    result = abtest("run", *POLICIES, "--data", data, "--users", 10_000)
    assert result.code == 2
    assert "200 people" in result.err


def test_damaged_parquet_names_the_file(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    data = tmp_path / "damaged"
    shutil.copytree(small_log, data)
    next((data / "videos").iterdir()).write_bytes(b"not parquet")
    result = abtest("run", *POLICIES, "--data", data)
    assert result.code == 3
    assert "videos" in result.err


def test_existing_output_directory_is_left_untouched(abtest: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    result = abtest("run", *POLICIES, "--out", "mine")
    assert result.code == 2
    assert "left untouched" in result.err
    assert left_behind(tmp_path / "mine") == ["thesis.txt"]


def test_unwritable_output_is_refused_before_any_work(abtest: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = abtest("run", *POLICIES, "--out", "file/run")
    assert result.code == 2
    assert "cannot write" in result.err


def test_unknown_key_in_the_configuration(abtest: Run, tmp_path: Path) -> None:
    (tmp_path / "abtest.toml").write_text('control = "random"\ntreatmnt = ["popular"]\n')
    result = abtest("run")
    assert result.code == 2
    assert "line 2" in result.err
    assert "'treatment'" in result.err
    assert "Nothing was run" in result.err


BROKEN = """
import numpy as np
from policies.base import Policy

class Nan(Policy):
    def score_videos(self, requests):
        return np.full(requests.candidates.shape, np.nan, dtype=np.float32)

class Shape(Policy):
    def score_videos(self, requests):
        return np.zeros(len(requests.row), dtype=np.float32)
"""


# The log's only person with the number 7 is person 1007, its video 5 is video 2005.
def renumbered(log: Path, target: Path) -> Path:
    def people(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.col("^user_id$") + 1_000, pl.col("^video_id$") + 2_000_000)

    tables = ("impressions", "comment_events", "users", "videos", "comments")
    return rewritten(log, target, **dict.fromkeys(tables, people))


@pytest.mark.parametrize("command", ["evaluate", "replay"])
def test_scores_at_fault_are_named_by_the_ids_of_the_log(
    abtest: Run, small_log: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    data = renumbered(small_log, tmp_path / "log")
    asked: tuple[object, ...] = ("evaluate", "broken.py:Nan", "--task", "videos")
    if command == "replay":
        asked = ("replay", "-t", "broken.py:Nan", "-c", "random", "--rows", "random")
    result = abtest(*asked, "--data", data)
    said = re.search(r"non-finite score for video (\d+) \(user (\d+)\)", result.err)
    assert said is not None, result.err
    assert int(said[1]) >= 2_000_000 and int(said[2]) >= 1_000
    assert "index" not in result.err


@pytest.mark.parametrize(("name", "expected"), [("Nan", "non-finite score"), ("Shape", "shape")])
def test_policy_that_breaks_its_contract(
    abtest: Run, small_log: Path, tmp_path: Path, name: str, expected: str
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    spec = f"broken.py:{name}"
    result = abtest("run", "-t", spec, "-c", "random", "--data", small_log, "--users", 40,
                    "--out", "run", "--workers", 1)  # fmt: skip
    assert result.code == 5, result.err
    assert expected in result.err
    assert "abtest policy check" in result.err
    assert "index" not in result.err
    assert not (tmp_path / "run" / "results.json").exists()


def test_replay_of_a_log_without_propensities(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    data = rewritten(
        small_log, tmp_path / "bare", impressions=lambda f: f.drop("propensity", "is_rand")
    )
    result = abtest("replay", "-t", "popular", "-c", "random", "--data", data)
    assert result.code == 3
    assert "probability of each shown video" in result.err


TABLE = "buyer,arm,spent,visits,note\n1,a,3.5,2,x\n2,b,0,1,y\n3,a,1,1,z\n4,b,2,2,x\n"


@pytest.mark.parametrize("command", ["aa", "power"])
@pytest.mark.parametrize(
    ("change", "arguments", "code", "expected"),
    [
        ((), (), 3, "no column 'user_id'"),
        ((), ("--user", "buyr"), 3, "Did you mean 'buyer'?"),
        ((), ("--user", "buyer", "--arm", "arm"), 3, "--control a"),
        ((), ("--user", "buyer", "--arm", "arm", "-c", "c"), 3, "no arm 'c'"),
        ((), ("--user", "buyer", "-m", "spend"), 3, "no column 'spend'"),
        ((), ("--user", "buyer", "-m", "spent/visit"), 3, "Did you mean 'visits'?"),
        ((), ("--user", "buyer", "-m", "note"), 3, "line 2: note is 'x'"),
        ((), ("--user", "buyer", "--day", "note"), 3, "line 2: note is 'x', expected a day"),
        ((), ("--user", "buyer", "--covariate", "age"), 3, "no column 'age'"),
        (("2,b,0,", "2,b,,"), ("--user", "buyer", "-m", "spent"), 3, "line 3: spent is empty"),
        (("2,b,0,", ",b,0,"), ("--user", "buyer", "-m", "spent"), 3, "line 3: buyer is empty"),
    ],
)
def test_tables_that_cannot_be_used(
    abtest: Run,
    tmp_path: Path,
    command: str,
    change: tuple[str, ...],
    arguments: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    (tmp_path / "orders.csv").write_text(TABLE.replace(*change) if change else TABLE)
    result = abtest(command, "orders.csv", *arguments)
    assert (result.code, result.out) == (code, ""), result.err
    assert expected in result.err
    assert "Traceback" not in result.err


def test_tables_that_are_none(abtest: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "orders.xlsx").write_bytes(b"PK\x03\x04 and more")
    (tmp_path / "empty.csv").write_text("user_id,spent\n")
    for name, code, expected in (
        ("broken.parquet", 3, "cannot be read"),
        ("orders.xlsx", 3, "Save it as CSV"),
        ("empty.csv", 3, "has no rows"),
    ):
        result = abtest("power", name, "--mde", "1%")
        assert result.code == code, result.err
        assert expected in result.err


def test_metrics_without_variance_are_named(abtest: Run, tmp_path: Path) -> None:
    rows = "\n".join(f"{i},5,{i % 7}" for i in range(300))
    (tmp_path / "flat.csv").write_text(f"user_id,flat,varied\n{rows}\n")
    assert "does not vary" in abtest("power", "flat.csv", "-m", "flat", "--mde", "1%").err
    both = abtest("power", "flat.csv", "--mde", "1%")
    assert both.code == 0
    assert "warning: 'flat'" in both.out and "varied" in both.out
    result = abtest("aa", "flat.csv", "--replicates", 200)
    assert result.code == 0, result.err
    assert "'flat' is the same for all 300 users" in result.err
    assert abtest("aa", "flat.csv", "-m", "flat").code == 2


def test_a_run_without_outcomes_says_how_to_go_on(abtest: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "plan.json").write_text("{}")
    result = abtest("aa", "run")
    assert result.code == 3
    assert "abtest run --resume run" in result.err
