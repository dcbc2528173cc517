"""One experiment end to end: same bytes whatever the workers or interruptions, and a report."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import polars as pl

from abtest.config import RunConfig
from abtest.run import simulate
from abtest.run.datasets import GROUP_SIZE
from abtest.run.simulate import assign_arms
from simulator.interference.settings import InterferenceSettings

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821

SMALL = ("--treatment", "popular", "--control", "random", "--users", 300)


def test_one_and_two_workers_give_the_same_bytes(
    abtest: Run, small_log: Path, tmp_path: Path, monkeypatch: object
) -> None:
    arguments = ("run", *SMALL, "--data", small_log, "--users", 4_200)
    first = abtest(*arguments, "--out", "one", "--workers", 1)
    second = abtest(*arguments, "--out", "two", "--workers", 2)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    for name in ("results.json", "outcomes.parquet", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_resumed_run_ends_with_the_same_bytes(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    assert abtest("run", *SMALL, "--data", small_log, "--out", "whole", "--workers", 1).code == 0
    assert abtest("run", *SMALL, "--data", small_log, "--out", "part", "--workers", 1).code == 0
    part = tmp_path / "part"
    expected = (tmp_path / "whole" / "results.json").read_bytes()
    for name in ("results.json", "report.html", "outcomes.parquet", "pieces/group-00000.parquet"):
        (part / name).unlink()
    resumed = abtest("run", "--resume", "part", "--workers", 1)
    assert resumed.code == 0, resumed.err
    assert (part / "results.json").read_bytes() == expected


def test_run_prints_a_verdict_and_writes_a_report(
    abtest: Run, small_log: Path, tmp_path: Path
) -> None:
    result = abtest("run", *SMALL, "--data", small_log, "--out", "run", "--workers", 1)
    assert result.code == 0, result.err
    assert "simulated" in result.out
    assert "Report: run/report.html" in result.out
    assert "abtest policy new my_policy" in result.out
    weak = re.search(r"300 people can detect only \+/-([\d.]+) % .* --users (\d+)", result.err)
    assert weak is not None and float(weak[1]) > 3.5 and int(weak[2]) > 300
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    metrics = [m["metric"] for m in results["comparisons"][0]["metrics"]]
    assert metrics[0] == "comment_watch_time"
    assert {"click_rate", "comment_open_rate", "play_time", "likes", "comment_interactions",
            "sessions", "return_next_day", "hates"} <= set(metrics)  # fmt: skip
    again = abtest("report", "run")
    assert again.code == 0
    markdown = abtest("report", "run", "--format", "md")
    assert markdown.code == 0 and markdown.out.startswith("## ")
    csv = abtest("report", "run", "--format", "csv", "--out", "metrics.csv")
    assert csv.out == "Written: metrics.csv\n"
    rows = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + len(metrics)
    assert json.loads(abtest("report", "run", "--format", "json").out) == results
    (tmp_path / "run" / "report.html").write_text("old")
    assert abtest("report", "run", "--format", "html").out == "Report: run/report.html\n"
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8") == page
    assert abtest("report", "run", "--format", "pdf").code == 2
    both = abtest("compare", "run", "run", "--html", "both.html")
    assert both.code == 0 and "Page: both.html" in both.out
    assert json.loads(abtest("compare", "run", "run", "--json").out)["runs"][1]["run"] == "run"
    lost = abtest("report", "run", "--format", "md", "--out", "no/such/x.md")
    assert lost.code == 2 and "cannot write no/such/x.md" in lost.err
    assert again.out.splitlines()[0] == result.out.splitlines()[0]


def test_twin_design_pairs_everybody(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    result = abtest("run", *SMALL, "--data", small_log, "--design", "twin", "--out", "twin",
                    "--workers", 1)  # fmt: skip
    assert result.code == 0, result.err
    outcomes = pl.read_parquet(tmp_path / "twin" / "outcomes.parquet")
    assert outcomes.group_by("user_id").agg(pl.col("arm").n_unique())["arm"].to_list() == [2] * 300
    # Before the start both arms are one life.
    before = outcomes.filter(pl.col("day") < 0).drop("arm")
    assert before.height == 2 * before.unique().height


def test_same_policy_in_both_arms_of_a_twin_run_has_no_effect(
    abtest: Run, small_log: Path, tmp_path: Path
) -> None:
    result = abtest("run", "-t", "popular", "-c", "popular", "--users", 200, "--data", small_log,
                    "--design", "twin", "--out", "aa", "--workers", 1)  # fmt: skip
    assert "A/A test" in result.err
    outcomes = pl.read_parquet(tmp_path / "aa" / "outcomes.parquet")
    first, second = (
        outcomes.filter(arm=arm).drop("arm").sort("user_id", "day")
        for arm in sorted(outcomes["arm"].unique())
    )
    assert first.equals(second)


def test_own_policy_from_nothing_to_a_report(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    assert abtest("policy", "new", "my_policy").code == 0
    checked = abtest("policy", "check", "my_policy.py:MyPolicy", "--data", small_log)
    assert checked.code == 0, checked.out
    result = abtest("run", "-t", "my_policy.py:MyPolicy", "-c", "random", "--users", 100,
                    "--data", small_log, "--out", "run", "--workers", 1)  # fmt: skip
    assert result.code == 0, result.err
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert results["context"]["contract"] == {"my_policy.py:MyPolicy": {"rules": 8, "broken": []}}
    assert "my_policy.py:MyPolicy keeps 8 rules that were tried" in result.out.replace("\n", " ")


def test_dry_run_prints_a_configuration_that_can_be_run(
    abtest: Run, tmp_path: Path, quick_pilot: None
) -> None:
    result = abtest("run", *SMALL, "--dry-run")
    assert result.code == 0
    (tmp_path / "abtest.toml").write_text(result.out, encoding="utf-8")
    assert abtest("run", "--dry-run").out == result.out


def test_split_is_even_and_independent_of_the_group() -> None:
    import numpy as np

    users = np.arange(20_000, dtype=np.int32)
    arms = assign_arms(users, 2, seed=3)
    # Binomial(20,000, 1/2): five standard deviations are 354.
    assert abs(int(arms.sum()) - 10_000) < 354
    assert np.array_equal(arms[5_000:], assign_arms(users[5_000:], 2, seed=3))
    assert not np.array_equal(arms, assign_arms(users, 2, seed=4))


def test_group_count_covers_everybody() -> None:
    assert [simulate.group_count(n) for n in (1, GROUP_SIZE, GROUP_SIZE + 1)] == [1, 1, 2]


def test_the_command_that_a_report_prints_gives_its_configuration(
    abtest: Run, quick_pilot: None
) -> None:
    config = RunConfig(
        treatment=("lsvcr", "popular"),
        control="sasrec",
        candidates="two-tower",
        world="small",
        language="en",
        design="twin",
        users=300,
        max_users=9_000,
        days=2,
        burn_in_days=3,
        log_users=400,
        seed=5,
        training_seed=6,
        world_seed=7,
        primary="click_rate",
        guardrail=("hates=-1%",),
        min_effect=0.01,
        rule=("guardrails=not-broken",),
        detect=0.02,
        explore_share=0.03,
        explore_comments=0.05,
        assume=("comment_taste_strength=0.2,2", "uncertain"),
        assume_retrain=True,
        interference=InterferenceSettings().values(),
    )
    default = RunConfig()
    unchanged = {
        field.name
        for field in dataclasses.fields(config)
        if getattr(config, field.name) == getattr(default, field.name)
    }
    # Everything that has a flag is changed; data takes a path and a sample of it data, a twin
    # design keeps no log.
    assert unchanged <= {"data", "policies", "control", "keep_log", "sample_users"}
    assert "--sample-users 90" in RunConfig(data="logs/x", sample_users=90).command()
    assert "--keep-log" in RunConfig(keep_log=True).command().split()
    words = shlex.split(config.command())
    printed = abtest(*words[1:], "--dry-run")
    assert printed.code == 0, printed.err
    assert tomllib.loads(printed.out) == tomllib.loads(config.to_toml())
