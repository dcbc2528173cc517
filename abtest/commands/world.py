"""Serve `abtest world`: fit the built-in world, put it beside published experiments."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import tomli_w
import typer

from abtest.commands import completion, options
from abtest.console import Console, Stage
from abtest.errors import UsageError
from abtest.files import write_text
from abtest.processes import end_with
from abtest.terminal import put

app = typer.Typer(no_args_is_help=True, help="The built-in world.")

Preset = Annotated[
    str,
    typer.Option(
        "--world", help="Preset, or TOML file of parameters.", autocompletion=completion.worlds
    ),
]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="world")


@app.command()
def experiments(
    preset: Preset = "default",
    users: Annotated[int, typer.Option("--users", min=50, help="People in the twin run.")] = 1_000,
    days: Annotated[int, typer.Option("--days", min=1, help="Days under each rung.")] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Of the world and all draws.")] = 1,
    html: options.Html = None,
    ship: Annotated[bool, typer.Option("--ship", hidden=True)] = False,
) -> None:
    """Put published experiments beside the world: how metrics move together.

    Everybody lives under the platform's own ranker with more and less error in its view of taste
    (blind to perfect), then with other objectives. No policy is involved.

    [bold]Examples[/bold]

      abtest world experiments
      abtest world experiments --world small --users 2000
    """
    from abtest.results.world_evidence import (
        react,
        reactions_page,
        reactions_table,
        remember,
    )
    from simulator.world import World
    from simulator.world.config import WorldConfig

    config = WorldConfig.preset(preset)
    console = Console()
    with console.stage("ladders", f"{users:,} people, {days} days under each of 13 rankers"):
        rows = react(World.create(config, seed), users=users, days=days, seed=seed)
    remember(config, rows, ship=ship)
    if html is not None:
        options.put_page(reactions_page(rows, options.command_line()), html, console)
    put(reactions_table(rows))


class Meter:
    """Tells how far a calibration is and how long it still takes at the pace so far.

    Args:
        console: Where lines go; at most one a minute.
        stage: Whose bar moves.
        planned: Effort of everything, in days of people.
    """

    def __init__(self, console: Console, stage: Stage, planned: float) -> None:
        self.found = ""
        self._console, self._stage, self._planned = console, stage, planned
        self._started = self._said = time.monotonic()
        self._done = self._simulated = 0.0

    def told(self, effort: float, simulated: bool) -> None:
        """Another evaluation is there, simulated now or remembered."""
        self._done += effort
        self._simulated += effort * simulated
        share = min(self._done / self._planned, 1.0)
        self._stage.update("", share, self.found)
        now = time.monotonic()
        if self._simulated and now - self._said >= 60.0:
            left = max(self._planned - self._done, 0.0) / self._simulated * (now - self._started)
            self._console.say(f"{100 * share:.0f} % done, at most {left / 60:.0f} min left")
            self._said = now


@app.command()
def calibrate(
    preset: Preset = "default",
    out: Annotated[Path, typer.Option("--out", "-o", help="TOML file to write.")] = Path(
        "fitted.toml"
    ),
    iterations: Annotated[
        int, typer.Option("--iterations", min=1, help="Steps of the least squares.")
    ] = 30,
    worlds: Annotated[
        int, typer.Option("--worlds", min=1, help="Worlds simulated: figures are their means.")
    ] = 3,
    users: Annotated[int, typer.Option("--users", min=50, help="People of each world.")] = 1_300,
    days: Annotated[int, typer.Option("--days", min=1, help="Days simulated.")] = 2,
    ladder_users: Annotated[
        int, typer.Option("--ladder-users", min=0, help="People of each ladder; 0 leaves it out.")
    ] = 150,
    seed: Annotated[int, typer.Option("--seed", help="Of the world and all draws.")] = 1,
    workers: options.Workers = None,
) -> None:
    """Fit the world's parameters to published evidence; prints simulated beside published.

    Three kinds of figures are fitted together: marginals of the log, ratios of standard to random
    exposure, and elasticities along the ladder of the platform's own ranker. Only that ranker is
    simulated: no policy, no lift. Figures that are held out are not looked at until the end.
    What was measured is kept in OUT.steps.jsonl until the end: the same command goes on there.

    [bold]Examples[/bold]

      abtest world calibrate --out fitted.toml
      abtest data synth logs/fitted --world fitted.toml
    """
    from abtest.results.world_evidence import contrasts_table, react, reactions_table
    from abtest.tables import comparison_table, number, table
    from simulator.calibration.evaluations import Evaluations
    from simulator.calibration.fit import calibrate as fit
    from simulator.calibration.fit import loss, planned
    from simulator.calibration.knobs import KNOBS
    from simulator.calibration.sample import Sample
    from simulator.calibration.targets import targets
    from simulator.logs.describe import compare_measures
    from simulator.logs.measures import Measures
    from simulator.world import World
    from simulator.world.config import WorldConfig

    steps = out.with_name(f"{out.name}.steps.jsonl")
    if out.exists():
        raise UsageError(f"{out} exists and is left untouched.", "Choose another --out")
    config = WorldConfig.preset(preset)
    sample = Sample(seed=seed, worlds=worlds, users=users, days=days, ladder_users=ladder_users)
    rough = dataclasses.replace(
        sample, users=max(users // 3, 50), ladder_users=ladder_users and max(ladder_users // 2, 50)
    )
    unseen = seed + worlds
    console = Console()
    wanted = targets()
    people = f"{users:,} people in each of {worlds} worlds"
    what = f"{len(KNOBS)} parameters, {len(wanted)} figures, {people}"
    if steps.exists():
        console.note(f"goes on with what {steps} holds")
    context = multiprocessing.get_context("spawn")
    processes = workers or multiprocessing.cpu_count()
    with (
        console.stage("calibrate", what) as stage,
        ProcessPoolExecutor(
            processes, mp_context=context, initializer=end_with, initargs=(os.getpid(),)
        ) as pool,
    ):
        meter = Meter(console, stage, planned(sample, rough, iterations))

        def report(number: int, measured: Measures) -> None:
            distances = [t.distance(measured.get(t.name)) for t in wanted]
            hits = sum(abs(distance) <= 1.0 for distance in distances)
            meter.found = (
                f"{hits} of {len(wanted)} fitted figures close, loss {loss(distances):.1f}"
            )
            console.say(f"step {number}: {meter.found}")

        evaluate = Evaluations(steps, parallel=pool.map, told=meter.told)
        fitted = fit(
            config, sample, rough=rough, iterations=iterations, evaluate=evaluate, report=report
        )
        other = Sample(seed=unseen, users=users, days=days)
        found = evaluate(other, [fitted])[0]
    values = {k.parameter: getattr(fitted, k.parameter) for k in KNOBS}
    write_text(out, f'base = "{preset}"\n{tomli_w.dumps(values)}')
    steps.unlink(missing_ok=True)
    put(
        table(
            [(k, number(getattr(config, k)), number(value)) for k, value in values.items()],
            header=("parameter", "before", "after"),
            right=(1, 2),
        )
    )
    put(f"\n{comparison_table(compare_measures(found))}")
    ratios = {
        name.removeprefix("contrast."): value
        for name, value in found.items()
        if name.startswith("contrast.") and value is not None
    }
    put(f"\n{contrasts_table(ratios)}")
    with console.stage("ladders", "beside published experiments"):
        rows = react(
            World.create(fitted, unseen), users=max(ladder_users, 200), days=2, seed=unseen
        )
    put(f"\n{reactions_table(rows)}")
    put(f"\nMeasured with another seed ({unseen}). Written: {out}")
