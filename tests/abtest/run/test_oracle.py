"""Oracles end to end: head room, marked everywhere, refused where they have no place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from abtest.console import Console
from abtest.run.arms.oracle import Oracle
from abtest.run.arms.training import train
from abtest.run.datasets import synthesise
from abtest.run.environments import EnvironmentSpec
from abtest.run.simulate import SimulationSpec, Simulator
from policies.base import Policy
from simulator.comment_sections import CommentSections
from simulator.feed import FeedSettings
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.response import truth
from simulator.response.truth import WorldPopulation
from simulator.world import World
from tests.abtest.quiet_world import quiet_world

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821

NOTE = "reads the simulated world's truth and cannot be deployed"
NAMES = ("oracle", "oracle-video", "oracle-comments")


@pytest.fixture(scope="module")
def real_log(small_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same tables without the world they come from: like a real log."""
    target = tmp_path_factory.mktemp("logs") / "real"
    log = Dataset.open(small_log)
    with DatasetWriter(target, name="real", source="test", licence="none") as writer:
        for table in log.info.rows:
            writer.append(table, log.scan(table).collect())
    return target


def oracle_run(small_log: Path) -> tuple[object, ...]:
    arms = [word for name in NAMES for word in ("--treatment", name)]
    return ("run", *arms, "--control", "popular", "--users", 60, "--data", small_log,
            "--burn-in-days", 1)  # fmt: skip


def test_oracles_run_resume_and_are_marked_everywhere(
    abtest: Run, small_log: Path, tmp_path: Path
) -> None:
    first = abtest(*oracle_run(small_log), "--out", "one", "--workers", 1)
    assert first.code == 0, first.err
    results = (tmp_path / "one" / "results.json").read_bytes()
    resumed = tmp_path / "one"
    for name in ("results.json", "report.html", "outcomes.parquet", "pieces/group-00000.parquet"):
        (resumed / name).unlink()
    again = abtest("run", "--resume", "one", "--workers", 2)
    assert again.code == 0, again.err
    assert (resumed / "results.json").read_bytes() == results
    policies = json.loads(results)["context"]["policies"]
    page = (resumed / "report.html").read_text(encoding="utf-8").replace("’", "'")
    words = " ".join(first.out.split())
    for name in NAMES:
        assert policies[name]["oracle"] == NOTE
        assert f"{name} {NOTE}" in words
        assert f"{name} {NOTE}" in page.replace("&#39;", "'")
    assert "oracle" not in policies["popular"]
    compared = abtest("compare", "one", "one")
    assert f"oracle {NOTE}" in " ".join(compared.out.split())


def lives(log: Path, arms: dict[str, str], people: int) -> dict[str, pl.DataFrame]:
    """Everyone's outcomes in every arm (name -> policy, control first), in this process."""
    console = Console(quiet=True)
    dataset = Dataset.open(log)
    spec = SimulationSpec(
        environment=EnvironmentSpec("world", str(log), "", burn_in_days=1, seed=1, days=1),
        arms=tuple(arms),
        policies=tuple(train(p, {}, dataset, seed=1, console=console) for p in arms.values()),
        twin=True,
        people=people,
        days=1,
        seed=1,
        explore_share=0.0,
    )
    frame = Simulator(spec).group(0)
    return {arm: frame.filter(arm=arm).drop("arm").sort("user_id", "day") for arm in arms}


@pytest.fixture
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABTEST_CACHE", str(shared_cache))


@pytest.mark.usefixtures("cache")
def test_a_partial_oracle_leaves_the_rest_to_the_control(small_log: Path) -> None:
    """The same 100 people in every arm, common random numbers."""
    arms = {name: name for name in ("popular", "oracle-video", "oracle-comments")}
    found = {
        arm: life.filter(pl.col("day") >= 0).sum().to_dicts()[0]
        for arm, life in lives(small_log, arms, 100).items()
    }

    def ratio(arm: str, above: str, below: str) -> float:
        own, control = found[arm], found["popular"]
        return float(own[above] / own[below] / (control[above] / control[below]))

    # Videos are the control's, up to how far people get; the comments are better ordered.
    assert ratio("oracle-comments", "clicks", "impressions") == pytest.approx(1.0, abs=0.05)
    assert ratio("oracle-comments", "comment_watch_time_ms", "comment_opens") > 1.01
    assert ratio("oracle-video", "comment_watch_time_ms", "impressions") > 1.1


def test_oracles_are_listed_as_what_they_are(abtest: Run) -> None:
    listed = " ".join(abtest("policy", "list").out.split())
    names = listed.partition(f": each {NOTE}.")[0].split(" ")[-len(NAMES) :]
    assert {name.strip(",") for name in names} == set(NAMES)
    rows = json.loads(abtest("policy", "list", "--json").out)["policies"]
    assert {r["name"] for r in rows if r["is_oracle"]} == set(NAMES)
    assert {r["name"]: r["ranks"] for r in rows if r["is_oracle"]} == {
        "oracle": ["videos", "comments"],
        "oracle-video": ["videos"],
        "oracle-comments": ["comments"],
    }
    assert NOTE in abtest("policy", "show", "oracle").out


