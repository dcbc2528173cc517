"""Interference end to end: off it changes nothing; on, a test is held against its own truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import abtest as package
from abtest.config_sources import load_config
from abtest.console import Console
from abtest.errors import UsageError
from abtest.run.arms.training import train
from abtest.run.environments import EnvironmentSpec
from abtest.run.simulate import SimulationSpec, Simulator
from reports.results import ExperimentResult
from simulator.interference.settings import InterferenceSettings
from simulator.logs.dataset import Dataset, DatasetWriter

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821

STRONG = InterferenceSettings(like_herding=2.0, supply=2.0, refresh_hours=4.0)
NONE = InterferenceSettings(comment_likes=0.0, supply=0.0)
TABLE = "[interference]\nlike_herding = 2.0\nsupply = 2.0\nrefresh_hours = 4.0\n"


def result_of(directory: Path) -> ExperimentResult:
    return ExperimentResult.from_json((directory / "results.json").read_text(encoding="utf-8"))


def test_an_online_test_is_held_against_its_truth_and_a_stopped_run_goes_on(
    abtest: Run, quick_log: Path, tmp_path: Path
) -> None:
    """One test for what needs the same two runs."""
    (tmp_path / "strong.toml").write_text(TABLE, encoding="utf-8")
    asked = ("-t", "oracle-comments", "-c", "random", "--config", "strong.toml", "--interference")
    common = ("run", "--data", quick_log, "--users", 60, "--burn-in-days", 0, "--workers", 1)
    online = abtest(*common, *asked, "--out", "online")
    assert online.code == 0, online.err
    record = result_of(tmp_path / "online").interference
    assert record is not None
    assert record.strengths == STRONG.values()
    assert (record.users, record.groups) == (60, 1)
    assert record.audience == pytest.approx(4.0 * 300 / 60)

    # The truth is the twin of the same people, run by itself.
    twin = abtest(*common, *asked, "--design", "twin", "--out", "twin")
    assert twin.code == 0, twin.err
    whole = result_of(tmp_path / "twin")
    assert whole.interference is None
    frames = [pl.read_parquet(tmp_path / d / "outcomes.parquet") for d in ("online/truth", "twin")]
    assert frames[0].equals(frames[1])
    (first, *_) = record.biases
    metric = whole.comparisons[0].metrics[0]
    assert (first.metric, first.role) == (metric.metric, "primary")
    assert first.truth == metric.relative
    assert first.test == result_of(tmp_path / "online").comparisons[0].metrics[0].relative
    assert first.bias.value == pytest.approx(first.expected.value - first.truth.value)
    assert first.bias.value != 0.0
    assert {b.role for b in record.biases} <= {"primary", "guardrail"}

    # Every form of the report says it, and the report of a run without it does not.
    told = "This test against the effect on everybody"
    assert told in online.out
    assert told not in twin.out
    page = (tmp_path / "online" / "report.html").read_text(encoding="utf-8")
    assert told in page and "Control moves" in page
    assert "Tests on average" in abtest("report", "online", "--format", "md").out
    assert "An online A/B test of this change reports" in " ".join(online.out.split())
    assert abtest("report", "online/truth").code == 0

    # What is there is not simulated again, and the end is the same.
    before = (tmp_path / "online" / "results.json").read_bytes()
    (tmp_path / "online" / "results.json").unlink()
    (tmp_path / "online" / "truth/pieces/group-00000.parquet").unlink()
    resumed = abtest("run", "--resume", "online", "--workers", 1)
    assert resumed.code == 0, resumed.err
    assert "truth: a twin of 60 people" in resumed.err
    assert "simulating 60" not in resumed.err
    assert (tmp_path / "online" / "results.json").read_bytes() == before
    again = abtest("run", "--resume", "online", "--workers", 1)
    assert "is finished" in again.err


@pytest.fixture
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABTEST_CACHE", str(shared_cache))


def simulator(
    log: Path,
    arms: tuple[str, ...],
    *,
    twin: bool,
    interference: InterferenceSettings | None,
    size: int = 40,
) -> Simulator:
    """80 people of a log's world, in groups of a size."""
    dataset = Dataset.open(log)
    console = Console(quiet=True)
    spec = SimulationSpec(
        environment=EnvironmentSpec("world", str(log), "", 0, 1, 1),
        arms=arms,
        policies=tuple(train(p, {}, dataset, seed=1, console=console) for p in arms),
        twin=twin,
        people=80,
        days=1,
        seed=1,
        explore_share=0.0,
        group_size=size,
        interference=interference,
    )
    return Simulator(spec, dataset)


ARMS = ("popular", "random")


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("twin", [False, True])
def test_without_strength_outcomes_are_those_without_interference(
    quick_log: Path, twin: bool
) -> None:
    off = simulator(quick_log, ARMS, twin=twin, interference=None).group(0)
    assert simulator(quick_log, ARMS, twin=twin, interference=NONE).group(0).equals(off)
    assert not simulator(quick_log, ARMS, twin=twin, interference=STRONG).group(0).equals(off)


