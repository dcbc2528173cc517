"""Run the twin in worlds with another value of one parameter: the lift as a function of it.

One parameter is varied at a time. Every assumed world has the same people, seeds and, unless its
parameter changes them, videos and comments. Policies stay as they were trained on the log of the
experiment's own world, or are trained on each assumed world's log (``assume_retrain``).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from abtest.config import RunConfig
from abtest.console import Console
from abtest.errors import Interrupted, UsageError
from abtest.files import write_text
from abtest.run.arms.training import TrainedPolicy
from abtest.run.datasets import GROUP_SIZE, builtin_dataset
from abtest.run.engines import WorkerDied
from abtest.run.machines import Machines
from abtest.run.run_directory import RunDirectory
from abtest.run.simulate import GroupTask, SimulationSpec, group_count
from abtest.run.sizing import analyze_outcomes
from reports.analysis.sensitivity import AnalysedGrid, sensitivity
from reports.plan import AnalysisPlan
from reports.results import Evidence, ExperimentResult
from simulator.calibration.knobs import KNOBS
from simulator.logs.dataset import Dataset
from simulator.world import World
from simulator.world.assumptions import (
    LOG_FREE,
    UNCERTAIN_ASSUMPTIONS,
    Assumption,
    Value,
    parse_assumptions,
    same_inventory,
    with_assumption,
)

MOST_PEOPLE = 2 * GROUP_SIZE
"""People in each assumed world where the experiment itself is no twin: pairing makes their
intervals narrower than those of many more people who live one life each."""

BASE = "base"
Train = Callable[[Dataset], Mapping[str, TrainedPolicy]]


@dataclass(frozen=True)
class MainRun:
    """The experiment whose assumptions are varied, simulated and analysed.

    Attributes:
        config: What was asked.
        dataset: What the policies were trained on.
        spec: What was simulated.
        plan: Metrics.
        directory: Where its files are; those of assumed worlds go to ``assumptions`` in it.
        signature: What pieces of the run share.
        people: Who took part.
        result: What was found.
    """

    config: RunConfig
    dataset: Dataset
    spec: SimulationSpec
    plan: AnalysisPlan
    directory: RunDirectory
    signature: Mapping[str, Any]
    people: int
    result: ExperimentResult


@dataclass(frozen=True)
class _Point:
    """One assumed world, or the experiment's own where there is no assumption."""

    assume: tuple[str, Value] | None
    dataset: Dataset
    spec: SimulationSpec
    directory: RunDirectory


def check_assumptions(config: RunConfig, base: World | None) -> None:
    """Refuse assumptions that cannot be tried.

    Args:
        config: What is asked.
        base: The world of the experiment; None if people are learned from a log.

    Raises:
        UsageError: there is no world, or an assumed one has other videos or comments.
    """
    if not config.assume:
        return
    if base is None:
        raise UsageError(
            f"--assume varies parameters of the built-in world; the people of {config.data} are "
            "learned from a log and have none.",
            "Leave --data or --assume out",
        )
    for assumption in () if config.assume_retrain else parse_assumptions(config.assume):
        for value in assumption.values:
            changed = with_assumption(base.config, assumption.parameter, value)
            if not same_inventory(base, World(changed, base.seed)):
                raise UsageError(
                    f"--assume {assumption.parameter}={value:g} changes the videos or comments "
                    "that policies were trained on.",
                    "Train anew in each assumed world: --assume-retrain",
                )


def twins_of(config: RunConfig, base: World, people: int) -> tuple[int, int]:
    """Number of assumed worlds, the experiment's own included where it needs a twin; their people.

    Args:
        config: What is asked.
        base: The world of the experiment.
        people: Who take part in the experiment.
    """
    values = [
        value
        for assumption in parse_assumptions(config.assume)
        for value in assumption.values
        if value != getattr(base.config, assumption.parameter)
    ]
    if config.design == "twin":
        return len(values), people
    return 1 + len(values), min(people, MOST_PEOPLE)


def vary_assumptions(
    main: MainRun, train: Train, machines: Machines, console: Console
) -> ExperimentResult:
    """The experiment's result with its sensitivity to the assumptions.

    Args:
        main: The experiment.
        train: The policies by name, fitted to a log.
        machines: Where groups of people are simulated.
        console: Progress.

    Raises:
        Interrupted, WorkerDied: as of the experiment itself; finished groups are kept.
        RunDataError: the run directory holds twins of other assumptions.
    """
    assert main.dataset.info.world is not None
    world = World.from_spec(main.dataset.info.world)
    twin = main.config.design == "twin"
    _, people = twins_of(main.config, world, main.people)
    asked = parse_assumptions(main.config.assume)
    points = [] if twin else [_point(main, None, people, train, console)]
    for assumption in asked:
        own = getattr(world.config, assumption.parameter)
        points += [
            _point(main, (assumption.parameter, value), people, train, console)
            for value in assumption.values
            if value != own
        ]
    with contextlib.ExitStack() as stack:
        for point in points:
            stack.enter_context(point.directory.locked())
        _simulate(main, points, people, machines, console)
        with console.stage("analyse", "analysing the assumed worlds"):
            results = {point.assume: _analyse(main, point, people) for point in points}
    grids = [_grid(assumption, world, results) for assumption in asked]
    base = main.result if twin else results[None]
    record = sensitivity(base, grids, days=main.config.days, retrained=main.config.assume_retrain)
    return dataclasses.replace(main.result, assumptions=record)


