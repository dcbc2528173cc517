"""`abtest evaluate` from the command line, on a small built-in world and small policies."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abtest.commands.evaluate import parse_seeds
from abtest.errors import UsageError
from tests.abtest.conftest import Result

Run = Callable[..., Result]

POLICY = '''
"""A popularity with parts to switch off, and a diary of its training."""

import json
from pathlib import Path

import numpy as np

from policies.base import Policy
from policies.errors import PolicyError
from simulator.logs.interactions import interactions


class Counted(Policy):
    """Counts likes, minus a little noise of its seed.

    Args:
        noise: How much.
        counting: Whether to count.
        sign: Of everything.
    """

    def __init__(self, noise=0.01, counting=True, sign=1):
        super().__init__()
        self._settings = {"noise": noise, "counting": counting, "sign": sign}

    def settings(self):
        return dict(self._settings)

    def ablations(self):
        return {
            "no counting": {"counting": False},
            "backwards": {"sign": -1},
            "nothing": {"counting": False, "noise": 0.0},
        }

    def fit(self, dataset, *, seed, progress=None):
        s = self._settings
        if not (s["counting"] or s["noise"]):
            raise PolicyError("nothing is left of it.")
        n, m = dataset.catalogue().n_videos, dataset.catalogue().n_comments
        random = np.random.default_rng(seed)
        counts = np.bincount(interactions(dataset, "liked").video, minlength=n)
        self._videos = float(s["sign"]) * (counts * s["counting"] + s["noise"] * random.random(n))
        likes = dataset.catalogue().comment_likes
        self._comments = float(s["sign"]) * (likes * s["counting"] + s["noise"] * random.random(m))
        with (Path("diary.txt")).open("a") as diary:
            diary.write(json.dumps([s, seed]) + "\\n")

    def score_videos(self, requests):
        return self._videos[requests.candidates].astype(np.float32)

    def score_comments(self, requests):
        return self._comments[requests.candidates].astype(np.float32)

    def save(self, directory):
        np.save(directory / "videos.npy", self._videos)
        np.save(directory / "comments.npy", self._comments)

    def load(self, directory, dataset):
        self._videos = np.load(directory / "videos.npy")
        self._comments = np.load(directory / "comments.npy")
'''


@pytest.fixture
def counted(abtest: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A policy of one's own, and a cache that nobody else has filled."""
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(POLICY, encoding="utf-8")
    return "mine.py:Counted"


def tasks(result: Result) -> dict[str, dict[str, Any]]:
    assert result.code == 0, result.err
    return {t["task"]: t for t in json.loads(result.out)["evaluation"]}


def test_both_tasks_have_a_table_and_say_who_is_missing(abtest: Run, small_log: Path) -> None:
    result = abtest("evaluate", "popular", "likes", "newest", "--data", small_log)
    assert result.code == 0
    videos, comments = result.out.split("\n\nComments\n")
    assert videos.startswith("Videos\n")
    assert "note: likes does not rank videos" in videos
    assert "note: popular does not rank comments" in comments
    assert "Compared with likes" in comments
    assert "seen ones removed, ties against the policy" in videos
    assert "biased" not in result.out
    assert all(len(line) <= 80 for line in result.out.splitlines())


def test_comments_are_judged_by_dwell_beside_ndcg(abtest: Run, small_log: Path) -> None:
    result = abtest(
        "evaluate", "likes", "no-taste", "--task", "comments", "--data", small_log, "--json"
    )
    first, second = tasks(result)["comments"]["policies"]
    for scores in (first, second):
        found = scores["metrics"]["dwell_r"]
        assert -1.0 < found["low"] < found["value"] < found["high"] < 1.0
    # The world's readers look longer at comments that are liked, and at long ones.
    assert first["metrics"]["dwell_r"]["value"] > 0.05
    assert second["metrics"]["dwell_r"]["value"] > first["metrics"]["dwell_r"]["value"]
    shown = abtest("evaluate", "likes", "no-taste", "--task", "comments", "--data", small_log)
    assert "dwell_r difference" in shown.out and "within visits" in shown.out
    assert all(len(line) <= 80 for line in shown.out.splitlines())


def test_seeds_intervals_and_paired_differences(abtest: Run, small_log: Path, counted: str) -> None:
    result = abtest(
        "evaluate", "newest", counted, "--data", small_log, "--seeds", "3", "--json", "--quiet"
    )
    assert result.err == ""
    found = tasks(result)["comments"]
    assert found["training_seeds"] == [1, 2, 3]
    first, second = found["policies"]
    assert first["differences"] == {}
    for name, mean in second["metrics"].items():
        compared = second["differences"][name]
        assert compared["value"] == pytest.approx(mean["value"] - first["metrics"][name]["value"])
        assert mean["low"] <= mean["value"] <= mean["high"]
        assert mean["seeds_error"] is not None
        assert (compared["low"] > 0) == (compared["p_adjusted"] < 0.05 and compared["value"] > 0)


def test_ablations_switch_one_part_off_at_a_time(
    abtest: Run, small_log: Path, counted: str
) -> None:
    result = abtest(
        "evaluate", counted, "--ablations", "--data", small_log, "--seeds", "1,4", "--json"
    )
    comments = tasks(result)["comments"]
    whole, *others = comments["policies"]
    assert comments["reference"] == whole["label"] == counted
    assert [p["label"] for p in others] == ["no counting", "backwards"]
    assert others[0]["settings"] == {"counting": False}
    # What this log does not suit is left out, with its reason; the others stay.
    assert comments["left_out"] == ["nothing: nothing is left of it"]
    assert "nothing is left out" in result.err
    for other in others:
        assert other["differences"]["NDCG@10"]["value"] < 0
    with Path("diary.txt").open() as diary:
        trained = [json.loads(line) for line in diary]
    # Each of three variants with two seeds, on the training part of two tasks.
    assert len(trained) == 12
    assert {(s["counting"], s["sign"], seed) for s, seed in trained} == {
        (c, sign, seed) for c, sign in ((True, 1), (False, 1), (True, -1)) for seed in (1, 4)
    }


