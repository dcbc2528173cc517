"""Run experiments, analyses, replays and evaluations from Python.

Call them as `abtest.run`, `abtest.analyze`, `abtest.replay` and `abtest.evaluate`; docs/python.md
shows how. They take what the commands of the same name take, do the same, and return a result that
prints as the command's table, shows as HTML in a notebook and gives Polars frames. Neither
abtest.toml nor environment variables are read: what is not given has its default.

Errors are exceptions: `abtest.errors.AbtestError` and those that `abtest.errors.describe_error`
knows, each with the sentence that the command would print.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl

from abtest.analyze import analyze_table
from abtest.config import Design, Language
from abtest.config_sources import check_policy_settings, config_of, parse_percent
from abtest.console import Console
from abtest.errors import UsageError
from abtest.evaluate.asked import TASKS, Protocol
from abtest.evaluate.protocol import contestants, evaluate_policies
from abtest.experiment_tables.request import ObservedOptions
from abtest.replay import ReplayOptions, replay_policies
from abtest.replay.record import as_experiment
from abtest.results.returned import EvaluationResult, Experiment, ReplayOutcome
from abtest.run.arms.oracle import refuse_oracles
from abtest.run.checks import refuse_unused
from abtest.run.datasets import open_dataset
from abtest.run.experiment import run_experiment
from abtest.run.machines import Machines, machines_of_jobs
from policies.base import Policy
from simulator.logs.dataset import Dataset
from simulator.replay import TargetPolicy
from simulator.replay.interval_method import Intervals
from simulator.requests import Signal

Names = str | Sequence[str]
Settings = Mapping[str, Mapping[str, Any]]


def run(
    treatment: Names = ("lsvcr",),
    control: str = "sasrec",
    *,
    candidates: str | None = None,
    data: str | Path = "demo",
    world: str = "default",
    language: Language | None = None,
    design: Design = "online",
    users: int | None = None,
    max_users: int = 48_000,
    days: int = 1,
    burn_in_days: int = 2,
    log_users: int = 4_000,
    seed: int = 1,
    training_seed: int = 1,
    world_seed: int = 1,
    primary: str = "comment_watch_time",
    guardrail: Names = (),
    min_effect: float | str = 0.005,
    rule: Names = (),
    detect: float | str = 0.04,
    explore_share: float | str = 0.0,
    explore_comments: float | str = 0.0,
    keep_log: bool = False,
    assume: Names = (),
    assume_retrain: bool = False,
    interference: bool | Mapping[str, float] = False,
    policies: Settings | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    mirror: str | None = None,
    progress: bool = False,
) -> Experiment:
    """Run one experiment: train, simulate, analyse, report.

    Every argument up to ``policies`` is a field of `abtest.config.RunConfig`, which says what it
    means. Shares and effects are fractions (0.005) or texts (``"0.5%"``).

    Args:
        treatment: One policy or several, by name or ``file.py:Class``.
        control: The policy in force.
        candidates: See `abtest.config.RunConfig`, as for all that follow up to ``policies``.
        data: A dataset directory, or ``"demo"``.
        world: Preset of the built-in world.
        language: Of its texts, ``"zh"`` or ``"en"``; None for the preset's own.
        design: ``"online"`` or ``"twin"``.
        users: People; None sizes the experiment by its own power analysis.
        max_users: Limit of that.
        days: Of the experiment.
        burn_in_days: Before it.
        log_users: People in the log for training.
        seed: Of people's noise and the split.
        training_seed: Of training.
        world_seed: Which built-in world.
        primary: Metric that decides.
        guardrail: ``"METRIC=-1%"``, one or several.
        min_effect: Smallest relative effect worth shipping.
        rule: Decision rule.
        detect: Effect that automatic sizing must detect.
        explore_share: Share of slots filled at random.
        explore_comments: Share of comment ranks filled at random.
        keep_log: Keep the log of the experiment in ``directory / "log"``.
        assume: ``"NAME=VALUE,VALUE"`` or ``"uncertain"``, one or several: also run the twin in
            worlds with another value of a parameter.
        assume_retrain: Train anew on the log of each assumed world.
        interference: Whether people change the platform for each other; a mapping has strengths by
            name (docs/world.md). An online test is then held against its own truth.
        policies: Settings per policy name.
        out: Run directory to create; None for ``runs/TREATMENT-vs-CONTROL``.
        resume: A run directory to continue; every other setting is then read from it.
        workers: Processes; the result does not depend on it.
        engine: Where they run: on this machine, or on a Ray cluster (docs/scale.md).
        address: Of the cluster; None for one of this machine, or the one that is connected.
        mirror: Directory or URL that finished files are copied to, as ``s3://bucket/runs/a``.
        progress: Show progress on standard error.

    Raises:
        UsageError: the arguments make no experiment; nothing was run.
        DataError, PolicyError, RunDataError: see `abtest.errors`.
    """
    given = {
        name: value
        for name, value in locals().items()
        if name not in ("out", "resume", "workers", "engine", "address", "mirror", "progress")
    }
    console = Console(quiet=not progress)
    if resume is not None:
        from abtest.run.run_directory import RunDirectory

        config = RunDirectory.open(Path(resume)).configuration()
    else:
        given["policies"] = {} if policies is None else policies
        given["treatment"] = _policies(treatment, "treatment")
        given["control"] = _policy(control, "control")
        config = config_of(given)
    outcome = run_experiment(
        config,
        out=None if out is None else Path(out),
        resume=None if resume is None else Path(resume),
        machines=Machines(engine, workers, address),
        console=console,
        mirror=mirror,
    )
    return Experiment(outcome.result, outcome.directory)


def analyze(
    table: pl.DataFrame | pl.LazyFrame | str | Path,
    metric: Names = (),
    *,
    user: str = "user_id",
    arm: str = "arm",
    control: str | None = None,
    covariate: Names = (),
    strata: Names = (),
    segment: Names = (),
    guardrail: Names = (),
    day: str | None = None,
    start: str | None = None,
    split: str | None = None,
    primary: str | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    **options: Any,
) -> Experiment:
    """Analyse the outcomes of a real experiment.

    Args:
        table: A Polars frame, or a Parquet or CSV file; rows of users.
        metric: ``"COLUMN"`` or ``"NAME=COLUMN/COLUMN"``, one or several.
        user: Column of the user.
        arm: Column of the arm.
        control: The control arm; None for the one called ``control``.
        covariate: Columns from before the experiment.
        strata: Columns whose shares are held equal.
        segment: Columns whose values are analysed by themselves, too.
        guardrail: ``"METRIC=-1%"``, one or several.
        day: Column of the day.
        start: First day of the experiment; what is earlier is the time before.
        split: Planned, as ``"control=90,treatment=10"``.
        primary: The metric that decides; None for the first.
        out: Directory to create with report.html and results.json; None writes nothing.
        progress: Show progress on standard error.
        **options: Further fields of `abtest.experiment_tables.request.ObservedOptions`.

    Raises:
        UsageError, PlanError: the arguments make no analysis.
        TableError: the table cannot be analysed.
    """
    asked: dict[str, Any] = {
        "user": user,
        "arm": arm,
        "metrics": _several(metric),
        "control": control,
        "covariates": _several(covariate),
        "strata": _several(strata),
        "segments": _several(segment),
        "guardrails": _several(guardrail),
        "day": day,
        "start": start,
        "split": split,
        "primary": primary,
        **options,
    }
    if asked.get("metrics_file") is not None:
        asked["metrics_file"] = Path(asked["metrics_file"])
    unknown = sorted(set(asked) - set(ObservedOptions.__dataclass_fields__))
    if unknown:
        raise UsageError(f"analyze has no option '{unknown[0]}'.", "See: help(abtest.analyze)")
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(table, (pl.DataFrame, pl.LazyFrame)):
            # The one reader of tables reads files: its checks name rows and columns.
            path = Path(folder) / "frame.parquet"
            table.lazy().collect().write_parquet(path)
        else:
            path = Path(table)
        result, directory = analyze_table(
            ObservedOptions(table=(path,), **asked),
            out=None if out is None else Path(out),
            command="abtest.analyze(...)",
            console=Console(quiet=not progress),
        )
    return Experiment(result, directory)


def replay(
    treatment: Names,
    control: str,
    *,
    data: str | Path = "demo",
    stage: Literal["auto", "videos", "comments"] = "auto",
    explore_share: float | str = 0.0,
    temperature: float | None = None,
    top_share: float | None = None,
    quantiles: Sequence[float] = (),
    estimators: Sequence[str] = (),
    interval: Literal["student", "likelihood", "bootstrap"] = "student",
    propensity: str = "propensity",
    rows: Literal["auto", "random", "all"] = "auto",
    training_seed: int = 1,
    settings: Settings | None = None,
    progress: bool = False,
) -> ReplayOutcome:
    """Estimate from a log alone what other rankers would have done.

    Args:
        treatment: One policy to value, or several.
        control: Policy to compare with.
        data: A dataset directory, or ``"demo"``.
        stage: What the policies change; the other stage stays as logged.
        explore_share: Share of slots filled at random, as a number or as ``"2%"``.
        temperature: Draw by a softmax of scores in place of the best.
        top_share: Draw uniformly from this share of the best candidates.
        quantiles: Shares in (0, 1); these quantiles of times are compared too.
        estimators: Names of estimators beside the usual ones, or ``["all"]``.
        interval: How intervals are computed; a bootstrap has 2,000 draws.
        propensity: Column with the probability of what was shown.
        rows: Which impressions are replayed.
        training_seed: Of training.
        settings: Per policy name.
        progress: Show progress on standard error.

    Raises:
        UsageError: an argument is out of range.
        DataError: the log does not identify what was asked.
    """
    names = _policies(treatment, "treatment")
    control = _policy(control, "control")
    refuse_oracles([*names, control])
    share = parse_percent(explore_share) if isinstance(explore_share, str) else explore_share
    asked = ReplayOptions(
        treatments=names,
        control=control,
        data=str(data),
        target=TargetPolicy(share, temperature, top_share),
        stage=stage,
        quantiles=tuple(quantiles),
        estimators=tuple(estimators),
        interval=Intervals(interval),
        propensity_column=propensity,
        rows=rows,
        seed=training_seed,
        policies=_settings(settings, [*names, control]),
    )
    replayed = replay_policies(asked, console=Console(quiet=not progress))
    return ReplayOutcome(as_experiment(replayed, asked, command="abtest.replay(...)"), replayed)


def evaluate(
    policies: Names,
    *,
    data: str | Path | Dataset = "demo",
    task: Literal["videos", "comments", "both"] = "both",
    seeds: int | Sequence[int] = 1,
    split: Literal["last", "time"] = "last",
    test_days: float | None = None,
    test_share: float | None = None,
    candidates: int | None = None,
    ablations: bool = False,
    signal: Signal = "liked",
    seed: int = 1,
    settings: Settings | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> EvaluationResult:
    """Rank what was held out of a log, and compare policies by offline metrics.

    Args:
        policies: One or several; the first is what the others are compared with.
        data: A dataset, its directory, or ``"demo"``.
        task: What is ranked.
        seeds: How many training seeds, or which ones.
        split: ``"last"``: each person's last event; ``"time"``: all after a moment.
        test_days: Of a time split, or
        test_share: the last share of impressions; 0.2 if neither is given.
        candidates: Rank a uniform sample of so many; None ranks everything.
        ablations: Also with one part of the policy off at a time.
        signal: Events that make the videos to be ranked.
        seed: Of sampled candidates and the bootstrap.
        settings: Per policy name.
        engine: Where policies train and rank: in this process, or on a Ray cluster, where every
            policy and seed is a task (docs/scale.md). The result is the same.
        address: Of the cluster; None for one of this machine, or the one that is connected.
        workers: Tasks at a time on a cluster; None for one per core.
        progress: Show progress on standard error.

    Raises:
        UsageError: the arguments make no evaluation, or no cluster answers.
        DataError: nothing can be evaluated on this log.
    """
    names = _policies(policies, "policies")
    refuse_oracles(names)
    if task not in (*TASKS, "both"):
        raise UsageError(f"task is '{task}', expected videos, comments or both.")
    if split not in ("last", "time"):
        raise UsageError(f"split is '{split}', expected last or time.")
    if split == "time" and test_days is None and test_share is None:
        test_share = 0.2
    console = Console(quiet=not progress)
    protocol = Protocol(
        tasks=tuple(t for t in TASKS if task in (t, "both")),
        seeds=tuple(range(1, seeds + 1)) if isinstance(seeds, int) else tuple(seeds),
        split=split,
        test_days=test_days,
        test_share=test_share,
        candidates=candidates,
        seed=seed,
        signal=signal,
    )
    rows = contestants(names, _settings(settings, names), ablations=ablations)
    machines = machines_of_jobs(engine, address, workers)
    dataset = data if isinstance(data, Dataset) else open_dataset(str(data), console)
    return EvaluationResult(tuple(evaluate_policies(rows, dataset, protocol, console, machines)))


def _several(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _policies(given: object, argument: str) -> tuple[str, ...]:
    """Names of policies."""
    several = isinstance(given, Sequence) and not isinstance(given, str)
    asked = cast(Sequence[object], given) if several else (given,)
    return tuple(_policy(one, argument) for one in asked)


def _policy(given: object, argument: str) -> str:
    """A policy's name. A class is none: other processes find a policy by its name."""
    if isinstance(given, (str, Path)):
        return str(given)
    kind = given if isinstance(given, type) else type(given)
    example = f"my_policy.py:{kind.__name__}" if issubclass(kind, Policy) else "sasrec"
    raise UsageError(
        f"{argument} is {given!r}, expected a policy's name, or its file and class.",
        f"Example: {argument}='{example}'",
    )


def _settings(settings: Settings | None, specs: Sequence[str]) -> Settings:
    check_policy_settings({} if settings is None else settings)
    refuse_unused(settings or {}, specs)
    return settings or {}
