"""Simulate as many people as the configuration asks for, or as its power analysis says.

An internal pilot (Wittes & Brittain, Statistics in Medicine 9, 1990): the number of people follows
from the variance, never the lift, that the pilot groups show; the pilot's people stay in the
experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from abtest.config import RunConfig
from abtest.console import Console
from abtest.results.factors import with_factors
from abtest.results.metrics import platform_metrics
from abtest.run.datasets import GROUP_SIZE
from abtest.run.machines import Machines
from abtest.run.run_directory import RunDirectory
from abtest.run.simulate import SimulationPool, SimulationSpec, group_count
from reports import formats
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, PlanError, build_plan
from reports.results import ExperimentResult
from reports.verdict.rule import parse_rule
from simulator.behaviours import OUTCOMES
from simulator.logs.dataset import Dataset

PILOT_GROUPS = 2


def simulate(
    config: RunConfig,
    dataset: Dataset,
    spec: SimulationSpec,
    plan: AnalysisPlan,
    directory: RunDirectory,
    machines: Machines,
    console: Console,
) -> int:
    """Fill the run directory's pieces; the number of people who take part.

    Args:
        config: The experiment.
        dataset: What the policies were trained on.
        spec: What is simulated.
        plan: Metrics; the primary one decides on the size.
        directory: Where finished groups go.
        machines: Where groups of people are simulated.
        console: Progress.
    """
    days = f"{config.days} day{'s' if config.days > 1 else ''}"
    engine = machines.simulating(spec, dataset)
    with SimulationPool(spec, directory, engine, machines.options()) as pool:
        if engine.place:
            console.note(engine.place)
        if spec.people is None:
            people = config.users or len(dataset.user_ids())
        elif config.users is not None:
            people = config.users
        else:
            pilot = PILOT_GROUPS * GROUP_SIZE
            if config.max_users <= pilot:
                people = config.max_users
            else:
                # Idle processes run ahead: what they find is used only if it is needed.
                ahead = min(max(PILOT_GROUPS, engine.workers), group_count(config.max_users))
                pool.run(ahead, console, f"pilot: {pilot:,} people, {days}")
                people = size_by_power(config, plan, spec, directory, console)
        pool.run(group_count(people), console, f"simulating {people:,} people, {days}")
    return people


def size_by_power(
    config: RunConfig,
    plan: AnalysisPlan,
    spec: SimulationSpec,
    directory: RunDirectory,
    console: Console,
) -> int:
    """Number of people, from the detectable effect of the pilot groups."""
    pilot = PILOT_GROUPS * GROUP_SIZE
    result = analyze_outcomes(config, directory.collect(PILOT_GROUPS), plan, spec.arms, {})
    detectable = _detectable(result)
    if detectable is None:
        return config.max_users
    needed = people_needed(pilot, detectable, config.detect)
    people = min(needed, config.max_users // GROUP_SIZE * GROUP_SIZE)
    console.say(
        f"power: {people:,} people to detect +/-{formats.share(config.detect)} in {config.primary} "
        f"(80 % power; the pilot's {pilot:,} detect +/-{formats.percent(detectable, signed=False)})"
    )
    if needed > people:
        reached = detectable * (pilot / people) ** 0.5
        effect = formats.percent(reached, signed=False)
        console.warn(
            f"{people:,} people can detect only +/-{effect} (80 % power). "
            f"For +/-{formats.share(config.detect)}: --users {needed}"
        )
    return people


def _detectable(result: ExperimentResult) -> float | None:
    """Relative effect that the weakest treatment's test of the primary metric detects."""
    return max(
        (
            m.detectable_effect
            for c in result.comparisons
            for m in c.metrics
            if m.role == "primary" and m.detectable_effect is not None
        ),
        default=None,
    )


def warn_if_weak(
    config: RunConfig, result: ExperimentResult, people: int, console: Console
) -> None:
    """Say what a number of people that was asked for can detect, where that is too little."""
    detectable = _detectable(result)
    if config.users is None or detectable is None or detectable <= config.detect:
        return
    needed = people_needed(people, detectable, config.detect)
    console.warn(
        f"{people:,} people can detect only +/-{formats.percent(detectable, signed=False)} in "
        f"{config.primary} (80 % power). For +/-{formats.share(config.detect)}: --users {needed}"
    )


def people_needed(pilot: int, detectable: float, wanted: float) -> int:
    """People, in whole groups, with whom ``wanted`` is the detectable effect.

    The detectable effect is proportional to one over the square root of the number of people.

    Args:
        pilot: People in the pilot.
        detectable: Relative effect that they detect.
        wanted: Relative effect to be detected with the same power.
    """
    needed = pilot * (detectable / wanted) ** 2
    return max(PILOT_GROUPS, group_count(int(needed) + 1)) * GROUP_SIZE


def analyze_outcomes(
    config: RunConfig,
    outcomes: pl.DataFrame,
    plan: AnalysisPlan,
    arms: tuple[str, ...],
    context: Mapping[str, Any],
    report: Callable[[float], None] | None = None,
) -> ExperimentResult:
    """Analyse the outcomes of some people; ``arms`` with the control first."""
    return analyze(
        outcomes,
        plan,
        control=arms[0],
        treatments=list(arms[1:]),
        design=config.design,
        planned_split={arm: 1.0 / len(arms) for arm in arms},
        title=f"{', '.join(arms[1:])} against {arms[0]}",
        context=dict(context),
        report=report,
        same_policy=[
            arm
            for arm, policy in zip(arms[1:], config.treatment, strict=True)
            if policy == config.control
        ],
    )


def analysis_plan(config: RunConfig) -> AnalysisPlan:
    """Metrics, guardrails and decision rule that an experiment asks for.

    Raises:
        PlanError, RuleError: there is no such metric, guardrail or rule, or an installed package's
            metric needs what is not simulated.
    """
    plan = build_plan(
        metrics=platform_metrics(),
        primary=config.primary,
        guardrails=config.guardrail,
        min_effect=config.min_effect,
        rule=parse_rule(config.rule),
    )
    for name in (plan.primary, *plan.guardrails):
        wanted = plan.metrics[name]
        for column in (*wanted.numerator, *wanted.denominator):
            if column not in OUTCOMES:
                raise PlanError(
                    f"metric '{name}' adds up '{column}', which is no outcome of a simulated "
                    f"user-day. Known: {', '.join(OUTCOMES)}"
                )
    return with_factors(plan)
