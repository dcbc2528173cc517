"""One experiment from a configuration to a report."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import abtest
from abtest.config import DEMO_DATA, RunConfig
from abtest.console import Console
from abtest.errors import RunDataError, UsageError
from abtest.factors import with_factors
from abtest.metrics import PLATFORM_METRICS
from abtest.paths import write_text
from abtest.run.candidates import check_candidates
from abtest.run.datasets import GROUP_SIZE, builtin_dataset, sound_dataset
from abtest.run.environments import EnvironmentSpec
from abtest.run.fidelity import environment_facts, fit_response
from abtest.run.oracle import check_control, check_dataset
from abtest.run.run_directory import RunDirectory, check_free, default_path
from abtest.run.simulate import SimulationPool, SimulationSpec, default_workers, group_count
from abtest.run.training import TrainedPolicy, train
from policies.registry import create, parts_of, plugin_warnings, settings_of
from reports import formats
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, build_plan
from reports.render.html import write_html
from reports.results import ExperimentResult
from reports.verdict.rule import parse_rule
from simulator.logs.dataset import Dataset

PILOT_GROUPS = 2


@dataclass(frozen=True)
class Outcome:
    """A finished experiment: its result and where its files are."""

    result: ExperimentResult
    directory: Path


def run_experiment(
    config: RunConfig,
    *,
    out: Path | None,
    resume: Path | None,
    workers: int | None,
    console: Console,
) -> Outcome:
    """Train, simulate, analyse, report; or continue from where a run stopped.

    Raises:
        UsageError: the configuration cannot be run; nothing was written.
        DataError, PolicyError, RunDataError: see `abtest.errors`.
    """
    plan = with_factors(
        build_plan(
            metrics=PLATFORM_METRICS,
            primary=config.primary,
            guardrails=config.guardrail,
            min_effect=config.min_effect,
            rule=parse_rule(config.rule),
        )
    )
    arms = _arm_names(config, console)
    _check_policies(config)
    if resume is None:
        path = out or default_path(config)
        check_free(path)
    for warning in plugin_warnings():
        console.warn(warning)
    dataset = _dataset(config, console)
    _check_dataset(config, dataset)
    trained = _train_all(config, dataset, console)
    environment = _environment(config, dataset, trained, console)
    spec = SimulationSpec(
        environment=environment,
        arms=arms,
        policies=tuple(trained[p] for p in (config.control, *config.treatment)),
        twin=config.design == "twin",
        people=None if environment.kind == "learned" else (config.users or config.max_users),
        days=config.days,
        seed=config.seed,
        explore_share=config.explore_share,
    )
    signature = _signature(config, dataset, spec)
    if resume is None:
        directory = RunDirectory.create(path, config, signature)
    else:
        directory = RunDirectory.open(resume)
        directory.check_plan(signature)
    people = _simulate(config, dataset, spec, plan, directory, workers, console)
    with console.stage("analyse", "analysing"):
        outcomes = directory.collect(group_count(people))
        outcomes = outcomes.filter(pl.col("user_id").is_not_null())
        context = _context(config, dataset, spec, trained, people)
        result = _analyze(config, outcomes, plan, arms, context)
    write_text(directory.path / "results.json", result.to_json())
    write_html(result, directory.path / "report.html")
    write_text(
        directory.path / "timings.json",
        json.dumps({k: round(v, 3) for k, v in console.durations.items()}, indent=1) + "\n",
    )
    return Outcome(result, directory.path)


def _arm_names(config: RunConfig, console: Console) -> tuple[str, ...]:
    names = [config.control, *config.treatment]
    if config.control in config.treatment:
        console.note(f"both arms are '{config.control}': this is an A/A test")
        names = [
            config.control,
            *[f"{t} (A/A)" if t == config.control else t for t in config.treatment],
        ]
    return tuple(names)


def _check_policies(config: RunConfig) -> None:
    for spec in (config.control, *config.treatment):
        create(spec, **settings_of(spec, config.policies))
    check_control(config.control)
    if config.candidates is not None:
        check_candidates(config.candidates, dict(config.policies.get(config.candidates, {})))
    named = _policy_names(config)
    unused = set(config.policies) - {*named, *(p for spec in named for p in parts_of(spec) or ())}
    if unused:
        raise UsageError(
            f"settings for '{sorted(unused)[0]}', which is not part of this experiment.",
            "Nothing was run",
        )


def _policy_names(config: RunConfig) -> list[str]:
    """All policies to train, each once: control, treatments, candidate stage."""
    stage = () if config.candidates is None else (config.candidates,)
    return list(dict.fromkeys((config.control, *config.treatment, *stage)))


def _dataset(config: RunConfig, console: Console) -> Dataset:
    if config.data == DEMO_DATA and not Path(config.data).exists():
        return builtin_dataset(
            config.world, config.world_seed, config.log_users, config.burn_in_days, console
        )
    return sound_dataset(Path(config.data), config.sample_users)


def _check_dataset(config: RunConfig, dataset: Dataset) -> None:
    check_dataset((config.control, *config.treatment), dataset)
    impressions = dataset.info.rows.get("impressions", 0)
    if impressions == 0:
        raise RunDataError(
            f"{dataset.path} has no impressions: nothing to learn from.",
            f"Check it: abtest data check {dataset.path}",
        )
    videos, users = dataset.catalogue().n_videos, len(dataset.user_ids())
    if videos < 2:
        raise RunDataError(f"{dataset.path} has {videos} video; ranking needs at least 2.")
    if users < 2 and dataset.info.world is None:
        raise RunDataError(f"{dataset.path} has {users} person; an experiment needs at least 2.")
    if dataset.info.world is None and config.users is not None and config.users > users:
        raise UsageError(
            f"--users is {config.users:,}, but {dataset.path} has {users:,} people.",
            "Leave --users out to take everyone",
        )


def _train_all(config: RunConfig, dataset: Dataset, console: Console) -> dict[str, TrainedPolicy]:
    return {
        spec: train(
            spec,
            settings_of(spec, config.policies),
            dataset,
            seed=config.training_seed,
            console=console,
        )
        for spec in _policy_names(config)
    }


def _environment(
    config: RunConfig, dataset: Dataset, trained: Mapping[str, TrainedPolicy], console: Console
) -> EnvironmentSpec:
    learned = dataset.info.world is None
    model = fit_response(dataset, seed=config.training_seed, console=console) if learned else ""
    return EnvironmentSpec(
        kind="learned" if learned else "world",
        dataset=str(dataset.path),
        model=str(model),
        burn_in_days=config.burn_in_days,
        seed=config.seed,
        days=config.days,
        candidates=None if config.candidates is None else trained[config.candidates],
    )


def _signature(config: RunConfig, dataset: Dataset, spec: SimulationSpec) -> dict[str, Any]:
    """What pieces of one run must share; compared on ``--resume``."""
    settings = hashlib.blake2b(config.to_toml().encode(), digest_size=8).hexdigest()
    stage = spec.environment.candidates
    return {
        "abtest_version": abtest.__version__,
        "configuration": settings,
        "dataset": dataset.info.content_hash,
        "weights": [p.directory.name for p in (*spec.policies, *([stage] if stage else []))],
        "group_size": GROUP_SIZE,
    }


def _simulate(
    config: RunConfig,
    dataset: Dataset,
    spec: SimulationSpec,
    plan: AnalysisPlan,
    directory: RunDirectory,
    workers: int | None,
    console: Console,
) -> int:
    processes = workers or default_workers()
    days = f"{config.days} day{'s' if config.days > 1 else ''}"
    with SimulationPool(spec, directory, processes) as pool:
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
                ahead = min(max(PILOT_GROUPS, processes), group_count(config.max_users))
                pool.run(ahead, console, f"pilot: {pilot:,} people, {days}")
                people = _size(config, plan, spec, directory, console)
        pool.run(group_count(people), console, f"simulating {people:,} people, {days}")
    return people


def _size(
    config: RunConfig,
    plan: AnalysisPlan,
    spec: SimulationSpec,
    directory: RunDirectory,
    console: Console,
) -> int:
    """Number of people, from the variance (never the lift) that the pilot groups show.

    An internal pilot (Wittes & Brittain, Statistics in Medicine 9, 1990): the pilot's people
    stay in the experiment.
    """
    pilot = PILOT_GROUPS * GROUP_SIZE
    result = _analyze(config, directory.collect(PILOT_GROUPS), plan, spec.arms, {})
    detectable = max(
        (
            m.detectable_effect
            for c in result.comparisons
            for m in c.metrics
            if m.role == "primary" and m.detectable_effect is not None
        ),
        default=None,
    )
    if detectable is None:
        return config.max_users
    needed = pilot * (detectable / config.detect) ** 2
    groups = max(PILOT_GROUPS, group_count(int(needed) + 1))
    people = min(groups * GROUP_SIZE, config.max_users // GROUP_SIZE * GROUP_SIZE)
    console.say(
        f"power: {people:,} people to detect +/-{formats.share(config.detect)} in {config.primary} "
        f"(80 % power; the pilot's {pilot:,} detect +/-{formats.percent(detectable, signed=False)})"
    )
    if needed > people:
        reached = detectable * (pilot / people) ** 0.5
        effect = formats.percent(reached, signed=False)
        console.warn(
            f"{people:,} people can detect only +/-{effect} (80 % power). "
            f"For +/-{formats.share(config.detect)}: --users {groups * GROUP_SIZE}"
        )
    return people


def _analyze(
    config: RunConfig,
    outcomes: pl.DataFrame,
    plan: AnalysisPlan,
    arms: tuple[str, ...],
    context: Mapping[str, Any],
) -> ExperimentResult:
    return analyze(
        outcomes,
        plan,
        control=arms[0],
        treatments=list(arms[1:]),
        design=config.design,
        planned_split={arm: 1.0 / len(arms) for arm in arms},
        title=f"{', '.join(arms[1:])} against {arms[0]}",
        context=dict(context),
        same_policy=[
            arm
            for arm, policy in zip(arms[1:], config.treatment, strict=True)
            if policy == config.control
        ],
    )


def _context(
    config: RunConfig,
    dataset: Dataset,
    spec: SimulationSpec,
    trained: Mapping[str, TrainedPolicy],
    people: int,
) -> dict[str, Any]:
    """Facts for "reproduce" and "for the statistician"; nothing that varies between equal runs."""
    stage = spec.environment.candidates
    packages = ("torch", "numpy", "scipy", "polars", "transformers")
    return {
        "command": config.command(),
        "configuration": config.to_toml(),
        "design": config.design,
        "users": people,
        "days": config.days,
        "seed": config.seed,
        "training_seed": config.training_seed,
        "data": {
            "name": dataset.info.name,
            "source": dataset.info.source,
            "licence": dataset.info.licence,
            "content_hash": dataset.info.content_hash,
            "rows": dict(dataset.info.rows),
        },
        "policies": {
            arm: _facts(trained[p.spec]) for arm, p in zip(spec.arms, spec.policies, strict=True)
        },
        **({} if stage is None else {"candidates": _facts(stage)}),
        "environment": environment_facts(dataset, spec.environment),
        "versions": {
            "abtest": abtest.__version__,
            **{name: importlib.metadata.version(name) for name in packages},
        },
    }


def _facts(policy: TrainedPolicy) -> dict[str, Any]:
    return {"policy": policy.spec, "weights": policy.directory.name, **policy.summary}
