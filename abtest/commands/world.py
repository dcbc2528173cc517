"""`abtest world calibrate`."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import tomli_w
import typer

from abtest.commands import options
from abtest.console import Console
from abtest.errors import UsageError
from abtest.paths import write_text

app = typer.Typer(no_args_is_help=True, help="The built-in world.")


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="world")


@app.callback()
def world() -> None:
    """Keeps `calibrate` a subcommand while it is the only one."""


@app.command()
def calibrate(
    preset: Annotated[str, typer.Option("--world", help="Preset or file to start from.")] = (
        "default"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", help="TOML file to write.")] = Path(
        "fitted.toml"
    ),
    iterations: Annotated[
        int, typer.Option("--iterations", min=1, help="Steps of the least squares.")
    ] = 30,
    users: Annotated[int, typer.Option("--users", min=50, help="People simulated.")] = 800,
    days: Annotated[int, typer.Option("--days", min=1, help="Days simulated.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Of the world and all draws.")] = 1,
    workers: options.Workers = None,
) -> None:
    """Fit the world's parameters to published marginals; prints simulated beside published.

    Only the platform's own ranker is simulated: no policy, no lift. Figures that are held out are
    not looked at until the end.

    [bold]Examples[/bold]

      abtest world calibrate --out fitted.toml
      abtest data synth logs/fitted --world fitted.toml
    """
    from abtest.tables import comparison_table, number, table
    from simulator.calibration.fit import calibrate as fit
    from simulator.calibration.knobs import KNOBS
    from simulator.calibration.sample import Sample
    from simulator.calibration.targets import targets
    from simulator.logs.describe import compare_measures
    from simulator.logs.measures import Measures
    from simulator.world.config import WorldConfig

    if out.exists():
        raise UsageError(f"{out} exists and is left untouched.", "Choose another --out")
    config = WorldConfig.preset(preset)
    sample = Sample(seed=seed, users=users, days=days)
    rough = Sample(seed=seed, users=max(users // 3, 50), days=days)
    console = Console()
    n = len(KNOBS)
    what = f"{n} parameters, {len(targets())} figures, {users:,} people"
    context = multiprocessing.get_context("spawn")
    processes = workers or multiprocessing.cpu_count()
    with (
        console.stage("calibrate", what) as stage,
        ProcessPoolExecutor(processes, mp_context=context) as pool,
    ):

        def report(number: int, measured: Measures) -> None:
            close = [c for c in compare_measures(measured) if c.published.role == "fitted"]
            hits = sum(c.verdict == "close" for c in close)
            done = f"{hits} of {len(close)} fitted figures close"
            stage.update("", min(number / iterations, 1.0), done)

        fitted = fit(
            config, sample, rough=rough, iterations=iterations, parallel=pool.map, report=report
        )
        other = Sample(seed=seed + 1, users=users, days=days)
        check = compare_measures(next(iter(pool.map(other.evidence, [fitted]))))
    values = {k.parameter: getattr(fitted, k.parameter) for k in KNOBS}
    write_text(out, f'base = "{preset}"\n{tomli_w.dumps(values)}')
    typer.echo(
        table(
            [(k, number(getattr(config, k)), number(value)) for k, value in values.items()],
            header=("parameter", "before", "after"),
            right=(1, 2),
        )
    )
    typer.echo(f"\n{comparison_table(check)}")
    typer.echo(f"\nMeasured with another seed ({seed + 1}). Written: {out}")
