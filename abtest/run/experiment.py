"""Run one experiment, from a configuration to a report."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from abtest.config import RunConfig
from abtest.console import Console
from abtest.errors import describe_error
from abtest.files import write_text
from abtest.paths import cache_directory
from abtest.plugins import sections
from abtest.results.mirror import mirror_of
from abtest.run.arms.side_by_side import train_side_by_side
from abtest.run.arms.support import unsupported_shares
from abtest.run.arms.training import TrainedPolicy, train
from abtest.run.assumptions import check_assumptions, vary_assumptions
from abtest.run.checks import (
    arm_names,
    check_data,
    check_policies,
    check_primary,
    open_data,
    policy_names,
)
from abtest.run.contract.suite import contract_facts, reasons
from abtest.run.datasets import GROUP_SIZE
from abtest.run.environments import EnvironmentSpec
from abtest.run.event_log import assemble
from abtest.run.fidelity import check_room, environment_facts, fit_response
from abtest.run.interference import (
    check_interference,
    hold_against_truth,
    settings_of_interference,
)
from abtest.run.machines import Machines
from abtest.run.run_directory import FINISHED, RunDirectory, check_free, default_path
from abtest.run.run_log import PACKAGES, RunLog, installed
from abtest.run.simulate import SimulationSpec, group_count
from abtest.run.sizing import analysis_plan, analyze_outcomes, simulate, warn_if_weak
from abtest.run.twins import MainRun
from abtest.version import __version__
from policies.errors import PolicyError, UnknownPolicy, UnsuitedLog
from policies.registry import plugin_warnings, settings_of
from reports.render.html import write_html
from reports.results import ExperimentResult
from reports.verdict.words.learned_people import unsupported
from simulator.logs.checks.needs import selection
from simulator.logs.dataset import Dataset
from simulator.world import World


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
    machines: Machines,
    console: Console,
    mirror: str | None = None,
) -> Outcome:
    """Train, simulate, analyse, report; or continue from where a run stopped.

    Args:
        config: The experiment.
        out: Run directory to create; None for one in ``runs/``.
        resume: Run directory to go on with, in place of a new one.
        machines: Where it is computed.
        console: Progress.
        mirror: Directory or URL that finished files are copied to, see `abtest.results.mirror`.

    Raises:
        UsageError: the configuration cannot be run; nothing was written.
        DataError, PolicyError, RunDataError: see `abtest.errors`.
    """
    log = RunLog()
    console.listener = log.write
    try:
        # Standard output is for results; what a policy prints goes where progress goes.
        with contextlib.redirect_stdout(sys.stderr):
            return _run(config, out, resume, machines, console, log, mirror)
    except BaseException as error:
        log.failure(error)
        _keep_failure(log, error, console)
        raise
    finally:
        console.listener = None
        log.close()


def finished_run(path: Path) -> Outcome | None:
    """What a run directory holds if its run has ended; None if something is missing.

    Raises:
        UsageError: no such directory, or not a run.
        RunDataError: its files are damaged.
    """
    directory = RunDirectory.open(path)
    if not all((path / name).is_file() for name in FINISHED):
        return None
    return Outcome(directory.results(), directory.path)


def _run(
    config: RunConfig,
    out: Path | None,
    resume: Path | None,
    machines: Machines,
    console: Console,
    log: RunLog,
    mirror: str | None,
) -> Outcome:
    if resume is not None:
        directory = RunDirectory.open(resume)
        log.keep_in(directory.run_log)
    copy = mirror_of(mirror)
    if copy is not None:
        copy.check(resume)
    plan = analysis_plan(config)
    machines.check()
    arms = arm_names(config, console)
    check_policies(config)
    if resume is None:
        path = out or default_path(config)
        check_free(path, resumable=True)
    for warning in plugin_warnings():
        console.warn(warning)
    dataset = open_data(config, console)
    check_data(config, dataset)
    check_room(dataset, config.training_seed)
    spec_of_world = dataset.info.world
    world = None if spec_of_world is None else World.from_spec(spec_of_world)
    check_assumptions(config, world)
    check_interference(config, world)
    check_primary(config, dataset)
    trained = _train_all(config, dataset, machines.processes, console)
    contract = contract_facts(trained.values(), dataset)
    for policy, facts in contract.items():
        for reason in reasons(facts["broken"]):
            said = f"{policy} breaks the contract: {reason}."
            console.warn(f"{said} See: abtest policy check {policy}")
    environment = _environment(config, dataset, trained, console)
    spec = SimulationSpec(
        environment=environment,
        arms=arms,
        policies=tuple(trained[p] for p in (config.control, *config.treatment)),
        twin=config.design == "twin",
        people=config.users or (None if environment.kind == "learned" else config.max_users),
        days=config.days,
        seed=config.seed,
        explore_share=config.explore_share,
        explore_comments=config.explore_comments,
        keep_log=config.keep_log,
        interference=settings_of_interference(config),
    )
    signature = _signature(config, dataset, spec)
    if resume is None:
        directory = RunDirectory.create(path, config, signature)
        log.keep_in(directory.run_log)
    else:
        directory.check_plan(signature)
    directory.mirror = copy
    with directory.locked(), _timed(directory, console):
        people = simulate(config, dataset, spec, plan, directory, machines, console)
        with console.stage("analyse", "analysing") as stage:
            outcomes = directory.collect(group_count(people))
            outcomes = outcomes.filter(pl.col("user_id").is_not_null())
            directory.complete(outcomes)
            context = _context(config, dataset, spec, trained, people)
            context |= {"contract": contract} if contract else {}
            if environment.kind == "learned":
                served = dict(zip(spec.arms, spec.policies, strict=True))
                support = unsupported_shares(served, dataset, environment)
                context["environment"]["support"] = support
                for sentence in unsupported(support):
                    console.warn(f"{sentence}.")
            result = analyze_outcomes(config, outcomes, plan, arms, context, stage.report)
        warn_if_weak(config, result, people, console)
        main = MainRun(config, dataset, spec, plan, directory, signature, people, result)
        if config.interference is not None and config.design == "online":
            result = hold_against_truth(main, machines, console)
            main = dataclasses.replace(main, result=result)
        if config.assume:
            retrain = partial(_train_all, config, processes=machines.processes, console=console)
            result = vary_assumptions(main, retrain, machines, console)
        if config.keep_log:
            _keep_log(config, dataset, directory, people, console)
        write_text(directory.path / "results.json", result.to_json())
        added, skipped = sections(result)
        for warning in skipped:
            console.warn(warning)
        write_html(result, directory.path / "report.html", added)
    directory.copy_out(final=True)
    return Outcome(result, directory.path)


@contextlib.contextmanager
def _timed(directory: RunDirectory, console: Console) -> Iterator[None]:
    """Add the seconds of each stage to those of earlier attempts, however this one ends."""
    try:
        yield
    finally:
        directory.add_timings(console.durations)


def _has_a_story(error: BaseException) -> bool:
    """Whether a traceback tells more than the message: of somebody's code, or of a bug of ours."""
    return describe_error(error) is None or (
        isinstance(error, PolicyError) and not isinstance(error, UnknownPolicy | UnsuitedLog)
    )


