"""Whatever is wrong, one line says what, where and what to do; nothing is left half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from simulator.logs.dataset import DatasetWriter

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821

POLICIES = ("--treatment", "popular", "--control", "random")


def rewritten(source: Path, target: Path, **tables: object) -> Path:
    """A copy of a dataset with some tables replaced (None leaves a table out)."""
    from simulator.logs.dataset import Dataset

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
        (("report", "nowhere"), 2, "no run at nowhere"),
        (("compare", "one"), 2, "two runs"),
        (("data", "import", "nowhere.csv", "out"), 3, "no file at nowhere.csv"),
        (("data", "describe", "nowhere"), 3, "nowhere"),
        (("policy", "show", "nobody"), 2, "unknown policy 'nobody'"),
        (("policy", "new", "not a name"), 2, "not a Python module name"),
        (("replay", "-t", "popular", "-c", "random", "--data", "nowhere"), 3, "nowhere"),
        (("evaluate", "popular", "--data", "nowhere"), 3, "nowhere"),
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
    one = pl.col("user_id") == 0
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
    result = abtest("run", *POLICIES, "--data", data, "--out", "run", "--workers", 1)
    assert result.code in (0, 4), result.err
    assert (tmp_path / "run" / "report.html").is_file()


def test_more_people_than_the_log_has(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    data = rewritten(small_log, tmp_path / "real")
    result = abtest("run", *POLICIES, "--data", data, "--users", 10_000)
    assert result.code == 2
    assert "120 people" in result.err


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
    assert not (tmp_path / "run" / "results.json").exists()


def test_replay_of_a_log_without_propensities(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    data = rewritten(
        small_log, tmp_path / "bare", impressions=lambda f: f.drop("propensity", "is_rand")
    )
    result = abtest("replay", "-t", "popular", "-c", "random", "--data", data)
    assert result.code == 3
    assert "probability of each shown video" in result.err
