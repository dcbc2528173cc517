"""Run twins beside an experiment: everyone in every arm, in directories inside the run's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from abtest.config import RunConfig
from abtest.console import Console
from abtest.errors import Interrupted
from abtest.files import write_text
from abtest.run.datasets import GROUP_SIZE
from abtest.run.engines import WorkerDied
from abtest.run.machines import Machines
from abtest.run.run_directory import RunDirectory
from abtest.run.simulate import GroupTask, SimulationSpec, group_count
from abtest.run.sizing import analyze_outcomes
from reports.plan import AnalysisPlan
from reports.results import ExperimentResult
from simulator.logs.dataset import Dataset

MOST_PEOPLE = 2 * GROUP_SIZE
"""People in a twin beside an experiment that is none itself: pairing makes their intervals narrower
than those of many more people who live one life each."""


@dataclass(frozen=True)
class MainRun:
    """The experiment beside which twins are run, simulated and analysed.

    Attributes:
        config: What was asked.
        dataset: What the policies were trained on.
        spec: What was simulated.
        plan: Metrics.
        directory: Where its files are; those of twins go to directories in it.
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
class Twin:
    """One twin.

    Attributes:
        assume: The parameter of its world that differs; None in the experiment's own world.
        dataset: What its policies were trained on.
        spec: What is simulated.
        directory: Where its files are.
    """

    assume: tuple[str, int | float] | None
    dataset: Dataset
    spec: SimulationSpec
    directory: RunDirectory


def directory_of(main: MainRun, name: str, signature: Mapping[str, Any]) -> RunDirectory:
    """The directory of a twin inside the experiment's, new or to be continued.

    Args:
        main: The experiment.
        name: Of the directory, below the experiment's.
        signature: What the twin's pieces share.

    Raises:
        RunDataError: it holds another twin.
    """
    path = main.directory.path / name
    if (path / "plan.json").is_file():
        directory = RunDirectory(path, part_of=main.directory.path)
        directory.check_plan(dict(signature))
        return directory
    return RunDirectory.create(path, main.config, dict(signature), part_of=main.directory.path)


@dataclass(frozen=True)
class TwinStage:
    """What the simulation of some twins is called.

    Attributes:
        name: Of the stage, for timings.
        title: Before the number of twins.
        stopped: When an interruption came, in words.
    """

    name: str
    title: str
    stopped: str


def simulate_twins(
    main: MainRun,
    points: Sequence[Twin],
    people: int,
    stage: TwinStage,
    machines: Machines,
    console: Console,
) -> None:
    """Fill the directories of all twins; groups already there are not run again.

    Args:
        main: The experiment.
        points: The twins.
        people: In each.
        stage: What this is called.
        machines: Where groups of people are simulated.
        console: Progress.

    Raises:
        Interrupted, WorkerDied: finished groups are kept.
    """
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
        shown.update("", (done + fractions) / total, told)

    engine = machines.simulating_each([(point.spec, point.dataset) for point in points])
    twins = f"{len(points)} twins" if len(points) > 1 else "a twin"
    title = f"{stage.title}: {twins} of {people:,} people"
    again = f"Continue: abtest run --resume {main.directory.path}{machines.options()}"
    with console.stage(stage.name, title) as shown, engine:
        shown.update("", done / total, "starting")
        try:
            for _ in engine.run(todo, report):
                pass
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped {stage.stopped}; finished groups of people are saved, no verdict.",
                again,
            ) from None
        except WorkerDied as error:
            fewer = " --workers 1" if error.out_of_memory else ""
            raise WorkerDied(
                error.problem,
                f"Finished groups of people are saved. {again}{fewer}",
                out_of_memory=error.out_of_memory,
            ) from error


def analyse_twin(main: MainRun, point: Twin, people: int) -> ExperimentResult:
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