def _keep_failure(log: RunLog, error: BaseException, console: Console) -> None:
    """Say where the log of a failure with a traceback is; keep it if there is no run directory."""
    if not _has_a_story(error):
        return
    with contextlib.suppress(OSError):
        if log.path is None:
            path = cache_directory() / "logs" / "last-failure.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            log.keep_in(path)
        console.say(f"details: {log.path}")


def _keep_log(
    config: RunConfig,
    dataset: Dataset,
    directory: RunDirectory,
    people: int,
    console: Console,
) -> None:
    """Make a dataset of the groups' logs, unless it is there already."""
    if directory.log.is_dir():
        return
    groups = [directory.piece_log(g) for g in range(group_count(people))]
    with console.stage("log", "writing the log of the experiment") as stage:
        assemble(
            directory.log,
            groups,
            dataset,
            name=f"simulated experiment, {' and '.join(config.treatment)} against {config.control}",
            source=config.command(),
            randomisation={
                "videos": _mechanism(config.explore_share, "video_decisions"),
                "comments": _mechanism(config.explore_comments, "comment_decisions"),
            },
            report=stage.report,
        )
    for group in groups:
        shutil.rmtree(group)


def _mechanism(share: float, table: str) -> dict[str, Any]:
    return {
        "mechanism": "explore" if share > 0.0 else "none",
        "share": share,
        "pool": "candidates",
        "table": table,
    }


def _train_all(
    config: RunConfig, dataset: Dataset, processes: int, console: Console
) -> dict[str, TrainedPolicy]:
    settings = {spec: settings_of(spec, config.policies) for spec in policy_names(config)}
    seed = config.training_seed
    train_side_by_side(settings, dataset, seed=seed, processes=processes, console=console)
    return {
        spec: train(spec, own, dataset, seed=seed, console=console)
        for spec, own in settings.items()
    }


def _environment(
    config: RunConfig, dataset: Dataset, trained: Mapping[str, TrainedPolicy], console: Console
) -> EnvironmentSpec:
    learned = dataset.info.world is None
    lacks = selection(dataset) if learned else ""
    if lacks:
        console.warn(f"{dataset.path}: {lacks}.")
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
        "abtest_version": __version__,
        "configuration": settings,
        "dataset": dataset.info.content_hash,
        "weights": {
            p.spec: f"{p.directory.name} {p.weights_hash}"
            for p in (*spec.policies, *([stage] if stage else []))
        },
        "group_size": GROUP_SIZE,
    }


def _context(
    config: RunConfig,
    dataset: Dataset,
    spec: SimulationSpec,
    trained: Mapping[str, TrainedPolicy],
    people: int,
) -> dict[str, Any]:
    """Facts for "reproduce" and "for the statistician"; nothing that varies between equal runs."""
    stage = spec.environment.candidates
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
            arm: trained[p.spec].facts() for arm, p in zip(spec.arms, spec.policies, strict=True)
        },
        **({} if stage is None else {"candidates": stage.facts()}),
        "environment": environment_facts(dataset, spec.environment),
        **({} if config.interference is None else {"interference": dict(config.interference)}),
        "versions": {
            "abtest": __version__,
            **{name: installed(name) for name in PACKAGES},
        },
    }
