"""Validate an experiment as a run does, and estimate its power, time and disk; write nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from abtest.config import DEMO_DATA, RunConfig
from abtest.console import Console
from abtest.dry_run.pilot import outcomes_of_log, outcomes_of_world
from abtest.errors import UsageError
from abtest.power.known import Known, known_of_source
from abtest.power.planning import Asked, answer
from abtest.power.sources import Source
from abtest.run.arms.foreign import make
from abtest.run.arms.training import weights_directory
from abtest.run.assumptions import check_assumptions, twins_of
from abtest.run.checks import (
    arm_names,
    check_data,
    check_policies,
    check_primary,
    policy_names,
)
from abtest.run.datasets import GROUP_SIZE, builtin_path, opened
from abtest.run.engines import default_workers
from abtest.run.fidelity import response_directory
from abtest.run.interference import check_interference, twin_of
from abtest.run.run_directory import check_free, default_path
from abtest.run.simulate import POLICY_DAY
from abtest.run.sizing import PILOT_GROUPS, analysis_plan, people_needed
from abtest.run.speeds import speed_of
from policies.registry import parts_of, plugin_warnings, settings_of
from reports.plan import Metric
from reports.statistics.errors import StatisticsError
from reports.users.rows import EVERYBODY
from reports.users.table import UserTable
from simulator.logs.checks.sound import ensure_sound
from simulator.logs.dataset import Dataset
from simulator.world import World

_WORLD_IMPRESSIONS = 374.0
"""Impressions of one person and day in the built-in world's log, for a log not yet written."""


@dataclass(frozen=True)
class Cost:
    """One stage and what it takes.

    Attributes:
        stage: For people.
        seconds: None where nobody has measured it.
        measured: Whether this machine has shown the speed.
    """

    stage: str
    seconds: float | None
    measured: bool


@dataclass(frozen=True)
class Preview:
    """What a run would do.

    Attributes:
        directory: Where it would write.
        arms: Names of the arms, control first.
        primary: Name of the primary metric.
        guardrails: Names of the guardrails.
        people: Expected number of people.
        sized: Whether the run sizes itself; then ``people`` is an expectation.
        detectable: Relative effect found with 80 % power, or None with the reason in ``unknown``.
        unknown: Why the power is not known; empty if it is.
        source: Where the variance comes from.
        costs: Stages in order.
        disk_bytes: Of the run directory.
    """

    directory: Path
    arms: tuple[str, ...]
    primary: str
    guardrails: tuple[str, ...]
    people: int
    sized: bool
    detectable: float | None
    unknown: str
    source: str
    costs: tuple[Cost, ...]
    disk_bytes: float


def preview(
    config: RunConfig, *, out: Path | None, workers: int | None, console: Console
) -> Preview:
    """Everything that a run checks before it starts, and what it would cost.

    Raises:
        UsageError, DataError, PolicyError: as the run would.
    """
    plan = analysis_plan(config)
    arms = arm_names(config, console)
    check_policies(config)
    directory = out or default_path(config)
    check_free(directory)
    for warning in plugin_warnings():
        console.warn(warning)
    dataset, world = _data(config)
    if dataset is not None:
        check_data(config, dataset)
        check_primary(config, dataset)
    check_assumptions(config, world)
    check_interference(config, world)
    with console.stage("pilot", "estimating the variance"):
        if world is not None:
            frame = outcomes_of_world(config, world)
            source = f"{frame['user_id'].n_unique()} people under the platform's own ranker"
        else:
            assert dataset is not None
            frame = outcomes_of_log(config, dataset)
            source = "the log's own last days"
        primary = plan.metric(plan.primary)
        everyone = None if world is not None else _people_of_log(config, dataset)
        people, sized, detectable, unknown = _power(config, frame, primary, everyone)
    return Preview(
        directory=directory,
        arms=arms,
        primary=plan.primary,
        guardrails=tuple(plan.guardrails),
        people=people,
        sized=sized,
        detectable=detectable,
        unknown=unknown,
        source=source,
        costs=tuple(_costs(config, dataset, world, people, workers or default_workers())),
        disk_bytes=_disk(config, world is not None, people),
    )


def _data(config: RunConfig) -> tuple[Dataset | None, World | None]:
    """The log if it exists, and the built-in world if people come from it."""
    if config.data == DEMO_DATA and not Path(config.data).exists():
        world = World.create(config.world, config.world_seed, config.language)
        path = builtin_path(
            world, config.world, config.world_seed, config.log_users, config.burn_in_days
        )
        return (Dataset.open(path) if path.is_dir() else None), world
    dataset = opened(Path(config.data))
    ensure_sound(dataset)
    if dataset.info.world is not None:
        if config.sample_users is not None:
            raise UsageError(
                f"{config.data} is a log of the built-in world: people are drawn from the world.",
                "Use --users instead of --sample-users",
            )
        return dataset, World.from_spec(dataset.info.world)
    people = len(dataset.user_ids())
    if config.sample_users is not None and config.sample_users > people:
        raise UsageError(
            f"--sample-users is {config.sample_users:,}, but {config.data} has {people:,} people.",
            "Nothing was run",
        )
    return dataset, None


def _people_of_log(config: RunConfig, dataset: Dataset | None) -> int:
    assert dataset is not None
    return config.users or config.sample_users or len(dataset.user_ids())


