"""Parse the options of `abtest evaluate` and `abtest train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from abtest.commands import completion, options
from abtest.config_sources import parse_percent
from abtest.console import Console
from abtest.errors import UsageError
from abtest.terminal import put, put_json

if TYPE_CHECKING:
    from abtest.evaluate.asked import Protocol
    from simulator.requests import Signal

DEFAULT_TEST_SHARE = 0.2
VIDEO_SIGNALS = ("liked", "clicked")

Specs = Annotated[
    list[str],
    typer.Argument(help="Policies, by name or file.py:Class.", autocompletion=completion.policies),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("evaluate")(evaluate)
    app.command("train")(train_command)


def evaluate(
    policies: Specs,
    data: options.Data = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", help="Training seeds: how many (3), or which ones (1,5,7)."),
    ] = None,
    task: Annotated[str, typer.Option("--task", help="videos, comments or both.")] = "both",
    split: Annotated[
        str,
        typer.Option("--split", help="last: each person's last event; time: all after a moment."),
    ] = "last",
    test_days: Annotated[
        float | None, typer.Option("--test-days", help="Time split: test on the last N days.")
    ] = None,
    test_share: Annotated[
        str | None,
        typer.Option("--test-share", help="Time split: test on the last impressions; default 20%."),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--candidates", min=2, help="Rank a sample of N, for comparison with papers; biased."
        ),
    ] = None,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Also with one part of the policy off at a time.")
    ] = False,
    signal: Annotated[
        str, typer.Option("--signal", help="Videos to be ranked: liked or clicked.")
    ] = "liked",
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of sampled candidates and bootstrap.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write FILE.json or FILE.csv.")
    ] = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    workers: options.JobsAtATime = None,
    html: options.Html = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Offline ranking metrics: what people chose next, among everything they could have chosen.

    [bold]Examples[/bold]

      abtest evaluate popular sasrec --data logs/kuairand --seeds 3

      abtest evaluate likes lsvcr --task comments --split time --test-days 2

      abtest evaluate lsvcr --ablations --seeds 3 --output ablations.csv

      abtest evaluate sasrec lsvcr --candidates 100

      abtest evaluate popular sasrec --seeds 5 --engine ray --address 10.0.0.1:6379

    The first policy is the one that the others are compared with. Data, seeds and the policies'
    settings that no flag names come from abtest.toml.
    """
    from abtest.config_sources import load_config
    from abtest.evaluate.page import evaluation_page
    from abtest.evaluate.protocol import contestants, evaluate_policies
    from abtest.evaluate.results import check_output, document, write_output
    from abtest.evaluate.tables import evaluation_tables
    from abtest.run.arms.oracle import refuse_oracles
    from abtest.run.datasets import open_dataset
    from abtest.run.machines import machines_of_jobs

    refuse_oracles(policies)
    told = load_config({"data": data, "seed": seed}, file=config)
    of_training = (told.training_seed,) if seeds is None else parse_seeds(seeds)
    protocol = _protocol(
        task, of_training, split, test_days, test_share, candidates, told.seed, signal
    )
    if output is not None:
        check_output(output)
    rows = contestants(policies, told.policies, ablations=ablations)
    machines = machines_of_jobs(engine, address, workers)
    console = Console(quiet=quiet)
    dataset = open_dataset(told.data, console)
    results = evaluate_policies(rows, dataset, protocol, console, machines)
    if output is not None:
        write_output(output, results)
        console.say(f"written: {output}")
    if html is not None:
        options.put_page(evaluation_page(results, options.command_line()), html, console)
    if as_json:
        put_json(document(results))
    else:
        put(evaluation_tables(results))