def _point(
    main: MainRun, assume: tuple[str, Value] | None, people: int, train: Train, console: Console
) -> _Point:
    config, spec, dataset = main.config, main.spec, main.dataset
    environment, policies = spec.environment, spec.policies
    signature: dict[str, Any] = dict(main.signature)
    if assume is not None and config.assume_retrain:
        dataset = builtin_dataset(
            config.world,
            config.world_seed,
            config.log_users,
            config.burn_in_days,
            console,
            assume,
            language=config.language,
        )
        # Where the log is the same, so are the weights: training finds them in the cache.
        trained = train(dataset)
        policies = tuple(trained[p.spec] for p in policies)
        stage = None if config.candidates is None else trained[config.candidates]
        environment = dataclasses.replace(environment, dataset=str(dataset.path), candidates=stage)
        signature["dataset"] = dataset.info.content_hash
        signature["weights"] = {
            p.spec: f"{p.directory.name} {p.weights_hash}"
            for p in (*policies, *([stage] if stage else []))
        }
    elif assume is not None:
        environment = dataclasses.replace(environment, assumed=(assume,))
    name = BASE if assume is None else f"{assume[0]}={assume[1]:.12g}"
    signature |= {"assumption": name, "people": people}
    twin = dataclasses.replace(
        spec,
        environment=environment,
        policies=policies,
        twin=True,
        people=people,
        keep_log=False,
    )
    path = main.directory.path / "assumptions" / name
    if (path / "plan.json").is_file():
        directory = RunDirectory(path, part_of=main.directory.path)
        directory.check_plan(signature)
    else:
        directory = RunDirectory.create(path, config, signature, part_of=main.directory.path)
    return _Point(assume, dataset, twin, directory)


def _simulate(
    main: MainRun, points: Sequence[_Point], people: int, machines: Machines, console: Console
) -> None:
    """Fill the directories of all points; groups already there are not run again."""
    groups = group_count(people)
    todo = [
        (number, GroupTask(group, point.directory.piece(group), None))
        for number, point in enumerate(points)
        for group in range(groups)
        if not point.directory.piece(group).is_file()
    ]
    total = groups * len(points)
    done = total - len(todo)
    if not todo:
        return

    def report(fractions: float, finished: int) -> None:
        told = f"{done + finished} of {total} groups of people"
        stage.update("", (done + fractions) / total, told)

    engine = machines.simulating_each([(point.spec, point.dataset) for point in points])
    title = f"assumptions: {len(points)} twins of {people:,} people"
    again = f"Continue: abtest run --resume {main.directory.path}{machines.options()}"
    with console.stage("assumptions", title) as stage, engine:
        stage.update("", done / total, "starting")
        try:
            for _ in engine.run(todo, report):
                pass
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped while assumptions were varied; finished groups of people are saved, "
                "no verdict.",
                again,
            ) from None
        except WorkerDied as error:
            fewer = " --workers 1" if error.out_of_memory else ""
            raise WorkerDied(
                error.problem,
                f"Finished groups of people are saved. {again}{fewer}",
                out_of_memory=error.out_of_memory,
            ) from error


def _analyse(main: MainRun, point: _Point, people: int) -> ExperimentResult:
    """Analyse one twin; it is kept as a run that ``abtest report`` shows."""
    outcomes = point.directory.collect(group_count(people))
    outcomes = outcomes.filter(pl.col("user_id").is_not_null())
    point.directory.complete(outcomes)
    context = {**main.result.context, "design": "twin", "users": people}
    if point.assume is not None:
        context["assumption"] = dict([point.assume])
    if point.dataset is not main.dataset:
        context["data"] = {
            **context["data"],
            "name": point.dataset.info.name,
            "source": point.dataset.info.source,
            "content_hash": point.dataset.info.content_hash,
            "rows": dict(point.dataset.info.rows),
        }
        context["policies"] = {
            arm: policy.facts()
            for arm, policy in zip(point.spec.arms, point.spec.policies, strict=True)
        }
    config = dataclasses.replace(main.config, design="twin")
    result = analyze_outcomes(config, outcomes, main.plan, main.spec.arms, context)
    write_text(point.directory.path / "results.json", result.to_json())
    return result


def _grid(
    assumption: Assumption,
    world: World,
    results: Mapping[tuple[str, Value] | None, ExperimentResult],
) -> AnalysedGrid:
    base = getattr(world.config, assumption.parameter)
    return AnalysedGrid(
        assumption.parameter,
        assumption.label,
        base,
        _evidence(assumption.parameter),
        assumption.reason,
        assumption.parameter not in LOG_FREE,
        [
            (value, results[assumption.parameter, value])
            for value in assumption.values
            if value != base
        ],
    )


def _evidence(parameter: str) -> Evidence:
    if parameter in {a.parameter for a in UNCERTAIN_ASSUMPTIONS}:
        return "none"
    return "fitted" if parameter in {knob.parameter for knob in KNOBS} else "set"
