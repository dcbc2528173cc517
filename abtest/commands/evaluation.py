"""`abtest evaluate` and `abtest train`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from abtest.commands import options
from abtest.console import Console
from abtest.errors import UsageError

Specs = Annotated[list[str], typer.Argument(help="Policies, by name or file.py:Class.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("evaluate")(evaluate)
    app.command("train")(train_command)


def evaluate(
    policies: Specs,
    data: Annotated[str, typer.Option("--data", help="A dataset directory, or 'demo'.")] = "demo",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Training seeds.")] = 1,
    as_json: options.Json = False,
) -> None:
    """Offline ranking metrics: each person's last liked video, among all videos.

    [bold]Example[/bold]

      abtest evaluate popular sasrec --data logs/kuairand --seeds 3
    """
    from abtest.datasets import open_dataset
    from abtest.offline import evaluate_policies
    from abtest.oracle import refuse_oracles
    from abtest.tables import evaluation_table

    refuse_oracles(policies)
    console = Console()
    dataset = open_dataset(data, console)
    rows = evaluate_policies(policies, dataset, seeds=seeds, console=console)
    if as_json:
        typer.echo(json.dumps({"evaluation": [r.to_dict() for r in rows]}, indent=1))
    else:
        typer.echo(evaluation_table(rows))


def train_command(
    policy: Annotated[str, typer.Argument(help="A policy's name, or file.py:Class.")],
    data: Annotated[str, typer.Option("--data", help="A dataset directory, or 'demo'.")] = "demo",
    seed: Annotated[int, typer.Option("--training-seed", help="Seed of training.")] = 1,
    refresh: Annotated[bool, typer.Option("--refresh", help="Train again.")] = False,
    llm: options.Llm = None,
    preset: options.Preset = None,
) -> None:
    """Train a policy, or say where its trained weights are."""
    from abtest.datasets import open_dataset
    from abtest.oracle import refuse_oracles
    from abtest.training import train

    refuse_oracles([policy])
    if seed < 0:
        raise UsageError(f"--training-seed is {seed}, expected 0 or more.")
    settings = options.lsvcr_settings(llm, preset, [policy]).get(policy, {})
    console = Console()
    dataset = open_dataset(data, console)
    trained = train(policy, settings, dataset, seed=seed, console=console, refresh=refresh)
    typer.echo(f"{policy}: {trained.directory}")
    for key, value in trained.summary.items():
        typer.echo(f"  {key}: {value}")
