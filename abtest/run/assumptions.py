"""Run the twin in worlds with another value of one parameter: the lift as a function of it.

One parameter is varied at a time. Every assumed world has the same people, seeds and, unless its
parameter changes them, videos and comments. Policies stay as they were trained on the log of the
experiment's own world, or are trained on each assumed world's log (``assume_retrain``).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from abtest.config import RunConfig
from abtest.console import Console
from abtest.errors import UsageError
from abtest.run.arms.training import TrainedPolicy
from abtest.run.datasets import builtin_dataset
from abtest.run.machines import Machines
from abtest.run.twins import (
    MOST_PEOPLE,
    MainRun,
    Twin,
    TwinStage,
    analyse_twin,
    directory_of,
    simulate_twins,
)
from reports.analysis.sensitivity import AnalysedGrid, sensitivity
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

BASE = "base"
Train = Callable[[Dataset], Mapping[str, TrainedPolicy]]


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
        stage = TwinStage("assumptions", "assumptions", "while assumptions were varied")
        simulate_twins(main, points, people, stage, machines, console)
        with console.stage("analyse", "analysing the assumed worlds"):
            results = {point.assume: analyse_twin(main, point, people) for point in points}
    grids = [_grid(assumption, world, results) for assumption in asked]
    base = main.result if twin else results[None]
    record = sensitivity(base, grids, days=main.config.days, retrained=main.config.assume_retrain)
    return dataclasses.replace(main.result, assumptions=record)


def _point(
    main: MainRun, assume: tuple[str, Value] | None, people: int, train: Train, console: Console
) -> Twin:
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
    directory = directory_of(main, f"assumptions/{name}", signature)
    return Twin(assume, dataset, twin, directory)


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
