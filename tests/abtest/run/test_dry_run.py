"""A dry run refuses what a run refuses, says what it would detect and cost, and writes nothing."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from abtest.dry_run import pilot
from abtest.run import speeds
from tests.abtest.conftest import Result

Run = Callable[..., Result]
ASKED = ("run", "-t", "popular", "-c", "random", "--dry-run")


def _files(*folders: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
    }


def test_the_plan_of_a_log_is_printed_and_nothing_is_written(
    abtest: Run, small_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot, "PEOPLE", 40)
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("ABTEST_CACHE", str(cache))
    before = _files(tmp_path, small_log)
    result = abtest(
        *ASKED, "--data", small_log, "--users", 500, "--out", "mine", "--min-effect", "1%"
    )
    assert result.code == 0, result.err
    assert _files(tmp_path, small_log) == before
    assert tomllib.loads(result.out)["users"] == 500
    assert "popular against random; online; 500 people, 1 day" in result.out
    assert "comment_watch_time, better by at least 1 %; guardrails: hates" in result.out
    assert "train popular" in result.out and "simulate 500 people" in result.out
    assert "40 people under the" in result.out and "in mine." in result.out


def test_detectable_effect_follows_from_the_variance(
    abtest: Run, small_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = np.random.default_rng(2).gamma(2.0, 100.0, size=4_000)

    def people(config: object, world: object) -> pl.DataFrame:
        users = np.arange(len(seconds))
        columns = {"comment_watch_time_ms": 1e3 * seconds, "active": np.ones(len(seconds))}
        return pl.DataFrame({"user_id": users, **columns}).with_columns(
            pl.lit("all").alias("arm"), pl.lit(0, dtype=pl.Int32).alias("day")
        )

    monkeypatch.setattr("abtest.dry_run.preview.outcomes_of_world", people)
    found = json.loads(abtest(*ASKED, "--data", small_log, "--users", 5_000, "--json").out)
    # Two arms of 2,500; 1.96 + 0.84 standard errors of the relative difference.
    expected = 2.8016 * math.sqrt(2.0 / 2_500) * seconds.std() / seconds.mean()
    assert found["detectable"] == pytest.approx(expected, rel=0.05)
    sized = json.loads(abtest(*ASKED, "--data", small_log, "--detect", "6%", "--json").out)
    people_needed = 2.0 * (2.8016 / 0.06) ** 2 * 2.0 * (seconds.std() / seconds.mean()) ** 2
    assert sized["sized"] and people_needed <= sized["people"] <= people_needed + 2 * 4_096


def test_time_is_what_this_machine_has_shown(
    abtest: Run, small_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_pilot: None
) -> None:
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "cache"))
    speeds.remember("simulate", 100.0, 50.0)
    speeds.remember("train popular", 1e4, 30.0)
    speeds.remember("train popular", 1e4, 0.1)  # too short to say anything
    asked = (*ASKED, "--data", small_log, "--users", 6_144, "--json")
    for workers in (1, 2, 9):
        costs = {
            c["stage"]: c for c in json.loads(abtest(*asked, "--workers", workers).out)["costs"]
        }
        # 6,144 people live one day and two of burn-in, a third each, in two groups.
        expected = 0.5 * 6_144 * (1 + 2 / 3) / min(workers, 2)
        assert costs["simulate 6,144 people"]["seconds"] == pytest.approx(expected)
    rows = pl.read_parquet(small_log / "impressions" / "*.parquet").height
    assert costs["train popular"]["seconds"] == pytest.approx(3e-3 * rows)
    assert costs["train popular"]["measured"]
    (tmp_path / "own.py").write_text(
        "from policies.base import Policy\nclass Own(Policy):\n"
        "    def score_videos(self, r):\n        return 0.0 * r.candidates\n"
    )
    own = abtest("run", "-t", "own.py:Own", "-c", "random", "--dry-run", "--data", small_log)
    assert "train own.py:Own: not known before its first run" in own.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-t", "populr"), 2, "Did you mean 'popular'?"),
        (("-t", "sasrec:layers=-1"), 2, "layers"),
        (("--primary", "watch"), 2, "'watch'"),
        (("--guardrail", "hate=-1%"), 2, "Did you mean 'hates'?"),
        (("--data", "nowhere"), 3, "no dataset at nowhere"),
        (("--out", "/proc/x"), 2, "cannot write to /proc"),
        (("--data", "/nowhere/at/all"), 3, "no dataset"),
        (("--rule", "effect=maybe"), 2, "maybe"),
    ],
)
def test_what_a_run_would_refuse_is_refused(
    abtest: Run, tmp_path: Path, quick_pilot: None,
    arguments: tuple[str, ...], code: int, message: str,
) -> None:  # fmt: skip
    result = abtest(*ASKED, *arguments)
    assert result.code == code, result.err
    assert message in result.err and not result.out
    assert not list(tmp_path.iterdir())