@pytest.mark.usefixtures("cache")
def test_groups_do_not_depend_on_which_worker_has_them_in_which_order(quick_log: Path) -> None:
    one = simulator(quick_log, ARMS, twin=False, interference=STRONG)
    forwards = [one.group(0), one.group(1)]
    other = simulator(quick_log, ARMS, twin=False, interference=STRONG)
    assert other.group(1).equals(forwards[1])
    assert other.group(0).equals(forwards[0])


@pytest.mark.usefixtures("cache")
def test_twin_arms_do_not_see_each_other_and_online_arms_do(quick_log: Path) -> None:
    """An arm's people live alike whatever the other arm is, if and only if they are alone."""

    def of(arms: tuple[str, str], *, twin: bool) -> pl.DataFrame:
        group = simulator(quick_log, arms, twin=twin, interference=STRONG).group(0)
        return group.filter(pl.col("arm") == "random").sort("user_id", "day")

    assert of(("random", "popular"), twin=True).equals(of(("popular", "random"), twin=True))
    with_popular = of(("random", "popular"), twin=False)
    with_newest = of(("random", "random+newest"), twin=False)
    assert with_popular["user_id"].equals(with_newest["user_id"])
    assert not with_popular.equals(with_newest)


def test_a_configuration_says_what_it_takes_to_repeat_it(tmp_path: Path) -> None:
    """The flag has no strengths: those of a file stay, and others need the file again."""
    (tmp_path / "strong.toml").write_text(TABLE, encoding="utf-8")
    plain = load_config({"interference": True})
    own = load_config({"interference": True}, file=tmp_path / "strong.toml")
    assert plain.interference == InterferenceSettings().values()
    assert own.interference == STRONG.values()
    assert plain.command().endswith("--interference")
    assert own.command().endswith("--interference --config config.toml")
    (tmp_path / "config.toml").write_text(own.to_toml(), encoding="utf-8")
    assert load_config({}, file=tmp_path / "config.toml") == own
    off = load_config({"interference": None})
    assert off.interference is None and "interference" not in off.to_toml()
    assert load_config({}, environment={"ABTEST_INTERFERENCE": "true"}) == plain
    assert load_config({}, environment={"ABTEST_INTERFERENCE": "0"}) == off


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--keep-log",), "--keep-log does not go with --interference"),
        (("--config", "odd.toml"), "odd.toml line 1: interference.supply is 9.0, expected"),
        (("--config", "word.toml"), "interference is 'on', expected true, false or a table"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    abtest: Run, quick_log: Path, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "odd.toml").write_text("[interference]\nsupply = 9.0\n", encoding="utf-8")
    (tmp_path / "word.toml").write_text('interference = "on"\n', encoding="utf-8")
    asked = ("-t", "random", "-c", "random", "--data", quick_log, "--users", 60, "--out", "out")
    refused = abtest("run", *asked, "--interference", *arguments)
    assert refused.code == 2
    assert expected in " ".join(refused.err.split())
    assert not (tmp_path / "out").exists()


def test_python_refuses_unknown_strengths(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'supply'"):
        package.run("random", "random", interference={"suply": 1.0}, out=tmp_path / "out")


def test_people_learned_from_a_log_do_not_answer_to_displayed_likes(
    abtest: Run, quick_log: Path, tmp_path: Path
) -> None:
    log = Dataset.open(quick_log)
    with DatasetWriter(tmp_path / "real", name="real", source="test", licence="none") as writer:
        for table in log.info.rows:
            writer.append(table, log.scan(table).collect())
    asked = ("run", "-t", "popular", "-c", "random", "--data", "real", "--interference")
    for more in ((), ("--dry-run",)):
        refused = abtest(*asked, *more)
        assert refused.code == 2
        assert "does not tell how they answer to displayed likes" in " ".join(refused.err.split())


@pytest.mark.usefixtures("quick_pilot")
def test_a_dry_run_counts_the_truth(abtest: Run, quick_log: Path) -> None:
    asked = ("run", "-t", "popular", "-c", "random", "--data", quick_log, "--users", 60)
    planned = abtest(*asked, "--interference", "--dry-run")
    assert planned.code == 0, planned.err
    assert "simulate the truth of 60 people" in planned.out
    for more in ((), ("--interference", "--design", "twin")):
        assert "truth" not in abtest(*asked, *more, "--dry-run").out


def test_results_without_interference_do_not_name_it(tmp_path: Path) -> None:
    """So that bytes are those of versions that had none."""
    text = ExperimentResult(2, "", True, "online", (), ()).to_json()
    assert "interference" not in json.loads(text)
    assert ExperimentResult.from_json(text).interference is None
