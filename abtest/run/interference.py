"""Find the truth of an online test with interference: everybody under each arm, on its own."""

from __future__ import annotations

import contextlib
import dataclasses

import polars as pl

from abtest.config import RunConfig
from abtest.console import Console
from abtest.errors import UsageError
from abtest.run.datasets import GROUP_SIZE
from abtest.run.machines import Machines
from abtest.run.simulate import group_count
from abtest.run.twins import (
    MOST_PEOPLE,
    MainRun,
    Twin,
    TwinStage,
    analyse_twin,
    directory_of,
    simulate_twins,
)
from reports.analysis.interference import interference
from reports.results import ExperimentResult
from simulator.interference.settings import InterferenceSettings
from simulator.world import World

TRUTH = "truth"


def settings_of_interference(config: RunConfig) -> InterferenceSettings | None:
    """Strengths of the interference that is asked for; None for none."""
    return None if config.interference is None else InterferenceSettings.of(config.interference)


def check_interference(config: RunConfig, base: World | None) -> None:
    """Refuse interference between people who are learned from a log.

    Args:
        config: What is asked.
        base: The world of the experiment; None if people are learned from a log.

    Raises:
        UsageError: there is no world.
    """
    if config.interference is not None and base is None:
        raise UsageError(
            f"--interference changes the built-in world's platform; the people of {config.data} "
            "are learned from a log, which does not tell how they answer to displayed likes.",
            "Leave --data or --interference out",
        )


def twin_of(config: RunConfig, people: int) -> int:
    """People in the twin that tells the truth; 0 where none is run.

    Args:
        config: What is asked.
        people: Who take part in the experiment.
    """
    wanted = config.interference is not None and config.design == "online"
    return min(people, MOST_PEOPLE) if wanted else 0


def hold_against_truth(main: MainRun, machines: Machines, console: Console) -> ExperimentResult:
    """The result of an online test, with its bias against the effect on everybody.

    Every arm of the twin has a platform of its own in each group: first everybody is served by the
    control, then everybody by the treatment. Groups are those of the online test.

    Args:
        main: The online test.
        machines: Where groups of people are simulated.
        console: Progress.

    Raises:
        Interrupted, WorkerDied: finished groups are kept.
        RunDataError: the run directory holds another truth.
    """
    settings = main.spec.interference
    people = twin_of(main.config, main.people)
    assert settings is not None
    signature = {**main.signature, "truth": people}
    spec = dataclasses.replace(main.spec, twin=True, people=people)
    twin = Twin(None, main.dataset, spec, directory_of(main, TRUTH, signature))
    with contextlib.ExitStack() as stack:
        stack.enter_context(twin.directory.locked())
        stage = TwinStage("truth", "truth", "while the truth was simulated")
        simulate_twins(main, [twin], people, stage, machines, console)
        with console.stage("analyse", "holding the test against the truth"):
            result = analyse_twin(main, twin, people)
    whole = min(GROUP_SIZE, people)
    assert main.dataset.info.world is not None
    videos = World.from_spec(main.dataset.info.world).config.n_videos
    record = interference(
        pl.read_parquet(main.directory.path / "outcomes.parquet"),
        pl.read_parquet(twin.directory.path / "outcomes.parquet"),
        main.plan,
        (main.result, result),
        strengths=settings.values(),
        audience=settings.people_per_video * videos / whole,
        groups=group_count(people),
    )
    return dataclasses.replace(main.result, interference=record)