def test_an_oracle_cannot_be_the_control(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    result = abtest("run", "-t", "popular", "-c", "oracle", "--data", small_log, "--out", "no")
    assert result.code == 2
    assert "cannot be the control" in result.err
    assert not (tmp_path / "no").exists()


def test_oracles_are_no_defaults() -> None:
    from abtest.config import RunConfig

    assert not {RunConfig().control, *RunConfig().treatment} & set(NAMES)


def test_oracles_refuse_people_of_a_real_log(abtest: Run, real_log: Path, tmp_path: Path) -> None:
    result = abtest("run", "-t", "oracle", "-c", "random", "--data", real_log, "--out", "no")
    assert result.code == 2
    assert "nobody knows it" in result.err
    assert "abtest run" in result.err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("train", "oracle"),
        ("evaluate", "popular", "oracle-video"),
        ("replay", "-t", "oracle-comments", "-c", "popular"),
        ("policy", "check", "oracle"),
    ],
    ids=lambda command: command[0],
)
def test_other_commands_say_why_an_oracle_has_no_place_there(
    abtest: Run, small_log: Path, command: tuple[str, ...]
) -> None:
    result = abtest(*command, "--data", small_log)
    assert result.code == 2
    assert "is an oracle" in result.err
    assert "treatment of abtest run" in result.err


def test_settings_of_an_oracle_are_checked(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    (tmp_path / "abtest.toml").write_text('[policies.oracle]\nvalue = "joy"\n', encoding="utf-8")
    result = abtest("run", "-t", "oracle", "-c", "random", "--data", small_log)
    assert result.code == 2
    assert "comment_time, comment_rate, clicks" in result.err


@pytest.mark.usefixtures("cache")
def test_the_rate_counts_the_seconds_that_the_world_takes(small_log: Path) -> None:
    """comment_time / comment_rate is the time that an impression takes from the session."""
    environment = EnvironmentSpec(
        "world", str(small_log), "", burn_in_days=1, seed=1, days=1
    ).build()
    feed, _ = environment.warm_feed(environment.people(40))
    feed.extend(environment.start_ms + 86_400_000)
    requests = feed.video_requests()
    assert requests is not None
    scores = {}
    for value in ("comment_time", "comment_rate"):
        oracle = Oracle(value)
        oracle.attach(feed.population, feed.catalogue, Policy())
        scores[value] = oracle.score_videos(requests).astype(float)
    people = feed.population
    assert isinstance(people, WorldPopulation)
    sections = CommentSections(feed.catalogue, FeedSettings().comment_limit)
    expected = people.expectations(
        requests.row.astype(np.int64),
        requests.candidates,
        sections.previews(requests.candidates, requests.time_ms),
        people.in_grid(requests.row.astype(np.int64), requests.key),
        requests.time_ms,
    )
    c = people.world.config
    page = people.page(
        requests.row.astype(np.int64),
        requests.candidates,
        people.in_grid(requests.row.astype(np.int64), requests.key),
        requests.time_ms,
    )
    watching = (expected.play_seconds + scores["comment_time"]) * (
        1.0 - c.session_refund * page.pleasure * expected.click
    ) + c.session_skip_cost * (1.0 - expected.click)
    watching += c.session_video_cost
    real = (requests.candidates >= 0) & (scores["comment_time"] > 0.01)
    assert real.sum() > 200
    swipe = scores["comment_time"][real] / scores["comment_rate"][real] - watching[real]
    # What `simulator.response.truth` adds for every impression that is left by a swipe.
    assert swipe == pytest.approx(np.full(real.sum(), truth.SWIPE_SECONDS), abs=0.02)
    assert truth.SWIPE_SECONDS == 0.4


@pytest.mark.usefixtures("cache")
def test_only_those_whose_ranker_changes_are_curious(tmp_path: Path) -> None:
    """Common random numbers: the control's people live the same lives whatever the novelty."""
    found = []
    for name, strength in (("calm", 0.0), ("curious", 1.0)):
        config = quiet_world(novelty_strength=strength)
        synthesise(tmp_path / name, preset="small", seed=1, users=20, days=1,
                   console=Console(quiet=True), world=World.create(config, 1))  # fmt: skip
        arms = {"control": "random", "same": "random", "other": "popular"}
        found.append(lives(tmp_path / name, arms, 60))
    calm, curious = found
    assert curious["control"].equals(calm["control"])
    assert curious["same"].equals(curious["control"])
    after, before = pl.col("day") >= 0, pl.col("day") < 0
    assert curious["other"].filter(before).equals(calm["other"].filter(before))
    rates = [
        life["other"].filter(after)["clicks"].sum()
        / life["other"].filter(after)["impressions"].sum()
        for life in found
    ]
    # One unit of log-odds more on a quarter: far beyond the noise of 60 people.
    assert rates[1] > 1.15 * rates[0]
