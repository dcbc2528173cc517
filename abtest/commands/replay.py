"""Parse the options of `abtest replay`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abtest.commands import completion, options
from abtest.config_sources import load_config, parse_percent
from abtest.console import Console
from abtest.errors import ExitCode, UsageError
from abtest.terminal import put, put_json
from simulator.errors import DataError

if TYPE_CHECKING:
    from simulator.replay.interval_method import Intervals


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("replay")(replay_command)


def replay_command(
    treatment: Annotated[
        list[str] | None,
        typer.Option(
            "--treatment",
            "-t",
            help="Policy to value. Repeatable.",
            autocompletion=completion.policies,
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            "--control",
            "-c",
            help="Policy to compare with.",
            autocompletion=completion.policies,
        ),
    ] = None,
    data: options.Data = None,
    stage: Annotated[
        str,
        typer.Option(
            "--stage",
            help="What the policies change: auto (what they rank and the log identifies), videos "
            "or comments; the other stays as logged.",
        ),
    ] = "auto",
    explore_share: Annotated[
        str | None,
        typer.Option("--explore-share", help="Share of slots filled at random, as in run."),
    ] = None,
    explore_comments: Annotated[
        str, typer.Option("--explore-comments", help="The same for places of comment lists.")
    ] = "0%",
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", help="Draw by a softmax of scores in place of the best."),
    ] = None,
    top_share: Annotated[
        float | None,
        typer.Option(
            "--top-share",
            help="Draw uniformly from this share of best candidates: needs less of the log, and "
            "values another policy than run deploys.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            "-m",
            help="Repeatable; default: all.",
            autocompletion=completion.metrics,
        ),
    ] = None,
    primary: Annotated[
        str | None, typer.Option("--primary", help="Default: comment watch time.")
    ] = None,
    min_effect: Annotated[
        str | None, typer.Option("--min-effect", help="Smallest effect worth shipping, as 0.5%.")
    ] = None,
    quantiles: Annotated[
        str,
        typer.Option("--quantiles", help="Also compare these quantiles of times, as 0.5,0.9,0.99."),
    ] = "",
    estimators: Annotated[
        str,
        typer.Option(
            "--estimators",
            help="Estimators beside the usual ones, as clipped_ips,marginalised_ips, or all; with "
            "what each assumes. What is read first stays.",
        ),
    ] = "",
    propensity: Annotated[
        str, typer.Option("--propensity", help="Column with the probability of what was shown.")
    ] = "propensity",
    target_probability: Annotated[
        list[str] | None,
        typer.Option(
            "--target-probability",
            help="Column with another policy's probability of what was shown, in place of -t. "
            "Repeatable.",
        ),
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(
            "--candidates",
            help="Policy whose 24 proposals all others rank, where the log is over a pool.",
            autocompletion=completion.policies,
        ),
    ] = None,
    rows: Annotated[
        str,
        typer.Option("--rows", help="auto, random (uniform exposure) or all (propensities)."),
    ] = "auto",
    pool: Annotated[
        str,
        typer.Option("--pool", help="auto, random (what was exposed) or all (every video)."),
    ] = "auto",
    reward_model: Annotated[
        str,
        typer.Option("--reward-model", help="linear, boosting or none."),
    ] = "linear",
    interval: Annotated[
        str | None,
        typer.Option("--interval", help="student (default), likelihood or bootstrap (of users)."),
    ] = None,
    draws: Annotated[int, typer.Option("--draws", help="Of the bootstrap.")] = 2_000,
    draws_seed: Annotated[int, typer.Option("--draws-seed", help="Of the bootstrap.")] = 0,
    conservative: Annotated[
        bool, typer.Option("--conservative", help="The same as --interval likelihood.")
    ] = False,
    training_seed: Annotated[
        int | None, typer.Option("--training-seed", help="Seed of training.")
    ] = None,
    training_seeds: Annotated[
        int, typer.Option("--training-seeds", help="Train so often, and show how lifts differ.")
    ] = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Directory to create.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="File to write the report to.")
    ] = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Value rankers on a log that has random exposure, propensities or decisions.

    Nobody is simulated. What the log cannot tell is refused with the reason, before anything is
    trained; exit code 4 where it tells too little.

    [bold]Examples[/bold]

      abtest replay --treatment lsvcr --control sasrec --data runs/x/log

      abtest replay -t likes -c newest --data runs/x/log --stage comments

      abtest replay -t sasrec -c popular --data logs/kuairand --top-share 0.1

      abtest replay --data logs/bandit --target-probability target_probability
    """
    # Imported here so that `abtest --help` stays quick.
    from abtest.replay import ReplayOptions, replay_policies
    from abtest.replay.record import as_experiment
    from abtest.replay.text import identification_text, replay_text
    from abtest.replay.write import write_run
    from abtest.run.arms.oracle import refuse_oracles
    from abtest.run.run_directory import check_free
    from reports.render.html import write_html
    from simulator.replay import TargetPolicy
    from simulator.replay.result import UNUSABLE

    settings = load_config(
        {
            "treatment": tuple(treatment or ()),
            "control": control,
            "data": data,
            "explore_share": None if explore_share is None else parse_percent(explore_share),
            "min_effect": None if min_effect is None else parse_percent(min_effect),
            "training_seed": training_seed,
        },
        file=config,
    )
    if target_probability and candidates:
        raise UsageError("--target-probability excludes --candidates: nothing is ranked.")
    if target_probability and (treatment or control):
        raise UsageError("--target-probability excludes --treatment and --control.")
    refuse_oracles([*settings.treatment, settings.control])
    if out is not None:
        check_free(out)
    if html is not None and html.is_dir():
        raise UsageError(
            f"--html {html} is a directory.", f"Example: --html {html / 'report.html'}"
        )
    console = Console(quiet=quiet)
    asked = ReplayOptions(
        treatments=settings.treatment,
        control=settings.control,
        data=settings.data,
        target=TargetPolicy(settings.explore_share, temperature, top_share),
        comment_target=TargetPolicy(parse_percent(explore_comments)),
        stage=stage,
        metrics=tuple(metric or ()),
        primary=primary,
        min_effect=settings.min_effect,
        quantiles=tuple(parse_percent(part) for part in quantiles.split(",") if part.strip()),
        estimators=tuple(part.strip() for part in estimators.split(",") if part.strip()),
        propensity_column=propensity,
        rows=rows,  # type: ignore[arg-type]
        pool=pool,  # type: ignore[arg-type]
        model=reward_model,
        interval=_intervals(interval, conservative, draws, draws_seed),
        seed=settings.training_seed,
        seeds=training_seeds,
        given=tuple(target_probability or ()),
        policies=settings.policies,
        candidates=candidates,
    )
    replayed = replay_policies(
        asked,
        console=console,
        announce=lambda table: console.note(f"this log:\n{identification_text(table)}"),
    )
    experiment = as_experiment(replayed, asked, command=shlex.join(["abtest", *sys.argv[1:]]))
    if out is not None:
        write_run(experiment, asked, out)
    if html is not None:
        write_html(experiment, html)
    if as_json:
        put_json(experiment.to_json())
    else:
        put(replay_text(replayed, experiment))
        for where in (None if out is None else out / "report.html", html):
            if where is not None:
                put(f"\nReport: {where}")
    if replayed.result.verdict == UNUSABLE:
        raise typer.Exit(int(ExitCode.UNTRUSTWORTHY))


def _intervals(name: str | None, conservative: bool, draws: int, seed: int) -> Intervals:
    """How intervals are computed; `--conservative` is the older name of `likelihood`."""
    from simulator.replay.interval_method import LIKELIHOOD, Intervals

    if conservative and name not in (None, LIKELIHOOD):
        raise UsageError(f"--conservative excludes --interval {name}.", "Give one.")
    try:
        return Intervals(LIKELIHOOD if conservative else name or "student", draws, seed)
    except DataError as error:
        raise UsageError(f"--interval: {error.problem}", error.hint) from None
