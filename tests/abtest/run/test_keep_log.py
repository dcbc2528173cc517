"""`abtest run --keep-log`: the log says what happened, to whom, and how likely it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from abtest.run.simulate import assign_arms
from simulator.logs.checks.validate import check
from simulator.logs.dataset import Dataset
from tests.abtest.conftest import Result

Run = Callable[..., Result]

VIDEOS, COMMENTS, PEOPLE = 0.4, 0.3, 150


@pytest.fixture(scope="module")
def kept(small_log: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of popular (comments by likes) against random (newest comments first)."""
    from abtest.cli import run_cli

    folder = tmp_path_factory.mktemp("kept") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABTEST_CACHE", str(shared_cache))
        code = run_cli(
            ["run", "-t", "popular+likes", "-c", "random+newest", "--data", str(small_log),
             "--users", str(PEOPLE), "--explore-share", str(VIDEOS),
             "--explore-comments", str(COMMENTS), "--keep-log",
             "--out", str(folder), "--workers", "1", "--quiet"]
        )  # fmt: skip
    assert code in (0, 4)
    return folder


def tables(run: Path) -> tuple[Dataset, dict[str, pl.DataFrame]]:
    dataset = Dataset.open(run / "log")
    names = ("impressions", "comment_events", "video_decisions", "comment_decisions", "users")
    return dataset, {name: dataset.scan(name).collect() for name in names}


def test_the_log_is_a_valid_dataset(kept: Path, abtest: Run) -> None:
    dataset, log = tables(kept)
    assert [f for f in check(dataset) if f.severity == "error"] == []
    assert abtest("data", "check", kept / "log").code == 0
    assert log["users"]["user_id"].is_sorted() and log["users"].height == PEOPLE
    assert not any(kept.glob("pieces/*.log"))
    assert dataset.info.randomisation == {
        "videos": {"mechanism": "explore", "share": VIDEOS, "pool": "candidates",
                   "table": "video_decisions"},
        "comments": {"mechanism": "explore", "share": COMMENTS, "pool": "candidates",
                     "table": "comment_decisions"},
    }  # fmt: skip


def test_the_log_adds_up_to_the_outcomes(kept: Path) -> None:
    _, log = tables(kept)
    outcomes = pl.read_parquet(kept / "outcomes.parquet").filter(pl.col("day") >= 0)
    during = log["impressions"].filter(pl.col("arm").is_not_null())
    sums = during.group_by("user_id", "arm").agg(
        impressions=pl.len(),
        clicks=pl.col("is_click").sum(),
        comment_watch_time_ms=pl.col("comment_stay_time").sum(),
    )
    both = outcomes.join(sums, on=["user_id", "arm"], how="left").fill_null(0)
    assert both.height == PEOPLE and both["impressions"].sum() > 1_000
    for name in ("impressions", "clicks", "comment_watch_time_ms"):
        assert both[name].to_list() == both[f"{name}_right"].to_list()


def test_every_row_says_who_chose_it_and_how_likely_that_was(kept: Path) -> None:
    _, log = tables(kept)
    arms = np.array(["random+newest", "popular+likes"])
    for name in ("impressions", "comment_events"):
        rows = log[name]
        before, during = (
            rows.filter(pl.col("arm").is_null()),
            rows.filter(pl.col("arm").is_not_null()),
        )
        assert set(before["policy"]) == {"platform"}
        users = during["user_id"].to_numpy().astype(np.int32)
        assert during["arm"].to_list() == arms[assign_arms(users, 2, 1)].tolist()
        assert during["policy"].to_list() == during["arm"].to_list()
        assert during["propensity"].null_count() == 0
        assert during["propensity"].is_between(0.0, 1.0, closed="right").all()
        # Something is left to chance in both arms.
        assert during.group_by("arm").agg(pl.col("propensity").n_unique())["propensity"].min() > 2


@pytest.mark.parametrize(
    ("decisions", "events", "shown", "keys", "share"),
    [
        ("video_decisions", "impressions", "video_id", ["request_id"], VIDEOS),
        ("comment_decisions", "comment_events", "comment_id", ["time_ms", "video_id"], COMMENTS),
    ],
)
def test_propensities_are_those_of_the_decisions(
    kept: Path, decisions: str, events: str, shown: str, keys: list[str], share: float
) -> None:
    _, log = tables(kept)
    during = log[events].filter(pl.col("arm").is_not_null())
    place = ["user_id", *keys, "position"]
    both = during.join(log[decisions], on=place, how="inner", suffix="_decided")
    assert both.height == during.height == log[decisions].height > 300
    if f"{shown}_decided" in both.columns:
        assert (both[shown] == both[f"{shown}_decided"]).all()
    for row in both.head(400).to_dicts():
        given = dict(zip(row["candidates"], row["propensities"], strict=True))
        assert row["propensity"] == pytest.approx(given[row[shown]], abs=1e-6)
        # What stands above is impossible; the others have the share's part at least.
        free = [p for p in given.values() if p > 0.0]
        least = share / len(free) if len(free) > 1 else 1.0
        assert min(free) == pytest.approx(least, rel=1e-4)
        assert len(given) - len(free) <= row["position"]
        assert sum(given.values()) == pytest.approx(1.0, abs=1e-4)


def test_exploration_is_as_frequent_as_its_propensities(kept: Path) -> None:
    _, log = tables(kept)
    for decisions, shown in (("video_decisions", "video_id"), ("comment_decisions", "comment_id")):
        rows = log[decisions].filter(pl.col("propensities").list.len() > 1)
        likeliest = rows["propensities"].list.max().to_numpy().astype(float)
        index = rows["propensities"].list.arg_max()
        best = [c[i] for c, i in zip(rows["candidates"].to_list(), index, strict=True)]
        hit = np.array([b == s for b, s in zip(best, rows[shown].to_list(), strict=True)])
        deviation = np.sqrt((likeliest * (1.0 - likeliest)).sum())
        assert abs(hit.sum() - likeliest.sum()) < 4.0 * deviation


def test_keeping_the_log_changes_no_outcome(
    kept: Path, abtest: Run, small_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = abtest(
        "run", "-t", "popular+likes", "-c", "random+newest", "--data", small_log,
        "--users", PEOPLE, "--explore-share", VIDEOS, "--explore-comments", COMMENTS,
        "--out", "plain", "--workers", 1,
    )  # fmt: skip
    assert result.code in (0, 4), result.err
    assert not (tmp_path / "plain" / "log").exists()
    name = "outcomes.parquet"
    assert (tmp_path / "plain" / name).read_bytes() == (kept / name).read_bytes()


def test_replay_reads_the_log(kept: Path, abtest: Run) -> None:
    result = abtest("replay", "-t", "popular", "-c", "random", "--data", kept / "log")
    assert result.code in (0, 4), result.err


def test_a_twin_run_keeps_no_log(abtest: Run, small_log: Path) -> None:
    result = abtest("run", "-t", "popular", "-c", "random", "--data", small_log, "--keep-log",
                    "--design", "twin", "--users", 20)  # fmt: skip
    assert result.code == 2
    assert "--keep-log needs --design online" in result.err