def _power(
    config: RunConfig, frame: pl.DataFrame, primary: Metric, everyone: int | None
) -> tuple[int, bool, float | None, str]:
    """People, whether that is an expectation, detectable effect, why that is not known."""
    fixed = config.users or everyone
    table = UserTable(frame, [EVERYBODY])
    source = Source("pilot", table, EVERYBODY, (primary,))
    have = len(table.calendar)
    try:
        (known,) = known_of_source(
            source, days=None if have == config.days else config.days, paired=False
        )
    except StatisticsError as error:
        return fixed or config.max_users, fixed is None, None, error.problem
    assert isinstance(known, Known)
    if known.scale == "absolute":
        problem = "the pilot's value is not clear of zero."
        return fixed or config.max_users, fixed is None, None, problem
    arms = 1 + len(config.treatment)
    asked = Asked(
        effect=None,
        users=fixed or PILOT_GROUPS * GROUP_SIZE,
        margin=None,
        power=0.8,
        alpha=0.05,
        shares=(1.0 / arms,) * arms,
        correct="both",
        paired=False,
    )
    try:
        effect = answer(known, asked).effect
        if effect is None or fixed is not None:
            return fixed or config.max_users, fixed is None, effect, ""
        pilot = asked.users or 1
        people = min(config.max_users, people_needed(pilot, effect, config.detect))
        there = answer(known, dataclasses.replace(asked, users=people)).effect
    except StatisticsError as error:
        return fixed or config.max_users, fixed is None, None, error.problem
    return people, True, there, ""


def _costs(
    config: RunConfig, dataset: Dataset | None, world: World | None, people: int, workers: int
) -> list[Cost]:
    costs = []
    if dataset is None:
        costs.append(
            _cost("write the world's log", "world", config.log_users * config.burn_in_days)
        )
        impressions = _WORLD_IMPRESSIONS * config.log_users * config.burn_in_days
    else:
        impressions = float(dataset.info.rows.get("impressions", 0))
    specs = [p for spec in policy_names(config) for p in parts_of(spec) or (spec,)]
    for spec in dict.fromkeys(specs):
        if dataset is not None:
            policy = make(spec, settings_of(spec, config.policies))
            if weights_directory(policy, spec, dataset, config.training_seed).is_dir():
                continue
        costs.append(_cost(f"train {spec}", f"train {spec}", impressions))
    if world is None:
        assert dataset is not None
        if not (response_directory(dataset, config.training_seed) / "quality.json").is_file():
            costs.append(_cost("learn how people respond", "response", impressions))
    lives = 1 + len(config.treatment) if config.design == "twin" else 1
    burn_in = config.burn_in_days if world is not None else 0
    days = people * (burn_in / POLICY_DAY + config.days * lives)
    cores = max(1, min(workers, -(-people // GROUP_SIZE)))
    costs.append(_cost(f"simulate {people:,} people", "simulate", days / cores))
    truth = twin_of(config, people)
    if truth:
        lives = 1 + len(config.treatment)
        days = truth * (burn_in / POLICY_DAY + config.days * lives)
        cores = max(1, min(workers, -(-truth // GROUP_SIZE)))
        costs.append(_cost(f"simulate the truth of {truth:,} people", "simulate", days / cores))
    if config.assume and world is not None:
        costs += _assumed_costs(config, world, people, workers)
    return costs


def _assumed_costs(config: RunConfig, world: World, people: int, workers: int) -> list[Cost]:
    twins, each = twins_of(config, world, people)
    costs = []
    if config.assume_retrain:
        amount = twins * config.log_users * config.burn_in_days
        costs.append(_cost("write the logs of assumed worlds", "world", amount))
        specs = [p for spec in policy_names(config) for p in parts_of(spec) or (spec,)]
        costs += [
            _cost(f"train {spec} in them", f"train {spec}", _WORLD_IMPRESSIONS * amount)
            for spec in dict.fromkeys(specs)
        ]
    lives = 1 + len(config.treatment)
    days = twins * each * (config.burn_in_days / POLICY_DAY + config.days * lives)
    cores = max(1, min(workers, twins * -(-each // GROUP_SIZE)))
    title = f"simulate {twins} twins of {each:,} people in assumed worlds"
    return [*costs, _cost(title, "simulate", days / cores)]


def _cost(title: str, stage: str, amount: float) -> Cost:
    speed = speed_of(stage)
    if speed is None:
        return Cost(title, None, False)
    return Cost(title, speed.seconds * amount, speed.measured)


_ROW_BYTES = 80.0
"""Outcomes of one person and day, in the pieces and once more in outcomes.parquet."""
_LOG_BYTES = 7_000.0
"""Log of one person and day, with the decisions that --keep-log needs."""
_REPORT_BYTES = 400_000.0


def _disk(config: RunConfig, of_world: bool, people: int) -> float:
    lives = 1 + len(config.treatment) if config.design == "twin" else 1
    before = config.burn_in_days if of_world else 0
    rows = people * (before + config.days) * lives
    log = people * (before + config.days) * _LOG_BYTES if config.keep_log else 0.0
    return rows * _ROW_BYTES + log + _REPORT_BYTES * len(config.treatment)