def _protocol(
    task: str,
    seeds: tuple[int, ...],
    split: str,
    test_days: float | None,
    test_share: str | None,
    candidates: int | None,
    seed: int,
    signal: str,
) -> Protocol:
    from abtest.evaluate.asked import TASKS, Protocol

    for flag, value, known in (
        ("task", task, (*TASKS, "both")),
        ("split", split, ("last", "time")),
        ("signal", signal, VIDEO_SIGNALS),
    ):
        if value not in known:
            raise UsageError(
                f"--{flag} is '{value}', expected {', '.join(known[:-1])} or {known[-1]}."
            )
    share = None if test_share is None else parse_percent(test_share)
    if split != "time" and (test_days is not None or share is not None):
        raise UsageError("--test-days and --test-share belong to --split time.")
    if test_days is not None and share is not None:
        raise UsageError("--test-days and --test-share say the same: give one of them.")
    if test_days is not None and not 0.0 < test_days < 100_000.0:
        raise UsageError(f"--test-days is {test_days:g}, expected more than 0.")
    if share is not None and not 0.0 < share < 1.0:
        raise UsageError(f"--test-share is {test_share}, expected more than 0 and less than 100 %.")
    if split == "time" and test_days is None and share is None:
        share = DEFAULT_TEST_SHARE
    return Protocol(
        tasks=tuple(t for t in TASKS if task in (t, "both")),
        seeds=seeds,
        split=split,
        test_days=test_days,
        test_share=share,
        candidates=candidates,
        seed=seed,
        signal=cast("Signal", signal),
    )


def parse_seeds(text: str) -> tuple[int, ...]:
    """``"3"`` is seeds 1, 2, 3; ``"4,7"`` is these two.

    Raises:
        UsageError: neither.
    """
    parts = [part.strip() for part in text.split(",")]
    if all(part.isascii() and part.isdigit() for part in parts if part) and any(parts):
        numbers = [int(part) for part in parts if part]
        if "," not in text and numbers[0] >= 1:
            return tuple(range(1, numbers[0] + 1))
        if "," in text and len(set(numbers)) == len(numbers):
            return tuple(numbers)
    raise UsageError(
        f"--seeds is '{text}', expected how many (3) or different ones between commas (1,5,7)."
    )


def train_command(
    policy: Annotated[
        str,
        typer.Argument(
            help="A policy's name, or file.py:Class.", autocompletion=completion.policies
        ),
    ],
    data: options.Data = None,
    seed: Annotated[
        int | None, typer.Option("--training-seed", min=0, help="Seed of training.")
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Train again.")] = False,
    llm: options.Llm = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a policy, or say where its trained weights are.

    [bold]Examples[/bold]

      abtest train sasrec --data logs/kuairand

      abtest train lsvcr --data logs/kuairand --llm models/qwen2.5-0.5b

      torchrun --nproc-per-node 8 -m abtest train sasrec:accumulation=8

    Under torchrun, processes share the batches of every step, each on a GPU of its own where there
    are any. Stopped by Ctrl-C, it goes on from its last whole epoch when the same command is given
    again.
    Data, seed and the policy's settings that no flag names come from abtest.toml.
    """
    from abtest.config_sources import load_config
    from abtest.run.arms.oracle import refuse_oracles
    from abtest.run.arms.training import train, train_together
    from abtest.run.datasets import open_dataset
    from policies.distributed import rank, together, world_size
    from policies.registry import settings_of

    refuse_oracles([policy])
    told = load_config({"data": data, "training_seed": seed}, file=config).with_policies(
        options.lsvcr_settings(llm, preset, [policy])
    )
    settings = settings_of(policy, told.policies)
    with together():
        console = Console(quiet=quiet or rank() > 0)
        fit = train if world_size() == 1 else train_together
        trained = fit(
            policy,
            settings,
            open_dataset(told.data, console),
            seed=told.training_seed,
            console=console,
            refresh=refresh,
        )
        if rank() > 0:
            return
    from abtest.tables import facts

    put(f"{policy}: {trained.directory}")
    for key, value in trained.summary.items():
        put(facts(key, value))
