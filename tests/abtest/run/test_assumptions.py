"""Twins in assumed worlds, end to end: the same numbers as ordinary runs, resumable, refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import abtest as package
from abtest.console import Console
from abtest.run.arms.training import train
from abtest.run.datasets import builtin_dataset, synthesise
from abtest.run.engines import Job, Report
from abtest.run.environments import EnvironmentSpec
from abtest.run.simulate import SimulationSpec, Simulator
from reports.results import AssumedPoint, ExperimentResult, Sensitivity
from simulator.logs.dataset import Dataset, DatasetWriter

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821

POLICIES = ("-t", "oracle-comments", "-c", "random")
QUICK = {
    "n_videos": 300,
    "n_authors": 100,
    "visits_per_day": 1.0,
    "session_seconds": 40.0,
    "session_person_sigma": 0.1,
    "open_base": -5.0,
}
"""A world in which a day is a few dozen pages long and comments are opened often."""
ASSUME = ("--assume", "comment_taste_strength=0,1", "--assume", "comment_order_effect=0.5")


@pytest.fixture(scope="module")
def quick_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world as a file."""
    file = tmp_path_factory.mktemp("worlds") / "quick.toml"
    lines = ['base = "small"', *(f"{name} = {value}" for name, value in QUICK.items())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def quick_log(quick_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("logs") / "quick"
    console = Console(quiet=True)
    synthesise(target, preset=str(quick_world), seed=1, users=60, days=1, console=console)
    return target


class InProcess:
    """An engine without processes: starting them takes longer than these runs."""

    place = ""

    def __init__(self, job: Job[Any, Any], workers: int) -> None:
        self._job = job
        self.workers = workers
        self._shared: Any = None

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, tasks: Sequence[Any], report: Report) -> Iterator[Any]:
        if self._shared is None:
            self._shared = self._job.prepare()
        for number, task in enumerate(tasks):
            report(float(number), number)
            yield self._job.work(self._shared, task, lambda fraction: None)


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abtest.run.machines.LocalEngine", InProcess)


def sensitivity_of(directory: Path) -> Sensitivity:
    text = (directory / "results.json").read_text(encoding="utf-8")
    found = ExperimentResult.from_json(text).assumptions
    assert found is not None
    return found


def points(record: Sensitivity) -> dict[tuple[str, float], AssumedPoint]:
    return {(g.parameter, p.value): p for g in record.grids for p in g.points}


def small_run(quick_log: Path, out: str, *more: object) -> tuple[object, ...]:
    return ("run", *POLICIES, "--data", quick_log, "--users", 60, "--burn-in-days", 0,
            "--out", out, "--workers", 1, *more)  # fmt: skip


@pytest.mark.usefixtures("one_process")
def test_the_base_point_is_the_ordinary_twin_in_both_designs_and_a_stopped_run_goes_on(
    abtest: Run, quick_log: Path, tmp_path: Path
) -> None:
    """One test for what needs the same two runs."""
    twin = abtest(*small_run(quick_log, "twin", "--design", "twin", *ASSUME))
    assert twin.code == 0, twin.err
    result = ExperimentResult.from_json((tmp_path / "twin" / "results.json").read_text())
    metric = result.comparisons[0].metrics[0]
    record = sensitivity_of(tmp_path / "twin")
    assert [(g.parameter, g.base, g.in_log) for g in record.grids] == [
        ("comment_taste_strength", 1.0, True),
        ("comment_order_effect", 1.0, False),
    ]
    assert list(points(record)) == [
        ("comment_taste_strength", 0.0), ("comment_taste_strength", 1.0),
        ("comment_order_effect", 0.5), ("comment_order_effect", 1.0),
    ]  # fmt: skip
    for parameter in ("comment_taste_strength", "comment_order_effect"):
        base = points(record)[parameter, 1.0]
        assert base.control == metric.control.value
        assert base.lifts[0].effect == metric.relative
    assert sorted(p.name for p in (tmp_path / "twin" / "assumptions").iterdir()) == [
        "comment_order_effect=0.5", "comment_taste_strength=0",
    ]  # fmt: skip

    # Each point is a run that can be shown, and says of which world it is.
    assert abtest("report", "twin/assumptions/comment_taste_strength=0").code == 0
    own = json.loads(
        (tmp_path / "twin/assumptions/comment_taste_strength=0/results.json").read_text()
    )
    assert own["context"]["assumption"] == {"comment_taste_strength": 0.0}
    shown = own["comparisons"][0]["metrics"][0]["relative"]["value"]
    found = points(record)["comment_taste_strength", 0.0].lifts[0].effect
    assert found is not None and found.value == shown
    assert "under other assumptions" in twin.out
    assert "under other assumptions" in abtest("report", "twin").out
    page = (tmp_path / "twin" / "report.html").read_text(encoding="utf-8")
    assert abtest("report", "twin", "--format", "html").code == 0
    assert (tmp_path / "twin" / "report.html").read_text(encoding="utf-8") == page

    # The online experiment adds a twin of its own world: the same numbers.
    online = abtest(*small_run(quick_log, "online", *ASSUME))
    assert online.code == 0, online.err
    assert points(sensitivity_of(tmp_path / "online")) == points(record)
    assert (tmp_path / "online" / "assumptions" / "base" / "outcomes.parquet").is_file()

    # What is there is not simulated again, and the end is the same.
    before = (tmp_path / "twin" / "results.json").read_bytes()
    kept = tmp_path / "twin/assumptions/comment_order_effect=0.5/pieces/group-00000.parquet"
    stamp = kept.stat().st_mtime_ns
    (tmp_path / "twin" / "results.json").unlink()
    (tmp_path / "twin/assumptions/comment_taste_strength=0/pieces/group-00000.parquet").unlink()
    resumed = abtest("run", "--resume", "twin", "--workers", 1)
    assert resumed.code == 0, resumed.err
    assert "assumptions: 2 twins of 60 people" in resumed.err
    assert (tmp_path / "twin" / "results.json").read_bytes() == before
    assert kept.stat().st_mtime_ns == stamp
    part = abtest("run", "--resume", "twin/assumptions/comment_order_effect=0.5")
    assert part.code != 0


@pytest.fixture
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABTEST_CACHE", str(shared_cache))


def outcomes(log: Path, dataset: Dataset, assumed: tuple[tuple[str, float], ...]) -> pl.DataFrame:
    """20 people who live through two arms in the world of a log, policies trained on another."""
    console = Console(quiet=True)
    environment = EnvironmentSpec("world", str(log), "", 0, 1, 1, assumed=assumed)
    spec = SimulationSpec(
        environment=environment,
        arms=("random", "likes"),
        policies=tuple(
            train(p, {}, dataset, seed=1, console=console) for p in ("random", "random+likes")
        ),
        twin=True,
        people=20,
        days=1,
        seed=1,
        explore_share=0.0,
    )
    return Simulator(spec).group(0)


@pytest.mark.usefixtures("cache")
def test_an_assumed_world_is_that_world_with_the_policies_as_trained(
    quick_log: Path, tmp_path: Path
) -> None:
    base = Dataset.open(quick_log)
    own = outcomes(quick_log, base, ())
    assert outcomes(quick_log, base, (("comment_taste_strength", 1.0),)).equals(own)
    changed = outcomes(quick_log, base, (("comment_taste_strength", 3.0),))
    assert not changed.equals(own)
    # The same log, as if it came from the world with that value.
    shutil.copytree(quick_log, tmp_path / "log")
    file = tmp_path / "log" / "dataset.json"
    info = json.loads(file.read_text(encoding="utf-8"))
    info["world"]["config"]["comment_taste_strength"] = 3.0
    file.write_text(json.dumps(info), encoding="utf-8")
    assert outcomes(tmp_path / "log", base, ()).equals(changed)


@pytest.mark.usefixtures("cache", "one_process")
def test_retraining_is_an_ordinary_run_in_a_world_of_that_value(
    quick_world: Path, tmp_path: Path
) -> None:
    """Also where the policies learn from the log: `popular` does."""
    common: dict[str, Any] = {
        "treatment": "popular", "control": "random", "users": 40, "burn_in_days": 1,
        "log_users": 40, "design": "twin", "workers": 1,
    }  # fmt: skip
    assumed = package.run(
        **common, world=str(quick_world), assume="comment_taste_strength=3", assume_retrain=True,
        out=tmp_path / "assumed",
    )  # fmt: skip
    record = assumed.result.assumptions
    assert record is not None and record.retrained
    own = tmp_path / "strong.toml"
    own.write_text(
        quick_world.read_text(encoding="utf-8") + "comment_taste_strength = 3.0\n",
        encoding="utf-8",
    )
    ordinary = package.run(**common, world=str(own), out=tmp_path / "ordinary")
    metric = ordinary.result.comparisons[0].metrics[0]
    (lift,) = points(record)["comment_taste_strength", 3.0].lifts
    assert lift.effect == metric.relative
    data = json.loads(
        (tmp_path / "assumed/assumptions/comment_taste_strength=3/results.json").read_text()
    )["context"]["data"]
    assert data["content_hash"] == ordinary.result.context["data"]["content_hash"]
    assert data["content_hash"] != assumed.result.context["data"]["content_hash"]


@pytest.mark.usefixtures("cache")
def test_a_log_that_does_not_depend_on_the_assumption_has_the_same_weights(
    quick_world: Path,
) -> None:
    console = Console(quiet=True)
    made = [
        builtin_dataset(str(quick_world), 1, 20, 1, console, assume)
        for assume in (None, ("comment_order_effect", 0.5))
    ]
    assert made[0].path != made[1].path
    trained = [train("popular", {}, dataset, seed=1, console=console) for dataset in made]
    assert trained[0].directory == trained[1].directory
    assert made[1].info.world is not None
    assert made[1].info.world["config"]["comment_order_effect"] == 0.5


@pytest.mark.usefixtures("quick_pilot")
@pytest.mark.parametrize(
    ("design", "told"),
    [("twin", "simulate 2 twins of 60 people"), ("online", "simulate 3 twins of 60 people")],
)
def test_a_dry_run_counts_the_twins(abtest: Run, quick_log: Path, design: str, told: str) -> None:
    planned = abtest(*small_run(quick_log, "out", "--design", design, *ASSUME, "--dry-run"))
    assert planned.code == 0, planned.err
    assert told in planned.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--assume", "comment_tast_strength=1"), "Did you mean 'comment_taste_strength'"),
        (("--assume", "comment_order_effect=2"), "expected a share from 0 to 1"),
        (("--assume-retrain",), "--assume-retrain needs --assume"),
        (("--assume", "comments_median=20"), "in each assumed world: --assume-retrain"),
        (("--assume", "uncertain", "--assume-retrain"), "--assume-retrain needs --data demo"),
    ],
)
def test_what_cannot_be_assumed_is_refused_before_anything_is_made(
    abtest: Run, quick_log: Path, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    refused = abtest(*small_run(quick_log, "out", *arguments))
    assert refused.code == 2
    assert expected in refused.err
    assert not (tmp_path / "out").exists()


def test_people_learned_from_a_log_have_no_parameters_to_vary(
    abtest: Run, quick_log: Path, tmp_path: Path
) -> None:
    log = Dataset.open(quick_log)
    with DatasetWriter(tmp_path / "real", name="real", source="test", licence="none") as writer:
        for table in log.info.rows:
            writer.append(table, log.scan(table).collect())
    asked = ("run", "-t", "popular", "-c", "random", "--data", "real", "--assume", "uncertain")
    for more in ((), ("--dry-run",)):
        refused = abtest(*asked, *more)
        assert refused.code == 2
        assert "learned from a log and have none" in refused.err
