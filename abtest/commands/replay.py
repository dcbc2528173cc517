"""`abtest replay`: what a log alone says about another ranker."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from abtest.commands import options
from abtest.console import Console
from abtest.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("replay")(replay_command)


def replay_command(
    treatment: Annotated[str, typer.Option("--treatment", "-t", help="Policy to value.")],
    control: Annotated[str, typer.Option("--control", "-c", help="Policy to compare with.")],
    data: Annotated[str, typer.Option("--data", help="A dataset directory, or 'demo'.")] = "demo",
    top_share: Annotated[
        float | None,
        typer.Option(
            "--top-share",
            help="A policy shows one of its best videos out of this share of those eligible "
            "(default 0.1 of a pool, the single best of recorded candidates).",
        ),
    ] = None,
    propensity: Annotated[
        str, typer.Option("--propensity", help="Column with the probability of what was shown.")
    ] = "propensity",
    rows: Annotated[
        str,
        typer.Option("--rows", help="auto, random (uniform exposure) or all (propensities)."),
    ] = "auto",
    training_seed: Annotated[int, typer.Option("--training-seed", help="Seed of training.")] = 1,
    as_json: options.Json = False,
) -> None:
    """Counterfactual estimates from a log with random exposure or recorded propensities.

    No simulation: matching, IPS and self-normalised IPS, with intervals clustered by user.

    [bold]Examples[/bold]

      abtest replay --treatment lsvcr --control sasrec --data logs/kuairand

      abtest replay -t sasrec -c popular --data demo --top-share 0.05
    """
    from abtest.replay import replay_policies
    from abtest.run.oracle import refuse_oracles
    from abtest.tables import replay_table

    refuse_oracles([treatment, control])
    if rows not in {"auto", "random", "all"}:
        raise UsageError(f"--rows is '{rows}', expected auto, random or all.")
    result = replay_policies(
        treatment,
        control,
        data,
        top_share=top_share,
        propensity_column=propensity,
        rows=rows,  # type: ignore[arg-type]
        seed=training_seed,
        console=Console(),
    )
    if as_json:
        typer.echo(json.dumps(result.to_dict(), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        typer.echo(replay_table(result))