def test_nothing_is_trained_twice(abtest: Run, small_log: Path, counted: str) -> None:
    words = ("evaluate", counted, "--data", small_log, "--split", "time", "--test-share", "30%")
    first = abtest(*words, "--json")
    # A time split has one training part for both tasks.
    assert len(Path("diary.txt").read_text().splitlines()) == 1
    again = abtest(*words, "--json")
    assert len(Path("diary.txt").read_text().splitlines()) == 1
    assert again.out == first.out
    assert tasks(first)["videos"]["split_ms"] > 0
    # Other candidates are another evaluation, not another training.
    abtest(*words, "--candidates", "20")
    assert len(Path("diary.txt").read_text().splitlines()) == 1
    # Other settings are another training.
    Path("abtest.toml").write_text(f'[policies."{counted}"]\nnoise = 0.5\n', encoding="utf-8")
    abtest(*words)
    assert len(Path("diary.txt").read_text().splitlines()) == 2


def test_scores_that_break_the_contract_stop_everything(
    abtest: Run, small_log: Path, counted: str
) -> None:
    Path("abtest.toml").write_text(f'[policies."{counted}"]\nsign = "nan"\n', encoding="utf-8")
    result = abtest("evaluate", "popular", counted, "--data", small_log)
    assert result.code == 5
    assert "Counted returned a non-finite score for video" in result.err
    assert result.out == ""


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_sampled_candidates_are_labelled_everywhere(
    abtest: Run, small_log: Path, tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"table.{suffix}"
    result = abtest(
        "evaluate", "popular", "likes", "--data", small_log, "--candidates", "10", "-o", target
    )
    assert result.out.count("SAMPLED CANDIDATES, biased") == 2
    text = target.read_text(encoding="utf-8")
    assert not list(tmp_path.glob(".table*"))
    if suffix == "json":
        assert all("biased" in t["candidates_note"] for t in json.loads(text)["evaluation"])
    else:
        rows = list(csv.DictReader(text.splitlines()))
        assert {r["task"] for r in rows} == {"videos", "comments"}
        assert all("biased" in r["candidates_note"] and r["candidates"] == "10" for r in rows)


def test_a_log_without_comments_says_so(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    import polars as pl

    from simulator.logs.dataset import Dataset, DatasetWriter

    log = Dataset.open(small_log)
    with DatasetWriter(tmp_path / "log", name="x", source="x", licence="x") as writer:
        for table in ("impressions", "users", "videos"):
            writer.append(table, log.scan(table).collect())
    result = abtest("evaluate", "popular", "likes", "--data", tmp_path / "log")
    assert result.code == 0
    assert "No table:" in result.out
    assert "has no comments" in " ".join(result.out.split())
    result = abtest("evaluate", "likes", "--task", "comments", "--data", tmp_path / "log")
    assert result.code == 3
    assert "has no comments" in result.err
    with DatasetWriter(tmp_path / "nobody", name="x", source="x", licence="x") as writer:
        for table in ("impressions", "users", "videos"):
            frame = log.scan(table).collect()
            writer.append(
                table,
                frame.with_columns(pl.lit(0, pl.Int8).alias("is_like"))
                if table == "impressions"
                else frame,
            )
    result = abtest("evaluate", "popular", "--data", tmp_path / "nobody")
    assert result.code == 3
    assert "has two liked videos" in result.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("popular", "--ablations"), "offers no ablations"),
        (("popular", "random", "--ablations"), "takes one policy apart, not 2"),
        (("popular", "--seeds", "two"), "--seeds is 'two'"),
        (("popular", "--seeds", "0"), "--seeds is '0'"),
        (("popular", "--seeds", "1,1"), "--seeds is '1,1'"),
        (("popular", "--task", "video"), "--task is 'video'"),
        (("popular", "--split", "random"), "--split is 'random'"),
        (("popular", "--signal", "discussed"), "expected liked or clicked"),
        (("popular", "--test-days", "2"), "belong to --split time"),
        (("popular", "--split", "time", "--test-days", "-1"), "--test-days is -1"),
        (("popular", "--split", "time", "--test-share", "100%"), "--test-share is 100%"),
        (("popular", "--output", "table.xlsx"), "ends in .json or .csv"),
        (("popular", "--output", "nowhere/table.csv"), "no folder at nowhere"),
        (("populr",), "Did you mean 'popular'"),
        (("popular", "--task", "comments"), "none of the policies ranks comments"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_found_before_anything_runs(
    abtest: Run, small_log: Path, words: tuple[str, ...], expected: str
) -> None:
    result = abtest("evaluate", *words, "--data", small_log)
    assert result.code == 2
    assert expected in result.err
    assert "training" not in result.err


def test_parse_seeds() -> None:
    assert parse_seeds("3") == (1, 2, 3)
    assert parse_seeds("5, 9") == (5, 9)
    assert parse_seeds("7,") == (7,)
    for bad in ("", ",", "-1", "1.5", "1;2"):
        with pytest.raises(UsageError):
            parse_seeds(bad)
